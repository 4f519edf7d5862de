"""The format of a predictions folder."""

from pathlib import Path

import numpy as np
import pytest

from monuseg.core.errors import PipelineError
from monuseg.formats.predictions import (
    Output,
    read_output,
    read_probabilities,
    write_output,
    write_probabilities,
)


def test_output_comes_back(tmp_path: Path) -> None:
    write_output(tmp_path, ["nucleus", "boundary"], probabilities=True)
    assert read_output(tmp_path) == Output(("nucleus", "boundary"), probabilities=True)
    write_output(tmp_path, ["nucleus"], probabilities=False)
    assert read_output(tmp_path) == Output(("nucleus",), probabilities=False)


def test_the_first_class_is_the_nucleus(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="nucleus"):
        write_output(tmp_path, ["boundary", "nucleus"], probabilities=True)


def test_probabilities_come_back_memory_mapped(tmp_path: Path) -> None:
    array = np.random.default_rng(0).random((4, 5, 2)).astype(np.float32)
    write_probabilities(tmp_path, "TCGA.1", array)
    assert [path.name for path in tmp_path.iterdir()] == ["TCGA.1.npy"]
    back = read_probabilities(tmp_path, "TCGA.1")
    assert isinstance(back, np.memmap)
    assert back.dtype == np.float16
    np.testing.assert_array_equal(back, array.astype(np.float16))


def test_probabilities_have_three_axes(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"\(4, 5\)"):
        write_probabilities(tmp_path, "a", np.zeros((4, 5)))


@pytest.mark.parametrize(
    "content",
    [
        "[]",
        '{"classes": ["nucleus"]}',
        '{"classes": ["boundary"], "probabilities": true}',
        '{"classes": [], "probabilities": true}',
        '{"classes": "nucleus", "probabilities": true}',
        '{"classes": ["nucleus", 3], "probabilities": true}',
        '{"classes": ["nucleus"], "probabilities": 1}',
        '{"classes": [',
        "\udcff",
    ],
)
def test_a_wrong_output_names_the_file(tmp_path: Path, content: str) -> None:
    (tmp_path / "output.json").write_text(content, "utf-8", "surrogateescape")
    with pytest.raises(PipelineError, match=r"output\.json.*delete"):
        read_output(tmp_path)


def test_a_missing_folder_names_the_stage(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match=r"output\.json is missing; run .* 'unet'"):
        read_output(tmp_path / "unet")


def test_missing_and_damaged_arrays_are_named(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match=r"a\.npy is missing"):
        read_probabilities(tmp_path, "a")
    (tmp_path / "a.npy").write_bytes(b"")
    with pytest.raises(PipelineError, match=r"a\.npy is unreadable"):
        read_probabilities(tmp_path, "a")
    np.save(tmp_path / "a.npy", np.array([{}]), allow_pickle=True)
    with pytest.raises(PipelineError, match=r"a\.npy is unreadable"):
        read_probabilities(tmp_path, "a")
    np.save(tmp_path / "a.npy", np.zeros((2, 3, 1)))
    with pytest.raises(PipelineError, match=r"a\.npy: expected float16.*float64"):
        read_probabilities(tmp_path, "a")
    np.save(tmp_path / "a.npy", np.zeros((2, 3), np.float16))
    with pytest.raises(PipelineError, match=r"a\.npy: expected float16.*\(2, 3\)"):
        read_probabilities(tmp_path, "a")
