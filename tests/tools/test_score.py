"""Networks scored on images of the data set, without a stage."""

import argparse
import os
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from monuseg.core.errors import PipelineError
from monuseg.formats.files import write_json
from monuseg.formats.images import write_labels, write_rgb
from monuseg.formats.manifest import BINARY_MASK, SplitRecord, write_records
from monuseg.formats.paths import MASKS, RAW, SPLITS
from monuseg.segment.folds import NOTE, settings_of
from monuseg.segment.folds import network as network_of
from tests.monuseg.segment.networks import NAMED, UM, network, save_unet, two_discs
from tools import score

OUTPUT = Path("scores.csv")


@pytest.fixture
def images(project: Path) -> None:
    """Two test images of two dark discs; of one, half of a disc is no nucleus."""
    for folder in (RAW, MASKS):
        folder.mkdir(parents=True)
    dark = two_discs()[..., 0] < 128
    truth = np.where(dark, np.where(np.arange(120) < 60, 1, 2), 0).astype(np.uint16)
    halved = np.where(np.arange(120) < 85, truth, 0).astype(np.uint16)
    for image, labels in (("a", truth), ("b", halved)):
        write_rgb(RAW / f"{image}.tif", two_discs())
        write_labels(MASKS / f"{image}.png", labels)
    write_records(
        SPLITS, [SplitRecord(one, "lung", "test", 0.25, 0.25, "aperio-xml") for one in "ab"]
    )


@pytest.fixture
def darkness(monkeypatch: pytest.MonkeyPatch) -> None:
    """A network that finds what is dark."""
    monkeypatch.setattr(score, "find", lambda model: NAMED)
    monkeypatch.setattr(score, "load", lambda named, params: network())


def arguments(split: str = "test", output: Path = OUTPUT) -> argparse.Namespace:
    return argparse.Namespace(model="darkness", split=split, output=output)


@pytest.mark.usefixtures("images", "darkness")
def test_each_image_is_scored_against_its_mask(capsys: pytest.CaptureFixture[str]) -> None:
    score.main(arguments())
    table = pd.read_csv(OUTPUT, index_col="id")
    assert table.loc["a", ["dice", "aji", "pq"]].eq(1).all()
    # Of 923 dark pixels 300 or so are none of a nucleus.
    assert 0.7 < table.loc["b", "dice"] < 0.9
    assert table.loc["b", "nucleus_true_positives"] == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "darkness, 2 test images:"
    assert lines[1].startswith(f"  dice {table['dice'].mean():.4f} (")
    assert [line.split()[0] for line in lines[1:]] == ["dice", "aji", "pq"]


@pytest.mark.usefixtures("images", "darkness")
def test_nothing_but_the_table_stays() -> None:
    before = {path for path in Path().rglob("*") if path.is_file()}
    score.main(arguments())
    after = {path for path in Path().rglob("*") if path.is_file()}
    assert after - before == {OUTPUT}


@pytest.mark.usefixtures("images")
def test_folds_are_scored_as_one_with_the_settings_chosen_for_them(project: Path) -> None:
    folder = Path("folds")
    for fold, um_per_pixel in enumerate((0.25, 0.252)):
        save_unet(folder, um_per_pixel)
        for file in network_of(folder, fold):
            file.parent.mkdir(exist_ok=True)
            (folder / file.name.replace(f"fold-{fold}", "unet")).rename(file)
    write_json(folder / NOTE, {"folds": 2})
    # Of the two discs one is as large.
    settings = replace(NAMED.settings, min_area=500)
    chosen = {**asdict(settings), "chosen_on": {"threshold": "validation", "nuclei": "validation"}}
    write_json(settings_of(folder), chosen)
    (project / "deeper").mkdir()
    done = subprocess.run(
        # In a process of its own, for one configures Keras once; paths count from its folder.
        [sys.executable, "-m", "tools.score", "../folds", "--output", f"../{OUTPUT}"],
        cwd="deeper", env={**os.environ, "PYTHONPATH": str(project)},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "ensemble, 2 test images:" in done.stdout
    table = pd.read_csv(OUTPUT, index_col="id")
    assert table.loc["a", "dice"] > 0.95
    counts = table.loc["a", [f"nucleus_{name}" for name in ("true_positives", "false_negatives")]]
    assert list(counts) == [1, 1]


@pytest.mark.usefixtures("images")
@pytest.mark.parametrize(("min_area", "found"), [(70, 2), (100, 1), (200, 0)])
def test_settings_are_in_the_pixels_of_the_network(
    min_area: int, found: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # At half the resolution the discs, of 317 and 613 pixels, have 79 and 153.
    settings = replace(NAMED.settings, min_area=min_area)
    monkeypatch.setattr(score, "find", lambda model: replace(NAMED, settings=settings))
    coarse = replace(network(), um_per_pixel=2 * UM)
    monkeypatch.setattr(score, "load", lambda named, params: coarse)
    score.main(arguments())
    table = pd.read_csv(OUTPUT, index_col="id")
    assert table.loc["a", "nucleus_true_positives"] == found


@pytest.mark.usefixtures("images", "darkness")
def test_undefined_scores_are_said(capsys: pytest.CaptureFixture[str]) -> None:
    # The annotation is one mask.
    write_records(SPLITS, [SplitRecord("a", "lung", "test", 0.25, 0.25, BINARY_MASK)])
    score.main(arguments())
    assert capsys.readouterr().out.splitlines()[1:] == [
        "  dice 1.0000",
        "  aji undefined",
        "  pq undefined",
    ]


@pytest.mark.usefixtures("images", "darkness")
def test_a_damaged_image_leaves_the_table_as_it_was() -> None:
    score.main(arguments())
    before = OUTPUT.read_bytes()
    (RAW / "b.tif").write_bytes(b"no image")
    with pytest.raises(PipelineError, match=r"b\.tif"):
        score.main(arguments())
    assert OUTPUT.read_bytes() == before


@pytest.mark.usefixtures("images", "darkness")
def test_a_mask_of_another_size_and_a_broken_network_are_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write_labels(MASKS / "b.png", np.zeros((80, 120), np.uint16))
    with pytest.raises(PipelineError, match=r"raw/b\.tif and data/masks/b\.png differ in size"):
        score.main(arguments())
    broken = network(lambda pixels: np.full((*pixels.shape[:3], 1), np.nan, np.float32))
    monkeypatch.setattr(score, "load", lambda named, params: broken)
    with pytest.raises(PipelineError, match=r"raw/a\.tif: .*(NaN|0\.\.1)"):
        score.main(arguments())
    assert not OUTPUT.exists()


@pytest.mark.usefixtures("images", "darkness")
def test_what_cannot_be_done_is_said_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(score, "load", lambda named, params: pytest.fail("loaded"))
    with pytest.raises(PipelineError, match="no train image"):
        score.main(arguments("train"))
    with pytest.raises(PipelineError, match=r"scores: name a table, such as scores\.csv"):
        score.main(arguments(output=Path("scores")))
    Path("file").touch()
    with pytest.raises(OSError, match="file"):
        score.main(arguments(output=Path("file/scores.csv")))
