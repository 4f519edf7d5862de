"""Reading and writing the images and label maps that stages hand to each other."""

import warnings
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from monuseg.core.errors import PipelineError

RGB = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.uint16]
# OpenCV's own messages about damaged files would clutter the one line of an error.
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)

# At the density of the challenge's images, 16 bits can number the nuclei of this many pixels.
PIXELS_MAX = 100_000_000
LABELS_MAX = int(np.iinfo(np.uint16).max)


def decode_image(content: bytes, *, name: str) -> npt.NDArray[np.generic]:
    """Decode an image file without any conversion, in OpenCV's channel order (BGR).

    Args:
        content: the file's bytes.
        name: what an error message calls the file.

    Raises:
        PipelineError: OpenCV cannot decode it.
    """
    try:
        decoded = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:  # an empty file, or one too large for OpenCV
        decoded = None
    if decoded is None:
        raise PipelineError(f"{name}: not a readable image; fetch or export it again")
    return np.asarray(decoded)


def read_rgb(path: Path) -> RGB:
    """Read an image of data/raw as (height, width, 3) uint8 RGB.

    Stage extract lets through only 8-bit RGB, opaque palettes and fully opaque RGBA, which convert
    to RGB without loss.

    Raises:
        PipelineError: it cannot be decoded, or is of another kind.
    """
    try:
        with warnings.catch_warnings(), Image.open(path) as image:
            warnings.simplefilter("ignore")  # about tags that do not concern pixels
            if image.mode in ("RGB", "RGBA", "P"):
                return np.array(image.convert("RGB"))
            found = image.mode
    except FileNotFoundError:
        raise
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise PipelineError(f"{path}: not a readable image; run `dvc repro extract`") from error
    raise PipelineError(f"{path}: expected 8-bit RGB, found {found}; run `dvc repro extract`")


def read_labels(path: Path) -> Labels:
    """Read a label map as (height, width) uint16: 0 background, 1..n nuclei.

    Raises:
        PipelineError: it cannot be decoded, or is not 16-bit with one channel.
    """
    decoded = decode_image(path.read_bytes(), name=str(path))
    if decoded.dtype != np.uint16 or decoded.ndim != 2:
        raise PipelineError(
            f"{path}: expected a 16-bit label map, found {decoded.dtype} of shape {decoded.shape}; "
            "delete it and run `dvc repro`"
        )
    return decoded.astype(np.uint16, copy=False)


def write_rgb(path: Path, image: RGB) -> None:
    """Write (height, width, 3) uint8 RGB losslessly, in the format that the suffix names."""
    _write(path, np.ascontiguousarray(image[..., ::-1]))


def write_labels(path: Path, labels: Labels) -> None:
    """Write a (height, width) uint16 label map as PNG."""
    _write(path, labels)


def _write(path: Path, array: npt.NDArray[np.generic]) -> None:
    encoded, content = cv2.imencode(path.suffix, array)
    if not encoded:
        raise PipelineError(f"{path}: OpenCV cannot encode shape {array.shape} as {path.suffix}")
    path.write_bytes(content.tobytes())
