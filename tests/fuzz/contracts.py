"""What readers of foreign bytes promise, whatever the bytes are.

Either a result that is whole in itself, or a `PipelineError` of one line; never another exception.
Each function here takes any bytes and says whether they were "read" or "refused". It knows no
fuzzer: what a fuzzer found is tested by the same functions in `make test`.
"""

import math
from collections.abc import Callable
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import numpy as np

from monuseg.core.errors import PipelineError, explained
from monuseg.core.params import read_params, validated
from monuseg.formats.images import decode_image, read_rgb
from monuseg.formats.manifest import ANNOTATION_SUFFIXES, BINARY_MASK, LABEL_MAP, ImageRecord
from monuseg.readers.annotations import kind_of, read_regions, stated_resolution
from monuseg.readers.regions import COORDINATE_LIMIT, Region
from stages.extract.raw import write_raw
from stages.masks.rasterise import rasterise, require_bounded
from tools.check import BLOCKS, check_params

Outcome = Literal["read", "refused"]

HEIGHT, WIDTH = 29, 37  # of the image that fuzzed outlines lie on
ARCHIVE_MAX_BYTES = 1 << 20
# Longer, and a terminal shows no line but a page.
MESSAGE_MAX = 4000


def annotation(content: bytes) -> Outcome:
    """An annotation of any program: read, and painted by both rules of rasterisation."""

    def read(folder: Path) -> None:
        path = folder / "TCGA-A.xml"
        path.write_bytes(content)
        kind = kind_of(content, name=path.name)
        resolution = stated_resolution(content, kind)
        assert resolution is None or (math.isfinite(resolution) and resolution > 0)
        _check_regions(read_regions(path, kind), HEIGHT, WIDTH)

    return _outcome(read)


def archive(content: bytes) -> Outcome:
    """A zip archive: unpacked to a folder of images and annotations that later stages can read."""

    def read(folder: Path) -> None:
        path, raw = folder / "train.zip", folder / "raw"
        path.write_bytes(content)
        raw.mkdir()
        try:
            records = write_raw([path], raw, max_bytes=ARCHIVE_MAX_BYTES)
        finally:
            # Nothing is ever written anywhere else.
            assert {entry.name for entry in folder.iterdir()} == {"train.zip", "raw"}
        assert records
        assert [record.id for record in records] == sorted({record.id for record in records})
        names = {name for record in records for name in _names(record)}
        assert {entry.name for entry in raw.iterdir()} - {"ignored.csv"} == names
        for record in records:
            _check_image(record, raw)

    return _outcome(read)


def params(content: bytes) -> Outcome:
    """A params.yaml: each block that it has validated, and then the whole."""

    def read(folder: Path) -> None:
        path = folder / "params.yaml"
        path.write_bytes(content)
        found = read_params(path)
        for block in BLOCKS:
            if block.key in found:
                try:
                    validated(block, block.select(found), where=f"params.yaml: {block.key}")
                except PipelineError as error:
                    _check_line(error)
        check_params(path)

    return _outcome(read)


def _outcome(read: Callable[[Path], None]) -> Outcome:
    with TemporaryDirectory() as folder, redirect_stderr(StringIO()):
        try:
            read(Path(folder))
        except PipelineError as error:
            _check_line(error)
            return "refused"
    return "read"


def _check_line(error: PipelineError) -> None:
    line = explained(error)
    assert line.strip(), "an empty message"
    assert len(line.splitlines()) == 1, f"more than one line: {line[:MESSAGE_MAX]!r}"
    assert len(line) <= MESSAGE_MAX, f"{len(line)} characters: {line[:MESSAGE_MAX]!r}"


def _check_regions(regions: list[Region], height: int, width: int) -> None:
    places = [(region.layer, region.number) for region in regions]
    assert places == sorted(set(places))
    rings = [region.rings for region in regions]
    for ring in (ring for of_region in rings for ring in of_region):
        assert ring.dtype == np.float64
        assert ring.shape == (len(ring), 2)
        assert (np.abs(ring) <= COORDINATE_LIMIT).all()
    require_bounded(rings, height, width)
    for rule in ("official", "center"):
        labels, without_pixels = rasterise(rings, height, width, rule)
        assert (labels.dtype, labels.shape) == (np.uint16, (height, width))
        assert without_pixels == sorted(set(without_pixels) & set(range(len(regions))))
        nuclei = len(regions) - len(without_pixels)
        assert np.unique(labels[labels > 0]).tolist() == list(range(1, nuclei + 1))


def _names(record: ImageRecord) -> tuple[str, str]:
    return f"{record.id}.tif", f"{record.id}{ANNOTATION_SUFFIXES[record.annotation]}"


def _check_image(record: ImageRecord, raw: Path) -> None:
    image_path, annotation_path = (raw / name for name in _names(record))
    image = read_rgb(image_path)
    assert min(image.shape) >= 1
    assert math.isfinite(record.um_per_pixel)
    assert record.um_per_pixel > 0
    if record.annotation in (BINARY_MASK, LABEL_MAP):
        drawn = decode_image(annotation_path.read_bytes(), name=str(annotation_path))
        assert drawn.shape == image.shape[:2]
        values = np.unique(drawn).tolist()
        if record.annotation == BINARY_MASK:
            assert drawn.dtype == np.uint8
            assert set(values) <= {0, 255}
        else:
            assert drawn.dtype == np.uint16
            assert values[-1] == len(values) - (0 in values)
    else:
        _check_regions(read_regions(annotation_path, record.annotation), *image.shape[:2])
