"""What blocks of params.yaml say of one another, as far as it is known without data."""

from collections.abc import Mapping
from typing import Any

from monuseg.core.errors import PipelineError
from monuseg.core.params import Block
from monuseg.formats.manifest import VALIDATION
from monuseg.formats.protocol import CHALLENGE_TRAIN, KUMAR_TRAIN, patient_of
from stages.download.params import DatasetParams
from stages.download.synthetic.archive import training_slides
from stages.download.synthetic.organs import organs_named
from stages.evaluate.params import EvaluateParams
from stages.tile.params import TileParams
from stages.tile.validation import validation_images
from stages.train.params import TrainParams


def check_consistency(blocks: Mapping[type[Block], Any]) -> None:
    """Find two blocks that contradict each other.

    Args:
        blocks: each block by its class.

    Raises:
        PipelineError: two do.
    """
    dataset: DatasetParams = blocks[DatasetParams]
    tile: TileParams = blocks[TileParams]
    if dataset.synthetic:
        organs_named(dataset.synthetic.organs)
        if tile.protocol != "archive":
            raise PipelineError(
                f"params.yaml: tile.protocol: {tile.protocol} names images of the challenge, but "
                "dataset.source: synthetic draws others; set the protocol to archive"
            )
    _check_validation(dataset, tile)
    if tile.validation.method != "none":
        return
    train: TrainParams = blocks[TrainParams]
    evaluate: EvaluateParams = blocks[EvaluateParams]
    if train.keep == "best":
        raise PipelineError(
            "params.yaml: train.keep: best needs validation images, and tile.validation.method: "
            "none holds none out; set train.keep to last, or hold some out"
        )
    if set(evaluate.splits) == {VALIDATION}:
        raise PipelineError(
            "params.yaml: evaluate.splits: only validation, and tile.validation.method: none "
            "holds no image out; name another split, or hold some out"
        )


def _check_validation(dataset: DatasetParams, tile: TileParams) -> None:
    """Hold images out of the training images, where their ids are known beforehand."""
    validation = tile.validation
    if tile.protocol != "archive":
        # The ids of the challenge's images begin with a patient's, and each patient gave one.
        images = [patient_of(image) or image for image in validation.images]
        known = CHALLENGE_TRAIN if tile.protocol == "challenge" else KUMAR_TRAIN
        validation_images(known, validation.model_copy(update={"images": images}))
    elif dataset.synthetic:
        validation_images(training_slides(dataset.synthetic), validation)
