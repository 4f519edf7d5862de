"""DeepLabV3+.

Reference: Chen, Zhu, Papandreou, Schroff and Adam, "Encoder-Decoder with Atrous Separable
Convolution for Semantic Image Segmentation", ECCV 2018, https://arxiv.org/abs/1802.02611. The
encoder's last stages are atrous instead of strided; a pyramid of atrous convolutions looks at
several scales; a small decoder adds detail at stride 4.
"""

import keras

from monuseg.models.deeplabv3plus import efficientnet_lite0, light, resnet50, xception
from monuseg.models.deeplabv3plus.head import Head, is_of_the_head
from monuseg.models.deeplabv3plus.params import RATES_STRIDE, Params
from monuseg.models.deeplabv3plus.pretrained import take_lite0, take_resnet50
from monuseg.models.shared.params import NO_WEIGHTS


def build(params: Params, classes: int) -> keras.Model:
    """Build DeepLabV3+, which returns logits, uncompiled and with random weights.

    Args:
        params: the block `deeplabv3plus`.
        classes: number of output channels.

    Returns:
        A model from (batch, height, width, 3) to (batch, height, width, classes) logits in
        float32, for any height and width that `DIVISOR` divides. Every layer is named, because
        the names are stored with the weights.
    """
    # === Functional model ===
    image = keras.Input((None, None, 3), name="image")
    stride = params.output_stride
    if params.encoder == "resnet50":
        low, high = resnet50.encode(image, stride)
    elif params.encoder == "xception":
        low, high = xception.encode(image, stride)
    elif params.encoder == "efficientnet_lite0":
        low, high = efficientnet_lite0.encode(image, stride)
    else:
        low, high = light.encode(image, stride, params.width)
    head = Head(
        output_stride=stride,
        rates=tuple(rate * RATES_STRIDE // stride for rate in params.rates),
        aspp_filters=params.aspp_filters,
        low_level_filters=params.low_level_filters,
        decoder_filters=params.decoder_filters,
        separable=params.encoder == "xception",
    )
    return keras.Model(image, head(low, high, classes), name="deeplabv3plus")


def coarse_features(params: Params) -> dict[str, int]:
    """The last layer of the atrous pyramid and its stride, for deep supervision."""
    return {"pyramid_projection_relu": params.output_stride}


def initialise(model: keras.Model, params: Params) -> None:
    """Give the encoder its pre-trained weights, if `params.weights` asks for them.

    Raises:
        PipelineError: they cannot be loaded, or belong to another network.
    """
    if params.weights == NO_WEIGHTS:
        return
    if params.encoder == "resnet50":
        take_resnet50(model, params.weights)
    else:
        take_lite0(model, params.weights)


def learning_rates(model: keras.Model, params: Params) -> dict[str, float]:
    """Of the layers that learn at another rate than `params.learning_rate`, their share of it."""
    if params.encoder_learning_rate == 1:
        return {}
    encoder = (layer.name for layer in model.layers if not is_of_the_head(layer.name))
    return dict.fromkeys(encoder, params.encoder_learning_rate)
