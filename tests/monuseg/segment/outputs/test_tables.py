"""Tables of nuclei against scikit-image's measurements, one nucleus at a time."""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from skimage.measure import regionprops

from monuseg.core.errors import PipelineError
from monuseg.segment.objects import Objects
from monuseg.segment.outputs import tables
from monuseg.segment.outputs.sheets import numbered
from monuseg.segment.outputs.tables import measured, write_csv, write_parquet
from tests.monuseg.segment.outputs.made import (
    blobs,
    in_blocks,
    labels_of,
    noise,
    objects_of,
    peak,
    striped,
    target,
)

LABELS = blobs(90, 120)
PIXELS = ["label", "y", "x", "area", "perimeter", "eccentricity", "haematoxylin", "probability"]
MICROMETRES = ["y_um", "x_um", "perimeter_um", "area_um2"]


@settings(max_examples=settings.default.max_examples // 2)
@given(noise)
def test_measurements_are_those_of_scikit_image(noise: np.ndarray) -> None:
    labels = labels_of(noise)
    table = measured(objects_of(labels), 1, None)
    expected = [
        (one.label, *one.centroid, one.area, one.perimeter, one.eccentricity)
        for one in regionprops(labels)
    ]
    found = table[PIXELS[:6]].to_numpy(np.float64)
    # The square root of a difference of nearly equal numbers, in discs.
    np.testing.assert_allclose(found, np.reshape(expected, (-1, 6)), rtol=1e-9, atol=1e-7)


def test_solidity_is_a_column_where_it_is_asked_for() -> None:
    table = measured(objects_of(LABELS), 1, None, solidity=True)
    expected = [one.solidity for one in regionprops(LABELS)]
    np.testing.assert_allclose(table["solidity"], expected)
    assert "solidity" not in measured(objects_of(LABELS), 1, None)


def test_csv_holds_all_nuclei_in_pixels_and_micrometres(tmp_path: Path) -> None:
    path = tmp_path / "slide.csv"
    assert write_csv(in_blocks(LABELS), target(LABELS, 0.5), path) == LABELS.max()
    assert b"\r" not in path.read_bytes()
    found = pd.read_csv(path)
    assert found.columns.tolist() == PIXELS + MICROMETRES
    assert found["label"].tolist() == list(range(1, LABELS.max() + 1))
    whole = measured(objects_of(LABELS), 1, 0.5)
    shape = [name for name in found.columns if name not in ("haematoxylin", "probability")]
    np.testing.assert_allclose(found[shape], whole[shape], atol=5.1e-5)
    np.testing.assert_allclose(found["x_um"], found["x"] / 2, atol=1e-4)
    np.testing.assert_allclose(found["area_um2"], found["area"] / 4)


def test_csv_is_as_pandas_writes_it(tmp_path: Path) -> None:
    path = tmp_path / "slide.csv"
    write_csv(in_blocks(LABELS), target(LABELS, 0.25), path, solidity=True)
    parts = [
        measured(part, first, 0.25, solidity=True) for first, part in numbered(in_blocks(LABELS))
    ]
    expected = pd.concat(parts).to_csv(index=False, lineterminator="\n", float_format="%.4f")
    assert path.read_text(encoding="utf-8") == expected


def test_without_a_resolution_there_are_no_micrometres(tmp_path: Path) -> None:
    path = tmp_path / "slide.csv"
    write_csv(in_blocks(LABELS), target(LABELS, None), path)
    assert pd.read_csv(path).columns.tolist() == PIXELS


def test_no_nuclei_have_a_header(tmp_path: Path) -> None:
    path = tmp_path / "slide.csv"
    assert write_csv([Objects.none()], target(LABELS), path) == 0
    assert path.read_text(encoding="utf-8") == ",".join(PIXELS + MICROMETRES) + "\n"


def test_parquet_has_the_same_table_in_groups_of_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    monkeypatch.setattr(tables, "ROW_GROUP", 10)
    path = tmp_path / "slide.parquet"
    assert write_parquet(in_blocks(LABELS), target(LABELS), path) == LABELS.max()
    content = path.read_bytes()
    write_parquet(in_blocks(LABELS), target(LABELS), path)
    assert path.read_bytes() == content
    file = parquet.ParquetFile(path)
    assert file.metadata.num_row_groups > 1
    found = file.read().to_pandas()
    shape = [name for name in found.columns if name not in ("haematoxylin", "probability")]
    pd.testing.assert_frame_equal(found[shape], measured(objects_of(LABELS), 1, 0.25)[shape])
    assert found["probability"].dtype == np.float32


def test_parquet_of_no_nuclei_has_every_column(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "slide.parquet"
    assert write_parquet([], target(LABELS), path) == 0
    found = parquet.ParquetFile(path).read()
    assert found.column_names == PIXELS + MICROMETRES
    assert found.num_rows == 0


def test_parquet_says_what_it_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(PipelineError, match="pip install pyarrow"):
        write_parquet([], target(LABELS), tmp_path / "slide.parquet")
    assert not list(tmp_path.iterdir())


def test_memory_does_not_grow_with_the_number_of_nuclei(tmp_path: Path) -> None:
    path, image = tmp_path / "slide.csv", target(LABELS)
    few = peak(lambda: write_csv(striped(2, 1024), image, path))
    many = peak(lambda: write_csv(striped(8, 1024), image, path))
    assert many < 1.1 * few
