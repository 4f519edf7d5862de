"""A narrow residual encoder for training from scratch on a few CPU cores.

ResNet-18's basic blocks (He et al. 2016, https://arxiv.org/abs/1512.03385) at a chosen width. The
stem has two 3 x 3 convolutions in place of a 7 x 7 one and a pooling, which would blur nuclei of 20
pixels. Convolutions are plain: a CPU computes depthwise ones at a fraction of its speed.
"""

import keras
from keras import layers

from monuseg.models.shared.activation import ReLU
from monuseg.models.shared.convolution import convolution

BLOCKS = 2  # per stage
MULTIPLES = [1, 2, 4, 8]  # filters of the stages, as multiples of the width
# Stride and rate of each stage, by output stride; the stem has stride 2.
ATROUS = {
    16: [(2, 1), (2, 1), (2, 1), (1, 2)],
    8: [(2, 1), (2, 1), (1, 2), (1, 4)],
}


def encode(
    image: keras.KerasTensor, output_stride: int, width: int
) -> tuple[keras.KerasTensor, keras.KerasTensor]:
    """The narrow residual encoder.

    Args:
        image: (batch, height, width, 3).
        output_stride: 16 or 8, input pixels per pixel of the last features.
        width: filters of the stem and the first stage.

    Returns:
        Features at stride 4, of `width` channels, and at `output_stride`, of eight times as many.
    """
    x = convolution(image, width, "stem", number=1, strides=2)
    x = convolution(x, width, "stem", number=2)
    features = []
    for stage, (strides, rate) in enumerate(ATROUS[output_stride], start=1):
        filters = width * MULTIPLES[stage - 1]
        for block in range(1, BLOCKS + 1):
            first = block == 1
            x = _block(
                x, filters, f"stage{stage}_block{block}", strides if first else 1, rate, first
            )
        features.append(x)
    return features[0], features[-1]


# === Layers ===


def _block(
    x: keras.KerasTensor, filters: int, name: str, strides: int, rate: int, projected: bool
) -> keras.KerasTensor:
    shortcut = x
    if projected:
        # A 1 x 1 convolution of that stride sees only these pixels. They are picked beforehand,
        # since on processors with AVX2 oneDNN overruns its memory in that convolution's gradient
        # if it has fewer than 8 input channels: wrong numbers, or a crash
        # (https://github.com/uxlfoundation/oneDNN/issues/6035, in TensorFlow 2.21).
        if strides > 1:
            shortcut = layers.MaxPooling2D(1, strides, name=f"{name}_shortcut_pick")(shortcut)
        shortcut = convolution(shortcut, filters, f"{name}_shortcut", kernel=1, relu=False)
    x = convolution(x, filters, name, number=1, strides=strides, rate=rate)
    x = convolution(x, filters, name, number=2, rate=rate, relu=False)
    x = layers.Add(name=f"{name}_add")([shortcut, x])
    return ReLU(name=f"{name}_relu")(x)
