"""Segmenting a user's own images, with a network whose answer is known."""

import argparse
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from monuseg.core.errors import PipelineError
from monuseg.formats.images import Labels, read_labels, write_rgb
from monuseg.formats.scale import scale_of
from monuseg.inference.params import PredictParams
from monuseg.inference.views import predict_augmented
from monuseg.nuclei.watershed import NucleiSettings, nuclei_from_predictions
from monuseg.segment.command import main, nuclei_table, segment, segment_all
from monuseg.segment.inputs import images_of

SETTINGS = NucleiSettings(threshold=0.5, smoothing=1.0, min_distance=3, min_area=10)
PARAMS = PredictParams.load().model_copy(
    update={"window": 64, "overlap": 16, "flips": False, "rotations": False, "scales": [1.0]}
)
MODEL_UM = 0.25

Found = Callable[[np.ndarray, float], Labels]


def darkness(pixels: np.ndarray) -> np.ndarray:
    return (1 - pixels[..., :1] / np.float32(255)).astype(np.float32)


segmented = partial(segment, params=PARAMS, settings=SETTINGS, classes=["nucleus"], divisor=16)


def found(image: np.ndarray, um_per_pixel: float) -> Labels:
    return segmented(image, darkness, scale=scale_of(um_per_pixel, MODEL_UM))


@pytest.fixture
def image() -> np.ndarray:
    """Two dark discs of radius 10 and 14 on white."""
    rows, columns = np.mgrid[:90, :120]
    dark = ((rows - 30) ** 2 + (columns - 30) ** 2 <= 10**2) | (
        (rows - 60) ** 2 + (columns - 85) ** 2 <= 14**2
    )
    return np.repeat(np.where(dark, 20, 250).astype(np.uint8)[..., np.newaxis], 3, axis=2)


def test_nuclei_are_found_and_measured(image: np.ndarray) -> None:
    labels = segmented(image, darkness, scale=1.0)
    table = nuclei_table(labels, um_per_pixel=0.5)
    centres = table[["y", "x"]].round().to_numpy().tolist()
    assert sorted(centres) == [[30, 30], [60, 85]]
    assert table["area"].tolist() == [(labels == 1).sum(), (labels == 2).sum()]
    assert table["area_um2"].tolist() == pytest.approx((table["area"] * 0.25).tolist())
    assert abs(table["area"][centres.index([60, 85])] - np.pi * 14**2) < 30


def test_no_nuclei_have_a_table_with_every_column() -> None:
    table = nuclei_table(np.zeros((20, 30), np.uint16), um_per_pixel=0.5)
    assert table.to_csv(index=False) == "label,y,x,area,area_um2\n"


@pytest.mark.parametrize("scale", [0.5, 2.0])
def test_the_model_sees_an_image_at_its_own_resolution(image: np.ndarray, scale: float) -> None:
    seen = []

    def forward(pixels: np.ndarray) -> np.ndarray:
        seen.append(pixels.shape)
        return darkness(pixels)

    labels = segmented(image, forward, scale=scale)
    assert labels.shape == image.shape[:2]
    assert labels.max() == 2
    assert abs((labels > 0).sum() - np.pi * (10**2 + 14**2)) < 120
    assert len(seen) == (1 if scale == 0.5 else 4 * 5)  # windows of 64 on 45 x 60, on 180 x 240


def test_what_segment_decides_is_what_evaluate_decides_on_stored_predictions() -> None:
    # In half precision this is the threshold, in single it is below.
    almost = np.float32(0.49999)

    def forward(pixels: np.ndarray) -> np.ndarray:
        return np.where(pixels[..., :1] < 128, almost, 0).astype(np.float32)

    image = np.full((40, 40, 3), 250, np.uint8)
    image[10:20, 10:20] = 20
    stored = predict_augmented(forward, image, PARAMS, divisor=16).astype(np.float16)
    labels = segmented(image, forward, scale=1.0)
    np.testing.assert_array_equal(labels, nuclei_from_predictions(stored, ["nucleus"], SETTINGS))
    assert labels.max() == 1


DISCS = 8  # in each row and column
CELL = 44.0  # in the model's pixels


def discs(scale: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Discs drawn at an image's own resolution.

    Args:
        scale: the model's pixels per pixel of the image.

    Returns:
        (height, width, 3) the image, with smooth edges; (height, width) the number of each pixel's
        disc, or 0; and (discs, 2) their centres, y and x in pixels from 0.
    """
    generator = np.random.default_rng(0)
    side = round(DISCS * CELL / scale)
    corners = np.stack(np.divmod(np.arange(DISCS**2), DISCS), axis=1)
    centres = ((corners + 0.5) * CELL + generator.uniform(-8, 8, corners.shape)) / scale - 0.5
    rows, columns = np.indices((side, side))
    truth, cover = np.zeros((side, side), int), np.zeros((side, side))
    radii = generator.uniform(6, 12, DISCS**2) / scale
    for number, ((y, x), radius) in enumerate(zip(centres, radii, strict=True), start=1):
        inside = radius - np.hypot(rows - y, columns - x)
        truth[inside >= 0] = number
        cover = np.maximum(cover, np.clip(inside + 0.5, 0, 1))  # of an edge pixel's area
    grey = np.round(250 - 250 * cover).astype(np.uint8)
    return np.repeat(grey[..., np.newaxis], 3, axis=2), truth, centres


# Bringing labels of the model's resolution back by the nearest pixel's centre reaches 0.944, 0.950,
# 0.946, 0.997, 0.960, 0.961, 0.927 and 0.966; by OpenCV's INTER_NEAREST, 0.78 at 2.4.
@pytest.mark.parametrize(
    ("scale", "least"),
    [
        (0.4, 0.955),
        (0.5, 0.945),
        (0.8, 0.955),
        (1.0, 0.995),
        (1.25, 0.965),
        (1.6, 0.97),
        (2.0, 0.97),
        (2.4, 0.97),
    ],
)
def test_nuclei_are_whole_and_in_their_place_at_every_resolution(
    scale: float, least: float
) -> None:
    def forward(pixels: np.ndarray) -> np.ndarray:
        return (pixels[..., :1] < 128).astype(np.float32)

    image, truth, centres = discs(scale)
    chosen = replace(SETTINGS, smoothing=2.0, min_distance=5)
    labels = segmented(image, forward, settings=chosen, scale=scale)
    assert labels.max() == len(centres)
    overlaps, shifts = [], []
    for number, centre in enumerate(centres, start=1):
        true = truth == number
        mine = labels == np.bincount(labels[true]).argmax()
        overlaps.append((mine & true).sum() / (mine | true).sum())
        shifts.append(np.argwhere(mine).mean(axis=0) - centre)
    assert np.mean(overlaps) > least
    assert np.abs(np.mean(shifts, axis=0)).max() < 0.1
    # Counts, tables and maps agree.
    assert nuclei_table(labels, 0.25)["label"].tolist() == list(range(1, len(centres) + 1))


@pytest.fixture
def folder(tmp_path: Path, image: np.ndarray) -> Path:
    """A folder of two images, of which one states its resolution, and other things."""
    made = tmp_path / "images"
    (made / "below").mkdir(parents=True)
    write_rgb(made / "a.png", image)
    Image.fromarray(image).save(made / "b.tif", dpi=(25_400 / 0.5, 25_400 / 0.5))
    write_rgb(made / ".hidden.png", image)
    write_rgb(made / "a.nuclei.png", image)
    (made / "notes.txt").write_text("none")
    return made


def test_a_folder_stands_for_its_images(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    named = [folder, folder / "b.tif"]
    assert images_of(named, folder.parent) == [folder / "a.png", folder / "b.tif"]
    said = capsys.readouterr().err
    assert "4 skipped that are no images: .hidden.png, a.nuclei.png, below, notes.txt" in said
    with pytest.raises(PipelineError, match=r"below: no image in it"):
        images_of([folder / "below"], folder.parent)


@pytest.mark.parametrize("name", ["a.png", "a.tif", "A.png"])
def test_two_images_of_one_name_are_refused(folder: Path, name: str) -> None:
    with pytest.raises(PipelineError, match=r"a\.png and .*have the same name"):
        images_of([folder / "a.png", folder / "below" / name], folder.parent)


def test_a_result_never_replaces_an_image(folder: Path) -> None:
    named = [folder / "a.png", folder / "a.nuclei.png"]
    assert images_of(named, folder.parent) == named
    (folder.parent / "link").symlink_to(folder)
    for output in (folder, folder / "below/..", folder.parent / "link"):
        with pytest.raises(PipelineError, match=r"a\.nuclei\.png is among the images"):
            images_of(named, output)


def test_an_images_resolution_is_given_or_stated_or_the_models(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    used = []

    def recorded(image: np.ndarray, um_per_pixel: float) -> Labels:
        used.append(um_per_pixel)
        return found(image, um_per_pixel)

    paths = [folder / "a.png", folder / "b.tif"]
    segment_all(paths, recorded, tmp_path / "out", given=None, default=MODEL_UM)
    said = capsys.readouterr()
    assert used == [0.25, pytest.approx(0.5)]
    assert "a.png: no resolution stated, the model's 0.25 um per pixel assumed" in said.err
    assert "b.tif" not in said.err
    assert "b.tif: 2 nuclei at 0.5 um per pixel (tiff-tags)" in said.out
    table = pd.read_csv(tmp_path / "out/segment.csv")
    assert table["image"].tolist() == ["a.png", "b.tif"]
    assert table["source"].tolist() == ["default", "tiff-tags"]
    assert table[["width", "height", "nuclei"]].to_numpy().tolist() == [[120, 90, 2]] * 2

    segment_all(paths, recorded, tmp_path / "out", given=0.26, default=MODEL_UM)
    assert used[2:] == [0.26, 0.26]
    assert "b.tif: given 0.26 um per pixel, tiff-tags 0.5" in capsys.readouterr().err
    assert pd.read_csv(tmp_path / "out/segment.csv")["source"].tolist() == ["given"] * 2


def test_one_bad_image_does_not_keep_the_others_from_their_nuclei(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "a0.png").write_bytes((folder / "a.png").read_bytes()[:100])
    seen = []

    def crowded(image: np.ndarray, um_per_pixel: float) -> Labels:
        # All inputs were checked before the first is computed.
        seen.append(capsys.readouterr().err)
        if len(seen) == 2:
            raise PipelineError("70000 nuclei; raise min_area")
        return found(image, um_per_pixel)

    write_rgb(folder / "c.png", np.full((1, 1, 3), 250, np.uint8))
    names = ["a0.png", "gone.png", "a.png", "b.tif", "c.png"]
    out = tmp_path / "out"
    with pytest.raises(PipelineError, match=r"3 of 5 images failed, a0\.png first; .*segment\.csv"):
        segment_all([folder / n for n in names], crowded, out, given=None, default=MODEL_UM)
    assert "a0.png" in seen[0]
    assert "gone.png: no such file" in seen[0]
    table = pd.read_csv(out / "segment.csv", index_col="image")
    assert table["nuclei"].dropna().to_dict() == {"a.png": 2, "c.png": 0}
    assert table["error"].notna().tolist() == [True, True, False, True, False]
    assert "b.tif: 70000 nuclei; raise min_area" in str(table.loc["b.tif", "error"])
    assert sorted(path.name for path in out.iterdir()) == [
        "a.nuclei.csv", "a.nuclei.png", "c.nuclei.csv", "c.nuclei.png", "segment.csv"
    ]  # fmt: skip
    assert read_labels(out / "a.nuclei.png").max() == len(pd.read_csv(out / "a.nuclei.csv")) == 2
    assert len(pd.read_csv(out / "c.nuclei.csv")) == 0


def test_names_of_every_kind(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ["x" * 248 + ".png", "caf\udce9.png", "red\x1b[31m\nline.png", "taken.png", "last.png"]
    for name in names:
        (folder / name).write_bytes((folder / "a.png").read_bytes())
    out = tmp_path / "out"
    (out / "taken.nuclei.png").mkdir(parents=True)
    with pytest.raises(PipelineError, match="2 of 5 images failed"):
        segment_all([folder / n for n in names], found, out, given=0.25, default=0.25)
    said = capsys.readouterr()
    assert [line.isprintable() for line in said.out.splitlines()] == [True] * 3
    assert "a name too long" in said.err
    assert "taken.nuclei.png: a folder stands where a file is needed" in said.err
    table = pd.read_csv(out / "segment.csv", index_col="image")
    assert table["nuclei"].fillna(-1).tolist() == [-1, 2, 2, -1, 2]
    assert "caf\\udce9.png" in table.index
    assert (out / names[1]).with_suffix(".nuclei.png").is_file()
    assert not (out / "taken.nuclei.csv").exists()


@pytest.mark.parametrize("model", ["ensemble", "otsu", "../unet"])
def test_what_is_no_model_is_refused(folder: Path, tmp_path: Path, model: str) -> None:
    arguments = argparse.Namespace(
        model=model, images=[folder], output=tmp_path / "out", um_per_pixel=None
    )
    with pytest.raises(PipelineError, match=r"unknown model"):
        main(arguments)


def test_an_interrupted_run_says_what_it_did(folder: Path, tmp_path: Path) -> None:
    def interrupted(image: np.ndarray, um_per_pixel: float) -> Labels:
        if (tmp_path / "a.nuclei.png").exists():
            raise KeyboardInterrupt
        return found(image, um_per_pixel)

    with pytest.raises(KeyboardInterrupt):
        segment_all(
            [folder / "a.png", folder / "b.tif"], interrupted, tmp_path, given=0.25, default=0.25
        )
    assert pd.read_csv(tmp_path / "segment.csv")["nuclei"].fillna(-1).tolist() == [2, -1]


@pytest.mark.parametrize("value", [-0.5, 0.0, float("nan"), float("inf"), 20.0, 40.0, 250.0])
def test_what_is_no_resolution_is_refused_before_anything_is_read(
    folder: Path, tmp_path: Path, value: float
) -> None:
    arguments = argparse.Namespace(
        model="unet", images=[folder], output=tmp_path / "out", um_per_pixel=value
    )
    magnification = ".*magnification" if value in (20, 40) else ""
    with pytest.raises(PipelineError, match=f"--um-per-pixel: .*not between{magnification}"):
        main(arguments)
    assert not (tmp_path / "out").exists()
