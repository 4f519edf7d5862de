"""Checkpoints: saved whole or not at all, never used when damaged or foreign, locked, bounded."""

import errno
import fcntl
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from monuseg.core.errors import PipelineError
from stages.train import checkpoint as module
from stages.train.checkpoint import INDEX, LOCK, MOST_KEYS, Checkpoint, State, opened

KEY = "0123456789abcdef" * 4
OTHER_KEY = "f" * 64


def state(epoch: int = 1) -> State:
    return State(
        {"epoch": epoch, "history": [{"z": 0.1 + 0.2, "a": None}], "dice": -1.0},
        {
            "model": [np.linspace(0, 1, 6, dtype=np.float32), np.array([[3], [9]], np.uint32)],
            "optimizer": [np.array(epoch, np.int64)],
            "none": [],
        },
    )


@pytest.fixture
def saved(tmp_path: Path) -> Checkpoint:
    checkpoint = Checkpoint(tmp_path / "unet", KEY, 0)
    checkpoint.save(state())
    return checkpoint


def assert_same(found: State | None, expected: State) -> None:
    assert found is not None
    assert found.values == expected.values
    assert list(found.values["history"][0]) == list(expected.values["history"][0])
    assert found.arrays.keys() == expected.arrays.keys()
    for name, arrays in expected.arrays.items():
        for one, other in zip(found.arrays[name], arrays, strict=True):
            assert one.dtype == other.dtype
            np.testing.assert_array_equal(one, other)


def test_without_a_saved_state_there_is_none(tmp_path: Path) -> None:
    with opened(tmp_path, "unet", KEY) as checkpoint:
        assert checkpoint.load() is None


def test_what_was_saved_last_comes_back_to_the_bit(saved: Checkpoint) -> None:
    saved.save(state(2))
    assert_same(Checkpoint(saved.folder, KEY).load(), state(2))
    assert len(list(saved.folder.iterdir())) == 2  # the index and its arrays, nothing older


def test_a_training_that_diverged_can_be_saved(saved: Checkpoint) -> None:
    saved.save(State({"objective": float("nan")}, {"model": [np.array(np.nan)]}))
    found = Checkpoint(saved.folder, KEY).load()
    assert found is not None
    assert np.isnan(found.values["objective"])
    assert np.isnan(found.arrays["model"][0])


@pytest.mark.parametrize("what", ["index", "arrays"])
@pytest.mark.parametrize("damage", ["one bit", "torn", "empty"])
def test_a_damaged_file_is_told_and_not_used(
    saved: Checkpoint, what: str, damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    arrays = next(saved.folder.glob("*.npz"))
    file = saved.folder / INDEX if what == "index" else arrays
    content = bytearray(file.read_bytes())
    content[-20] ^= 1
    file.write_bytes({"one bit": content, "torn": content[:-7], "empty": b""}[damage])
    assert Checkpoint(saved.folder, KEY).load() is None
    said = capsys.readouterr().out
    assert said.count("\n") == 1
    assert "damaged" in said
    assert list(saved.folder.iterdir()) == []


@pytest.mark.parametrize("what", ["index", "arrays"])
def test_no_changed_bit_goes_unnoticed(saved: Checkpoint, what: str) -> None:
    file = next(saved.folder.glob("*.npz")) if what == "arrays" else saved.folder / INDEX
    files = {path: path.read_bytes() for path in saved.folder.iterdir()}
    for place in range(len(files[file])):
        changed = bytearray(files[file])
        changed[place] ^= 1 << place % 8
        for path, content in files.items():
            path.write_bytes(bytes(changed) if path == file else content)
        assert Checkpoint(saved.folder, KEY).load() is None


def test_missing_arrays_are_told(saved: Checkpoint, capsys: pytest.CaptureFixture[str]) -> None:
    next(saved.folder.glob("*.npz")).unlink()
    assert Checkpoint(saved.folder, KEY).load() is None
    assert "damaged" in capsys.readouterr().out


def test_a_disk_that_fails_to_read_costs_no_state(
    saved: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(path: Path) -> str:
        raise OSError(errno.EIO, "Input/output error", str(path))

    with monkeypatch.context() as patch:
        patch.setattr(module, "sha256_of", failing)
        with pytest.raises(OSError, match="Input/output"):
            Checkpoint(saved.folder, KEY).load()
    assert_same(Checkpoint(saved.folder, KEY).load(), state())


def test_an_older_state_that_cannot_be_removed_does_not_end_the_training(
    saved: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(path: Path, missing_ok: bool = False) -> None:
        raise OSError(errno.EIO, "Input/output error", str(path))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", failing)
        saved.save(state(2))
    assert_same(Checkpoint(saved.folder, KEY).load(), state(2))


def test_a_state_of_another_key_is_not_used(
    saved: Checkpoint, capsys: pytest.CaptureFixture[str]
) -> None:
    assert Checkpoint(saved.folder, OTHER_KEY).load() is None
    assert "another training" in capsys.readouterr().out


@pytest.mark.parametrize("step", ["savez", "sha256_of", "write_text"])
def test_an_interrupted_save_leaves_the_state_before(
    saved: Checkpoint, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    owner = np if step == "savez" else module
    with monkeypatch.context() as patch:
        patch.setattr(owner, step, interrupted)
        with pytest.raises(KeyboardInterrupt):
            saved.save(state(2))
    assert_same(Checkpoint(saved.folder, KEY).load(), state(1))
    assert len(list(saved.folder.iterdir())) == 2  # what was half written is gone


@pytest.mark.parametrize("step", ["arrays", "index"])
def test_a_full_disk_costs_the_checkpoint_and_not_the_training(
    saved: Checkpoint, step: str, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    def limited(*arguments: Any, **options: Any) -> None:
        # The system's own error in the middle of a file, as a full disk gives it.
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (200, before[1]))
        try:
            write(*arguments, **options)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    owner, name = (np, "savez") if step == "arrays" else (module, "write_text")
    write = getattr(owner, name)
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, limited)
        saved.save(state(2))
    said = capsys.readouterr().out
    assert said.count("\n") == 1
    assert "no checkpoint saved" in said
    assert_same(Checkpoint(saved.folder, KEY).load(), state(1))
    assert len(list(saved.folder.iterdir())) == 2


def test_success_removes_the_checkpoint_and_an_error_does_not(tmp_path: Path) -> None:
    def train(fails: bool) -> None:
        with opened(tmp_path, "unet", KEY, 0) as checkpoint:
            checkpoint.save(state())
            if fails:
                raise RuntimeError

    with pytest.raises(RuntimeError):
        train(fails=True)
    with opened(tmp_path, "unet", KEY) as checkpoint:
        assert_same(checkpoint.load(), state())
    assert list(tmp_path.iterdir()) == [tmp_path / LOCK]


def test_a_folder_that_somebody_removed_is_no_error_at_the_end(tmp_path: Path) -> None:
    with opened(tmp_path, "unet", KEY) as checkpoint:
        shutil.rmtree(checkpoint.folder)
    assert list(tmp_path.iterdir()) == [tmp_path / LOCK]


def test_scratch_is_bounded_to_the_newest_of_each_model(tmp_path: Path) -> None:
    keys = [f"{number:064x}"[::-1] for number in range(1, 8)]
    for number, key in enumerate(keys):
        for name in ("unet", "segnet"):
            with pytest.raises(RuntimeError), opened(tmp_path, name, key, 0) as checkpoint:
                checkpoint.save(state())
                os.utime(checkpoint.folder / INDEX, (number, number))
                raise RuntimeError
    expected = {f"{name}-{key[:16]}" for name in ("unet", "segnet") for key in keys[-MOST_KEYS:]}
    assert {path.name for path in tmp_path.iterdir()} == expected | {LOCK}


def test_one_in_use_is_not_removed_though_it_is_the_oldest(tmp_path: Path) -> None:
    with opened(tmp_path, "unet", KEY, 0) as used:
        for number in range(1, MOST_KEYS + 2):
            with pytest.raises(RuntimeError), opened(tmp_path, "unet", f"{number:064x}"[::-1], 0):
                raise RuntimeError
        assert used.folder.is_dir()


def test_a_second_process_is_turned_away_until_the_first_has_ended(tmp_path: Path) -> None:
    holds = (
        "import sys; from pathlib import Path; from stages.train.checkpoint import opened\n"
        "with opened(Path(sys.argv[1]), 'unet', sys.argv[2]):\n"
        "    print('held', flush=True); sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", holds, str(tmp_path), KEY],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    ) as first:  # fmt: skip
        assert first.stdout is not None
        assert first.stdout.readline() == b"held\n"
        with pytest.raises(PipelineError) as caught, opened(tmp_path, "unet", KEY):
            pass
        assert f"another process is training unet on the same inputs (process {first.pid})" in str(
            caught.value
        )
        with opened(tmp_path, "unet", OTHER_KEY), opened(tmp_path, "segnet", KEY):
            pass
        first.kill()
        first.wait()
    with opened(tmp_path, "unet", KEY) as checkpoint:
        assert (checkpoint.folder / LOCK).read_text() == f"{os.getpid()}\n"


def test_folders_are_locked_and_removed_under_a_lock_that_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise a process could lock a folder that another one removes, and believe it has it."""
    guarded = []

    def watch(name: str) -> None:
        plain = getattr(module, name)

        def watched(path: Path, **options: Any) -> Any:
            if path != tmp_path / LOCK:
                with (tmp_path / LOCK).open() as file:
                    try:
                        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                        guarded.append(False)
                    except BlockingIOError:
                        guarded.append(True)
            return plain(path, **options)

        monkeypatch.setattr(module, name, watched)

    for number in range(MOST_KEYS):
        with pytest.raises(RuntimeError), opened(tmp_path, "unet", f"{number:064x}"[::-1], 0):
            raise RuntimeError
    watch("exclusive")
    watch("_remove")
    with opened(tmp_path, "unet", KEY):
        pass
    assert guarded == [True] * 4  # its lock, and its end, of this one and of the oldest


def test_where_there_are_no_locks_training_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", none)
    with opened(tmp_path, "unet", KEY, 0) as checkpoint:
        checkpoint.save(state())
        assert_same(checkpoint.load(), state())


def test_scratch_that_cannot_be_written_is_named_with_its_variable(tmp_path: Path) -> None:
    (tmp_path / "scratch").write_text("a file")
    with (
        pytest.raises(PipelineError, match=r"scratch.*MONUSEG_SCRATCH"),
        opened(tmp_path / "scratch", "unet", KEY),
    ):
        pass


@pytest.mark.parametrize(
    ("seconds", "cost", "saves"),
    [(0, 5.0, [1, 2, 3, 4]), (15, 1.0, [1, 3]), (None, 1.4, [1, 4]), (None, 0.1, [1, 2, 3, 4])],
)
def test_states_are_saved_so_far_apart_that_they_cost_little(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    seconds: float | None, cost: float, saves: list[int],
) -> None:  # fmt: skip
    now = 0.0
    monkeypatch.setattr(module.time, "monotonic", lambda: now)

    def written(*_: object) -> None:
        nonlocal now
        now += cost

    monkeypatch.setattr(module, "write_text", written)
    checkpoint = Checkpoint(tmp_path, KEY, seconds)
    done = []
    for epoch in range(1, 5):
        now += 10
        if checkpoint.due():
            checkpoint.save(state(epoch))
            done.append(epoch)
    assert done == saves
