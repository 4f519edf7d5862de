"""Tests of stage `tile`."""

import argparse
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from monuseg.core.errors import PipelineError
from monuseg.formats.images import write_labels, write_rgb
from monuseg.formats.manifest import ImageRecord, Part, SplitRecord, read_records, write_records
from monuseg.formats.protocol import CHALLENGE_TEST, CHALLENGE_TRAIN, KUMAR_TRAIN
from monuseg.formats.tiles import read_tiles
from stages.tile import __main__ as tile

SetParams = Callable[[dict[str, object]], None]

HASH = "0" * 64
SPLITS = ("train", "validation", "test")


def add(
    image_id: str, organ: str, part: Part, shape: tuple[int, int], *, mask: bool = True
) -> ImageRecord:
    """Write an image to data/raw and its label map to data/masks."""
    raw, masks = Path("data/raw"), Path("data/masks")
    raw.mkdir(parents=True, exist_ok=True)
    masks.mkdir(exist_ok=True)
    generator = np.random.default_rng(len(list(raw.iterdir())))
    write_rgb(raw / f"{image_id}.tif", generator.integers(0, 256, (*shape, 3), dtype=np.uint8))
    if mask:
        labels = generator.integers(0, 4, shape, dtype=np.uint16)
        write_labels(masks / f"{image_id}.png", labels)
    return ImageRecord(image_id, organ, part, 0.25, "aperio-xml", HASH, HASH)


def run(records: Iterable[ImageRecord]) -> dict[str, set[str]]:
    """The stage's outcome: the ids of each split."""
    write_records(Path("data/raw/manifest.csv"), list(records))
    tile.main(argparse.Namespace())
    splits = read_records(Path("data/splits.csv"), SplitRecord)
    return {split: {r.id for r in splits if r.split == split} for split in SPLITS}


def small_set(shape: tuple[int, int] = (20, 26)) -> list[ImageRecord]:
    organs = ["breast", "kidney"] * 5
    training = [add(f"t{n}", organ, "train", shape) for n, organ in enumerate(organs)]
    return [*training, add("x0", "brain", "test", shape), add("x1", "lung", "test", (7, 50))]


@pytest.fixture
def small(set_params: SetParams) -> list[ImageRecord]:
    set_params({"tile.size": 16, "tile.stride": 12})
    return small_set()


def test_images_go_to_splits_arrays_and_windows(
    small: list[ImageRecord], capsys: pytest.CaptureFixture[str]
) -> None:
    splits = run(small)
    assert {split: len(ids) for split, ids in splits.items()} == {
        "train": 8,
        "validation": 2,
        "test": 2,
    }
    assert splits["test"] == {"x0", "x1"}
    assert Counter(r.organ for r in small if r.id in splits["validation"]) == {
        "breast": 1,
        "kidney": 1,
    }
    for split, ids in splits.items():
        folder = Path("data/tiles") / split
        # One array of pixels and one of labels an image, and nothing else.
        assert {path.name for path in folder.iterdir()} == {"index.csv"} | {
            f"{image_id}.{kind}.npy" for image_id in ids for kind in ("image", "labels")
        }
        assert {image.id for image in read_tiles(folder)} == ids
    # 20 x 26 pixels in windows of 16, 12 apart: 2 x 2, the last moved back to the border.
    index = pd.read_csv("data/tiles/test/index.csv")
    assert index.columns.tolist() == [
        *("image", "organ", "um_per_pixel", "y", "x", "height", "width", "nuclei")
    ]
    of_image = index[index["image"] == "x0"]
    assert of_image[["y", "x", "height", "width"]].to_numpy().tolist() == [
        [0, 0, 16, 16],
        [0, 10, 16, 16],
        [4, 0, 16, 16],
        [4, 10, 16, 16],
    ]
    assert (of_image["nuclei"] == 3).all()
    out = capsys.readouterr().out.splitlines()
    assert out == ["train: 8 images, 32 tiles", "validation: 2 images, 8 tiles", out[2]]
    assert out[2] == f"test: 2 images, {len(index)} tiles"


def test_no_pixel_is_stored_twice(small: list[ImageRecord]) -> None:
    run(small)
    for split in SPLITS:
        for image in read_tiles(Path("data/tiles") / split):
            # 16 is the window: only an image that is smaller is padded to it.
            shape = (max(image.height, 16), max(image.width, 16))
            assert image.image.shape == (*shape, 3)
            assert image.labels.shape == shape


def test_splits_are_in_the_manifests_order(small: list[ImageRecord]) -> None:
    run(small)
    splits = read_records(Path("data/splits.csv"), SplitRecord)
    assert [record.id for record in splits] == [record.id for record in small]
    assert [record.organ for record in splits] == [record.organ for record in small]


def test_folds_hold_out_every_training_image_once(
    small: list[ImageRecord], set_params: SetParams
) -> None:
    held_out: list[str] = []
    for fold in range(3):
        set_params(
            {
                "tile.validation.method": "fold",
                "tile.validation.fold": fold,
                "tile.validation.folds": 3,
            }
        )
        splits = run(small)
        assert not splits["train"] & splits["validation"]
        assert splits["train"] | splits["validation"] == {r.id for r in small if r.part == "train"}
        held_out += splits["validation"]
    assert sorted(held_out) == sorted(r.id for r in small if r.part == "train")


def test_named_images_are_held_out(small: list[ImageRecord], set_params: SetParams) -> None:
    set_params({"tile.validation.method": "named", "tile.validation.images": ["t3", "t4"]})
    assert run(small)["validation"] == {"t3", "t4"}
    set_params({"tile.validation.images": ["t3", "x0"]})
    with pytest.raises(PipelineError, match="x0 is not a training image"):
        run(small)


def test_none_leaves_an_empty_validation_split_that_is_there(
    small: list[ImageRecord], set_params: SetParams
) -> None:
    assert run(small)["validation"]
    set_params({"tile.validation.method": "none"})
    splits = run(small)
    assert splits["validation"] == set()
    assert len(splits["train"]) == 10
    # Nothing of the run before is left.
    assert [path.name for path in Path("data/tiles/validation").iterdir()] == ["index.csv"]
    assert read_tiles(Path("data/tiles/validation")) == []


def challenge_set() -> list[ImageRecord]:
    """All 44 images, tiny, all in the training part, with one that the challenge does not have."""
    organs = CHALLENGE_TRAIN | CHALLENGE_TEST
    records = [
        add(f"{patient}-01Z-00-DX1", organ, "train", (16, 16)) for patient, organ in organs.items()
    ]
    return [*records, add("TCGA-ZZ-ZZZZ-01Z-00-DX1", "unknown", "train", (16, 16))]


def patients(ids: set[str]) -> set[str]:
    return {image_id[:12] for image_id in ids}


def test_protocol_challenge_trains_on_30_and_tests_on_14(
    set_params: SetParams, capsys: pytest.CaptureFixture[str]
) -> None:
    set_params({"tile.size": 16, "tile.stride": 16, "tile.protocol": "challenge"})
    splits = run(challenge_set())
    assert patients(splits["test"]) == set(CHALLENGE_TEST)
    assert patients(splits["train"] | splits["validation"]) == set(CHALLENGE_TRAIN)
    assert (len(splits["train"]), len(splits["validation"]), len(splits["test"])) == (24, 6, 14)
    assert "TCGA-ZZ-ZZZZ-01Z-00-DX1: not in protocol" in capsys.readouterr().err


def test_protocol_kumar_stays_within_the_30(set_params: SetParams) -> None:
    set_params({"tile.size": 16, "tile.stride": 16, "tile.protocol": "kumar"})
    splits = run(challenge_set())
    assert patients(splits["train"] | splits["validation"]) == set(KUMAR_TRAIN)
    assert patients(splits["test"]) == set(CHALLENGE_TRAIN) - set(KUMAR_TRAIN)
    assert (len(splits["train"]), len(splits["validation"]), len(splits["test"])) == (13, 3, 14)


def test_the_same_inputs_give_the_same_bytes(small: list[ImageRecord]) -> None:
    contents = []
    for _ in range(2):
        run(small)
        files = [path for path in Path("data").rglob("*") if path.is_file()]
        contents.append({path: path.read_bytes() for path in files})
    assert contents[0] == contents[1]


def test_a_mask_of_another_size_is_named(small: list[ImageRecord]) -> None:
    write_labels(Path("data/masks/t0.png"), np.zeros((20, 25), np.uint16))
    with pytest.raises(PipelineError, match=r"data/masks/t0\.png is 25 x 20 pixels.* 26 x 20"):
        run(small)


def test_a_missing_mask_is_named(small: list[ImageRecord]) -> None:
    Path("data/masks/t0.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"data/masks/t0\.png"):
        run(small)
