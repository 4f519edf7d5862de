"""The tables of all images (manifest) and of what each image is for (splits)."""

import math
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

from monuseg.core.errors import PipelineError
from monuseg.core.files import replacing
from monuseg.formats.scale import scale_of

# The kinds of annotation; all but a binary mask tell nuclei apart.
APERIO_XML: Final = "aperio-xml"
HALO_XML: Final = "halo-xml"
ASAP_XML: Final = "asap-xml"
GEOJSON: Final = "geojson"
LABEL_MAP: Final = "label-map"
BINARY_MASK: Final = "binary-mask"
# How the annotation's file in data/raw ends, after the image's id.
ANNOTATION_SUFFIXES: Final = {
    APERIO_XML: ".xml",
    HALO_XML: ".xml",
    ASAP_XML: ".xml",
    GEOJSON: ".geojson",
    LABEL_MAP: ".labels.png",
    BINARY_MASK: ".mask.png",
}

TRAIN: Final = "train"
VALIDATION: Final = "validation"
TEST: Final = "test"

Annotation = Literal["aperio-xml", "halo-xml", "asap-xml", "geojson", "label-map", "binary-mask"]
Part = Literal["train", "test"]
Split = Literal["train", "validation", "test"]


@dataclass(frozen=True)
class ImageRecord:
    """A row of data/raw/manifest.csv.

    Attributes:
        id: the image's name without suffix, unique in the data set.
        organ: lower case; "unknown" if it is not known.
        patient: whom it shows, upper case; its own id if that is not known.
        part: which of the archives' two parts it comes from.
        um_per_pixel: micrometres per pixel.
        um_per_pixel_source: where that comes from; see `monuseg.readers.resolution`.
        annotation: a key of `ANNOTATION_SUFFIXES`. The nuclei of a binary mask are connected
            components, so touching nuclei count as one and scores of nuclei mean nothing.
        sha256: of `<id>.tif`.
        annotation_sha256: of the annotation file.
    """

    id: str
    organ: str
    patient: str
    part: Part
    um_per_pixel: float
    um_per_pixel_source: str
    annotation: Annotation
    sha256: str
    annotation_sha256: str


@dataclass(frozen=True)
class SplitRecord:
    """A row of data/splits.csv: an image that the protocol uses.

    Attributes:
        id: as in the manifest.
        organ: as in the manifest.
        split: what the image is for.
        um_per_pixel: as in the manifest.
        tiled_um_per_pixel: of its tiles, which stage tile may have rescaled. Lengths in the params
            of later stages are pixels of this size.
        annotation: as in the manifest.
    """

    id: str
    organ: str
    split: Split
    um_per_pixel: float
    tiled_um_per_pixel: float
    annotation: Annotation

    @property
    def scale(self) -> float:
        """Pixels of the tiles per pixel of the image: below 1 where the tiles are coarser."""
        return scale_of(self.um_per_pixel, self.tiled_um_per_pixel)

    @property
    def tells_nuclei_apart(self) -> bool:
        """Whether scores of nuclei (AJI, PQ) mean something."""
        return self.annotation != BINARY_MASK


Record = TypeVar("Record", ImageRecord, SplitRecord)


def write_records(path: Path, records: list[Record]) -> None:
    """Write a table of records, one row each, in the given order."""
    import pandas as pd  # not above: worker processes need only the classes, and start sooner

    with replacing(path) as temporary:
        pd.DataFrame([asdict(record) for record in records]).to_csv(
            temporary, index=False, lineterminator="\n"
        )


def read_records(path: Path, kind: type[Record]) -> list[Record]:
    """Read a table that `write_records` wrote.

    Raises:
        PipelineError: the table is damaged, lacks a column that `kind` has, or has a number that
            is not above 0.
    """
    import pandas as pd  # see `write_records`

    try:
        # No conversion by pandas: an id or organ may look like a number or like "NA". The line end
        # is the writer's; any other is part of a value.
        table = pd.read_csv(path, dtype=str, keep_default_na=False, lineterminator="\n")
    except ValueError as error:  # pandas' own errors are subclasses
        raise PipelineError(f"{path}: {error}; delete it and run `dvc repro`") from error
    names = [field.name for field in fields(kind)]
    missing = [name for name in names if name not in table.columns]
    if missing:
        raise PipelineError(f"{path}: no column {missing[0]!r}; delete it and run `dvc repro`")
    rows = zip(*(table[name] for name in names), strict=True)
    return [_record(kind, dict(zip(names, row, strict=True)), path) for row in rows]


def _record(kind: type[Record], row: dict[str, Any], path: Path) -> Record:
    for field in fields(kind):
        if field.type is not float:
            continue
        try:
            number = float(row[field.name])
        except ValueError:
            number = math.nan
        if not 0 < number < math.inf:  # written so that NaN fails too
            raise PipelineError(
                f"{path}: image {row['id']}: {field.name} is {row[field.name]!r}; "
                "delete it and run `dvc repro`"
            )
        row[field.name] = number
    return kind(**row)
