"""The training objective."""

from collections.abc import Callable, Sequence

from keras import KerasTensor, ops

# Keeps soft Dice defined where neither truth nor prediction has a pixel.
SMOOTHING = 1.0

Objective = Callable[[KerasTensor, KerasTensor], KerasTensor]


def cross_entropy_dice(
    dice_weight: float,
    class_weights: Sequence[float] = (1.0,),
    masks: Sequence[bool] | None = None,
) -> Objective:
    """Binary cross-entropy plus soft Dice; each class is a sigmoid output of its own.

    Soft Dice is taken over all pixels of a batch, class by class (Milletari et al., "V-Net", 2016,
    https://arxiv.org/abs/1606.04797, with plain sums in the denominator), then averaged over the
    masks. A graded target, such as a distance, has cross-entropy alone, which is least where the
    output is the target; soft Dice is least at 0 or 1 (at 0.5 the gain lies in predicting 1; Wang
    et al., 2023, https://arxiv.org/abs/2303.16296).

    Args:
        dice_weight: of (1 - soft Dice), relative to cross-entropy.
        class_weights: of each class in the mean over classes; a single number serves all.
        masks: whether each class is a mask of 0 and 1; None: all are. The first one is.

    Returns:
        The objective of a batch as a function of targets, (batch, height, width, classes) from 0
        to 1, and of logits of the same shape.
    """
    # Relative to their mean, so that they shift attention but keep the scale of the objective.
    relative = [len(class_weights) * weight / sum(class_weights) for weight in class_weights]
    of_masks = [
        weight if is_mask else 0.0
        for weight, is_mask in zip(class_weights, masks or [True] * len(class_weights), strict=True)
    ]
    relative_dice = [len(of_masks) * weight / sum(of_masks) for weight in of_masks]

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
        shares = ops.convert_to_tensor(relative_dice, "float32")
        dice = ops.mean(shares * ((2 * overlap + SMOOTHING) / (total + SMOOTHING)))
        return cross_entropy + dice_weight * (1 - dice)

    return objective
