"""The training objective."""

import keras
from keras import ops

# Keeps soft Dice defined where neither truth nor prediction has a pixel.
SMOOTHING = 1.0


class CrossEntropyDice(keras.losses.Loss):
    """Binary cross-entropy plus soft Dice, each class a sigmoid output of its own.

    Soft Dice is taken over all pixels of a batch, class by class (Milletari et al., "V-Net", 2016,
    https://arxiv.org/abs/1606.04797, with plain sums in the denominator), then averaged.

    Args:
        dice_weight: float. Weight of (1 - soft Dice) beside cross-entropy.
    """

    def __init__(self, dice_weight: float) -> None:
        super().__init__(name="cross_entropy_dice", reduction="sum")
        self.dice_weight = dice_weight

    def call(self, y_true: keras.KerasTensor, y_pred: keras.KerasTensor) -> keras.KerasTensor:
        """The objective of a batch.

        Args:
            y_true: (batch, height, width, classes) 0 or 1.
            y_pred: (batch, height, width, classes) logits.
        """
        y_true = ops.cast(y_true, "float32")
        y_pred = ops.cast(y_pred, "float32")
        cross_entropy = ops.mean(ops.binary_crossentropy(y_true, y_pred, from_logits=True))
        probability = ops.sigmoid(y_pred)
        pixels = (0, 1, 2)
        overlap = ops.sum(y_true * probability, axis=pixels)
        total = ops.sum(y_true, axis=pixels) + ops.sum(probability, axis=pixels)
        dice = ops.mean((2 * overlap + SMOOTHING) / (total + SMOOTHING))
        return cross_entropy + self.dice_weight * (1 - dice)
