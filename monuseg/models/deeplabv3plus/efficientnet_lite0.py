"""EfficientNet-Lite0 up to its fifth stage: an encoder with weights from a package, fit for CPUs.

Reference: Tan and Le, "EfficientNet", ICML 2019, https://arxiv.org/abs/1905.11946. The Lite
variants have ReLU6 in place of swish, and no squeeze-and-excitation
(https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite). Cut off there,
the network reaches stride 16 without atrous convolutions, and has 0.7 M parameters.
"""

from typing import NamedTuple

import keras
from keras import layers

from monuseg.models.shared.convolution import normalisation

STEM = 32  # filters


class Stage(NamedTuple):
    """A stage of inverted residual blocks, of which the first has the stride.

    Attributes:
        blocks: how many.
        kernel: side of the depthwise kernels in pixels.
        expansion: of the channels within a block.
        filters: channels of each block's output.
    """

    blocks: int
    kernel: int
    expansion: int
    filters: int


STAGES = (
    Stage(1, 3, 1, 16),
    Stage(2, 3, 6, 24),
    Stage(2, 5, 6, 40),
    Stage(3, 3, 6, 80),
    Stage(3, 5, 6, 112),
)
LOW = 1  # the stage, from 0, whose features are at stride 4
# By output stride, of each stage: stride and rate of its first depthwise kernel, then the rate of
# the others. Where a stride is dropped, the rates after it double, so that each weight still meets
# the same pixels.
ATROUS = {
    16: [(1, 1, 1), (2, 1, 1), (2, 1, 1), (2, 1, 1), (1, 1, 1)],
    8: [(1, 1, 1), (2, 1, 1), (2, 1, 1), (1, 1, 2), (1, 2, 2)],
}


def encode(
    image: keras.KerasTensor, output_stride: int
) -> tuple[keras.KerasTensor, keras.KerasTensor]:
    """EfficientNet-Lite0 without its last two stages.

    Args:
        image: (batch, height, width, 3).
        output_stride: 16 or 8, input pixels per pixel of the last features.

    Returns:
        Features at stride 4, of 24 channels, and at `output_stride`, of 112.
    """
    x = layers.Conv2D(
        STEM,
        3,
        2,
        padding="same",
        use_bias=False,
        kernel_initializer="he_normal",
        name="stem_convolution",
    )(image)
    x = _normalised(x, "stem")
    features = []
    number = 0  # of the block, as the package of weights counts
    for stage, (strides, first_rate, rate) in zip(STAGES, ATROUS[output_stride], strict=True):
        x = _block(x, stage, f"block{number}", strides=strides, rate=first_rate)
        number += 1
        for _ in range(1, stage.blocks):
            x = _block(x, stage, f"block{number}", strides=1, rate=rate, residual=True)
            number += 1
        features.append(x)
    return features[LOW], features[-1]


# === Layers ===


def _block(
    x: keras.KerasTensor,
    stage: Stage,
    name: str,
    *,
    strides: int,
    rate: int,
    residual: bool = False,
) -> keras.KerasTensor:
    """An inverted residual block: expanded, filtered channel by channel, projected."""
    shortcut = x
    if stage.expansion > 1:
        x = _pointwise(x, stage.expansion * x.shape[-1], f"{name}_expansion")
        x = _normalised(x, f"{name}_expansion")
    x = layers.DepthwiseConv2D(
        stage.kernel,
        strides,
        padding="same",
        dilation_rate=rate,
        use_bias=False,
        depthwise_initializer="he_normal",
        name=f"{name}_depthwise_convolution",
    )(x)
    x = _normalised(x, f"{name}_depthwise")
    x = _pointwise(x, stage.filters, f"{name}_projection")
    x = _normalised(x, f"{name}_projection", relu=False)
    return layers.Add(name=f"{name}_add")([shortcut, x]) if residual else x


def _pointwise(x: keras.KerasTensor, filters: int, name: str) -> keras.KerasTensor:
    return layers.Conv2D(
        filters, 1, use_bias=False, kernel_initializer="he_normal", name=f"{name}_convolution"
    )(x)


def _normalised(x: keras.KerasTensor, name: str, *, relu: bool = True) -> keras.KerasTensor:
    x = normalisation(f"{name}_normalisation")(x)  # epsilon: 1e-3, as there
    return layers.ReLU(6.0, name=f"{name}_relu")(x) if relu else x
