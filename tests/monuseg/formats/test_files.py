"""Tests of `monuseg.formats.files`; that a full disk is told is tested in test_disk.py."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from monuseg.formats.files import write_array


@pytest.mark.parametrize(
    "array",
    [
        np.arange(12.0).reshape(3, 4),
        np.asfortranarray(np.arange(12, dtype=np.uint16).reshape(3, 4)),
        np.zeros((0, 3), np.float16),
        np.array(3),
        np.arange(24)[::3],
    ],
    ids=["c", "fortran", "empty", "scalar", "strided"],
)
def test_the_bytes_are_those_of_numpy(array: npt.NDArray[np.generic], tmp_path: Path) -> None:
    np.save(tmp_path / "numpy.npy", array)
    write_array(tmp_path / "ours.npy", array)
    assert (tmp_path / "ours.npy").read_bytes() == (tmp_path / "numpy.npy").read_bytes()
    np.testing.assert_array_equal(np.load(tmp_path / "ours.npy", mmap_mode="r"), array)


def test_what_needs_a_pickle_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="pickle"):
        write_array(tmp_path / "a.npy", np.array([{}], dtype=object))
    assert list(tmp_path.iterdir()) == []
