"""Curves of a running training: drawn where asked for, and never a byte of a result."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import pandas as pd
import pytest

from monuseg.core.errors import PipelineError
from monuseg.formats.tiles import TiledImage
from stages.train.batches import Batches
from stages.train.checkpoint import Checkpoint, opened
from stages.train.live import FOLDER, curves_of
from stages.train.loop import HistoryRow, compile_for_training, fit
from stages.train.params import TrainParams
from tests.repository import REPOSITORY

PARAMS = TrainParams.load().model_copy(
    update={"epochs": 4, "steps_per_epoch": 1, "batch_size": 2, "crop": 32}
)
ON = {"MONUSEG_LIVE": "1"}
ROWS: list[dict[str, Any]] = [
    {"epoch": 1, "learning_rate": 0.01, "objective": 0.5, "validation_dice": None},
    {"epoch": 2, "learning_rate": 0.005, "objective": 0.25, "validation_dice": 0.75},
]


@pytest.mark.parametrize("environment", [{}, {"MONUSEG_LIVE": ""}, {"MONUSEG_LIVE": "0"}])
def test_unasked_nothing_is_imported_or_written(
    environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "dvclive", None)
    curves_of("unet", environment)(ROWS[0])
    assert list(tmp_path.iterdir()) == []


def test_one_line_says_how_to_get_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dvclive", None)
    with pytest.raises(PipelineError, match=r"^MONUSEG_LIVE: .*pip install .*dvclive, or unset it"):
        curves_of("unet", ON)


def test_a_word_is_no_number() -> None:
    with pytest.raises(PipelineError, match="MONUSEG_LIVE: 'yes' is not a whole number"):
        curves_of("unet", {"MONUSEG_LIVE": "yes"})


def test_each_epoch_is_a_point_and_a_new_training_starts_anew(tmp_path: Path) -> None:
    pytest.importorskip("dvclive")
    (tmp_path / ".dvc").mkdir()  # else DVCLive makes a repository
    (tmp_path / ".dvc/config").write_text("[core]\n    no_scm = True\n", encoding="utf-8")
    folder = tmp_path / FOLDER / "unet"
    for rows in (ROWS, ROWS[:1], ROWS):
        drawn_by_a_process(rows, tmp_path)
        drawn = {
            path.stem: pd.read_csv(path, sep="\t") for path in (folder / "plots/metrics").iterdir()
        }
        assert drawn["objective"]["step"].tolist() == [row["epoch"] for row in rows]
        assert drawn["objective"]["objective"].tolist() == [row["objective"] for row in rows]
    assert drawn.keys() == {"learning_rate", "objective", "validation_dice"}
    assert drawn["validation_dice"].to_numpy().tolist() == [[2, 0.75]]
    last = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    assert last == {"step": 2, "learning_rate": 0.005, "objective": 0.25, "validation_dice": 0.75}
    # No dvc.yaml, no report, no experiment.
    assert {path.name for path in tmp_path.iterdir()} == {".dvc", FOLDER}
    assert {path.name for path in folder.iterdir()} == {"metrics.json", "plots"}


def drawn_by_a_process(rows: list[dict[str, Any]], folder: Path) -> None:
    """Draw in a process of its own, as a stage is: DVC's databases stay open until it ends."""
    script = (
        "import json, sys\n"
        "from stages.train.live import curves_of\n"
        "draw = curves_of('unet')\n"
        "for row in json.loads(sys.argv[1]):\n"
        "    draw(row)\n"
    )
    subprocess.run(
        [sys.executable, "-c", script, json.dumps(rows)],
        cwd=folder, env={**os.environ, **ON, "PYTHONPATH": str(REPOSITORY)}, check=True,
    )  # fmt: skip


def test_git_ignores_the_folder_and_no_stage_names_it() -> None:
    ignored = (REPOSITORY / ".gitignore").read_text(encoding="utf-8").splitlines()
    assert f"/{FOLDER}/" in ignored
    assert FOLDER not in (REPOSITORY / "dvc.yaml").read_text(encoding="utf-8")


def test_a_resumed_training_draws_all_its_epochs_once(
    images: list[TiledImage], tmp_path: Path
) -> None:
    restored: list[HistoryRow] = []
    told: list[HistoryRow] = []

    def stop(row: HistoryRow) -> None:
        told.append(row)
        if row["epoch"] == 3:  # which is drawn, and not saved
            raise KeyboardInterrupt

    def train(checkpoint: Checkpoint, progress: Callable[[HistoryRow], None]) -> list[HistoryRow]:
        keras.utils.set_random_seed(1)
        image = keras.Input((None, None, 3), name="image")
        model = keras.Model(image, keras.layers.Conv2D(1, 3, padding="same", name="logits")(image))
        compile_for_training(model, PARAMS, 0.01, jit_compile=False)
        return fit(
            model, Batches(images[:1], PARAMS, "symmetric"), [], PARAMS, scaling="symmetric",
            divisor=1, progress=progress, restored=restored.append, checkpoint=checkpoint,
        ).history  # fmt: skip

    with pytest.raises(KeyboardInterrupt), opened(tmp_path, "small", "0" * 64, 0) as checkpoint:
        train(checkpoint, stop)
    assert ([row["epoch"] for row in told], restored) == ([1, 2, 3], [])
    with opened(tmp_path, "small", "0" * 64, 0) as checkpoint:
        history = train(checkpoint, told.append)
    assert [row["epoch"] for row in restored] == [1, 2]
    assert [row["epoch"] for row in told[3:]] == [3, 4]
    assert [*restored, *told[3:]] == history
