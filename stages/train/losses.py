"""The training objective."""

from collections.abc import Callable, Sequence

from keras import KerasTensor, ops

# Keeps soft Dice defined where neither truth nor prediction has a pixel.
SMOOTHING = 1.0

Objective = Callable[[KerasTensor, KerasTensor], KerasTensor]


def cross_entropy_dice(dice_weight: float, class_weights: Sequence[float] = (1.0,)) -> Objective:
    """Binary cross-entropy plus soft Dice; each class is a sigmoid output of its own.

    Soft Dice is taken over all pixels of a batch, class by class (Milletari et al., "V-Net", 2016,
    https://arxiv.org/abs/1606.04797, with plain sums in the denominator), then averaged.

    Args:
        dice_weight: of (1 - soft Dice), relative to cross-entropy.
        class_weights: of each class in the mean over classes; a single number serves all.

    Returns:
        The objective of a batch as a function of targets, (batch, height, width, classes) of 0 and
        1, and of logits of the same shape.
    """
    # Relative to their mean, so that they shift attention but keep the scale of the objective.
    relative = [len(class_weights) * weight / sum(class_weights) for weight in class_weights]

    def objective(targets: KerasTensor, logits: KerasTensor) -> KerasTensor:
        targets, logits = ops.cast(targets, "float32"), ops.cast(logits, "float32")
        shares = ops.convert_to_tensor(relative, "float32")
        cross_entropy = ops.mean(
            shares * ops.binary_crossentropy(targets, logits, from_logits=True)
        )
        probability = ops.sigmoid(logits)
        pixels = (0, 1, 2)
        overlap = ops.sum(targets * probability, axis=pixels)
        total = ops.sum(targets, axis=pixels) + ops.sum(probability, axis=pixels)
        dice = ops.mean(shares * ((2 * overlap + SMOOTHING) / (total + SMOOTHING)))
        return cross_entropy + dice_weight * (1 - dice)

    return objective
