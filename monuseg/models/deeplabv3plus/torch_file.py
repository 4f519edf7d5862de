"""Tensors from a file of PyTorch, without PyTorch and without running what the file says.

`torch.save` wrote, until PyTorch 1.6, five pickles and then the bytes of all storages. A pickle can
name any function of Python and have it called; here the few names that such files need are known,
and any other is refused.
"""

import math
import os
import pickle
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt

MAGIC = 0x1950A86A20F9469CFC6C
PROTOCOL = 1001
# What a storage's class is called, and the numbers in it, of little-endian machines.
STORAGES: dict[str, np.dtype[Any]] = {
    "FloatStorage": np.dtype("<f4"),
    "LongStorage": np.dtype("<i8"),
}
COUNT = np.dtype("<i8")  # of a storage's numbers, ahead of them


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
            return _tensor
        if module == "torch" and name in STORAGES:
            return name
        raise NotTensorsError(f"it names {module}.{name}, which no tensor needs")

    def persistent_load(self, pid: Any) -> _Storage:
        kind, name, key, _, count, view = pid
        if kind != "storage" or view is not None:
            raise NotTensorsError("a storage in it is a view of another")
        return _Storage(key, STORAGES[name], count)


def read_tensors(file: Path) -> Mapping[str, npt.NDArray[Any]]:
    """The tensors of a `state_dict`, by name.

    Args:
        file: as `torch.save` of PyTorch up to 1.5 wrote it, or a later one with
            `_use_new_zipfile_serialization=False`.

    Returns:
        Arrays of the shapes that PyTorch has, such as (out, in, height, width) of a convolution.

    Raises:
        NotTensorsError: it is none, is cut off, or names anything but tensors.
        OSError: it cannot be read.
    """
    with file.open("rb") as content:
        try:
            return _read(content)
        except (NotTensorsError, OSError):
            raise
        except Exception as error:  # damaged bytes lead pickle to errors of all kinds
            raise NotTensorsError(
                f"not a file of PyTorch's tensors, or damaged: {error}"
            ) from error


def _read(content: BinaryIO) -> dict[str, npt.NDArray[Any]]:
    magic, protocol, _, named, keys = (_Unpickler(content).load() for _ in range(5))
    if (magic, protocol) != (MAGIC, PROTOCOL):
        raise NotTensorsError("it is of another version of PyTorch")
    tensors = {str(name): tensor for name, tensor in dict(named).items()}
    if not all(isinstance(tensor, _Tensor) for tensor in tensors.values()):
        raise NotTensorsError("something in it is no tensor")
    storages = {tensor.storage.key: tensor.storage for tensor in tensors.values()}
    arrays = {key: _stored(content, storages[key]) for key in keys}
    return {name: _viewed(tensor, arrays[tensor.storage.key]) for name, tensor in tensors.items()}


def _stored(content: BinaryIO, storage: _Storage) -> npt.NDArray[Any]:
    count = np.frombuffer(content.read(COUNT.itemsize), COUNT)
    if count.tolist() != [storage.length]:
        raise NotTensorsError("it is cut off, or a storage has another length than it says")
    size = storage.length * storage.dtype.itemsize
    if size > os.fstat(content.fileno()).st_size - content.tell():
        raise NotTensorsError("it is cut off")
    return np.frombuffer(content.read(size), storage.dtype)


def _viewed(tensor: _Tensor, numbers: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """A tensor's own numbers, in their order, copied out of their storage."""
    if min((tensor.offset, *tensor.shape, *tensor.strides)) < 0:
        raise NotTensorsError("a size in it is below 0")
    if math.prod(tensor.shape) > len(numbers):
        raise NotTensorsError("a tensor in it has more numbers than its storage")
    last = tensor.offset + sum(
        (side - 1) * stride for side, stride in zip(tensor.shape, tensor.strides, strict=True)
    )
    if 0 not in tensor.shape and last >= len(numbers):
        raise NotTensorsError("a tensor in it reaches beyond its storage")
    places = np.full(tensor.shape, tensor.offset, np.intp)
    for axis, stride in enumerate(tensor.strides):
        steps = np.arange(tensor.shape[axis], dtype=np.intp) * stride
        places = places + steps.reshape([-1] + [1] * (len(tensor.shape) - axis - 1))
    found: npt.NDArray[Any] = numbers[places]
    return found
