"""ResNet-50 with atrous last stages, laid out and named as in `keras.applications`.

Reference: He et al., "Deep Residual Learning for Image Recognition", CVPR 2016,
https://arxiv.org/abs/1512.03385. Layers carry biases, and a stage's stride is in the first 1 x 1
convolution of its first block, so that Keras's own ImageNet weights fit layer by layer.
"""

import keras
from keras import layers

from monuseg.models.shared.activation import ReLU
from monuseg.models.shared.convolution import Conv2D, normalisation

# The name of each stage in keras.applications, its blocks, and the filters within a block.
STAGES = [("conv2", 3, 64), ("conv3", 4, 128), ("conv4", 6, 256), ("conv5", 3, 512)]
EXPANSION = 4  # of the filters, at the end of a block
# Stride and rate of each stage, by output stride. Where a stride is dropped, the rate of all later
# layers doubles, so that each weight still meets the same pixels.
ATROUS = {
    16: [(1, 1), (2, 1), (2, 1), (1, 2)],
    8: [(1, 1), (2, 1), (1, 2), (1, 4)],
}
EPSILON = 1.001e-5  # of keras.applications


def encode(
    image: keras.KerasTensor, output_stride: int
) -> tuple[keras.KerasTensor, keras.KerasTensor]:
    """ResNet-50 without its classifier.

    Args:
        image: (batch, height, width, 3).
        output_stride: 16 or 8, input pixels per pixel of the last features.

    Returns:
        Features at stride 4, of 256 channels, and at `output_stride`, of 2048.
    """
    x = layers.ZeroPadding2D(3, name="conv1_pad")(image)
    x = layers.Conv2D(64, 7, strides=2, kernel_initializer="he_normal", name="conv1_conv")(x)
    x = _normalised(x, "conv1")
    x = ReLU(name="conv1_relu")(x)
    x = layers.ZeroPadding2D(1, name="pool1_pad")(x)
    x = layers.MaxPooling2D(3, strides=2, name="pool1_pool")(x)
    features = []
    for (name, blocks, filters), (strides, rate) in zip(STAGES, ATROUS[output_stride], strict=True):
        for block in range(1, blocks + 1):
            x = _block(
                x,
                filters,
                f"{name}_block{block}",
                strides=strides if block == 1 else 1,
                rate=rate,
                projected=block == 1,
            )
        features.append(x)
    return features[0], features[-1]


# === Layers ===


def _block(
    x: keras.KerasTensor, filters: int, name: str, *, strides: int, rate: int, projected: bool
) -> keras.KerasTensor:
    shortcut = x
    if projected:
        shortcut = _convolution(x, EXPANSION * filters, f"{name}_0", kernel=1, strides=strides)
    x = _convolution(x, filters, f"{name}_1", kernel=1, strides=strides)
    x = ReLU(name=f"{name}_1_relu")(x)
    x = _convolution(x, filters, f"{name}_2", kernel=3, rate=rate)
    x = ReLU(name=f"{name}_2_relu")(x)
    x = _convolution(x, EXPANSION * filters, f"{name}_3", kernel=1)
    x = layers.Add(name=f"{name}_add")([shortcut, x])
    return ReLU(name=f"{name}_out")(x)


def _convolution(
    x: keras.KerasTensor, filters: int, name: str, *, kernel: int, strides: int = 1, rate: int = 1
) -> keras.KerasTensor:
    x = Conv2D(
        filters,
        kernel,
        strides,
        padding="same",
        dilation_rate=rate,
        kernel_initializer="he_normal",
        name=f"{name}_conv",
    )(x)
    return _normalised(x, name)


def _normalised(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    return normalisation(f"{name}_bn", epsilon=EPSILON)(x)
