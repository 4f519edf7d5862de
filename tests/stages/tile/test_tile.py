"""Tests of stage `tile`."""

import argparse
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from monuseg.core.errors import PipelineError
from monuseg.formats.images import read_rgb, write_labels, write_rgb
from monuseg.formats.manifest import ImageRecord, Part, SplitRecord, read_records, write_records
from monuseg.formats.protocol import CHALLENGE_TEST, CHALLENGE_TRAIN, KUMAR_TRAIN, patient_of
from monuseg.formats.tiles import read_tiles
from stages.tile import __main__ as tile
from tests.stages.tile.making import record_of

SetParams = Callable[[dict[str, object]], None]

SPLITS = ("train", "validation", "test")


def add(
    image_id: str,
    organ: str,
    part: Part,
    shape: tuple[int, int],
    *,
    um_per_pixel: float = 0.25,
    source: str = "given",
) -> ImageRecord:
    """Write an image to data/raw and its label map to data/masks."""
    raw, masks = Path("data/raw"), Path("data/masks")
    raw.mkdir(parents=True, exist_ok=True)
    masks.mkdir(exist_ok=True)
    generator = np.random.default_rng(len(list(raw.iterdir())))
    write_rgb(raw / f"{image_id}.tif", generator.integers(0, 256, (*shape, 3), dtype=np.uint8))
    write_labels(masks / f"{image_id}.png", generator.integers(0, 4, shape, dtype=np.uint16))
    return record_of(
        image_id,
        part,
        organ=organ,
        patient=patient_of(image_id) or "",
        um_per_pixel=um_per_pixel,
        source=source,
    )


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
    assert not read_tiles(Path("data/tiles/validation"))


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


def contents() -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in Path("data").rglob("*") if path.is_file()}


def test_slides_of_one_patient_stay_together(set_params: SetParams) -> None:
    set_params({"tile.size": 16, "tile.stride": 16})
    records = [
        add(f"TCGA-AA-000{n}-01Z-00-DX{slide}", "lung", "train", (16, 16))
        for n in range(10)
        for slide in (1, 2)
    ]
    set_params({"tile.validation.method": "fold"})
    seen: list[str] = []
    for fold in range(5):
        set_params({"tile.validation.fold": fold})
        splits = run(records)
        assert patients(splits["validation"]).isdisjoint(patients(splits["train"]))
        assert len(splits["validation"]) == 4
        seen += splits["validation"]
    assert sorted(seen) == sorted(record.id for record in records)


@pytest.mark.parametrize("failing", ["x1", "splits.csv"])
def test_a_failure_leaves_all_outputs_as_they_were(
    small: list[ImageRecord], monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    run(small)
    before = contents()
    # Another draw, so that every output would be another; then the last image or table fails.
    monkeypatch.setenv("MONUSEG_WORKERS", "1")
    if failing == "x1":
        write_labels(Path("data/masks/x1.png"), np.zeros((1, 1), np.uint16))
        before[Path("data/masks/x1.png")] = Path("data/masks/x1.png").read_bytes()
    else:
        monkeypatch.setattr(tile, "write_records", fail)
    records = [record for record in small if record.id not in ("t0", "t1")]
    write_records(Path("data/raw/manifest.csv"), records)
    before[Path("data/raw/manifest.csv")] = Path("data/raw/manifest.csv").read_bytes()
    with pytest.raises(PipelineError, match=r"x1\.png is 1 x 1|on purpose"):
        tile.main(argparse.Namespace())
    assert contents() == before


def fail(*_: object) -> None:
    raise PipelineError("on purpose")


def coarse_set() -> list[ImageRecord]:
    """Two training images of 0.25, one of 0.5, and a test image of 0.26 um per pixel."""
    return [
        add("a", "lung", "train", (40, 60)),
        add("b", "lung", "train", (40, 60)),
        add("c", "lung", "train", (30, 20), um_per_pixel=0.5),
        add("d", "lung", "test", (40, 60), um_per_pixel=0.26),
    ]


def test_images_of_several_resolutions_need_one_for_the_tiles(set_params: SetParams) -> None:
    set_params({"tile.size": 16, "tile.stride": 16})
    with pytest.raises(PipelineError) as caught:
        run(coarse_set())
    assert str(caught.value) == (
        "data/raw/manifest.csv: a has 0.25 um per pixel, c 0.5, which differ by more than 10%; set "
        "tile.um_per_pixel in params.yaml to what all are to be rescaled to"
    )
    assert not Path("data/splits.csv").exists()


def test_images_that_the_protocol_leaves_out_need_not_agree(set_params: SetParams) -> None:
    set_params({"tile.size": 16, "tile.stride": 16, "tile.protocol": "challenge"})
    *records, other = challenge_set()
    assert len(run([*records, replace(other, um_per_pixel=1.0)])["test"]) == 14


def test_images_are_rescaled_to_the_resolution_of_the_tiles(
    set_params: SetParams, capsys: pytest.CaptureFixture[str]
) -> None:
    set_params({"tile.size": 16, "tile.stride": 16, "tile.um_per_pixel": 0.5})
    records = coarse_set()
    a = np.zeros((40, 60), np.uint16)
    a[0:8, 0:10] = 1
    a[20, 30] = 2  # of the four pixels that become one, another one stands for them
    a[30:36, 40:52] = 3
    labels = {"a": a, "b": np.zeros_like(a), "d": np.ones_like(a)}
    for image_id, of_image in labels.items():
        write_labels(Path(f"data/masks/{image_id}.png"), of_image)
    run(records)
    resolutions = {
        record.id: (record.um_per_pixel, record.tiled_um_per_pixel, round(record.scale, 6))
        for record in read_records(Path("data/splits.csv"), SplitRecord)
    }
    assert resolutions == {
        "a": (0.25, 0.5, 0.5),
        "b": (0.25, 0.5, 0.5),
        "c": (0.5, 0.5, 1),
        "d": (0.26, 0.5, 0.52),
    }
    tiled = {
        image.id: image for split in SPLITS for image in read_tiles(Path("data/tiles") / split)
    }
    assert {i: (image.height, image.width) for i, image in tiled.items()} == {
        "a": (20, 30),
        "b": (20, 30),
        "c": (30, 20),
        "d": (21, 31),
    }
    assert {image.um_per_pixel for image in tiled.values()} == {0.5}
    expected = np.zeros((20, 30), np.uint16)
    expected[0:4, 0:5] = 1
    expected[15:18, 20:26] = 2  # without a gap where nucleus 2 was
    np.testing.assert_array_equal(tiled["a"].labels, expected)
    # Pixels of the means of 2 x 2.
    pixels = read_rgb(Path("data/raw/a.tif")).reshape(20, 2, 30, 2, 3).mean((1, 3))
    assert np.abs(tiled["a"].image - pixels).max() <= 0.5
    # What is at the resolution already is not touched.
    np.testing.assert_array_equal(tiled["c"].image[:, :20], read_rgb(Path("data/raw/c.tif")))
    err = capsys.readouterr().err.splitlines()
    assert (
        "a: 1 of 3 nuclei are too small for a pixel at 0.5 um per pixel, and missing in the "
        in ("\n".join(err))
    )
    assert "test: 1 of 1 images rescaled to 0.5 um per pixel, from 0.26 (1)" in err


def test_a_resolution_that_all_have_changes_no_byte(
    small: list[ImageRecord], set_params: SetParams
) -> None:
    run(small)
    before = contents()
    set_params({"tile.um_per_pixel": 0.26})
    run(small)
    assert contents() == before


def test_tiles_that_would_be_huge_are_refused(
    small: list[ImageRecord], set_params: SetParams, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MONUSEG_WORKERS", "1")
    set_params({"tile.um_per_pixel": 0.05})
    records = [replace(record, um_per_pixel=40.0 * 25) for record in small]
    with pytest.raises(PipelineError, match=r"t\d: 520000 x 400000 pixels at 0\.05 um per pixel"):
        run(records)
