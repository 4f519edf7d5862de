"""Deep supervision: coarser features of a network are trained on the targets too."""

from collections.abc import Mapping, Sequence

import keras
from keras import KerasTensor, layers, ops

from stages.train.losses import Objective, cross_entropy_dice


def supervised(model: keras.Model, coarse: Mapping[str, int]) -> keras.Model:
    """Add logits of a network's coarser features to its own.

    Lee et al., "Deeply-Supervised Nets", 2015, https://arxiv.org/abs/1409.5185; on the levels of a
    decoder as in nnU-Net (Isensee et al., 2021, https://doi.org/10.1038/s41592-020-01008-z).
    Coarse logits are repeated to the image's size, instead of reducing targets to theirs. Targets
    enter cross-entropy and overlap linearly, so a coarse pixel learns the mean of those it covers.

    Args:
        model: (batch, height, width, 3) to (batch, height, width, classes) logits.
        coarse: names of its layers, and their strides in input pixels.

    Returns:
        A model of the same layers to (batch, height, width, heads * classes) logits: the network's
        own, then those of each coarser layer. Only training needs it; the network itself has
        the same weights, without those of the additional heads.
    """
    classes = model.output.shape[-1]
    heads = [model.output]
    for name, stride in coarse.items():
        # In float32 under mixed precision too, as the network's own logits.
        logits = layers.Conv2D(classes, 1, dtype="float32", name=f"{name}_logits")
        repeated = layers.UpSampling2D(stride, dtype="float32", name=f"{name}_repeated_logits")
        heads.append(repeated(logits(model.get_layer(name).output)))
    together = layers.Concatenate(dtype="float32", name="heads")(heads)
    return keras.Model(model.input, together, name=f"{model.name}_supervised")


def supervised_objective(
    dice_weight: float,
    class_weights: Sequence[float],
    masks: Sequence[bool],
    coarse: Mapping[str, int],
    weight: float,
) -> Objective:
    """The objective for a model from `supervised`: the weighted mean over its heads.

    Args:
        dice_weight: see `cross_entropy_dice`.
        class_weights: of each class.
        masks: whether each class is a mask.
        coarse: as for `supervised`.
        weight: of each head relative to the one before; the third head has its square.

    Returns:
        A function of targets, (batch, height, width, classes), and all heads' logits.
    """
    weights = [weight**place for place in range(1 + len(coarse))]
    objective = cross_entropy_dice(
        dice_weight,
        [head * of_class for head in weights for of_class in class_weights],
        list(masks) * len(weights),
    )

    def of_all_heads(targets: KerasTensor, logits: KerasTensor) -> KerasTensor:
        return objective(ops.tile(targets, (1, 1, 1, len(weights))), logits)

    return of_all_heads
