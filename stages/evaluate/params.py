"""Block `evaluate`: which images are scored, and what is chosen on the validation images."""

from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field

from monuseg.core.params import Block, Model

Split = Literal["train", "validation", "test"]

Separation = Literal["shape", "boundary", "distance"]
Smoothing = Annotated[float, Field(ge=0, le=100)]
Distance = Annotated[int, Field(ge=1, le=10_000)]
Marker = Annotated[float, Field(gt=0, lt=1)]
Area = Annotated[int, Field(ge=0)]
Certainty = Annotated[float, Field(ge=0, lt=1)]


def _distinct(splits: list[Split]) -> list[Split]:
    if len(set(splits)) < len(splits):
        raise ValueError("a split is listed twice; remove one")
    return splits


class NucleiParams(Model):
    """Block `evaluate.nuclei`: candidate settings of the watershed; validation images decide.

    Attributes:
        separation: what shows where a nucleus ends and the next begins; "boundary" and "distance"
            are candidates only if the model has that output.
        smoothing: sigmas in pixels of the Gaussian on the map that shows it.
        min_distance: with "shape", least distances between the centres of nuclei, in pixels.
        marker_threshold: with "boundary" and "distance", what the middle of a nucleus must reach.
        min_area: nuclei of fewer pixels are dropped.
        min_probability: nuclei whose mean P(nucleus) is lower are dropped.
    """

    separation: list[Separation] = Field(min_length=1)
    smoothing: list[Smoothing] = Field(min_length=1)
    min_distance: list[Distance] = Field(min_length=1)
    marker_threshold: list[Marker] = Field(min_length=1)
    min_area: list[Area] = Field(min_length=1)
    min_probability: list[Certainty] = Field(min_length=1)


class RowSettings(Model):
    """The settings of a row with nothing left to choose; see `NucleiSettings`."""

    threshold: float = Field(gt=0, lt=1)
    separation: Separation
    smoothing: Smoothing
    min_distance: Distance
    marker_threshold: Marker
    min_area: Area
    min_probability: Certainty


class EvaluateParams(Block):
    """Block `evaluate`.

    Attributes:
        splits: those to be scored; leave "test" out while experimenting.
        threshold: of P(nucleus); "auto" takes the one with the highest mean Dice of the validation
            images that all thresholds define.
        nuclei: see `NucleiParams`.
        settings: by row, in place of `threshold` and `nuclei`; see `tools.finalise`.
    """

    key: ClassVar[str] = "evaluate"

    splits: Annotated[list[Split], Field(min_length=1), AfterValidator(_distinct)]
    threshold: Literal["auto"] | Annotated[float, Field(gt=0, lt=1)]
    nuclei: NucleiParams
    settings: dict[str, RowSettings]
