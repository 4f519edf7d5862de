"""Tests of `monuseg.formats.tiles`."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from monuseg.core.errors import PipelineError
from monuseg.formats.tiles import (
    COLUMNS,
    INDEX,
    pad,
    read_tiles,
    tile_rows,
    window_starts,
    write_image,
)

sizes_and_strides = st.integers(1, 40).flatmap(
    lambda size: st.tuples(st.just(size), st.integers(1, size))
)


@example(length=1000, window=(256, 128))
@example(length=1000, window=(256, 256))
@example(length=256, window=(256, 256))
@example(length=257, window=(256, 256))
@example(length=1, window=(1, 1))
@given(length=st.integers(1, 200), window=sizes_and_strides)
def test_windows_cover_an_axis_and_stay_on_it(length: int, window: tuple[int, int]) -> None:
    size, stride = window
    starts = window_starts(length, size, stride)
    covered = {place for start in starts for place in range(start, start + size)}
    assert covered == set(range(max(length, size)))
    assert starts[0] == 0
    steps = np.diff(starts)
    # None twice, none farther than the stride, and no more of them than needed.
    assert (steps > 0).all()
    assert (steps[:-1] == stride).all()
    assert (steps <= stride).all()


@example(height=1, width=70, window=(32, 24))
@example(height=33, width=1, window=(32, 32))
@example(height=1, width=1, window=(32, 32))
@given(height=st.integers(1, 90), width=st.integers(1, 90), window=sizes_and_strides)
def test_every_pixel_of_an_image_is_in_a_tile(
    height: int, width: int, window: tuple[int, int]
) -> None:
    size, stride = window
    rows = tile_rows("a", "lung", 0.25, np.zeros((height, width), np.uint16), size, stride)
    seen = np.zeros((height, width), bool)
    for row in rows:
        y, x, h, w = (int(str(row[name])) for name in ("y", "x", "height", "width"))
        # Inside the padded array as a whole, and the image's part of it inside the image.
        assert 0 <= y <= max(height, size) - size
        assert 0 <= x <= max(width, size) - size
        assert (h, w) == (min(size, height - y), min(size, width - x))
        seen[y : y + h, x : x + w] = True
    assert seen.all()
    assert len({(row["y"], row["x"]) for row in rows}) == len(rows)


def test_a_tile_counts_the_nuclei_that_it_shows_a_pixel_of() -> None:
    labels = np.zeros((5, 9), np.uint16)
    labels[0, 3:5] = 7  # in both
    labels[4, 0] = 1
    labels[2, 8] = 65_535
    rows = tile_rows("a", "lung", 0.25, labels, 5, 4)
    assert [tuple(row[name] for name in COLUMNS) for row in rows] == [
        ("a", "lung", 0.25, 0, 0, 5, 5, 2),
        ("a", "lung", 0.25, 0, 4, 5, 5, 2),
    ]


def test_padding_mirrors_at_the_end_and_keeps_what_is_large_enough() -> None:
    array = np.arange(6, dtype=np.uint16).reshape(2, 3)
    padded = pad(array, 5, 4)
    assert padded.dtype == np.uint16
    assert padded.tolist() == [
        [0, 1, 2, 2],
        [3, 4, 5, 5],
        [3, 4, 5, 5],
        [0, 1, 2, 2],
        [0, 1, 2, 2],
    ]
    assert np.array_equal(pad(array, 2, 1), array)


@given(height=st.integers(1, 20), width=st.integers(1, 20), size=st.integers(1, 50))
def test_padding_takes_pixels_of_the_image_only(height: int, width: int, size: int) -> None:
    y, x = np.mgrid[:height, :width]
    image = np.stack([y, x, y + x], axis=-1).astype(np.uint8)
    padded = pad(image, size, size)
    assert padded.shape == (max(height, size), max(width, size), 3)
    assert np.array_equal(padded[:height, :width], image)
    # Mirrored again and again where the image is smaller than half the window.
    rows, columns = (
        np.minimum(n % (2 * length), 2 * length - 1 - n % (2 * length))
        for n, length in ((np.arange(padded.shape[0]), height), (np.arange(padded.shape[1]), width))
    )
    assert np.array_equal(padded, image[rows][:, columns])


def write_split(folder: Path, images: dict[str, tuple[int, int]], size: int, stride: int) -> None:
    rows = []
    for image_id, shape in images.items():
        generator = np.random.default_rng(shape)
        image = generator.integers(0, 256, (*shape, 3), dtype=np.uint8)
        labels = generator.integers(0, 3, shape, dtype=np.uint16)
        write_image(folder, image_id, image, labels, size)
        rows += tile_rows(image_id, f"organ of {image_id}", 0.25, labels, size, stride)
    pd.DataFrame(rows, columns=COLUMNS).to_csv(folder / INDEX, index=False)


def test_what_is_written_is_read_memory_mapped_in_the_indexs_order(tmp_path: Path) -> None:
    shapes = {"b": (20, 33), "007": (9, 40), "NA": (1, 1)}
    write_split(tmp_path, shapes, size=16, stride=12)
    found = read_tiles(tmp_path)
    assert {image.id: (image.height, image.width) for image in found} == shapes
    assert [image.id for image in found] == list(shapes)
    for image in found:
        assert isinstance(image.image, np.memmap)
        assert isinstance(image.labels, np.memmap)
        assert not image.image.flags.writeable
        padded = tuple(max(side, 16) for side in shapes[image.id])
        assert image.image.shape == (*padded, 3)
        assert image.labels.shape == padded
        generator = np.random.default_rng(shapes[image.id])
        original = generator.integers(0, 256, (*shapes[image.id], 3), dtype=np.uint8)
        assert np.array_equal(image.image[: image.height, : image.width], original)
        assert image.um_per_pixel == 0.25
        assert image.organ == f"organ of {image.id}"
        assert image.windows == [
            (y, x, min(16, image.height - y), min(16, image.width - x))
            for y in window_starts(image.height, 16, 12)
            for x in window_starts(image.width, 16, 12)
        ]
    assert found[2].windows == [(0, 0, 1, 1)]


def test_an_empty_split_has_no_image(tmp_path: Path) -> None:
    write_split(tmp_path, {}, size=16, stride=12)
    assert not read_tiles(tmp_path)
    assert [*read_tiles(tmp_path)] == []


def test_a_folder_without_an_index_is_named(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match=r"index\.csv is missing; run `dvc repro tile`"):
        read_tiles(tmp_path)
