"""What follows the encoder: atrous spatial pyramid pooling, and the decoder."""

from collections.abc import Callable
from dataclasses import dataclass

import keras
from keras import layers, ops

from stages.models.convolution import convolution
from stages.models.deeplabv3plus.separable import separable_convolution
from stages.models.upsampling import BilinearUpsampling

RATES = (6, 12, 18)  # of the pyramid at output stride 16; in proportion at others
RATES_STRIDE = 16
LOW_LEVEL_STRIDE = 4
DECODER_CONVOLUTIONS = 2


@dataclass(frozen=True)
class Head:
    """Sizes of the head.

    Attributes:
        output_stride: of the encoder's last features.
        aspp_filters: of each branch, and of their projection. The paper's: 256.
        low_level_filters: that the low-level features are reduced to. The paper's: 48.
        decoder_filters: of the decoder's 3 x 3 convolutions. The paper's: 256.
        separable: whether 3 x 3 convolutions are depthwise separable, as the paper has them on
            Xception.
    """

    output_stride: int
    aspp_filters: int
    low_level_filters: int
    decoder_filters: int
    separable: bool

    def __call__(
        self, low: keras.KerasTensor, high: keras.KerasTensor, classes: int
    ) -> keras.KerasTensor:
        """Logits of an image's size in float32, from features at strides 4 and `output_stride`."""
        x = self._pyramid(high)
        factor = self.output_stride // LOW_LEVEL_STRIDE
        x = BilinearUpsampling(factor, name="decoder_upsampling")(x)
        low = convolution(low, self.low_level_filters, "decoder_low_level", kernel=1)
        x = layers.Concatenate(name="decoder_concatenation")([x, low])
        for number in range(1, DECODER_CONVOLUTIONS + 1):
            x = self._convolution(x, self.decoder_filters, f"decoder{number}")
        # In float32 under mixed precision too: the loss takes logarithms.
        x = layers.Conv2D(classes, 1, dtype="float32", name="decoder_logits")(x)
        return BilinearUpsampling(LOW_LEVEL_STRIDE, dtype="float32", name="logits")(x)

    def _pyramid(self, x: keras.KerasTensor) -> keras.KerasTensor:
        filters = self.aspp_filters
        mean = layers.GlobalAveragePooling2D(keepdims=True, name="pyramid_mean")(x)
        mean = convolution(mean, filters, "pyramid_image", kernel=1)
        branches = [
            Spread(name="pyramid_image_spread")([mean, x]),
            convolution(x, filters, "pyramid_point", kernel=1),
        ]
        for rate in RATES:
            scaled = rate * RATES_STRIDE // self.output_stride
            branches.append(self._convolution(x, filters, f"pyramid_rate{rate}", rate=scaled))
        x = layers.Concatenate(name="pyramid_concatenation")(branches)
        return convolution(x, filters, "pyramid_projection", kernel=1)

    @property
    def _convolution(self) -> Callable[..., keras.KerasTensor]:
        return separable_convolution if self.separable else convolution


class Spread(layers.Layer):
    """Repeats one pixel's features at every pixel of a map."""

    def call(self, inputs: list[keras.KerasTensor]) -> keras.KerasTensor:
        """(batch, 1, 1, channels) and (batch, height, width, any) to the map's size."""
        pixel, features = inputs
        return pixel + ops.zeros_like(features[..., :1])

    def compute_output_shape(
        self, input_shape: list[tuple[int | None, ...]]
    ) -> tuple[int | None, ...]:
        """Shape of what `call` returns."""
        pixel, features = input_shape
        return *features[:3], pixel[3]
