"""Scores against minutes: each size and length is trained from nothing, timed, scored and drawn."""

import argparse
import json
import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from monuseg.core.errors import PipelineError
from monuseg.core.params import read_params
from monuseg.core.paths import METRICS
from monuseg.formats.files import write_json
from stages.report.charts import PALETTE
from tools import dvc, minutes

OUTPUT = Path("widths.json")


def arguments(*settings: str, epochs: tuple[int, ...] = (1, 2), given: tuple[str, ...] = ()):
    return argparse.Namespace(
        settings=list(settings), epochs=list(epochs), set=list(given), output=OUTPUT
    )


@pytest.fixture
def asked(project: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """What was to be reproduced, by a clock of a minute a width and epoch; score = width."""
    calls: list[tuple[str, ...]] = []
    now = 0.0

    def reproduce(*stages: str, environment: Mapping[str, str] | None = None) -> None:
        nonlocal now
        calls.append(stages)
        params = read_params()
        model = stages[-1].partition("@")[2]
        if stages[0] == "--force":
            scratch = Path((environment or {})["MONUSEG_SCRATCH"])
            assert not list(scratch.iterdir())  # nothing to resume from
            (scratch / "state").write_text("of a training")
            if params["train"]["epochs"] == 13:
                raise PipelineError("dvc repro failed")
            now += 60.0 * params[model]["width"] * params["train"]["epochs"]
        elif stages[-1].startswith("evaluate@"):
            score = params[model]["width"] / 100
            scores = {"dice": score, "aji": score / 2}
            if score <= 0.3:  # as stage evaluate leaves out what is undefined
                scores["pq"] = score / 4
            splits = params["evaluate"]["splits"]
            write_json(METRICS / f"{model}.json", dict.fromkeys(splits, scores))

    monkeypatch.setattr(dvc, "reproduce", reproduce)
    monkeypatch.setattr(minutes.time, "monotonic", lambda: now)
    return calls


def test_each_setting_and_length_is_trained_timed_and_scored(
    asked: list[tuple[str, ...]], capsys: pytest.CaptureFixture[str]
) -> None:
    before = Path("params.yaml").read_bytes()
    minutes.main(arguments("unet.width=4", "segnet.width=8"))
    assert asked[:3] == [
        ("tile",), ("--force", "--single-item", "train@unet"), ("evaluate@unet",),
    ]  # fmt: skip
    assert asked[-2:] == [("--force", "--single-item", "train@segnet"), ("evaluate@segnet",)]
    runs = json.loads(OUTPUT.read_text())["runs"]
    assert [(one["setting"], one["epochs"], one["minutes"]) for one in runs] == [
        ("unet.width=4", 1, 4), ("unet.width=4", 2, 8),
        ("segnet.width=8", 1, 8), ("segnet.width=8", 2, 16),
    ]  # fmt: skip
    assert [(one["dice"], one["aji"], one["pq"]) for one in runs][::2] == [
        (0.04, 0.02, 0.01), (0.08, 0.04, 0.02),
    ]  # fmt: skip
    assert Path("params.yaml").read_bytes() == before
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.split() == ["segnet.width=8", "2", "16.0", "0.08", "0.04", "0.02"]


def test_each_setting_is_on_top_of_the_same_parameters(asked: list[tuple[str, ...]]) -> None:
    minutes.main(arguments("unet.width=4", "unet.learning_rate=0.5", epochs=(1,)))
    width = read_params()["unet"]["width"]
    runs = json.loads(OUTPUT.read_text())["runs"]
    assert [one["minutes"] for one in runs] == [4, width]
    assert width != 4


def test_a_figure_that_is_gone_is_drawn_again_without_a_run(asked: list[tuple[str, ...]]) -> None:
    minutes.main(arguments("unet.width=4"))
    OUTPUT.with_suffix(".svg").unlink()
    asked.clear()
    minutes.main(arguments("unet.width=4"))
    assert asked == []
    # A single score is labelled as what it is.
    assert ">0.04</text>" in OUTPUT.with_suffix(".svg").read_text()


def test_a_damaged_output_is_refused(asked: list[tuple[str, ...]]) -> None:
    minutes.main(arguments("unet.width=4", epochs=(1,)))
    content = json.loads(OUTPUT.read_text())
    asked.clear()
    for damaged in ([3], [{"setting": "unet.width=4"}]):
        OUTPUT.write_text(json.dumps({**content, "runs": damaged}))
        with pytest.raises(PipelineError, match=r"widths\.json: damaged; give another --output"):
            minutes.main(arguments("unet.width=4", epochs=(1,)))
    assert asked == []


def test_an_output_of_another_command_is_refused(asked: list[tuple[str, ...]]) -> None:
    content = {"set": [], "params": read_params(), "runs": {"1": {}}}
    OUTPUT.write_text(json.dumps(content))
    with pytest.raises(PipelineError, match=r"widths\.json: of other parameters"):
        minutes.main(arguments("unet.width=4"))
    assert asked == []


def test_the_figure_has_a_line_a_setting_in_three_panels(asked: list[tuple[str, ...]]) -> None:
    minutes.main(arguments("unet.width=4", "unet.width=40"))  # the last without PQ
    figure = OUTPUT.with_suffix(".svg").read_text()
    assert figure.startswith("<svg")
    for text in ("Dice", "AJI", "PQ", "unet.width=4", "unet.width=40", "minutes of training"):
        assert f">{text}</text>" in figure
    lines = figure.count('aria-roledescription="line mark"')
    assert lines == 6


def test_settings_beyond_the_colours_differ_by_shape(tmp_path: Path) -> None:
    same = {"epochs": 1, "minutes": 1.0, **dict.fromkeys(minutes.SCORES, 0.5)}
    runs = [{"setting": f"unet.width={width}", **same} for width in range(1, len(PALETTE) + 2)]
    minutes.draw(runs, tmp_path / "many.svg")
    points = re.findall(
        r'aria-roledescription="point" transform="[^"]*" d="([^"]+)"[^>]*fill="([^"]+)"',
        (tmp_path / "many.svg").read_text(),
    )
    assert len(points) == 3 * len(runs)
    assert len(set(points)) == len(runs)


def test_the_same_command_again_goes_on(asked: list[tuple[str, ...]]) -> None:
    before = Path("params.yaml").read_bytes()
    with pytest.raises(PipelineError, match="dvc repro failed"):
        minutes.main(arguments("unet.width=4", epochs=(1, 13)))
    assert Path("params.yaml").read_bytes() == before
    asked.clear()
    minutes.main(arguments("unet.width=4", "unet.width=2", epochs=(1,)))
    assert [stages for stages in asked if stages[0] == "--force"] == [
        ("--force", "--single-item", "train@unet")
    ]
    assert len(json.loads(OUTPUT.read_text())["runs"]) == 2


def test_settings_hold_in_every_run_and_other_ones_are_not_mixed_in(
    asked: list[tuple[str, ...]],
) -> None:
    minutes.main(arguments("unet.width=4", epochs=(1,), given=("evaluate.splits=[validation]",)))
    assert list(json.loads((METRICS / "unet.json").read_text())) == ["validation"]
    with pytest.raises(PipelineError, match=r"widths\.json: of other parameters"):
        minutes.main(arguments("unet.width=4", epochs=(1,)))


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("train.crop=64", "train.crop=64 is of no model of params.yaml; begin it with unet or"),
        ("unet.wdith=8", "has no key unet.wdith"),
        ("unet.width=0", r"params\.yaml: unet"),
    ],
)
def test_a_mistake_is_told_before_anything_runs(
    asked: list[tuple[str, ...]], setting: str, said: str
) -> None:
    before = Path("params.yaml").read_bytes()
    with pytest.raises(PipelineError, match=said):
        minutes.main(arguments("unet.width=4", setting))
    assert asked == []
    assert Path("params.yaml").read_bytes() == before


def test_without_validation_images_it_says_so(asked: list[tuple[str, ...]]) -> None:
    with pytest.raises(PipelineError, match="no validation image was scored; hold some out"):
        minutes.main(arguments("unet.width=4", given=("evaluate.splits=[test]",)))
