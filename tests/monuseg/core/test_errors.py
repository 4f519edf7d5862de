"""Tests of `monuseg.core.errors`."""

import copy
import errno
import os
from pathlib import Path

import pytest

from monuseg.core.errors import PipelineError, explained, tell
from monuseg.core.files import naming, replacing, replacing_folder


def test_bad_input_is_told_as_it_is_in_one_line() -> None:
    assert explained(PipelineError("a.xml: line 3:\n  malformed ")) == "a.xml: line 3: malformed"


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (errno.ENOSPC, "data/a.npy: no space left on its disk; free some"),
        (errno.EDQUOT, "data/a.npy: the disk quota is used up; free some"),
        (errno.EFBIG, "data/a.npy: more bytes than a file may have; raise the limit"),
        (errno.EROFS, "data/a.npy: on a read-only file system; make it writable"),
        (errno.EACCES, "data/a.npy: permission denied; change the permissions"),
        (errno.EEXIST, "data/a.npy: a file, or a link to nothing, stands where"),
        (errno.ENAMETOOLONG, "data/a.npy: a name too long for its file system; shorten"),
        (errno.ENOENT, "data/a.npy: no such file or folder; if a stage makes it"),
        (errno.EMFILE, "data/a.npy: too many open files; raise the limit"),
        (errno.ELOOP, f"data/a.npy: {os.strerror(errno.ELOOP)}"),
    ],
)
def test_an_error_of_the_system_names_file_and_remedy(number: int, said: str) -> None:
    assert explained(OSError(number, os.strerror(number), "data/a.npy")).startswith(said)


def test_an_error_without_a_file_or_number_is_told_as_it_is() -> None:
    assert explained(OSError(errno.ENOSPC, "x")).startswith("a file that the system does not name:")
    assert explained(OSError("no\nnumber")) == "no number"
    assert explained(OSError(errno.ENOENT, "x", b"caf\xe9")).startswith("caf\\udce9: no such file")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("\x1b]0;owned\x07 and \x9b2J", r"\x1b]0;owned\x07 and \x9b2J"),
        ("abc\u202edcb\u200b \ud800", r"abc\u202edcb\u200b \ud800"),
        ("caf\u00e9 \u65e5 \U0001f642", "caf\u00e9 \u65e5 \U0001f642"),
        ("two\r\nlines\u2028of\x85text", "two lines of text"),
        ("https://me:pass@host/a: no", "https://***@host/a: no"),
        ("https://me:p@ss/w?r#d@host/a (no)", "https://***@host/a (no)"),
        ("found 'https://token@'", "found 'https://***@'"),
        ("(http://h:80/a?sig=x%2B): mail a@b", "(http://h:80/a?***): mail a@b"),
        ("'https://h/a?e=1&s=(x)#t', no", "'https://h/a?***', no"),
        ("is http://h:80/a right? me@h", "is http://h:80/a right? me@h"),
    ],
)
def test_codes_that_a_terminal_obeys_and_secrets_of_addresses_are_not_printed(
    text: str, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert explained(PipelineError(text)) == told
    tell(text)
    assert capsys.readouterr().err == f"{told}\n"


def full(*name: str) -> OSError:
    return OSError(errno.ENOSPC, "No space left on device", *name)


def test_a_full_disk_names_what_was_being_written(tmp_path: Path) -> None:
    for writer in (replacing, replacing_folder):
        with pytest.raises(OSError, match="No space") as caught, writer(tmp_path / "out"):
            raise full()
        assert caught.value.filename == str(tmp_path / "out")
        # As it comes back from another process: a copy takes the way of a pickle.
        assert copy.copy(caught.value).filename == str(tmp_path / "out")
        assert list(tmp_path.iterdir()) == []


def test_a_temporary_name_is_told_as_the_final_one(tmp_path: Path) -> None:
    with (
        pytest.raises(OSError, match="No space") as caught,
        replacing_folder(tmp_path / "out") as folder,
        replacing(folder / "part/a.csv") as temporary,
    ):
        raise full(str(temporary))
    assert caught.value.filename == str(tmp_path / "out/part/a.csv")
    assert list(tmp_path.iterdir()) == []


def test_the_name_of_another_file_stays(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught, naming(tmp_path / "out"):
        Path("data/raw/no.tif").read_bytes()
    assert caught.value.filename == "data/raw/no.tif"
    with pytest.raises(OSError, match="requested") as unnumbered, naming(tmp_path / "out"):
        raise OSError("5 requested and 0 written")
    assert unnumbered.value.filename is None


def test_of_a_copy_the_target_is_named(tmp_path: Path) -> None:
    target = str(tmp_path / ".writing-abc/out/b.zip")
    with pytest.raises(OSError, match="No space") as caught, naming(tmp_path / "out"):
        raise OSError(errno.ENOSPC, "No space left on device", "cache/a.zip", None, target)
    assert explained(caught.value).startswith(f"{tmp_path}/out/b.zip: no space left on its disk")


def test_a_folder_that_cannot_be_made_is_named_without_the_temporary_part(tmp_path: Path) -> None:
    name = str(tmp_path / ".writing-abc")
    with pytest.raises(OSError, match="Read-only") as caught, naming(tmp_path / "out"):
        raise OSError(errno.EROFS, "Read-only file system", name)
    assert caught.value.filename == str(tmp_path / "out")
