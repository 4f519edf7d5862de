"""Tests of `monuseg.core.files`."""

import hashlib
import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from monuseg.core.errors import PipelineError
from monuseg.core.files import replacing, replacing_folder, sha256_of, write_text
from monuseg.formats.files import read_json, write_json


@pytest.fixture(params=[0o022, 0o077, 0o002], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    mask: int = request.param
    before = os.umask(mask)
    yield mask
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_file_takes_its_place_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "new" / "model.weights.h5"
    with replacing(path) as temporary:
        assert temporary.name.endswith(".weights.h5")
        temporary.write_text("first")
        assert not path.exists()
    with replacing(path) as temporary:
        assert not temporary.exists()
        temporary.write_text("second")
        assert path.read_text() == "first"
    assert path.read_text() == "second"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("there", [False, True])
def test_an_error_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, error: type[BaseException], there: bool
) -> None:
    path = tmp_path / "a.csv"
    if there:
        path.write_text("old")
    with pytest.raises(error), replacing(path) as temporary:
        temporary.write_text("half")
        raise error
    assert [p.read_text() for p in tmp_path.iterdir()] == (["old"] if there else [])


def test_a_file_that_was_never_written_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("old")
    with pytest.raises(FileNotFoundError), replacing(path):
        pass
    assert [p.read_text() for p in tmp_path.iterdir()] == ["old"]


def test_a_folder_takes_its_place_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "data" / "masks"
    for name in ("first", "second"):
        with replacing_folder(path) as temporary:
            assert list(temporary.iterdir()) == []
            (temporary / name).mkdir()
            (temporary / name / "x").write_text(name)
    # What the first run wrote is gone.
    assert [p.relative_to(path.parent).as_posix() for p in sorted(path.parent.rglob("*"))] == [
        "masks",
        "masks/second",
        "masks/second/x",
    ]


@pytest.mark.parametrize("there", [False, True])
def test_an_error_leaves_the_old_folder_and_nothing_else(tmp_path: Path, there: bool) -> None:
    path = tmp_path / "masks"
    if there:
        path.mkdir()
        (path / "x").write_text("old")
    with pytest.raises(ValueError, match="on purpose"), replacing_folder(path) as temporary:
        (temporary / "x").write_text("half")
        raise ValueError("on purpose")
    found = {p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*")}
    assert found == ({"masks", "masks/x"} if there else set())
    assert not there or (path / "x").read_text() == "old"


def test_two_writers_of_one_file_do_not_meet(tmp_path: Path) -> None:
    path = tmp_path / "a"
    with replacing(path) as one, replacing(path) as other:
        assert one != other
        one.write_text("one")
        other.write_text("other")
    assert path.read_text() == "one"


def test_files_and_folders_have_the_permissions_that_the_user_gives(
    tmp_path: Path, umask: int
) -> None:
    write_text(tmp_path / "new" / "a.txt", "x")
    with replacing_folder(tmp_path / "folder") as temporary:
        (temporary / "b").write_text("x")
    assert mode(tmp_path / "new" / "a.txt") == mode(tmp_path / "folder" / "b") == 0o666 & ~umask
    assert mode(tmp_path / "new") == mode(tmp_path / "folder") == 0o777 & ~umask


def test_text_is_utf_8_with_unix_line_ends(tmp_path: Path) -> None:
    write_text(tmp_path / "a", "µm\nß\n")
    assert (tmp_path / "a").read_bytes() == b"\xc2\xb5m\n\xc3\x9f\n"


def test_json_comes_back_as_it_was_in_its_order(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    content = {"z": [1, 2.5, None, True], "a": {"µ": "ß"}}
    write_json(path, content)
    assert read_json(path) == content
    text = path.read_text(encoding="utf-8")
    assert text.startswith('{\n  "z": [')
    assert text.endswith("}\n")
    assert '"µ": "ß"' in text
    assert list(json.loads(text)) == ["z", "a"]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_json_has_neither_nan_nor_infinity(tmp_path: Path, value: float) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"old": 1})
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(path, {"dice": [0.5, value]})
    assert read_json(path) == {"old": 1}
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("size", [0, 1, 1 << 20, (1 << 20) + 1])
def test_sha256_is_of_all_bytes(tmp_path: Path, size: int) -> None:
    content = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    (tmp_path / "a").write_bytes(content)
    assert sha256_of(tmp_path / "a") == hashlib.sha256(content).hexdigest()


def test_a_linked_folder_is_refused_before_any_work(tmp_path: Path) -> None:
    kept = tmp_path / "elsewhere" / "a.tif"
    kept.parent.mkdir()
    kept.write_text("kept")
    path = tmp_path / "raw"
    path.symlink_to(kept.parent)
    said = r"raw: a link stands where a stage replaces the whole folder; remove the link"
    with pytest.raises(PipelineError, match=said), replacing_folder(path):
        raise AssertionError
    assert path.readlink() == kept.parent
    assert [file.read_text() for file in path.iterdir()] == ["kept"]


def test_below_a_link_a_folder_is_replaced_where_it_lies(tmp_path: Path) -> None:
    old = tmp_path / "big" / "raw" / "old"
    old.parent.mkdir(parents=True)
    old.touch()
    (tmp_path / "data").symlink_to("big")
    with replacing_folder(tmp_path / "data/raw") as folder:
        (folder / "new").touch()
    assert (tmp_path / "data").readlink() == Path("big")
    assert [file.name for file in old.parent.iterdir()] == ["new"]
    assert [file.name for file in old.parents[1].iterdir()] == ["raw"]


def test_a_link_to_a_file_gives_way_and_what_it_leads_to_stays(tmp_path: Path) -> None:
    # As DVC makes them into its cache, if `cache.type` is symlink.
    cached = tmp_path / "cached"
    cached.write_text("old")
    path = tmp_path / "splits.csv"
    path.symlink_to(cached)
    write_text(path, "new")
    assert (path.is_symlink(), path.read_text(), cached.read_text()) == (False, "new", "old")
