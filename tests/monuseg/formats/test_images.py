"""Tests of `monuseg.formats.images`."""

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from monuseg.core.errors import PipelineError
from monuseg.formats.images import (
    decode_image,
    read_labels,
    read_rgb,
    write_labels,
    write_rgb,
)


@pytest.mark.parametrize("suffix", ["tif", "png"])
@pytest.mark.parametrize("shape", [(7, 5), (1, 1), (1, 9)])
def test_rgb_comes_back_as_it_was(tmp_path: Path, suffix: str, shape: tuple[int, int]) -> None:
    image = np.random.default_rng(1).integers(0, 256, (*shape, 3), dtype=np.uint8)
    path = tmp_path / f"a.{suffix}"
    write_rgb(path, image)
    found = read_rgb(path)
    assert found.dtype == np.uint8
    assert found.flags.c_contiguous
    assert np.array_equal(found, image)


def test_the_first_channel_is_red(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    cv2.imwrite(str(path), np.full((2, 3, 3), (0, 0, 255), np.uint8))  # OpenCV: blue first
    assert read_rgb(path)[0, 0].tolist() == [255, 0, 0]


def test_labels_of_16_bits_come_back_as_they_were(tmp_path: Path) -> None:
    labels = np.array([[0, 1, 255], [256, 65_534, 65_535]], np.uint16)
    path = tmp_path / "a.png"
    write_labels(path, labels)
    found = read_labels(path)
    assert found.dtype == np.uint16
    assert np.array_equal(found, labels)


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((4, 5), np.uint8),
        np.zeros((4, 5), np.uint16),
    ],
    ids=["grey", "16-bit grey"],
)
def test_what_extract_refuses_is_not_read_as_rgb(
    tmp_path: Path, image: npt.NDArray[np.generic]
) -> None:
    path = tmp_path / "a.tif"
    cv2.imwrite(str(path), image)
    with pytest.raises(PipelineError, match=r"a\.tif: .*; run `dvc repro extract`"):
        read_rgb(path)


def test_full_opacity_and_a_palette_lose_nothing(tmp_path: Path) -> None:
    rgb = np.random.default_rng(2).integers(0, 4, (4, 5, 3), dtype=np.uint8) * 60
    opaque = Image.fromarray(np.dstack([rgb, np.full((4, 5), 255, np.uint8)]))
    for name, image in {"opaque": opaque, "palette": Image.fromarray(rgb).quantize(64)}.items():
        image.save(tmp_path / f"{name}.tif")
        assert np.array_equal(read_rgb(tmp_path / f"{name}.tif"), rgb), name


@pytest.mark.parametrize("image", [np.zeros((4, 5), np.uint8), np.zeros((4, 5, 3), np.uint16)])
def test_labels_of_another_kind_are_refused_by_name(
    tmp_path: Path, image: npt.NDArray[np.generic]
) -> None:
    path = tmp_path / "a.png"
    cv2.imwrite(str(path), image)
    with pytest.raises(PipelineError, match=r"a\.png: expected a 16-bit label map, found"):
        read_labels(path)


@pytest.mark.parametrize("content", [b"", b"no image", b"\x89PNG\r\n\x1a\n"])
def test_what_cannot_be_decoded_is_named(content: bytes) -> None:
    with pytest.raises(PipelineError, match=r"^x/a\.tif: not a readable image; fetch"):
        decode_image(content, name="x/a.tif")


def test_a_shape_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    with pytest.raises((PipelineError, cv2.error)):
        write_labels(tmp_path / "a.png", np.zeros((3, 3, 7), np.uint16))
    assert list(tmp_path.iterdir()) == []
