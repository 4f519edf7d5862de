"""Batch normalisation as one operation, where the backend has one for training."""

from typing import Any

import keras

from monuseg.models.shared.backend import fused_batch_normalisation


class BatchNormalization(keras.layers.BatchNormalization):
    """Keras's layer, with the same variables, names and values (to rounding).

    Keras on TensorFlow computes it as a dozen operations, each of which passes over all pixels: a
    quarter of a training step of these networks on a CPU. TensorFlow's own kernel passes over them
    once, and takes bfloat16 as it is.
    """

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        """Normalise (batch, height, width, channels) over all axes but the last.

        Args:
            inputs: features.
            training: whether the batch's own statistics count, and enter the averages.
            mask: not supported by the fused operation.
        """
        fused = fused_batch_normalisation()
        if fused is None or mask is not None:
            return super().call(inputs, training=training, mask=mask)
        if not (training and self.trainable):
            outputs, _, _ = fused(
                inputs,
                self.gamma,
                self.beta,
                self.epsilon,
                averages=(self.moving_mean, self.moving_variance),
            )
            return outputs
        outputs, mean, variance = fused(inputs, self.gamma, self.beta, self.epsilon)
        for average, value in ((self.moving_mean, mean), (self.moving_variance, variance)):
            average.assign(average * self.momentum + value * (1.0 - self.momentum))
        return outputs
