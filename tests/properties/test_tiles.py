"""The stage `tile` as a whole: every image in one split, every pixel in a tile, none changed."""

import argparse
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, get_args

import numpy as np
import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from monuseg.core.errors import PipelineError
from monuseg.formats.images import Labels, write_labels, write_rgb
from monuseg.formats.manifest import (
    ImageRecord,
    Part,
    Split,
    SplitRecord,
    read_records,
    write_records,
)
from monuseg.formats.tiles import COLUMNS, TiledImage, read_tiles, tile_rows
from stages.tile import __main__ as tile

HASH = "0" * 64


@dataclass(frozen=True)
class Drawn:
    """An image of the data set, before it is drawn at random."""

    organ: str
    number: str
    part: Part
    height: int
    width: int

    @property
    def patient(self) -> str:
        """Nobody is in both parts."""
        return f"{self.part}-{self.number}"


seeds = st.integers(0, 9)
organs = st.sampled_from(["breast", "lung", "unknown", "NA", "007"])
drawn_images = st.lists(
    st.builds(
        Drawn,
        organs,
        st.sampled_from("ABCDE"),
        st.sampled_from(get_args(Part)),
        st.integers(1, 50),
        st.integers(1, 50),
    ),
    min_size=1,
    max_size=6,
)


@st.composite
def tilings(draw: st.DrawFn) -> dict[str, object]:
    """A valid block `tile`."""
    size = draw(st.integers(16, 40))
    folds = draw(st.integers(2, 4))
    return {
        "size": size,
        "stride": draw(st.integers(1, size)) if size < 24 else draw(st.integers(8, size)),
        "um_per_pixel": draw(st.sampled_from([None, 0.25, 0.26])),
        "protocol": "archive",
        "validation": {
            "method": draw(st.sampled_from(["fraction", "fold", "none"])),
            "fraction": draw(st.floats(0.05, 0.95)),
            "images": [],
            "organs": [],
            "fold": draw(st.integers(0, folds - 1)),
            "folds": folds,
            "seed": draw(st.integers(0, 9)),
        },
    }


@contextmanager
def folder_of(images: list[Drawn], tiling: dict[str, object]) -> Iterator[list[ImageRecord]]:
    """A project folder of its own with the images in data/raw and data/masks, as the current one.

    A fixture would be shared by all examples of a test.
    """
    before = Path.cwd()
    with TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            Path("params.yaml").write_text(yaml.safe_dump({"tile": tiling}), encoding="utf-8")
            for kept in ("raw", "masks"):
                (Path("data") / kept).mkdir(parents=True)
            records = []
            for number, image in enumerate(images):
                pixels, labels = pixels_of(number, image)
                write_rgb(Path(f"data/raw/{number}.tif"), pixels)
                write_labels(Path(f"data/masks/{number}.png"), labels)
                records.append(
                    ImageRecord(
                        id=str(number),
                        organ=image.organ,
                        patient=image.patient,
                        part=image.part,
                        um_per_pixel=0.25,
                        um_per_pixel_source="given",
                        annotation="aperio-xml",
                        sha256=HASH,
                        annotation_sha256=HASH,
                    )
                )
            write_records(Path("data/raw/manifest.csv"), records)
            yield records
        finally:
            os.chdir(before)


def pixels_of(number: int, image: Drawn) -> tuple[np.ndarray, Labels]:
    generator = np.random.default_rng([number, image.height, image.width])
    shape = (image.height, image.width)
    pixels = generator.integers(0, 256, (*shape, 3), np.uint8)
    return pixels, generator.integers(0, 5, shape, np.uint16) * 9


@settings(max_examples=settings.default.max_examples // 5)
@example(
    images=[Drawn("lung", "A", "test", 1, 1)],
    tiling={
        "size": 16,
        "stride": 16,
        "um_per_pixel": None,
        "protocol": "archive",
        "validation": {
            **{"method": "none", "fraction": 0.5, "images": [], "organs": []},
            **{"fold": 0, "folds": 2, "seed": 0},
        },
    },
)
@given(drawn_images, tilings())
def test_each_image_is_in_one_split_and_each_pixel_as_it_was_in_a_tile(
    images: list[Drawn], tiling: dict[str, object]
) -> None:
    with pytest.MonkeyPatch.context() as patch, folder_of(images, tiling) as records:
        patch.setenv("MONUSEG_WORKERS", "1")
        try:
            tile.main(argparse.Namespace())
        except PipelineError as error:
            assert not can_be_divided(images, tiling["validation"])
            assert "training image" in str(error)
            assert not Path("data/splits.csv").exists()
            return
        assert can_be_divided(images, tiling["validation"])
        splits = read_records(Path("data/splits.csv"), SplitRecord)
        assert [split.id for split in splits] == [record.id for record in records]
        tiled = {split: read_tiles(Path("data/tiles") / split) for split in get_args(Split)}
        for split, image in zip(splits, images, strict=True):
            assert (split.split == "test") == (image.part == "test")
            assert split.tiled_um_per_pixel == split.um_per_pixel == 0.25
            of_patient = [
                one
                for one, other in zip(splits, images, strict=True)
                if other.patient == image.patient
            ]
            assert {one.split for one in of_patient} == {split.split}
            (found,) = (one for ones in tiled.values() for one in ones if one.id == split.id)
            assert found in tiled[split.split]
            check_tiles(found, *pixels_of(int(split.id), image), size=int(str(tiling["size"])))


def can_be_divided(images: list[Drawn], validation: Any) -> bool:
    """Whether a patient can be held out and one be left."""
    patients = len({image.patient for image in images if image.part == "train"})
    if validation["method"] == "none":
        return True
    if validation["method"] == "fold":
        return patients > max(1, int(validation["fold"]))
    return max(1, round(Fraction(str(validation["fraction"])) * patients)) < patients


def check_tiles(found: TiledImage, pixels: np.ndarray, labels: Labels, size: int) -> None:
    """The image put together again from its tiles alone, which lie within what is stored."""
    assert (found.height, found.width) == labels.shape
    pieces = np.zeros_like(pixels)
    label_pieces = np.zeros_like(labels)
    seen = np.zeros(labels.shape, bool)
    for y, x, height, width in found.windows:
        assert found.image[y : y + size, x : x + size].shape == (size, size, 3)
        assert found.labels[y : y + size, x : x + size].shape == (size, size)
        part = (slice(y, y + height), slice(x, x + width))
        assert seen[part].shape == (height, width)
        pieces[part], label_pieces[part] = found.image[part], found.labels[part]
        seen[part] = True
    assert seen.all()
    np.testing.assert_array_equal(pieces, pixels)
    np.testing.assert_array_equal(label_pieces, labels)


@given(
    st.integers(1, 40),
    st.integers(1, 40),
    st.integers(1, 30),
    st.integers(1, 30),
    st.integers(0, 9),
)
def test_a_tiles_nuclei_are_counted_where_the_image_is(
    height: int, width: int, size: int, stride: int, seed: int
) -> None:
    labels = np.random.default_rng(seed).integers(0, 9, (height, width)).astype(np.uint16)
    for row in tile_rows("a", "lung", 0.25, labels, size, min(size, stride)):
        y, x, h, w = (int(str(row[name])) for name in COLUMNS[3:7])
        shown = {int(labels[i, j]) for i in range(y, y + h) for j in range(x, x + w)} - {0}
        assert row["nuclei"] == len(shown)
