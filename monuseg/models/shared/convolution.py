"""The layer that every network here is made of: convolution, batch normalisation, ReLU."""

from typing import Any

import keras
from keras import layers, ops

from monuseg.models.shared.activation import BFLOAT16, ReLU
from monuseg.models.shared.backend import atrous_convolution, biased_bfloat16
from monuseg.models.shared.normalisation import BatchNormalization

# A batch has hundreds of thousands of pixels, so its statistics are good, and the averages for
# inference may follow them closely; with Keras's 0.99, short trainings are scored on stale ones.
NORMALISATION_MOMENTUM = 0.9


def convolution(
    x: keras.KerasTensor,
    filters: int,
    name: str,
    *,
    number: int | None = None,
    kernel: int = 3,
    strides: int = 1,
    rate: int = 1,
    relu: bool = True,
) -> keras.KerasTensor:
    """Padded convolution without bias, batch normalisation, ReLU.

    Args:
        x: (batch, height, width, channels).
        filters: number of output channels.
        name: the layers are `<name>_convolution`, `<name>_normalisation`, `<name>_relu`.
        number: suffix of their names.
        kernel: side of the kernel in pixels.
        strides: of the convolution.
        rate: distance between the kernel's taps; above 1 the convolution is atrous.
        relu: whether ReLU follows.

    Returns:
        (batch, height / strides, width / strides, filters).
    """
    suffix = "" if number is None else str(number)
    x = Conv2D(
        filters,
        kernel,
        strides,
        padding="same",
        dilation_rate=rate,
        use_bias=False,  # batch normalisation adds one
        kernel_initializer="he_normal",
        name=f"{name}_convolution{suffix}",
    )(x)
    x = normalisation(f"{name}_normalisation{suffix}")(x)
    return ReLU(name=f"{name}_relu{suffix}")(x) if relu else x


class Conv2D(layers.Conv2D):
    """Keras's layer, with the same variables, names and values (to rounding); fast if atrous.

    Its name too is Keras's: by it a weights file names its groups.
    """

    def convolution_op(self, inputs: Any, kernel: Any) -> Any:
        """Convolve (batch, height, width, channels)."""
        atrous = atrous_convolution() if max(self.dilation_rate) > 1 else None
        if atrous is None:
            return super().convolution_op(inputs, kernel)
        return atrous(inputs, kernel, self.padding, self.dilation_rate)


class Conv2DTranspose(layers.Conv2DTranspose):
    """Keras's layer, with the same variables, names and values; its bias learns in bfloat16 too."""

    def call(self, inputs: Any) -> Any:
        """Enlarge (batch, height, width, channels)."""
        biased = biased_bfloat16() if self.use_bias else None
        if biased is None or self.compute_dtype != BFLOAT16:
            return super().call(inputs)
        outputs = ops.conv_transpose(
            inputs,
            self.kernel,
            strides=list(self.strides),
            padding=self.padding,
            output_padding=self.output_padding,
            dilation_rate=self.dilation_rate,
            data_format=self.data_format,
        )
        return self.activation(biased(outputs, self.bias))


def normalisation(name: str, **options: float) -> BatchNormalization:
    """The batch normalisation that all networks use; `options` are the layer's own."""
    return BatchNormalization(momentum=NORMALISATION_MOMENTUM, name=name, **options)
