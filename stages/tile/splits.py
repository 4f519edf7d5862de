"""The split of each image: the protocol's parts, and validation images held out of training."""

from collections.abc import Sequence

from monuseg.core.errors import PipelineError
from monuseg.formats.manifest import (
    TEST,
    TRAIN,
    VALIDATION,
    ImageRecord,
    Part,
    Split,
    SplitRecord,
)
from monuseg.formats.paths import RAW
from monuseg.formats.protocol import assign
from monuseg.formats.scale import ASSUMED, TOLERANCE, scale_of
from stages.tile.params import TileParams
from stages.tile.validation import validation_images

MANIFEST = RAW / "manifest.csv"


def split_images(records: list[ImageRecord], params: TileParams) -> list[SplitRecord]:
    """Assign each image that the protocol names to a split, in the manifest's order.

    Raises:
        PipelineError: an id stands twice, a patient is in both parts, resolutions differ and none
            is chosen, or see `assign` and `validation_images`.
    """
    parts = assign(records, params.protocol)
    used = [record for record in records if record.id in parts]
    _require_apart(used, parts)
    tiled = _tiled_resolutions(used, params.um_per_pixel)
    training = {record.id: record.organ for record in used if parts[record.id] == TRAIN}
    patients = {record.id: record.patient for record in used}
    held_out = validation_images(training, params.validation, patients)

    def split_of(image_id: str) -> Split:
        if parts[image_id] == TEST:
            return TEST
        return VALIDATION if image_id in held_out else TRAIN

    return [
        SplitRecord(
            id=record.id,
            organ=record.organ,
            split=split_of(record.id),
            um_per_pixel=record.um_per_pixel,
            tiled_um_per_pixel=tiled_um_per_pixel,
            annotation=record.annotation,
        )
        for record, tiled_um_per_pixel in zip(used, tiled, strict=True)
    ]


def remarks(records: Sequence[ImageRecord]) -> list[str]:
    """What is to be said about the images that the protocol uses, a line each.

    Args:
        records: of the manifest.
    """
    said = []
    nobody = sum(record.patient.upper() == record.id.upper() for record in records)
    if nobody:
        said.append(
            f"{MANIFEST}: {nobody} of {len(records)} images name no patient; each counts as "
            "a patient of its own (organs.csv may have a column `patient`)"
        )
    assumed = [record for record in records if record.um_per_pixel_source == ASSUMED]
    if assumed and len(assumed) < len(records):
        said.append(
            f"{MANIFEST}: {len(assumed)} of {len(records)} images, {assumed[0].id} among them, "
            f"state no resolution; {assumed[0].um_per_pixel:g} um per pixel is assumed"
        )
    return said


def _require_apart(records: Sequence[ImageRecord], parts: dict[str, Part]) -> None:
    """Require that no id stands twice, and that no patient is in both parts."""
    first: dict[str, ImageRecord] = {}
    ids: set[str] = set()
    for record in records:
        if record.id in ids:
            raise PipelineError(f"{MANIFEST}: {record.id} stands twice; run `dvc repro extract`")
        ids.add(record.id)
        other = first.setdefault(record.patient, record)
        if parts[record.id] != parts[other.id]:
            raise PipelineError(
                f"{MANIFEST}: {other.id} ({parts[other.id]}) and {record.id} "
                f"({parts[record.id]}) are from one patient, {record.patient}, of whom a model "
                "would learn what it is tested on; put both into one part, remove one, or "
                "correct the column `patient` of organs.csv"
            )


def _tiled_resolutions(records: Sequence[ImageRecord], chosen: float | None) -> list[float]:
    """The resolution of each image's tiles, in micrometres per pixel."""
    if chosen is not None:
        return [
            record.um_per_pixel if scale_of(record.um_per_pixel, chosen) == 1 else chosen
            for record in records
        ]
    ordered = sorted(records, key=lambda record: record.um_per_pixel)
    if ordered and scale_of(ordered[-1].um_per_pixel, ordered[0].um_per_pixel) != 1:
        finest, coarsest = ordered[0], ordered[-1]
        raise PipelineError(
            f"{MANIFEST}: {finest.id} has {finest.um_per_pixel:g} um per pixel, {coarsest.id} "
            f"{coarsest.um_per_pixel:g}, which differ by more than {TOLERANCE:.0%}; set "
            "tile.um_per_pixel in params.yaml to what all are to be rescaled to"
        )
    return [record.um_per_pixel for record in records]
