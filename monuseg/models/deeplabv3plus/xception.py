"""The aligned Xception of DeepLabV3+ with atrous last stages.

Reference: Chen et al. 2018, https://arxiv.org/abs/1802.02611, figure 4: more layers than Chollet's
Xception, strided separable convolutions in place of max-pooling, and normalisation after each
depthwise convolution.
"""

import keras
from keras import layers

from monuseg.models.deeplabv3plus.separable import separable_convolution
from monuseg.models.shared.convolution import convolution

MIDDLE_BLOCKS = 16
# By output stride: stride of the third entry block, rate of the middle flow, rates of the two exit
# blocks.
ATROUS = {16: (2, 1, (1, 2)), 8: (1, 2, (2, 4))}


def encode(
    image: keras.KerasTensor, output_stride: int
) -> tuple[keras.KerasTensor, keras.KerasTensor]:
    """Aligned Xception without its classifier.

    Args:
        image: (batch, height, width, 3).
        output_stride: 16 or 8, input pixels per pixel of the last features.

    Returns:
        Features at stride 4, of 256 channels, and at `output_stride`, of 2048.
    """
    entry_strides, middle_rate, (exit_rate1, exit_rate2) = ATROUS[output_stride]
    x = convolution(image, 32, "entry_stem", number=1, strides=2)
    x = convolution(x, 64, "entry_stem", number=2)
    x, _ = _block(x, (128, 128, 128), "entry1", strides=2, projected=True)
    x, low = _block(x, (256, 256, 256), "entry2", strides=2, projected=True)
    x, _ = _block(x, (728, 728, 728), "entry3", strides=entry_strides, projected=True)
    for number in range(1, MIDDLE_BLOCKS + 1):
        x, _ = _block(x, (728, 728, 728), f"middle{number}", rate=middle_rate)
    x, _ = _block(x, (728, 1024, 1024), "exit1", rate=exit_rate1, projected=True)
    for number, filters in enumerate((1536, 1536, 2048), start=1):
        x = separable_convolution(x, filters, f"exit2_separable{number}", rate=exit_rate2)
    return low, x


# === Layers ===


def _block(
    x: keras.KerasTensor,
    filters: tuple[int, int, int],
    name: str,
    *,
    strides: int = 1,
    rate: int = 1,
    projected: bool = False,
) -> tuple[keras.KerasTensor, keras.KerasTensor]:
    """Three separable convolutions with a shortcut; the sum, and the second one's output."""
    shortcut, outputs = x, []
    if projected:
        shortcut = convolution(
            x, filters[-1], f"{name}_shortcut", kernel=1, strides=strides, relu=False
        )
    for number, channels in enumerate(filters, start=1):
        x = separable_convolution(
            x,
            channels,
            f"{name}_separable{number}",
            strides=strides if number == len(filters) else 1,
            rate=rate,
            relu_between=False,
        )
        outputs.append(x)
    return layers.Add(name=f"{name}_add")([shortcut, x]), outputs[1]
