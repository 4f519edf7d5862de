"""The split of each image: the protocol's parts, and validation images held out of training."""

from monuseg.formats.manifest import (
    TEST,
    TRAIN,
    VALIDATION,
    ImageRecord,
    Split,
    SplitRecord,
)
from monuseg.formats.protocol import assign
from stages.tile.params import TileParams
from stages.tile.validation import validation_images


def split_images(records: list[ImageRecord], params: TileParams) -> list[SplitRecord]:
    """Assign each image that the protocol names to a split, in the manifest's order."""
    parts = assign(records, params.protocol)
    training = {record.id: record.organ for record in records if parts.get(record.id) == TRAIN}
    held_out = validation_images(training, params.validation)

    def split_of(image_id: str) -> Split:
        if parts[image_id] == TEST:
            return TEST
        return VALIDATION if image_id in held_out else TRAIN

    return [
        SplitRecord(
            record.id, record.organ, split_of(record.id), record.um_per_pixel, record.annotation
        )
        for record in records
        if record.id in parts
    ]
