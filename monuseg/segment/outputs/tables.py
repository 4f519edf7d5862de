"""One row per nucleus, as CSV or Parquet; values are those of `skimage.measure.regionprops`."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from skimage.morphology import convex_hull_image

from monuseg.core.files import replacing
from monuseg.segment.objects import Objects
from monuseg.segment.outputs.sheets import Sheet, numbered
from monuseg.segment.outputs.target import Target
from monuseg.segment.packages import require_packages

Floats = npt.NDArray[np.float64]

ROW_GROUP = 100_000  # rows of a Parquet file that are held in memory
# Perimeter by Benkrid and Crookes, "Design and FPGA implementation of a perimeter estimator": the
# length that a border pixel stands for, by 1 + 2 (border pixels beside, above or below it) + 10
# (border pixels at its corners).
LENGTHS = np.zeros(50)
LENGTHS[[5, 7, 15, 17, 25, 27]] = 1
LENGTHS[[21, 33]] = np.sqrt(2)
LENGTHS[[13, 23]] = (1 + np.sqrt(2)) / 2


def write_csv(
    objects: Iterable[Objects], target: Target, path: Path, *, solidity: bool = False
) -> int:
    """Write the table as CSV with Unix line ends and four decimals; return the number of nuclei.

    Args:
        objects: all nuclei, in the order of their ids; iterated over once.
        target: the image.
        path: of the table.
        solidity: with that column, which takes many times as long as all others.
    """
    rows = 0
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        for table in _tables(objects, target, solidity=solidity):
            if not rows:
                file.write(",".join(map(str, table.columns)) + "\n")
            file.write(_lines(table))
            rows += len(table)
        if not rows:
            none = measured(Objects.none(), 1, target.um_per_pixel, solidity=solidity)
            none.to_csv(file, index=False, lineterminator="\n")
    return rows


def _lines(table: pd.DataFrame) -> str:
    """The rows as `to_csv` writes them, ten times as fast; every value is a number."""
    line = ",".join("%d" if kind.kind == "i" else "%.4f" for kind in table.dtypes) + "\n"
    columns = (table[name].tolist() for name in table)
    return "".join([line % row for row in zip(*columns, strict=True)])


def write_parquet(
    objects: Iterable[Objects], target: Target, path: Path, *, solidity: bool = False
) -> int:
    """Write the table as Parquet; see `write_csv`.

    Raises:
        PipelineError: pyarrow is missing.
    """
    require_packages(f"{path}: Parquet", ["pyarrow"])
    import pyarrow as pa  # type: ignore[import-untyped,import-not-found,unused-ignore]
    from pyarrow import parquet

    none = measured(Objects.none(), 1, target.um_per_pixel, solidity=solidity)
    schema = pa.Schema.from_pandas(none, preserve_index=False).remove_metadata()
    rows = 0
    waiting: list[Any] = []
    with replacing(path) as temporary, parquet.ParquetWriter(temporary, schema) as writer:

        def write() -> None:
            writer.write_table(pa.concat_tables(waiting).combine_chunks(), row_group_size=ROW_GROUP)
            waiting.clear()

        for table in _tables(objects, target, solidity=solidity):
            waiting.append(pa.Table.from_pandas(table, schema, preserve_index=False))
            rows += len(table)
            if sum(map(len, waiting)) >= ROW_GROUP:
                write()
        if waiting:
            write()
    return rows


def _tables(
    objects: Iterable[Objects], target: Target, *, solidity: bool
) -> Iterator[pd.DataFrame]:
    for first, block in numbered(objects):
        yield measured(block, first, target.um_per_pixel, solidity=solidity)


def measured(
    objects: Objects, first: int, um_per_pixel: float | None, *, solidity: bool = False
) -> pd.DataFrame:
    """Measure nuclei.

    Args:
        objects: n nuclei, none of them without a pixel.
        first: the id of the first.
        um_per_pixel: micrometres per pixel; None leaves the last columns out.
        solidity: area by that of the convex hull, too.

    Returns:
        n rows: label; y, x: the centroid in pixels of the whole image, 0 in the middle of the
        first; area, perimeter in pixels; eccentricity; solidity; haematoxylin, probability: means
        over the nucleus; y_um, x_um, area_um2, perimeter_um.
    """
    sheet = Sheet.of(objects.masks)
    area, rows, columns, eccentricity = _moments(sheet)
    table: dict[str, npt.NDArray[Any]] = {
        "label": np.arange(first, first + len(objects)),
        "y": objects.boxes[:, 0] + rows,
        "x": objects.boxes[:, 1] + columns,
        "area": area.astype(np.int64),
        "perimeter": _perimeters(sheet),
        "eccentricity": eccentricity,
    }
    if solidity:
        hulls = [int(convex_hull_image(mask).sum()) for mask in objects.masks]
        table["solidity"] = area / np.array(hulls, np.float64)
    table["haematoxylin"] = objects.haematoxylin
    table["probability"] = objects.probability
    if um_per_pixel is not None:
        table |= {f"{name}_um": table[name] * um_per_pixel for name in ("y", "x", "perimeter")}
        table["area_um2"] = area * um_per_pixel**2
    return pd.DataFrame(table)


def _moments(sheet: Sheet) -> tuple[Floats, Floats, Floats, Floats]:
    """Area, centroid (y, x) in the mask, and eccentricity of the ellipse of equal moments."""
    owner = sheet.owners(sheet.inside)
    rows, columns = sheet.places(sheet.inside, owner)

    def sums(values: npt.NDArray[np.generic] | None) -> Floats:
        return np.bincount(owner, values, len(sheet)).astype(np.float64)

    area = sums(None)
    y, x = sums(rows) / area, sums(columns) / area
    # Whole numbers up to here, so that differences of squares lose nothing.
    yy = sums(rows * rows) / area - y * y
    xx = sums(columns * columns) / area - x * x
    xy = sums(rows * columns) / area - x * y
    spread = np.hypot((yy - xx) / 2, xy)
    major, minor = (yy + xx) / 2 + spread, np.maximum((yy + xx) / 2 - spread, 0)
    ratio = np.divide(minor, major, out=np.ones_like(major), where=major > 0)
    return area, y, x, np.sqrt(1 - ratio)


def _perimeters(sheet: Sheet) -> Floats:
    border, owner = sheet.border
    only = np.zeros_like(sheet.cells)
    only[border] = 1
    stride = sheet.stride[owner]
    beside = only[border - 1] + only[border + 1] + only[border - stride] + only[border + stride]
    at_corners = sum(only[border + up + left] for up in (-stride, stride) for left in (-1, 1))
    lengths = LENGTHS[1 + 2 * beside + 10 * at_corners]
    # Of nothing, NumPy counts in whole numbers.
    return np.bincount(owner, lengths, len(sheet)).astype(np.float64)
