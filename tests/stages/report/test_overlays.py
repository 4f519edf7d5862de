"""Pictures of truth and prediction."""

import base64
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from monuseg.core.errors import PipelineError
from monuseg.formats.images import write_labels, write_rgb
from monuseg.formats.manifest import Split, SplitRecord
from stages.report.overlays import CROP, ENLARGED, chosen_images, errors, gallery, outlines
from stages.report.rows import Row


def record(image: str, organ: str = "colon", split: Split = "test") -> SplitRecord:
    return SplitRecord(image, organ, split, 0.25, 0.25, "aperio-xml")


def decoded(picture: dict[str, Any]) -> np.ndarray:
    content = base64.b64decode(picture["src"].split(",", 1)[1])
    return cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]


def test_images_are_spread_over_organs() -> None:
    records = [
        record("e", "liver"),
        record("b", "colon"),
        record("a", "colon"),
        record("d", "colon"),
        record("c", "liver", "train"),
    ]
    assert [one.id for one in chosen_images(records, "test", 3)] == ["a", "e", "b"]
    assert [one.id for one in chosen_images(records, "test", 9)] == ["a", "e", "b", "d"]
    assert chosen_images(records, "test", 0) == []


def test_outlines_part_touching_nuclei_and_leave_the_inside() -> None:
    labels = np.zeros((6, 9), np.uint16)
    labels[1:5, 1:4], labels[1:5, 4:8] = 1, 2
    expected = np.zeros((6, 9), bool)
    expected[1:5, 1:8] = True
    expected[2:4, 2] = expected[2:4, 5:7] = False
    np.testing.assert_array_equal(outlines(labels), expected)


def test_the_edge_of_the_image_is_no_outline() -> None:
    assert not outlines(np.ones((4, 4), np.uint16)).any()


def test_errors_have_a_colour_each() -> None:
    truth = np.array([[0, 0, 3, 3]], np.uint16)
    predicted = np.array([[0, 1, 0, 7]], np.uint16)
    assert errors(truth, predicted).tolist() == [
        [[255, 255, 255], [0x00, 0x72, 0xB2], [0xD5, 0x5E, 0x00], [0xC8, 0xC8, 0xC8]]
    ]


def write(folder: Path, size: int, predicted_size: int | None = None) -> None:
    for name in ("raw", "masks", "nuclei/unet"):
        (folder / name).mkdir(parents=True)
    write_rgb(folder / "raw/a.tif", np.full((size, size, 3), 200, np.uint8))
    middle = slice(size // 2 - 5, size // 2 + 5)
    labels = np.zeros((size, size), np.uint16)
    labels[middle, middle] = 1
    write_labels(folder / "masks/a.png", labels)
    found = np.zeros((predicted_size or size,) * 2, np.uint16)
    write_labels(folder / "nuclei/unet/a.png", found)


def shown(folder: Path) -> list[tuple[str, list[dict[str, Any]]]]:
    found = gallery(
        record("a"),
        [Row("unet", {})],
        raw=folder / "raw",
        masks=folder / "masks",
        nuclei=folder / "nuclei",
    )
    assert (found["organ"], found["id"]) == ("colon", "a")
    return [(column["title"], column["pictures"]) for column in found["columns"]]


def test_a_large_image_is_cut_around_its_centre(tmp_path: Path) -> None:
    write(tmp_path, CROP + 100)
    (title, [plain]), (row, [drawn, missed]) = shown(tmp_path)
    assert (title, row) == ("Image", "U-Net")
    assert (plain["width"], plain["height"]) == (CROP * ENLARGED, CROP * ENLARGED)
    image = decoded(missed)
    assert image.shape == (CROP, CROP, 3)
    # The nucleus of ten pixels in the middle, all of it missed.
    orange = (image == (0xD5, 0x5E, 0x00)).all(axis=2)
    assert orange.sum() == 100
    assert orange[CROP // 2 - 5 : CROP // 2 + 5, CROP // 2 - 5 : CROP // 2 + 5].all()
    # Its outline is painted; the plain picture is one colour.
    assert np.ptp(decoded(plain).astype(int)) <= 4
    assert np.ptp(decoded(drawn).astype(int)) > 100


def test_a_small_image_is_shown_whole(tmp_path: Path) -> None:
    write(tmp_path, 40)
    (_, [plain]), _ = shown(tmp_path)
    assert (plain["width"], plain["height"]) == (40 * ENLARGED, 40 * ENLARGED)


def test_a_prediction_of_another_size_is_refused(tmp_path: Path) -> None:
    write(tmp_path, 40, 41)
    with pytest.raises(PipelineError, match=r"unet/a\.png: shape \(41, 41\), but .*\(40, 40\)"):
        shown(tmp_path)
