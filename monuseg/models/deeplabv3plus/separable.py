"""Depthwise separable convolution, for Xception and the head on it."""

import keras
from keras import layers

from monuseg.models.shared.activation import ReLU
from monuseg.models.shared.convolution import convolution, normalisation


def separable_convolution(
    x: keras.KerasTensor,
    filters: int,
    name: str,
    *,
    strides: int = 1,
    rate: int = 1,
    relu_between: bool = True,
) -> keras.KerasTensor:
    """A 3 x 3 depthwise and a 1 x 1 convolution, both followed by batch normalisation.

    Args:
        x: (batch, height, width, channels).
        filters: number of output channels.
        name: prefix of the names of the layers.
        strides: of the depthwise convolution.
        rate: distance between its taps; above 1 it is atrous.
        relu_between: ReLU after each of the two; otherwise one before both, as in residual blocks.

    Returns:
        (batch, height / strides, width / strides, filters).
    """
    if not relu_between:
        x = ReLU(name=f"{name}_relu")(x)
    x = layers.DepthwiseConv2D(
        3,
        strides,
        padding="same",
        dilation_rate=rate,
        use_bias=False,
        depthwise_initializer="he_normal",
        name=f"{name}_depthwise_convolution",
    )(x)
    x = normalisation(f"{name}_depthwise_normalisation")(x)
    if relu_between:
        x = ReLU(name=f"{name}_depthwise_relu")(x)
    return convolution(x, filters, f"{name}_pointwise", kernel=1, relu=relu_between)
