"""The format of a predictions folder: one float16 array per image, and its channels' names."""

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from monuseg.core.errors import PipelineError
from monuseg.formats.files import read_json, write_array, write_json

Probabilities = npt.NDArray[np.float16]


OUTPUT = "output.json"
NUCLEUS = "nucleus"  # the first class of every predictions folder
# Further classes that a network may have; `stages.train.targets` defines them.
BOUNDARY = "boundary"
DISTANCE = "distance"


@dataclass(frozen=True)
class Output:
    """What the arrays of a predictions folder hold.

    Attributes:
        classes: names of the channels in order; the first is "nucleus".
        probabilities: False if the values are a hard 0/1 mask, for which no threshold can be
            chosen and no calibration measured.
    """

    classes: tuple[str, ...]
    probabilities: bool


def write_output(folder: Path, classes: list[str], *, probabilities: bool) -> None:
    """Record in a predictions folder what its arrays hold.

    Raises:
        ValueError: the first class is not "nucleus".
    """
    if classes[:1] != [NUCLEUS]:
        raise ValueError(f"the first class must be {NUCLEUS!r}, found {classes}")
    write_json(folder / OUTPUT, asdict(Output(tuple(classes), probabilities)))


def read_output(folder: Path) -> Output:
    """Read what the arrays of a predictions folder hold.

    Raises:
        PipelineError: the folder or its output.json is missing, or differs from what `write_output`
            writes.
    """
    path = folder / OUTPUT
    try:
        content = read_json(path)
    except FileNotFoundError as error:
        raise PipelineError(
            f"{path} is missing; run the stage that predicts {folder.name!r} first"
        ) from error
    except ValueError as error:  # not UTF-8, or no JSON
        raise PipelineError(f"{path} is not valid JSON ({error}); {_remedy(folder)}") from error
    match content:
        case {"classes": [str(first), *rest], "probabilities": bool(probabilities)} if (
            first == NUCLEUS and all(isinstance(name, str) for name in rest)
        ):
            return Output((first, *rest), probabilities)
    raise PipelineError(
        f"{path}: expected `classes`, {NUCLEUS!r} first, and `probabilities`; {_remedy(folder)}"
    )


def write_probabilities(folder: Path, image: str, probabilities: npt.NDArray[np.floating]) -> None:
    """Write the probabilities of one image as float16.

    Args:
        folder: the predictions folder.
        image: the image's id.
        probabilities: (height, width, classes) in 0..1.

    Raises:
        ValueError: the array does not have three axes.
    """
    if probabilities.ndim != 3:
        raise ValueError(f"expected (height, width, classes), found shape {probabilities.shape}")
    array = np.ascontiguousarray(probabilities, np.float16)
    write_array(_path(folder, image), array)


def read_probabilities(folder: Path, image: str) -> Probabilities:
    """Open the probabilities of one image, memory-mapped: (height, width, classes) float16.

    Raises:
        PipelineError: the file is missing, damaged, or of another type or number of axes.
    """
    path = _path(folder, image)
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError as error:
        raise PipelineError(f"{path} is missing; {_remedy(folder)}") from error
    except (ValueError, EOFError) as error:
        raise PipelineError(f"{path} is unreadable ({error}); {_remedy(folder)}") from error
    if array.dtype != np.float16 or array.ndim != 3:
        raise PipelineError(
            f"{path}: expected float16 (height, width, classes), found {array.dtype} of shape "
            f"{array.shape}; {_remedy(folder)}"
        )
    return np.asanyarray(array)


def _path(folder: Path, image: str) -> Path:
    return folder / f"{image}.npy"


def _remedy(folder: Path) -> str:
    return f"delete {folder} and run the stage that predicts {folder.name!r} again"
