"""The head on the encoder: atrous spatial pyramid pooling and the decoder."""

from collections.abc import Callable
from dataclasses import dataclass

import keras
from keras import layers, ops

from monuseg.models.deeplabv3plus.separable import separable_convolution
from monuseg.models.shared.convolution import convolution

LOW_LEVEL_STRIDE = 4
DECODER_CONVOLUTIONS = 2
LAYERS = ("pyramid", "decoder", "logits")  # what the names of the head's layers begin with


@dataclass(frozen=True)
class Head:
    """Sizes of the head.

    Attributes:
        output_stride: of the encoder's last features.
        rates: of the pyramid's atrous convolutions, in pixels of these features.
        aspp_filters: of each branch, and of their projection. The paper has 256.
        low_level_filters: channels that the low-level features are reduced to. The paper has 48.
        decoder_filters: of the decoder's 3 x 3 convolutions. The paper has 256.
        separable: whether 3 x 3 convolutions are depthwise separable, as in the paper on Xception.
    """

    output_stride: int
    rates: tuple[int, ...]
    aspp_filters: int
    low_level_filters: int
    decoder_filters: int
    separable: bool

    def __call__(
        self, low: keras.KerasTensor, high: keras.KerasTensor, classes: int
    ) -> keras.KerasTensor:
        """Logits at the image's size in float32, from features at strides 4 and `output_stride`."""
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
        for number, rate in enumerate(self.rates, start=1):
            branches.append(self._convolution(x, filters, f"pyramid_atrous{number}", rate=rate))
        x = layers.Concatenate(name="pyramid_concatenation")(branches)
        return convolution(x, filters, "pyramid_projection", kernel=1)

    @property
    def _convolution(self) -> Callable[..., keras.KerasTensor]:
        return separable_convolution if self.separable else convolution


def is_of_the_head(layer: str) -> bool:
    """Whether a layer of this name belongs to the head; the others are the encoder's."""
    return layer.startswith(LAYERS)


class Spread(layers.Layer):
    """Repeats one pixel's features at every pixel of a map."""

    def call(self, inputs: list[keras.KerasTensor]) -> keras.KerasTensor:
        """Repeat (batch, 1, 1, channels) over the size of (batch, height, width, any)."""
        pixel, features = inputs
        return pixel + ops.zeros_like(features[..., :1])

    def compute_output_shape(
        self, input_shape: list[tuple[int | None, ...]]
    ) -> tuple[int | None, ...]:
        """Shape of what `call` returns."""
        pixel, features = input_shape
        return *features[:3], pixel[3]


class BilinearUpsampling(layers.Layer):
    """Bilinear interpolation to a multiple of a map's size; beyond the edge its pixels repeat.

    Computed as sums of shifted maps, which are the same on all backends. Keras's own layer refuses
    maps whose size is not known beforehand (3.15, TensorFlow), and on GPUs not all gradients of
    resizing are deterministic.

    Args:
        factor: the multiple.
        options: of any layer.
    """

    def __init__(self, factor: int, **options: str) -> None:
        super().__init__(**options)
        self.factor = factor

    def call(self, x: keras.KerasTensor) -> keras.KerasTensor:
        """(batch, height, width, channels) to (batch, factor height, factor width, channels)."""
        batch, height, width, channels = ops.shape(x)
        rows = self._interpolated(x, axis=1)
        rows = ops.reshape(rows, (batch, height * self.factor, width, channels))
        columns = self._interpolated(rows, axis=2)
        return ops.reshape(columns, (batch, height * self.factor, width * self.factor, channels))

    def _interpolated(self, x: keras.KerasTensor, axis: int) -> keras.KerasTensor:
        """The new pixels in place of each pixel along an axis, on a new axis after it."""
        first, last = ((slice(None),) * axis + (end,) for end in (slice(0, 1), slice(-1, None)))
        but_last, but_first = (
            (slice(None),) * axis + (end,) for end in (slice(0, -1), slice(1, None))
        )
        before = ops.concatenate([x[first], x[but_last]], axis=axis)
        after = ops.concatenate([x[but_first], x[last]], axis=axis)
        parts = []
        for part in range(self.factor):
            # From the old pixel's centre to the new one's, in old pixels.
            offset = (part + 0.5) / self.factor - 0.5
            parts.append((1 - abs(offset)) * x + abs(offset) * (before if offset < 0 else after))
        return ops.stack(parts, axis=axis + 1)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Shape of what `call` returns."""
        batch, *size, channels = input_shape
        height, width = (None if pixels is None else self.factor * pixels for pixels in size)
        return batch, height, width, channels
