"""SegNet.

Reference: Badrinarayanan, Kendall and Cipolla, "SegNet: A Deep Convolutional Encoder-Decoder
Architecture for Image Segmentation", TPAMI 2017, https://arxiv.org/abs/1511.00561. The encoder is
VGG16's, each convolution followed by batch normalisation; the decoder mirrors it and takes from it
only where each maximum was.
"""

import keras
from keras import layers, ops

from monuseg.models.segnet.params import CONVOLUTIONS, Params
from monuseg.models.segnet.pretrained import take_vgg16
from monuseg.models.shared.convolution import convolution
from monuseg.models.shared.params import NO_WEIGHTS

# Filters of each level as multiples of the first level's, as in VGG16.
MULTIPLES = [1, 2, 4, 8, 8]


def build(params: Params, classes: int) -> keras.Model:
    """Build SegNet, which returns logits, uncompiled.

    Args:
        params: the block `segnet`.
        classes: number of output channels.

    Returns:
        A model from (batch, height, width, 3) to (batch, height, width, classes) logits in
        float32, for any height and width that `DIVISOR` divides. Every layer is named, because
        the names are stored with the weights.

    Example:
        >>> model = build(Params(width=64, levels=5, learning_rate=0.001), classes=1)
        >>> model.count_params()
        29451521
    """
    # === Functional model ===
    image = keras.Input((None, None, 3), name="image")
    x = image
    filters = [params.width * multiple for multiple in MULTIPLES]
    indices = []
    for level, count in enumerate(CONVOLUTIONS[: params.levels]):
        name = f"down{level + 1}"
        for number in range(1, count + 1):
            x = convolution(x, filters[level], name, number=number)
        x, *index = MaxPoolingWithIndices(name=f"{name}_pool")(x)
        indices.append(index)
    for level in reversed(range(params.levels)):
        name = f"up{level + 1}"
        x = MaxUnpooling(name=f"{name}_unpool")([x, *indices[level]])
        # The mirror image: the level's last convolution leads to the filters of the level above.
        for number in range(1, CONVOLUTIONS[level]):
            x = convolution(x, filters[level], name, number=number)
        if level > 0:
            x = convolution(x, filters[level - 1], name, number=CONVOLUTIONS[level])
    # In float32 under mixed precision too: the loss takes logarithms.
    logits = layers.Conv2D(classes, 3, padding="same", dtype="float32", name="logits")(x)
    return keras.Model(image, logits, name="segnet")


def coarse_features(params: Params) -> dict[str, int]:
    """The last layers of the decoder's levels below the first, and their strides."""
    return {
        f"up{level}_relu{CONVOLUTIONS[level - 1]}": 2 ** (level - 1)
        for level in range(2, params.levels + 1)
    }


def initialise(model: keras.Model, params: Params) -> None:
    """Give the encoder its pre-trained weights, if `params.weights` asks for them.

    Raises:
        PipelineError: they cannot be loaded, or belong to another network.
    """
    if params.weights != NO_WEIGHTS:
        take_vgg16(model, params.weights)


def learning_rates(model: keras.Model, params: Params) -> dict[str, float]:
    """Of the layers that learn at another rate than `params.learning_rate`, their share of it."""
    if params.encoder_learning_rate == 1:
        return {}
    encoder = (layer.name for layer in model.layers if layer.name.startswith("down"))
    return dict.fromkeys(encoder, params.encoder_learning_rate)


# === Layers ===


class MaxPoolingWithIndices(layers.Layer):
    """Maxima of windows of 2 x 2 pixels, and where in its window each was.

    The index of a maximum is two numbers, 0 or 1: `lower` (its row) and `right[row]` (its column
    in either row of the window), so that unpooling needs neither gather nor scatter, which are
    slow, and not deterministic on a GPU. Of equal maxima the first counts, row by row, as in
    `argmax`. No gradient passes through the indices.

    A reshape that moves nothing lays neighbouring pixels side by side for the comparisons. On a CPU
    this takes a quarter of the time of arg-max and one-hot over transposed windows.
    """

    def call(
        self, x: keras.KerasTensor
    ) -> tuple[keras.KerasTensor, keras.KerasTensor, keras.KerasTensor]:
        """Pool.

        Args:
            x: (batch, height, width, channels), height and width even.

        Returns:
            The maxima, (batch, height / 2, width / 2, channels); `lower`, (batch, height / 2, 1,
            width / 2, channels); `right`, (batch, height / 2, 2, width / 2, channels).
        """
        batch, height, width, channels = ops.shape(x)
        pairs = ops.reshape(ops.stop_gradient(x), (batch, height // 2, 2, width // 2, 2 * channels))
        left, right = ops.split(pairs, 2, axis=-1)
        top, bottom = ops.split(ops.maximum(left, right), 2, axis=2)
        maxima = ops.max_pool(x, 2, strides=2)
        return maxima, ops.cast(bottom > top, x.dtype), ops.cast(right > left, x.dtype)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> list[tuple[object, ...]]:
        """Shapes of what `call` returns."""
        batch, height, width, channels = input_shape
        height, width = (None if size is None else size // 2 for size in (height, width))
        return [
            (batch, height, width, channels),
            (batch, height, 1, width, channels),
            (batch, height, 2, width, channels),
        ]


class MaxUnpooling(layers.Layer):
    """Puts each pixel back where its maximum was, among zeros; undoes `MaxPoolingWithIndices`."""

    def call(self, inputs: list[keras.KerasTensor]) -> keras.KerasTensor:
        """Unpool.

        Args:
            inputs: pixels, (batch, height, width, channels), and the two indices from the pooling
                to this size.

        Returns:
            (batch, 2 height, 2 width, channels).
        """
        x, lower, right = inputs
        batch, height, width, channels = ops.shape(x)
        x = ops.expand_dims(x, 2)
        in_bottom = x * lower
        rows = ops.concatenate([x - in_bottom, in_bottom], axis=2)
        in_right = rows * right
        pairs = ops.concatenate([rows - in_right, in_right], axis=-1)
        return ops.reshape(pairs, (batch, 2 * height, 2 * width, channels))

    def compute_output_shape(
        self, input_shape: list[tuple[int | None, ...]]
    ) -> tuple[int | None, ...]:
        """Shape of what `call` returns."""
        batch, height, width, channels = input_shape[0]
        height, width = (None if size is None else 2 * size for size in (height, width))
        return batch, height, width, channels
