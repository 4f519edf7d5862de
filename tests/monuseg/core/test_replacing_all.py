"""Tests of `monuseg.core.files.replacing_all`."""

import errno
from pathlib import Path

import pytest

from monuseg.core import files
from monuseg.core.files import replacing, replacing_all

PATHS = ("data/splits.csv", "data/tiles/train", "metrics/a.json")


def write(paths: list[Path], content: str) -> None:
    table, tiles, metrics = paths
    table.write_text(content)
    tiles.mkdir()
    (tiles / content).write_text(content)
    with replacing(metrics) as temporary:  # writers that are careful themselves
        temporary.write_text(content)


def found(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): path.read_text()
        for path in folder.rglob("*")
        if path.is_file()
    }


def whole(content: str) -> dict[str, str]:
    return {
        "data/splits.csv": content,
        f"data/tiles/train/{content}": content,
        "metrics/a.json": content,
    }


def test_all_take_their_places_at_the_end(tmp_path: Path) -> None:
    places = [tmp_path / path for path in PATHS]
    for content, before in (("first", {}), ("second", whole("first"))):
        with replacing_all(*places) as paths:
            write(paths, content)
            assert {place.is_file() for place in places[::2]} == {bool(before)}
        assert found(tmp_path) == whole(content)
    # No temporary folder is left.
    assert {path.name for path in (tmp_path / "data").iterdir()} == {"splits.csv", "tiles"}


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("there", [False, True])
def test_an_error_leaves_all_as_they_were(
    tmp_path: Path, error: type[BaseException], there: bool
) -> None:
    places = [tmp_path / path for path in PATHS]
    if there:
        with replacing_all(*places) as paths:
            write(paths, "old")
    with pytest.raises(error), replacing_all(*places) as paths:
        write(paths, "new")
        raise error
    assert found(tmp_path) == (whole("old") if there else {})


def test_one_that_was_not_written_leaves_nothing_new_beside_the_old(tmp_path: Path) -> None:
    places = [tmp_path / path for path in PATHS]
    with replacing_all(*places) as paths:
        write(paths, "old")
    with pytest.raises(FileNotFoundError), replacing_all(*places) as paths:
        paths[0].write_text("new")
    assert set(found(tmp_path).values()) <= {"new"}


def test_a_process_killed_at_any_rename_leaves_no_mixture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = [tmp_path / path for path in PATHS]
    with replacing_all(*places) as paths:
        write(paths, "old")
    rename = Path.rename
    seen: list[dict[str, str]] = []

    def watched(path: Path, target: Path) -> Path:
        there = found(tmp_path)
        seen.append({name: there[name] for name in there if ".writing-" not in name})
        return rename(path, target)

    with replacing_all(*places) as paths:
        write(paths, "new")
        monkeypatch.setattr(Path, "rename", watched)
    assert [len(state) for state in seen] == [3, 2, 1, 0, 1, 2]
    assert [set(state.values()) for state in seen] == [{"old"}] * 3 + [set()] + [{"new"}] * 2
    assert found(tmp_path) == whole("new")


def test_the_systems_errors_name_what_is_written(tmp_path: Path) -> None:
    places = [tmp_path / path for path in PATHS]
    for number, within in ((0, ""), (1, "x.npy"), (2, "")):
        with pytest.raises(OSError, match="No space") as caught, replacing_all(*places) as paths:
            raise OSError(errno.ENOSPC, "No space left on device", str(paths[number] / within))
        assert caught.value.filename == str(places[number] / within)
    with pytest.raises(OSError, match="No space") as caught, replacing_all(*places) as paths:
        raise OSError(errno.ENOSPC, "No space", "/elsewhere", None, str(paths[1] / "x.npy"))
    assert caught.value.filename == str(places[1] / "x.npy")
    with pytest.raises(FileNotFoundError) as caught, replacing_all(*places):
        Path(tmp_path, "input").read_text()
    assert caught.value.filename == str(tmp_path / "input")


def test_an_orphan_of_dvc_replaces_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def orphaned() -> None:
        raise KeyboardInterrupt

    places = [tmp_path / path for path in PATHS]
    with replacing_all(*places) as paths:
        write(paths, "old")
    monkeypatch.setattr(files, "stop_if_orphaned", orphaned)
    with pytest.raises(KeyboardInterrupt), replacing_all(*places) as paths:
        paths[0].write_text("new")
        paths[1].mkdir()
        paths[2].write_text("new")
    assert found(tmp_path) == whole("old")


def test_a_folder_where_a_file_was_made_is_not_removed(tmp_path: Path) -> None:
    places = [tmp_path / path for path in PATHS]
    with replacing_all(*places) as paths:
        write(paths, "old")
    places[2].unlink()
    (places[2] / "mine").mkdir(parents=True)
    with pytest.raises(IsADirectoryError) as caught, replacing_all(*places) as paths:
        write(paths, "new")
    assert caught.value.filename == str(places[2])
    assert set(found(tmp_path).values()) == {"old"}
    assert (places[2] / "mine").is_dir()


def test_the_longest_names_are_replaced(tmp_path: Path) -> None:
    place = tmp_path / ("x" * 251 + ".png")
    for content in ("first", "second"):
        with replacing_all(place) as [path]:
            path.write_text(content)
        assert place.read_text() == content
