"""Tests of `stages.extract.archives`."""

import os
import stat
import tracemalloc
import zipfile
from pathlib import Path, PurePosixPath

import numpy as np
import pytest

from monuseg.core.errors import PipelineError
from stages.extract.archives import (
    BLOCK,
    DIRECTORY_BYTES_MAX,
    archive_paths,
    opened,
    require_at_most,
)

LIMIT = 1_000_000


def write_zip(path: Path, members: dict[str, bytes], mode: int = 0o100644) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = mode << 16
            info.compress_type = zipfile.ZIP_DEFLATED
            file.writestr(info, content)
    return path


def refused(path: Path, pattern: str) -> str:
    """What opening an archive fails with."""
    with pytest.raises(PipelineError, match=pattern) as raised, opened(path):
        pass
    return str(raised.value)


def test_members_are_the_files_in_order_without_folders(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", {"b/": b"", "./": b"", "b/two.tif": b"2", "a.xml": b"1"})
    with opened(path) as members:
        assert [str(member.path) for member in members] == ["b/two.tif", "a.xml"]
        assert [member.read(LIMIT) for member in members] == [b"2", b"1"]


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_member_may_be_larger_than_a_directory(tmp_path: Path, method: int) -> None:
    content = np.random.default_rng(0).bytes(DIRECTORY_BYTES_MAX + BLOCK + 1)
    with zipfile.ZipFile(tmp_path / "a.zip", "w", method) as file:
        file.writestr("a.tif", content)
    with opened(tmp_path / "a.zip") as (member,):
        assert member.read(len(content)) == content


def test_backslashes_of_old_windows_tools_separate_folders(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", {"Training\\": b"", "Training\\x.tif": b"1"})
    with opened(path) as (member,):
        assert member.path == PurePosixPath("Training/x.tif")


@pytest.mark.parametrize(
    "name", ["../x.tif", "a/../../x.tif", "/etc/x.tif", "a\\..\\x.tif", "\\x.tif", "C:\\x.tif"]
)
def test_a_path_that_leads_out_is_refused_and_named(tmp_path: Path, name: str) -> None:
    path = write_zip(tmp_path / "a.zip", {"good.tif": b"1", name: b"2"})
    refused(path, r"a\.zip.*x\.tif.*leads out")


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFIFO])
def test_a_link_or_device_is_refused_and_named(tmp_path: Path, kind: int) -> None:
    path = write_zip(tmp_path / "a.zip", {"x.tif": b"/etc/passwd"}, mode=kind | 0o777)
    refused(path, r"x\.tif.*link or device")


def test_an_encrypted_member_is_refused_and_named(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", {"x.tif": b"secret"})
    content = bytearray(path.read_bytes())
    # The flags of the local header and of the central directory.
    content[6] |= 1
    content[content.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(content)
    refused(path, r"x\.tif.*encrypted")


def test_what_may_be_unpacked_is_counted_over_the_members_of_each_archive(tmp_path: Path) -> None:
    content = {"one.tif": bytes(600), "two.tif": bytes(600)}
    with (
        opened(write_zip(tmp_path / "a.zip", content)) as one,
        opened(write_zip(tmp_path / "b.zip", content)) as two,
    ):
        require_at_most(1200, [*one, *two])
        with pytest.raises(PipelineError, match=r"b\.zip.*1199 bytes.*extract\.max_bytes"):
            require_at_most(1199, [one[0], *two])


def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.zip")
    refused(tmp_path / "a.zip", r"a\.zip: no regular file")


def test_a_member_that_is_larger_than_its_kind_may_be_is_not_read(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", {"one.tif": bytes(600)})
    with opened(path) as (member,):
        with pytest.raises(PipelineError, match=r"a\.zip.*one\.tif.*more than 599 bytes"):
            member.read(599)
        assert member.read(600) == bytes(600)


def test_a_bomb_whose_size_lies_is_damage_and_never_in_memory(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", {"x.tif": bytes(300_000_000)})
    content = bytearray(path.read_bytes())
    assert len(content) < LIMIT
    start = content.index(b"PK\x01\x02") + 24  # uncompressed size in the central directory
    content[start : start + 4] = (10).to_bytes(4, "little")
    path.write_bytes(content)
    tracemalloc.start()
    with (
        opened(path) as (member,),
        pytest.raises(PipelineError, match=r"a\.zip.*x\.tif.*damaged"),
    ):
        member.read(LIMIT)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 10 * BLOCK


def test_changed_bytes_are_damage(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as file:
        file.writestr("x.tif", b"pixels")
    path.write_bytes(path.read_bytes().replace(b"pixels", b"pixelz", 1))
    with (
        opened(path) as (member,),
        pytest.raises(PipelineError, match=r"x\.tif.*damaged"),
    ):
        member.read(LIMIT)


@pytest.mark.parametrize("content", [b"", b"<html>quota</html>", b"PK\x03\x04 and no more"])
def test_what_is_no_zip_is_one_clear_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.zip"
    path.write_bytes(content)
    assert "\n" not in refused(path, r"a\.zip: no whole zip file")


def test_every_truncation_is_an_error_that_names_the_archive(tmp_path: Path) -> None:
    whole = write_zip(tmp_path / "whole.zip", {"x.tif": bytes(range(256))}).read_bytes()
    path = tmp_path / "a.zip"
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        refused(path, r"a\.zip")


def test_archives_are_found_in_order_in_any_case(tmp_path: Path) -> None:
    for name in ["b.zip", "A.ZIP", "readme.txt"]:
        (tmp_path / name).write_bytes(b"")
    assert [path.name for path in archive_paths(tmp_path)] == ["A.ZIP", "b.zip"]


def test_a_folder_without_archives_says_how_to_get_them(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match=r"stages\.download"):
        archive_paths(tmp_path)
