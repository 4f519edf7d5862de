"""Repeated runs: params.yaml changes for each run and comes back; the spread is the runs'."""

import argparse
import json
from pathlib import Path

import numpy as np
import pytest

from monuseg.core.errors import PipelineError
from monuseg.core.params import read_params
from monuseg.core.paths import METRICS
from monuseg.formats.files import write_json
from monuseg.formats.paths import PER_IMAGE
from monuseg.scoring.per_image import read_scores
from tools import dvc, repeat

HEAD = "id,split,organ,dice,iou,aji,pq,dq,sq,nuclei"


def arguments(key: str, *values: str, settings: tuple[str, ...] = ()) -> argparse.Namespace:
    return argparse.Namespace(
        key=key, values=list(values), set=list(settings), rows=["unet"], output=Path("spread.json")
    )


@pytest.fixture
def runs(project: Path, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """What was to be reproduced; each run scores its own seed."""
    asked: list[list[str]] = []

    def reproduce(*stages: str) -> None:
        asked.append(list(stages))
        seed = read_params()["train"]["seed"]
        if seed == 13:
            raise PipelineError("dvc repro failed")
        test = {
            "dice": 0.8 + seed / 100,
            "dice_lo": 0.7,
            "dice_hi": 0.9,
            **({"aji": 0.6} if seed != 2 else {}),
        }
        write_json(METRICS / "unet.json", {"test": test, "train": {"dice": 0.9}})
        table = PER_IMAGE / "unet.csv"
        table.parent.mkdir(parents=True, exist_ok=True)
        aji = "" if seed == 2 else "0.6"
        lines = [
            f"NA,test,liver,{0.8 + seed / 100},0.5,{aji},0.5,0.5,0.5,7",
            f"b,validation,breast,{0.5 + seed / 50},0.5,,0.5,0.5,0.5,{seed}",
            *([f"c-{seed},test,brain,0.5,0.5,0.5,0.5,0.5,0.5,1"] if seed > 3 else []),
        ]
        table.write_text("\n".join([HEAD, *lines]) + "\n")

    monkeypatch.setattr(dvc, "reproduce", reproduce)
    return asked


def test_each_value_is_run_and_the_spread_is_theirs(
    runs: list[list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    before = Path("params.yaml").read_bytes()
    repeat.main(arguments("train.seed", "1", "2", "3"))
    assert runs == [["evaluate@unet"]] * 3
    found = json.loads(Path("spread.json").read_text())
    spread = found["spread"]["unet"]
    assert spread["test.dice"] == {"mean": 0.82, "std": 0.01, "min": 0.81, "max": 0.83}
    # One run does not define AJI; intervals are no scores.
    assert list(spread) == ["test.dice", "train.dice"]
    assert "unet, test.dice: 0.820 ± 0.010 (0.810 to 0.830)\n" in capsys.readouterr().out
    assert spread["train.dice"]["std"] == 0
    assert found["runs"]["2"]["unet"]["test"]["dice"] == pytest.approx(0.82)
    assert Path("params.yaml").read_bytes() == before


def test_of_each_image_the_mean_over_runs_is_written_for_compare(runs: list[list[str]]) -> None:
    repeat.main(arguments("train.seed", "1", "2", "3"))
    table = Path("spread.unet.csv")
    test, validation = read_scores(table, "test"), read_scores(table, "validation")
    assert list(test.index) == ["NA"]
    assert test.loc["NA", "dice"] == pytest.approx(0.82)
    assert test.loc["NA", "aji"] == pytest.approx(0.6)  # of the two runs that define it
    assert validation.loc["b", "dice"] == pytest.approx(0.54)
    assert np.isnan(validation.loc["b", "aji"])
    written = table.read_text().splitlines()
    assert written[0] == HEAD
    assert [line.rpartition(",")[2] for line in written[1:]] == ["7", "2"]


def test_images_that_only_some_runs_scored_are_all_in_the_table(runs: list[list[str]]) -> None:
    """As with folds, each of which has images of its own."""
    repeat.main(arguments("train.seed", "4", "5"))
    assert list(read_scores(Path("spread.unet.csv"), "test").index) == ["NA", "c-4", "c-5"]


def test_the_same_command_again_averages_over_the_runs_before_too(runs: list[list[str]]) -> None:
    repeat.main(arguments("train.seed", "1"))
    repeat.main(arguments("train.seed", "1", "3"))
    assert len(runs) == 2
    found = read_scores(Path("spread.unet.csv"), "test")
    assert found.loc["NA", "dice"] == pytest.approx(0.82)


def test_an_output_without_single_images_is_refused(runs: list[list[str]]) -> None:
    repeat.main(arguments("train.seed", "1"))
    content = json.loads(Path("spread.json").read_text())
    whole = content["runs"]["1"]
    for run in ({"unet": whole["unet"]}, {**whole, "per_image": {}}, 3):
        write_json(Path("spread.json"), {**content, "runs": {"1": run}})
        with pytest.raises(PipelineError, match=r"spread\.json: damaged, or of an earlier version"):
            repeat.main(arguments("train.seed", "1", "3"))
    assert len(runs) == 1


def test_one_run_has_no_spread(runs: list[list[str]], capsys: pytest.CaptureFixture[str]) -> None:
    repeat.main(arguments("train.seed", "1"))
    found = json.loads(Path("spread.json").read_text())["spread"]["unet"]["test.dice"]
    assert found == {"mean": 0.81, "std": None, "min": 0.81, "max": 0.81}
    assert "unet, test.dice: 0.810 (0.810 to 0.810)\n" in capsys.readouterr().out


def test_other_settings_hold_in_every_run(
    runs: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen, reproduce = [], dvc.reproduce

    def watched(*stages: str) -> None:
        seen.append(read_params()["report"]["overlays"])
        reproduce(*stages)

    monkeypatch.setattr(dvc, "reproduce", watched)
    repeat.main(arguments("train.seed", "1", "3", settings=("report.overlays=77",)))
    assert seen == [77, 77]


def test_after_a_failure_params_are_as_they_were_and_the_runs_before_stand(
    runs: list[list[str]],
) -> None:
    before = Path("params.yaml").read_bytes()
    with pytest.raises(PipelineError, match="dvc repro failed"):
        repeat.main(arguments("train.seed", "1", "13", "3"))
    assert len(runs) == 2
    assert Path("params.yaml").read_bytes() == before
    assert list(json.loads(Path("spread.json").read_text())["runs"]) == ["1"]


def test_the_same_command_again_goes_on(runs: list[list[str]]) -> None:
    with pytest.raises(PipelineError, match="dvc repro failed"):
        repeat.main(arguments("train.seed", "1", "13"))
    repeat.main(arguments("train.seed", "1", "3"))
    assert len(runs) == 3
    spread = json.loads(Path("spread.json").read_text())["spread"]["unet"]["test.dice"]
    assert (spread["min"], spread["max"]) == (0.81, 0.83)


def test_a_table_that_is_gone_is_written_again_without_a_run(runs: list[list[str]]) -> None:
    repeat.main(arguments("train.seed", "1"))
    table = Path("spread.unet.csv")
    before = table.read_bytes()
    table.unlink()
    repeat.main(arguments("train.seed", "1"))
    assert table.read_bytes() == before
    assert len(runs) == 1


@pytest.mark.parametrize("name", ["spread", "spread.0.5", "spread.csv"])
def test_an_output_that_others_could_not_be_named_after_is_refused(
    runs: list[list[str]], name: str
) -> None:
    given = arguments("train.seed", "1")
    given.output = Path(name)
    with pytest.raises(PipelineError, match=r"let it end in \.json"):
        repeat.main(given)
    assert runs == []


def test_an_output_that_cannot_be_written_is_told_before_anything_runs(
    runs: list[list[str]],
) -> None:
    Path("spread.json").mkdir()
    with pytest.raises(PipelineError, match=r"spread\.json: a folder; name a file"):
        repeat.main(arguments("train.seed", "1"))
    given = arguments("train.seed", "1")
    given.output = Path("params.yaml/spread.json")
    with pytest.raises(OSError, match=r"params\.yaml"):
        repeat.main(given)
    assert runs == []


@pytest.mark.parametrize("content", ['{"key": "train.seed"}', "[]", "", "no JSON"])
def test_an_output_of_something_else_is_not_overwritten(
    runs: list[list[str]], content: str
) -> None:
    Path("spread.json").write_text(content)
    with pytest.raises(PipelineError, match=r"spread\.json: of other parameters"):
        repeat.main(arguments("train.seed", "1"))
    assert Path("spread.json").read_text() == content
    assert runs == []


def test_runs_of_other_parameters_are_not_mixed_in(runs: list[list[str]]) -> None:
    repeat.main(arguments("train.seed", "1"))
    with pytest.raises(PipelineError, match=r"spread\.json: of other parameters"):
        repeat.main(arguments("train.seed", "3", settings=("train.epochs=7",)))
    assert len(runs) == 1


def test_an_invalid_value_is_told_before_the_first_runs(runs: list[list[str]]) -> None:
    before = Path("params.yaml").read_bytes()
    with pytest.raises(PipelineError, match=r"params\.yaml: train\.seed"):
        repeat.main(arguments("train.seed", "1", "2", "-1"))
    assert runs == []
    assert Path("params.yaml").read_bytes() == before


def test_an_unknown_parameter_runs_nothing(runs: list[list[str]]) -> None:
    with pytest.raises(PipelineError, match=r"has no key train\.sead"):
        repeat.main(arguments("train.sead", "1"))
    assert runs == []
