"""ImageNet weights of `keras.applications` for the encoder."""

import warnings
from pathlib import Path
from typing import Any

import keras

from monuseg.core.errors import PipelineError

IMAGENET = "imagenet"  # keras.applications downloads these


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
    if weights != IMAGENET and not Path(weights).is_file():
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
