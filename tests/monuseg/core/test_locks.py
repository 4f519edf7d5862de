"""Tests of `monuseg.core.locks`, besides those of stages that wait for each other (test_turn)."""

import errno
import fcntl
from pathlib import Path

import pytest

from monuseg.core.locks import exclusive
from stages.download.sources.store import downloading


def refuse(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    """Let the system answer each attempt to lock with an error."""

    def fail(*arguments: object) -> None:
        raise OSError(code, "as the system says")

    monkeypatch.setattr(fcntl, "flock", fail)


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP])
@pytest.mark.parametrize("patience", [0.0, 1.0, -1])
def test_without_locks_the_work_goes_on(
    code: int,
    patience: float,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    refuse(monkeypatch, code)
    done = []
    with exclusive(tmp_path / "new/a.lock", patience=patience):
        done.append("work")
    assert done == ["work"]
    said = capsys.readouterr().err
    assert said == (f"{tmp_path}/new/a.lock: no locks on this file system; run one dvc at a time\n")


def test_a_cache_of_archives_without_locks_is_filled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    refuse(monkeypatch, errno.ENOLCK)
    cached = tmp_path / "cache" / f"{'0' * 64}.zip"
    with downloading(cached) as folder:
        (folder / "part").write_text("bytes")
        (folder / "part").rename(cached)
    assert cached.read_text() == "bytes"
    assert not folder.exists()
    assert capsys.readouterr().err.count("no locks on this file system") == 1


@pytest.mark.parametrize("patience", [0.0, -1])
@pytest.mark.parametrize("below", ["a.lock", "locks/a.lock"])
def test_a_folder_that_is_a_link_to_nothing_is_an_error(
    tmp_path: Path, below: str, patience: float
) -> None:
    (tmp_path / ".scratch").symlink_to(tmp_path / "gone")
    with (
        pytest.raises(FileExistsError, match=r"\.scratch"),
        exclusive(tmp_path / ".scratch" / below, patience=patience),
    ):
        pass
