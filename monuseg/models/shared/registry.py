"""Architectures by name: a model is a folder `monuseg/models/<name>/`.

Its `params.py` defines the class `Params` and the constant `DIVISOR` and does not import Keras. Its
`network.py` defines `build(params, classes)` and, if they apply, `initialise(model, params)`,
`learning_rates(model, params)` and `coarse_features(params)`.
"""

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from monuseg.core.errors import PipelineError
from monuseg.models.shared.params import ModelParams

MODELS = Path(__file__).resolve().parents[1]
PACKAGE = "monuseg.models"


@dataclass(frozen=True)
class Architecture:
    """A model that the graph can train; Keras is imported only when its network is asked for.

    Attributes:
        name: of its folder.
        params: its class `Params`, the block `<name>` of params.yaml.
        divisor: its constant `DIVISOR`, which must divide an input's height and width.
    """

    name: str
    params: type[ModelParams]
    divisor: int

    def build(self, params: ModelParams, classes: int) -> Any:
        """The uncompiled Keras model: (batch, height, width, 3) to logits of as many classes."""
        return self._network.build(params, classes)

    def initialise(self, model: Any, params: ModelParams) -> None:
        """Give a new model the pre-trained weights that its params ask for, if any."""
        if hasattr(self._network, "initialise"):
            self._network.initialise(model, params)

    def learning_rates(self, model: Any, params: ModelParams) -> dict[str, float]:
        """Of layers that learn at another rate than the others, their share of it, by name."""
        if not hasattr(self._network, "learning_rates"):
            return {}
        found: dict[str, float] = self._network.learning_rates(model, params)
        return found

    def coarse_features(self, params: ModelParams) -> dict[str, int]:
        """The layers for deep supervision, and their strides in input pixels.

        Empty for a network that names none.
        """
        if not hasattr(self._network, "coarse_features"):
            return {}
        found: dict[str, int] = self._network.coarse_features(params)
        return found

    @property
    def _network(self) -> Any:
        return importlib.import_module(f"{PACKAGE}.{self.name}.network")


def is_model(name: object) -> bool:
    """Whether `name` is a model: a folder `monuseg/models/<name>` with a `params.py`."""
    if not isinstance(name, str) or not name.isidentifier() or name == "shared":
        return False
    return (MODELS / name / "params.py").is_file()


def architecture(name: str) -> Architecture:
    """Look a model up by name.

    Raises:
        PipelineError: there is no such folder, or its params.py lacks `Params` or `DIVISOR`.
    """
    if not is_model(name):
        raise PipelineError(f"unknown model {name!r}: there is no monuseg/models/{name}/params.py")
    module = importlib.import_module(f"{PACKAGE}.{name}.params")
    for wanted in ("Params", "DIVISOR"):
        if not hasattr(module, wanted):
            raise PipelineError(f"monuseg/models/{name}/params.py defines no {wanted}; add it")
    return Architecture(name, module.Params, module.DIVISOR)
