"""Networks scored on images of the data set, without a stage."""

import argparse
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
from tests.monuseg.segment.networks import NAMED, network, save_unet, two_discs
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
def test_folds_are_scored_as_one_with_the_settings_chosen_for_them() -> None:
    networks = Path("folds/models")
    for fold in ("fold-0", "fold-1"):
        save_unet(networks)
        for ending in (".json", ".weights.h5"):
            (networks / f"unet{ending}").rename(networks / f"{fold}{ending}")
    # Of the two discs one is as large.
    settings = replace(NAMED.settings, min_area=500)
    chosen = {**asdict(settings), "chosen_on": {"threshold": "validation", "nuclei": "validation"}}
    write_json(Path("folds/predictions/ensemble.json"), chosen)
    done = subprocess.run(
        # In a process of its own, for one configures Keras once.
        [sys.executable, "-m", "tools.score", networks, "--output", OUTPUT],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "ensemble, 2 test images:" in done.stdout
    table = pd.read_csv(OUTPUT, index_col="id")
    assert table.loc["a", "dice"] > 0.95
    counts = table.loc["a", [f"nucleus_{name}" for name in ("true_positives", "false_negatives")]]
    assert list(counts) == [1, 1]


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
def test_what_cannot_be_done_is_said_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(score, "load", lambda named, params: pytest.fail("loaded"))
    with pytest.raises(PipelineError, match="no train image"):
        score.main(arguments("train"))
    with pytest.raises(PipelineError, match=r"scores: name a table, which ends in \.csv"):
        score.main(arguments(output=Path("scores")))
    Path("file").touch()
    with pytest.raises(OSError, match="file"):
        score.main(arguments(output=Path("file/scores.csv")))
