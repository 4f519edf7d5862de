"""AdamW of which some layers take smaller steps."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras


class LayerwiseAdamW(keras.optimizers.AdamW):
    """Keras's AdamW, whose learning rate some layers have only a share of.

    Weight decay, which is a step of its own, goes by the whole rate in all layers.
    """

    def __init__(self, *arguments: Any, shares: Mapping[str, float], **options: Any) -> None:
        """Make the optimizer.

        Args:
            arguments: of Keras's.
            shares: of the learning rate, by the name of a layer; the others have all of it.
            options: of Keras's.
        """
        super().__init__(*arguments, **options)
        self._shares_of_layers = dict(shares)
        self._shares: list[float] = []

    def build(self, variables: Sequence[Any]) -> None:
        """Make the optimizer's variables for a model's trainable ones."""
        super().build(variables)
        # A variable's path is that of its layer and its own name.
        layers = (variable.path.split("/")[-2] for variable in variables)
        self._shares = [self._shares_of_layers.get(layer, 1.0) for layer in layers]

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Take a step of one variable."""
        share = self._shares[self._get_variable_index(variable)]
        super().update_step(gradient, variable, learning_rate * share)
