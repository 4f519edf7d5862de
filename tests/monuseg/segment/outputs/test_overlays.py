"""Images with outlined nuclei."""

from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from monuseg.core.errors import PipelineError
from monuseg.formats.images import RGB, read_rgb
from monuseg.segment.outputs.overlays import PART, write_overlay_png, write_overlay_tiff
from monuseg.segment.outputs.pyramids import TILE
from monuseg.segment.outputs.target import YELLOW, Target
from tests.monuseg.segment.outputs.made import blobs, in_blocks, peak, striped, target


def picture(height: int, width: int) -> RGB:
    smooth = ndimage.gaussian_filter(
        np.random.default_rng(1).normal(size=(height, width, 3)), (25, 25, 0)
    )
    return np.clip(150 + 2500 * smooth, 0, 255).astype(np.uint8)


def outlined(image: RGB, labels: np.ndarray) -> RGB:
    """By another way: a pixel of the outline differs from one beside, above or below it."""
    padded = np.pad(labels, 1)
    inner = padded[1:-1, 1:-1]
    beside = (padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:])
    edge = np.any([other != inner for other in beside], axis=0) & (inner > 0)
    return np.where(edge[..., np.newaxis], np.uint8(YELLOW), image)


def test_an_image_has_a_png_with_outlines_within_the_nuclei(tmp_path: Path) -> None:
    labels, image = blobs(90, 120), picture(90, 120)
    before = image.copy()
    path = tmp_path / "image.png"
    write_overlay_png(in_blocks(labels), target(labels), path, lambda *_: image)
    np.testing.assert_array_equal(read_rgb(path), outlined(image, labels))
    np.testing.assert_array_equal(image, before)


def test_a_slide_has_no_png(tmp_path: Path) -> None:
    slide = Target("slide", 20_000, 20_000, None, "")
    with pytest.raises(PipelineError, match=r"slide: .* TIFF"):
        write_overlay_png([], slide, tmp_path / "slide.png", lambda *_: picture(9, 9))


def test_a_slide_has_a_pyramid_that_openslide_reads(tmp_path: Path) -> None:
    openslide = pytest.importorskip("openslide")
    height, width = 2 * TILE + 77, PART + 90
    labels, image = blobs(height, width, smooth=12.0), picture(height, width)
    path = tmp_path / "slide.tif"
    asked = []

    def read(y: int, x: int, rows: int, columns: int) -> RGB:
        asked.append((rows, columns))
        return image[y : y + rows, x : x + columns]

    write_overlay_tiff(in_blocks(labels, 100), target(labels, 0.499), path, read)
    content = path.read_bytes()
    assert set(asked) == {(TILE, PART), (TILE, 90), (77, PART), (77, 90)}
    with openslide.OpenSlide(path) as slide:
        assert slide.detect_format(path) == "generic-tiff"
        assert float(slide.properties["openslide.mpp-x"]) == pytest.approx(0.499, rel=1e-6)
        assert slide.level_dimensions == tuple((width >> n, height >> n) for n in range(4))
        expected = outlined(image, labels).astype(float)
        for level, size in enumerate(slide.level_dimensions):
            found = np.asarray(slide.read_region((0, 0), level, size).convert("RGB"), float)
            assert np.abs(found - expected).mean() < 3
            rows, columns = len(expected) // 2, expected.shape[1] // 2
            halves = expected[: 2 * rows, : 2 * columns].reshape(rows, 2, columns, 2, 3)
            expected = halves.mean(axis=(1, 3))
    write_overlay_tiff(in_blocks(labels, 100), target(labels, 0.499), path, read)
    assert path.read_bytes() == content
    assert list(tmp_path.iterdir()) == [path]


def test_memory_holds_a_few_bands_of_a_slide(tmp_path: Path) -> None:
    pytest.importorskip("tifffile")
    height, width = 7200, 800
    image = Target("slide", width, height, None, "")
    grey = np.full((TILE, PART, 3), 200, np.uint8)

    def write() -> None:
        write_overlay_tiff(
            striped(300, 33), image, tmp_path / "slide.tif", lambda y, x, h, w: grey[:h, :w]
        )

    assert peak(write) < height * width * 3 / 4
