"""U-Net.

Reference: Ronneberger, Fischer and Brox, "U-Net: Convolutional Networks for Biomedical Image
Segmentation", MICCAI 2015, https://arxiv.org/abs/1505.04597. As is usual today, convolutions are
padded, so that the output has the input's size, and followed by batch normalisation.
"""

import keras
from keras import layers

from monuseg.models.shared.convolution import Conv2DTranspose, convolution
from monuseg.models.unet.params import DIVISOR, LEVELS, Params


def build(params: Params, classes: int) -> keras.Model:
    """Build U-Net, which returns logits, uncompiled.

    Args:
        params: the block `unet`.
        classes: number of output channels.

    Returns:
        A model from (batch, height, width, 3) to (batch, height, width, classes) logits in
        float32, for any height and width that `DIVISOR` divides. Every layer is named, because
        the names are stored with the weights.

    Example:
        >>> model = build(Params(width=64, learning_rate=0.001), classes=1)
        >>> model.count_params()
        31043521
    """
    # === Functional model ===
    image = keras.Input((None, None, 3), name="image")
    x = image
    skips = []
    for level in range(LEVELS):
        x = _double_convolution(x, params.width * 2**level, f"down{level + 1}")
        skips.append(x)
        x = layers.MaxPooling2D(2, name=f"down{level + 1}_pool")(x)
    x = _double_convolution(x, params.width * DIVISOR, "bottom")
    for level in reversed(range(LEVELS)):
        filters = params.width * 2**level
        name = f"up{level + 1}"
        x = Conv2DTranspose(filters, 2, strides=2, name=f"{name}_upconvolution")(x)
        x = layers.Concatenate(name=f"{name}_skip")([skips[level], x])
        x = _double_convolution(x, filters, name)
    # In float32 under mixed precision too: the loss takes logarithms.
    logits = layers.Conv2D(classes, 1, dtype="float32", name="logits")(x)
    return keras.Model(image, logits, name="unet")


def coarse_features(_: Params) -> dict[str, int]:
    """The last layers of the decoder's levels below the first, and their strides."""
    return {f"up{level}_relu2": 2 ** (level - 1) for level in range(2, LEVELS + 1)}


# === Layers ===


def _double_convolution(x: keras.KerasTensor, filters: int, name: str) -> keras.KerasTensor:
    for number in (1, 2):
        x = convolution(x, filters, name, number=number)
    return x
