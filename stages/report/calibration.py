"""How true a row's probabilities are: the block `calibration` of metrics/detail/<row>.json."""

from typing import Any

from pydantic import Field

from monuseg.core.errors import PipelineError
from monuseg.core.params import Model, validated


class ReliabilityBin(Model):
    """Pixels of similar P(nucleus), as `monuseg.scoring.calibration.ReliabilityBin` has them.

    Attributes:
        low: lowest probability.
        high: where the next bin begins.
        pixels: how many there are.
        mean_probability: what they claim, on average.
        nucleus_fraction: the share of them that is on a true nucleus.
    """

    low: float = Field(ge=0, le=1)
    high: float = Field(ge=0, le=1)
    pixels: int = Field(ge=1)
    mean_probability: float = Field(ge=0, le=1)
    nucleus_fraction: float = Field(ge=0, le=1)


class Calibration(Model):
    """One row's probabilities on one split.

    Attributes:
        expected_calibration_error: mean over pixels of a bin's gap between claim and truth.
        bins: those that hold pixels, from low probability to high.
    """

    expected_calibration_error: float = Field(ge=0, le=1)
    bins: list[ReliabilityBin] = Field(min_length=1)


def calibration_of(content: Any, where: str, row: str) -> Calibration:
    """The block as evaluate wrote it.

    Args:
        content: what the file holds as `calibration`.
        where: file and split, for the message.
        row: whose file it is.

    Raises:
        PipelineError: it is not what evaluate writes.
    """
    try:
        made: Calibration = validated(Calibration, content, where=f"{where}.calibration")
    except PipelineError as error:
        raise PipelineError(f"{error}; delete it and run `dvc repro evaluate@{row}`") from error
    return made
