"""Tensors from a file of PyTorch, without PyTorch and without running what the file says.

`torch.save` wrote, until PyTorch 1.6, five pickles and then the bytes of all storages. A pickle can
name any function of Python and have it called; here the few names that such files need are known,
and so are the operations that pickle writes for them. Any other is refused.
"""

import io
import pickle
import pickletools
from collections import OrderedDict
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt

from monuseg.core.params import shown

MAGIC = 0x1950A86A20F9469CFC6C
PROTOCOL = 1001
ZIP = b"PK\x03\x04"  # what files of later versions begin with
# What a storage's class is called, and the numbers in it, of little-endian machines.
STORAGES: dict[str, np.dtype[Any]] = {
    "FloatStorage": np.dtype("<f4"),
    "LongStorage": np.dtype("<i8"),
}
LENGTH = np.dtype("<i8")  # of a storage, ahead of its numbers
# The operations of pickles of dictionaries, tensors and numbers.
OPERATIONS = frozenset(
    [
        *("PROTO", "STOP", "MARK", "GLOBAL", "REDUCE", "BUILD", "BINPERSID"),
        *("BINPUT", "LONG_BINPUT", "BINGET", "LONG_BINGET"),
        *("NONE", "NEWTRUE", "NEWFALSE", "BININT", "BININT1", "BININT2", "LONG1", "BINUNICODE"),
        *("EMPTY_DICT", "SETITEM", "SETITEMS", "EMPTY_LIST", "APPEND", "APPENDS"),
        *("EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"),
    ]
)
PUTS = ("BINPUT", "LONG_BINPUT")
# A network of a thousand tensors has some 40,000; values nested deeper than this many operations
# could overrun the stack.
MOST_OPERATIONS = 50_000


class NotTensorsError(Exception):
    """The file is not what `torch.save` wrote of a `state_dict`, or holds more than tensors."""


class _Storage(NamedTuple):
    key: str
    dtype: np.dtype[Any]
    length: int


class _Tensor(NamedTuple):
    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def _tensor(
    storage: _Storage, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], *_: object
) -> _Tensor:
    """Stands for PyTorch's function of the name below; the rest is of gradients."""
    return _Tensor(storage, offset, shape, strides)


class _Unpickler(pickle.Unpickler):
    """Reads what stands for tensors, and calls nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return partial(_tensor)  # a file may change what it is given, once for all
        if module == "torch" and name in STORAGES:
            return name
        if module == "torch" and name.endswith("Storage"):
            raise NotTensorsError(
                f"it has numbers of {shown(name)}; only {' and '.join(STORAGES)} are read"
            )
        raise NotTensorsError(f"it names {shown(f'{module}.{name}')}, which no tensor needs")

    def persistent_load(self, pid: Any) -> _Storage:
        kind, name, key, _, length, view = pid
        if kind != "storage" or view is not None:
            raise NotTensorsError("a storage in it is a view of another")
        return _Storage(key, STORAGES[name], length)


def read_tensors(file: Path) -> Mapping[str, npt.NDArray[Any]]:
    """The tensors of a `state_dict`, by name.

    Args:
        file: as `torch.save` of PyTorch up to 1.5 wrote it, or a later one with
            `_use_new_zipfile_serialization=False`; of float32 and int64.

    Returns:
        Arrays of the shapes that PyTorch has, such as (out, in, height, width) of a convolution.

    Raises:
        NotTensorsError: it is none, is damaged, or names anything but tensors.
        OSError: it cannot be read.
    """
    content = file.read_bytes()
    if content.startswith(ZIP):
        raise NotTensorsError(
            "it is a zip archive, as PyTorch writes since 1.6; save it again with "
            "_use_new_zipfile_serialization=False"
        )
    try:
        # In memory, where no more is read than there is, whatever length a text states.
        return _read(io.BytesIO(content))
    except NotTensorsError:
        raise
    except Exception as error:  # damaged bytes lead pickle to errors of all kinds
        raise NotTensorsError(
            f"not a file of PyTorch's tensors, or damaged: {shown(str(error))}"
        ) from error


def _read(content: BinaryIO) -> dict[str, npt.NDArray[Any]]:
    magic, protocol, _, named, keys = (_unpickled(content) for _ in range(5))
    if (magic, protocol) != (MAGIC, PROTOCOL):
        raise NotTensorsError("it is of another version of PyTorch")
    tensors: dict[str, _Tensor] = dict(named)
    if not all(
        isinstance(name, str) and isinstance(one, _Tensor) and isinstance(one.storage, _Storage)
        for name, one in tensors.items()
    ):
        raise NotTensorsError("something in it is no tensor")
    storages = {tensor.storage.key: tensor.storage for tensor in tensors.values()}
    if any(tensor.storage != storages[tensor.storage.key] for tensor in tensors.values()):
        raise NotTensorsError("a storage in it is of two kinds")
    arrays = {key: _stored(content, storages[key]) for key in keys}
    return {name: _viewed(tensor, arrays[tensor.storage.key]) for name, tensor in tensors.items()}


def _unpickled(content: BinaryIO) -> Any:
    """The next pickle, after a look at all of its operations."""
    start, puts = content.tell(), 0
    for number, (operation, argument, _) in enumerate(pickletools.genops(content)):
        if operation.name not in OPERATIONS or number > MOST_OPERATIONS:
            raise NotTensorsError(f"it has operations that no tensors need ({operation.name})")
        if operation.name in PUTS:
            # Pickle counts what it has seen; a larger number would be made room for.
            if argument != puts:
                raise NotTensorsError("it is damaged")
            puts += 1
    content.seek(start)
    return _Unpickler(content).load()


def _stored(content: BinaryIO, storage: _Storage) -> npt.NDArray[Any]:
    length = np.frombuffer(content.read(LENGTH.itemsize), LENGTH)
    if length.tolist() != [storage.length]:
        raise NotTensorsError("it is cut off, or a storage has another length than it says")
    numbers = np.frombuffer(content.read(storage.length * storage.dtype.itemsize), storage.dtype)
    if len(numbers) != storage.length:
        raise NotTensorsError("it is cut off")
    return numbers


def _viewed(tensor: _Tensor, numbers: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """A tensor's own numbers in their order: a view of its storage, not to be written to."""
    if min((tensor.offset, *tensor.shape, *tensor.strides)) < 0:
        raise NotTensorsError("a size in it is below 0")
    if 0 in tensor.shape:
        return np.empty(tensor.shape, numbers.dtype)
    steps = zip(tensor.shape, tensor.strides, strict=True)
    if tensor.offset + sum((side - 1) * stride for side, stride in steps) >= len(numbers):
        raise NotTensorsError("a tensor in it reaches beyond its storage")
    return np.lib.stride_tricks.as_strided(
        numbers[tensor.offset :],
        tensor.shape,
        [stride * numbers.itemsize for stride in tensor.strides],
        writeable=False,
    )
