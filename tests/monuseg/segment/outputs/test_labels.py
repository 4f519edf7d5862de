"""Label maps of images and slides."""

import sys
from pathlib import Path

import numpy as np
import pytest

from monuseg.core.errors import PipelineError
from monuseg.formats.images import LABELS_MAX, read_labels
from monuseg.segment.objects import Objects
from monuseg.segment.outputs.labels import write_label_png, write_label_tiff
from monuseg.segment.outputs.spool import Spool
from monuseg.segment.outputs.target import Target
from tests.monuseg.segment.outputs.made import blobs, in_blocks, peak, striped, target

tifffile = pytest.importorskip("tifffile")


def dots() -> Objects:
    """One nucleus more than 16 bits can number, of one pixel each."""
    rows, columns = np.divmod(np.arange(LABELS_MAX + 1), 256)
    corners = 2 * np.stack([rows, columns], axis=1)
    nothing = np.zeros(len(corners), np.float32)
    pixel = np.ones((1, 1), bool)
    return Objects(np.hstack([corners, corners + 1]), [pixel] * len(corners), nothing, nothing)


def test_an_image_has_a_png(tmp_path: Path) -> None:
    labels = blobs(90, 120)
    path = tmp_path / "image.png"
    assert write_label_png(in_blocks(labels), target(labels), path)
    np.testing.assert_array_equal(read_labels(path), labels)


def test_more_nuclei_than_16_bits_number_have_a_tiff(tmp_path: Path) -> None:
    png, tiff = tmp_path / "image.png", tmp_path / "image.ome.tif"
    image = target(np.zeros((512, 512)))
    assert not write_label_png([dots()], image, png)
    assert not png.exists()
    write_label_tiff([dots()], image, tiff)
    found = tifffile.imread(tiff)
    assert found.max() == LABELS_MAX + 1
    assert len(np.unique(found)) == LABELS_MAX + 2


def test_a_slide_has_no_png(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match=r"slide: .* TIFF"):
        write_label_png([], Target("slide", 20_000, 20_000, None, ""), tmp_path / "slide.png")


@pytest.mark.parametrize("shape", [(2311, 1533), (1025, 3), (256, 256), (1, 1)])
def test_a_slide_has_a_pyramid_of_the_nearest_labels(
    tmp_path: Path, shape: tuple[int, int]
) -> None:
    labels = blobs(*shape, smooth=6.0)
    path = tmp_path / "slide.ome.tif"
    write_label_tiff(in_blocks(labels, 50), target(labels, 0.499), path)
    with tifffile.TiffFile(path) as tif:
        assert tif.is_bigtiff
        assert tif.is_ome
        [series] = tif.series
        assert all(level.pages[0].is_tiled for level in series.levels)
        assert [level.shape for level in series.levels][1:] == [
            (shape[0] >> n, shape[1] >> n) for n in range(1, len(series.levels))
        ]
        assert max(series.levels[-1].shape) <= 1024 or min(series.levels[-1].shape) == 1
        for level in series.levels:
            assert level.dtype == np.int32
            np.testing.assert_array_equal(level.asarray(), labels)
            labels = labels[: len(labels) // 2 * 2 : 2, : labels.shape[1] // 2 * 2 : 2]
        described = tifffile.xml2dict(tif.ome_metadata)["OME"]["Image"]["Pixels"]
        assert described["Type"] == "int32"
        for axis in "XY":
            assert described[f"PhysicalSize{axis}"] == 0.499
            assert described[f"PhysicalSize{axis}Unit"] == "µm"


def test_tiffs_have_the_same_bytes_twice_and_leave_nothing_else(tmp_path: Path) -> None:
    labels = blobs(600, 1100)
    path = tmp_path / "new" / "slide.ome.tif"
    write_label_tiff(in_blocks(labels), target(labels), path)
    content = path.read_bytes()
    write_label_tiff(in_blocks(labels), target(labels), path)
    assert path.read_bytes() == content
    assert list(path.parent.iterdir()) == [path]


def test_without_a_resolution_a_tiff_states_none(tmp_path: Path) -> None:
    path = tmp_path / "slide.ome.tif"
    write_label_tiff([], target(np.zeros((9, 9)), None), path)
    with tifffile.TiffFile(path) as tif:
        assert "PhysicalSize" not in tif.ome_metadata
        assert tif.pages[0].tags["ResolutionUnit"].value == 1  # none


def test_tiffs_say_what_they_need(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tifffile", None)
    with pytest.raises(PipelineError, match="pip install tifffile"):
        write_label_tiff([], target(np.zeros((9, 9))), tmp_path / "slide.ome.tif")
    assert not list(tmp_path.iterdir())


def test_memory_holds_a_few_bands_of_a_slide(tmp_path: Path) -> None:
    height, width = 7200, 800
    image = Target("slide", width, height, None, "")
    used = peak(lambda: write_label_tiff(striped(300, 33), image, tmp_path / "slide.ome.tif"))
    assert used < height * width * 4 / 6


def test_a_spool_gives_the_nuclei_again_and_those_of_some_rows(tmp_path: Path) -> None:
    labels = blobs(200, 150)
    with Spool(in_blocks(labels), tmp_path) as spool:
        assert len(spool) == labels.max()
        for _ in range(2):
            again = np.zeros_like(labels)
            label = 0
            for objects in spool:
                for (y0, x0, y1, x1), mask in zip(objects.boxes, objects.masks, strict=True):
                    label += 1
                    again[y0:y1, x0:x1][mask] = label
            np.testing.assert_array_equal(again, labels)
        found = [label for ids, _ in spool.reaching(60, 90) for label in ids.tolist()]
        assert found == np.unique(labels[60:90])[1:].tolist()
