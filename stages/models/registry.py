"""Architectures by name: a model is a module stages/models/<name>.py, or a package <name>/."""

import importlib
from dataclasses import dataclass
from typing import Any

from stages.errors import PipelineError
from stages.params.model import ModelParams, is_model


@dataclass(frozen=True)
class Architecture:
    """What a model's module offers.

    Attributes:
        name: of the module.
        params: its class `Params`, the block `train.<name>`.
        divisor: its constant `DIVISOR`, which must divide an input's height and width.
        module: it, with `build(params, classes)` and perhaps `initialise(model, params)` and
            `coarse_features(params)`.
    """

    name: str
    params: type[ModelParams]
    divisor: int
    module: Any

    def build(self, params: ModelParams, classes: int) -> Any:
        """The uncompiled Keras model: (batch, height, width, 3) to logits of as many classes."""
        return self.module.build(params, classes)

    def initialise(self, model: Any, params: ModelParams) -> None:
        """Give a new model the weights that its training starts from, where these are no chance.

        That is the module's function `initialise(model, params)`, for pre-trained weights; a
        module without one starts from random weights.
        """
        if hasattr(self.module, "initialise"):
            self.module.initialise(model, params)

    def coarse_features(self, params: ModelParams) -> dict[str, int]:
        """Layers that deep supervision is given to, and their strides in input pixels.

        Those are the module's `coarse_features(params)`; a module without it has none.
        """
        if not hasattr(self.module, "coarse_features"):
            return {}
        found: dict[str, int] = self.module.coarse_features(params)
        return found


def architecture(name: str) -> Architecture:
    """Look a model up by name; imports Keras.

    Raises:
        PipelineError: there is no such module.
    """
    if not is_model(name):
        raise PipelineError(f"unknown model {name!r}: there is no stages/models/{name}.py")
    module = importlib.import_module(f"stages.models.{name}")
    return Architecture(name, module.Params, module.DIVISOR, module)
