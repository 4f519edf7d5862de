"""Arrays on disk that leave nothing behind."""

import errno
import tempfile
from pathlib import Path

import numpy as np
import pytest

from stages.train.stored import Stored

ARRAYS = [
    np.arange(7, dtype=np.uint16),
    np.zeros((4, 0, 2), np.float32),
    np.arange(30_000, dtype=np.uint8).reshape(100, 100, 3)[::2],  # not contiguous
    np.array([(1, 0.5)], [("label", np.uint16), ("chance", np.float64)]),
]


def test_what_is_kept_comes_back_as_it_was_and_cannot_be_changed(tmp_path: Path) -> None:
    stored = Stored(tmp_path / "new" / "folder")
    for array in ARRAYS:
        stored.append(array)
        # Also between two additions.
        np.testing.assert_array_equal(stored[0], ARRAYS[0])
    for number, array in enumerate(ARRAYS):
        assert stored[number].dtype == array.dtype
        np.testing.assert_array_equal(stored[number], array)
    with pytest.raises(ValueError, match="read-only"):
        stored[2][0] = 1


def test_it_has_no_name_on_the_disk(tmp_path: Path) -> None:
    stored = Stored(tmp_path)
    stored.append(ARRAYS[0])
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with Path("/dev/full").open("wb") as full:
        monkeypatch.setattr(tempfile, "TemporaryFile", lambda **_: full)
        with pytest.raises(OSError, match=str(tmp_path)) as caught:
            Stored(tmp_path).append(np.zeros(100_000))
        assert caught.value.errno == errno.ENOSPC
