"""Tests of `monuseg.core.settings`."""

import os
from pathlib import Path

import pytest

from monuseg.core.errors import PipelineError
from monuseg.core.settings import Settings


def test_defaults_need_no_variable() -> None:
    settings = Settings.from_environment({})
    assert settings == Settings(
        archives=None,
        cache=Path.home() / ".cache" / "monuseg",
        workers=len(os.sched_getaffinity(0)),
        scheduler="",
        device_index=None,
        scratch=Path(".scratch"),
        checkpoint_seconds=None,
    )


def test_an_empty_variable_counts_as_unset() -> None:
    names = [
        "ARCHIVES",
        "CACHE",
        "WORKERS",
        "SCHEDULER",
        "DEVICE_INDEX",
        "SCRATCH",
        "CHECKPOINT_SECONDS",
    ]
    empty = {f"MONUSEG_{name}": "" for name in names} | {"XDG_CACHE_HOME": ""}
    assert Settings.from_environment(empty) == Settings.from_environment({})


def test_every_variable_is_read(tmp_path: Path) -> None:
    settings = Settings.from_environment(
        {
            "MONUSEG_ARCHIVES": str(tmp_path),
            "MONUSEG_CACHE": "/c",
            "MONUSEG_WORKERS": "3",
            "MONUSEG_SCHEDULER": "tcp://h:1",
            "MONUSEG_DEVICE_INDEX": "0",
            "MONUSEG_SCRATCH": "/s",
            "MONUSEG_CHECKPOINT_SECONDS": "0",
            "XDG_CACHE_HOME": "/x",
        }
    )
    assert settings == Settings(tmp_path, Path("/c"), 3, "tcp://h:1", 0, Path("/s"), 0)
    assert Settings.from_environment({"XDG_CACHE_HOME": "/x"}).cache == Path("/x/monuseg")


def test_the_process_environment_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MONUSEG_WORKERS", "7")
    assert Settings.from_environment().workers == 7


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("MONUSEG_WORKERS", "0", "'0' is not a whole number of at least 1"),
        ("MONUSEG_WORKERS", "2.0", "'2.0' is not a whole number of at least 1"),
        ("MONUSEG_WORKERS", "all", "'all' is not a whole number of at least 1"),
        ("MONUSEG_DEVICE_INDEX", "-1", "'-1' is not a whole number of at least 0"),
        ("MONUSEG_DEVICE_INDEX", "cuda:0", "'cuda:0' is not a whole number of at least 0"),
        ("MONUSEG_CHECKPOINT_SECONDS", "1.5", "'1.5' is not a whole number of at least 0"),
        ("MONUSEG_ARCHIVES", "/no/such/folder", "/no/such/folder is not a folder"),
    ],
)
def test_a_wrong_value_is_named_with_its_variable(name: str, value: str, said: str) -> None:
    with pytest.raises(PipelineError) as caught:
        Settings.from_environment({name: value})
    assert str(caught.value).startswith(f"{name}: {said}")
