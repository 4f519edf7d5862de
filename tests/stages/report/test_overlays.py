"""Pictures of images, and the layers over them."""

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from monuseg.core.errors import PipelineError
from monuseg.formats.images import write_labels, write_rgb
from monuseg.formats.manifest import SplitRecord
from monuseg.scoring.rows import Row
from stages.report.overlays import (
    FULL,
    SMALL,
    SMALL_LETTERS,
    errors,
    galleries,
    outlines,
    photograph,
    spread,
)

UNET = Row("unet", {})


def decoded(address: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(address.split(",", 1)[1])))


@pytest.mark.parametrize(
    ("images", "count", "places"),
    [
        (14, 3, [0, 6, 13]),
        (14, 1, [0]),
        (14, 2, [0, 13]),
        (14, 0, []),
        (2, 3, [0, 1]),
        (1, 3, [0]),
        (3, 9, [0, 1, 2]),
    ],
)
def test_the_best_the_worst_and_those_between(images: int, count: int, places: list[int]) -> None:
    assert spread(images, count) == places


def test_outlines_part_touching_nuclei_and_leave_the_inside() -> None:
    labels = np.zeros((6, 9), np.uint16)
    labels[1:5, 1:4], labels[1:5, 4:8] = 1, 2
    expected = np.zeros((6, 9), bool)
    expected[1:5, 1:8] = True
    expected[2:4, 2] = expected[2:4, 5:7] = False
    np.testing.assert_array_equal(outlines(labels, 1), expected)
    # A wider line covers the pixels around it too.
    assert outlines(labels, 3).sum() == 6 * 9


def test_the_edge_of_the_image_is_no_outline() -> None:
    assert not outlines(np.ones((4, 4), np.uint16), 1).any()


def test_errors_have_a_number_each() -> None:
    truth = np.array([[0, 0, 3, 3]], np.uint16)
    predicted = np.array([[0, 1, 0, 7]], np.uint16)
    assert errors(truth, predicted).tolist() == [[0, 4, 3, 0]]


def test_what_compresses_badly_loses_quality() -> None:
    noise = np.random.default_rng(1).integers(0, 255, (SMALL, SMALL, 3), dtype=np.uint8)
    large, small = photograph(noise, 10**9), photograph(noise, SMALL_LETTERS)
    assert len(small) < len(large) / 2
    plain = np.full((SMALL, SMALL, 3), 200, np.uint8)
    assert photograph(plain, SMALL_LETTERS) == photograph(plain, 10**9)


def write(name: str, size: int, predicted_size: int | None = None) -> SplitRecord:
    """An image with a nucleus of ten by ten pixels, all of it missed."""
    for folder in ("data/raw", "data/masks", "data/nuclei/unet"):
        Path(folder).mkdir(parents=True, exist_ok=True)
    write_rgb(Path(f"data/raw/{name}.tif"), np.full((size, size, 3), 200, np.uint8))
    labels = np.zeros((size, size), np.uint16)
    labels[5:15, 5:15] = 1
    write_labels(Path(f"data/masks/{name}.png"), labels)
    found = np.zeros((predicted_size or size,) * 2, np.uint16)
    write_labels(Path(f"data/nuclei/unet/{name}.png"), found)
    return SplitRecord(name, "colon", "test", 0.25, 0.25, "aperio-xml")


def scores(**dice: float) -> pd.DataFrame:
    columns = {"dice": list(dice.values()), "aji": 0.5, "pq": float("nan")}
    return pd.DataFrame(columns, index=list(dice))


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_images_are_ranked_by_dice_and_the_undefined_is_last() -> None:
    records = [write(name, 40) for name in "abc"]
    found = galleries(records, [UNET], scores(a=float("nan"), b=0.5, c=0.9), 1)
    assert [(one["id"], one["title"]) for one in found] == [
        *(("c", "best"), ("b", "worst"), ("a", "without a nucleus"))
    ]
    assert found[0]["scores"] == {"dice": 0.9, "aji": 0.5}
    assert [bool(one["full"]) for one in found] == [True, False, False]


def layers(one: list[dict[str, Any]]) -> dict[str, Image.Image]:
    return {layer["data-layer"]: decoded(layer["src"]) for layer in one}


def test_layers_lie_over_the_image_and_are_transparent_elsewhere() -> None:
    [one] = galleries([write("a", 40)], [UNET], scores(a=0.0), 1)
    assert set(layers(one["small"])) == {"image", "errors unet"}
    found = layers(one["full"])
    assert list(found) == ["image", "truth", "errors unet", "outline unet"]
    assert {picture.size for picture in found.values()} == {(40, 40)}
    missed = np.array(found["errors unet"].convert("RGBA"))
    orange = (missed == (0xD5, 0x5E, 0x00, 255)).all(axis=2)
    assert orange.sum() == 100
    assert orange[5:15, 5:15].all()
    assert (missed[..., 3] > 0).sum() == 100
    truth = np.array(found["truth"].convert("RGBA"))
    assert set(map(tuple, truth[truth[..., 3] > 0])) == {(0x19, 0xC8, 0xFF, 255)}
    assert np.array(found["outline unet"].convert("RGBA"))[..., 3].max() == 0


def test_a_large_image_is_made_smaller() -> None:
    [one] = galleries([write("a", FULL + 200)], [UNET], scores(a=0.0), 1)
    assert {picture.size for picture in layers(one["full"]).values()} == {(FULL, FULL)}
    assert {picture.size for picture in layers(one["small"]).values()} == {(SMALL, SMALL)}


def test_a_prediction_of_another_size_is_refused() -> None:
    record = write("a", 40, 41)
    with pytest.raises(PipelineError, match=r"unet/a\.png: shape \(41, 41\), but .*\(40, 40\)"):
        galleries([record], [UNET], scores(a=0.0), 1)


def test_a_label_map_of_another_size_than_the_image_is_refused() -> None:
    record = write("a", 40)
    write_rgb(Path("data/raw/a.tif"), np.full((40, 39, 3), 200, np.uint8))
    with pytest.raises(PipelineError, match=r"a\.tif and its label map differ in size"):
        galleries([record], [UNET], scores(a=0.0), 1)
