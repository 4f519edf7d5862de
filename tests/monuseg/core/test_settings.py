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
        processes=1,
        process_index=0,
        coordinator="",
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
        "PROCESSES",
        "PROCESS_INDEX",
        "COORDINATOR",
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
            "MONUSEG_PROCESSES": "4",
            "MONUSEG_PROCESS_INDEX": "3",
            "MONUSEG_COORDINATOR": "h:2",
            "XDG_CACHE_HOME": "/x",
        }
    )
    assert settings == Settings(tmp_path, Path("/c"), 3, "tcp://h:1", 0, Path("/s"), 0, 4, 3, "h:2")
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
        ("MONUSEG_PROCESSES", "0", "'0' is not a whole number of at least 1"),
        ("MONUSEG_PROCESSES", "2", "2, so set MONUSEG_PROCESS_INDEX to a number from 0 to 1"),
        ("MONUSEG_CHECKPOINT_SECONDS", "1.5", "'1.5' is not a whole number of at least 0"),
        ("MONUSEG_ARCHIVES", "/no/such/folder", "/no/such/folder is not a folder"),
    ],
)
def test_a_wrong_value_is_named_with_its_variable(name: str, value: str, said: str) -> None:
    with pytest.raises(PipelineError) as caught:
        Settings.from_environment({name: value})
    assert str(caught.value).startswith(f"{name}: {said}")


@pytest.mark.parametrize(("index", "coordinator"), [("2", "h:1"), ("1", ""), ("", "h:1")])
def test_of_several_processes_each_must_be_named(index: str, coordinator: str) -> None:
    named = {"MONUSEG_PROCESS_INDEX": index, "MONUSEG_COORDINATOR": coordinator}
    with pytest.raises(PipelineError, match="from 0 to 1, and MONUSEG_COORDINATOR to host:port"):
        Settings.from_environment(named | {"MONUSEG_PROCESSES": "2"})


@pytest.mark.parametrize("name", ["MONUSEG_ARCHIVES", "MONUSEG_CACHE", "MONUSEG_SCRATCH"])
def test_a_tilde_is_the_users_home(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "kept").mkdir()
    settings = Settings.from_environment({name: "~/kept"})
    found = {
        "MONUSEG_ARCHIVES": settings.archives,
        "MONUSEG_CACHE": settings.cache,
        "MONUSEG_SCRATCH": settings.scratch,
    }
    assert found[name] == tmp_path / "kept"


def test_a_relative_cache_folder_of_the_desktop_is_ignored() -> None:
    default = Path.home() / ".cache/monuseg"
    assert Settings.from_environment({"XDG_CACHE_HOME": "caches"}).cache == default


def test_without_a_home_a_folder_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_home(path: str) -> str:
        return path

    monkeypatch.setattr(os.path, "expanduser", no_home)
    with pytest.raises(PipelineError, match=r"MONUSEG_CACHE: ~/\.cache/monuseg: .*; set it to ano"):
        Settings.from_environment({})
    assert Settings.from_environment({"MONUSEG_CACHE": "/c"}).cache == Path("/c")


@pytest.mark.parametrize("name", ["MONUSEG_ARCHIVES", "MONUSEG_CACHE", "MONUSEG_SCRATCH"])
@pytest.mark.parametrize(
    ("place", "refused"),
    [
        ("data", True),
        ("data/archives", True),
        ("{project}/data/archives/deeper", True),
        ("link", True),  # to data/archives
        ("{outside}/big", True),  # where the link metrics leads
        ("{outside}/big/detail", True),
        ("data/../by hand", False),
        ("database", False),
        (".", False),  # only what lies in it itself is looked at
        ("{outside}", False),
    ],
)
def test_folders_that_stages_replace_are_refused(
    name: str, place: str, refused: bool, project: Path, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    for folder in ("data/archives/deeper", "by hand", "database"):
        (project / folder).mkdir(parents=True)
    (outside / "big/detail").mkdir(parents=True)
    (project / "metrics").symlink_to(outside / "big")
    (project / "link").symlink_to("data/archives")
    text = place.format(project=project, outside=outside)
    if refused:
        with pytest.raises(PipelineError, match=f"^{name}: .*lies where stages replace whole"):
            Settings.from_environment({name: text})
        # Elsewhere than in a project nobody replaces anything.
        (project / "params.yaml").unlink()
    Settings.from_environment({name: text})
