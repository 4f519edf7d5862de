"""Tests of `stages.extract.archives`."""

import stat
import zipfile
from pathlib import Path, PurePosixPath

import pytest

from monuseg.core.errors import PipelineError
from stages.extract.archives import SafeArchive, archive_paths

LIMIT = 1_000_000


def write_zip(path: Path, members: dict[str, bytes], mode: int = 0o100644) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = mode << 16
            info.compress_type = zipfile.ZIP_DEFLATED
            file.writestr(info, content)
    return path


def test_members_are_the_files_in_order_without_folders(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", {"b/": b"", "./": b"", "b/two.tif": b"2", "a.xml": b"1"})
    with SafeArchive(path, max_bytes=LIMIT) as archive:
        assert [str(member.path) for member in archive.members] == ["b/two.tif", "a.xml"]
        assert [archive.read(member, most=LIMIT) for member in archive.members] == [b"2", b"1"]


def test_unpack_writes_to_the_named_target_only(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", {"deep/folder/image.tif": b"pixels"})
    out = tmp_path / "out"
    out.mkdir()
    with SafeArchive(path, max_bytes=LIMIT) as archive:
        archive.unpack(archive.members[0], out / "x.tif", most=LIMIT)
    assert {p.relative_to(tmp_path) for p in tmp_path.rglob("*")} == {
        Path("a.zip"),
        Path("out"),
        Path("out/x.tif"),
    }
    assert (out / "x.tif").read_bytes() == b"pixels"


def test_unpack_never_overwrites(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", {"image.tif": b"new"})
    target = tmp_path / "x.tif"
    target.write_bytes(b"old")
    with SafeArchive(path, max_bytes=LIMIT) as archive, pytest.raises(FileExistsError):
        archive.unpack(archive.members[0], target, most=LIMIT * 100)
    assert target.read_bytes() == b"old"


def test_backslashes_of_old_windows_tools_separate_folders(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", {"Training\\": b"", "Training\\x.tif": b"1"})
    with SafeArchive(path, max_bytes=LIMIT) as archive:
        assert [m.path for m in archive.members] == [PurePosixPath("Training/x.tif")]


@pytest.mark.parametrize(
    "name", ["../x.tif", "a/../../x.tif", "/etc/x.tif", "a\\..\\x.tif", "\\x.tif", "C:\\x.tif"]
)
def test_a_path_that_leads_out_is_refused_and_named(tmp_path: Path, name: str) -> None:
    path = write_zip(tmp_path / "a.zip", {"good.tif": b"1", name: b"2"})
    with pytest.raises(PipelineError, match=r"a\.zip.*x\.tif.*leads out"):
        SafeArchive(path, max_bytes=LIMIT)


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFIFO])
def test_a_link_or_device_is_refused_and_named(tmp_path: Path, kind: int) -> None:
    path = write_zip(tmp_path / "a.zip", {"x.tif": b"/etc/passwd"}, mode=kind | 0o777)
    with pytest.raises(PipelineError, match=r"x\.tif.*link or device"):
        SafeArchive(path, max_bytes=LIMIT)


def test_an_encrypted_member_is_refused_and_named(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", {"x.tif": b"secret"})
    content = bytearray(path.read_bytes())
    # The flags of the local header and of the central directory.
    content[6] |= 1
    content[content.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(content)
    with pytest.raises(PipelineError, match=r"x\.tif.*encrypted"):
        SafeArchive(path, max_bytes=LIMIT)


def test_what_is_unpacked_is_counted_over_all_members(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", {"one.tif": bytes(600), "two.tif": bytes(600)})
    with SafeArchive(path, max_bytes=1000) as archive:
        assert len(archive.read(archive.members[0], most=LIMIT)) == 600
        with pytest.raises(PipelineError, match=r"a\.zip.*1000 bytes.*extract\.max_bytes"):
            archive.read(archive.members[1], most=LIMIT)
    with SafeArchive(path, max_bytes=1200) as archive:
        assert sum(len(archive.read(member, most=LIMIT)) for member in archive.members) == 1200


def test_a_bomb_is_stopped_while_it_unpacks(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", {"bomb.tif": bytes(30_000_000)})
    assert path.stat().st_size < 100_000
    target = tmp_path / "out.tif"
    with SafeArchive(path, max_bytes=2_000_000) as archive, pytest.raises(PipelineError):
        archive.unpack(archive.members[0], target, most=LIMIT * 100)
    assert target.stat().st_size <= 2_000_000


def test_a_size_that_lies_is_damage(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", {"x.tif": bytes(5000)})
    content = bytearray(path.read_bytes())
    start = content.index(b"PK\x01\x02") + 24  # uncompressed size in the central directory
    content[start : start + 4] = (10).to_bytes(4, "little")
    path.write_bytes(content)
    with (
        SafeArchive(path, max_bytes=LIMIT) as archive,
        pytest.raises(PipelineError, match=r"a\.zip.*x\.tif.*damaged"),
    ):
        archive.read(archive.members[0], most=LIMIT)


def test_changed_bytes_are_damage(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as file:
        file.writestr("x.tif", b"pixels")
    path.write_bytes(path.read_bytes().replace(b"pixels", b"pixelz", 1))
    with (
        SafeArchive(path, max_bytes=LIMIT) as archive,
        pytest.raises(PipelineError, match=r"x\.tif.*damaged"),
    ):
        archive.read(archive.members[0], most=LIMIT)


@pytest.mark.parametrize("content", [b"", b"<html>quota</html>", b"PK\x03\x04 and no more"])
def test_what_is_no_zip_is_one_clear_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.zip"
    path.write_bytes(content)
    with pytest.raises(PipelineError, match=r"a\.zip: no whole zip file") as raised:
        SafeArchive(path, max_bytes=LIMIT)
    assert "\n" not in str(raised.value)


def test_every_truncation_is_an_error_that_names_the_archive(tmp_path: Path) -> None:
    whole = write_zip(tmp_path / "whole.zip", {"x.tif": bytes(range(256))}).read_bytes()
    path = tmp_path / "a.zip"
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(PipelineError, match=r"a\.zip"):
            SafeArchive(path, max_bytes=LIMIT)


def test_archives_are_found_in_order_in_any_case(tmp_path: Path) -> None:
    for name in ["b.zip", "A.ZIP", "readme.txt"]:
        (tmp_path / name).write_bytes(b"")
    assert [path.name for path in archive_paths(tmp_path)] == ["A.ZIP", "b.zip"]


def test_a_folder_without_archives_says_how_to_get_them(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match=r"stages\.download"):
        archive_paths(tmp_path)
