"""A Keras model as a function from pixels to probabilities."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import expit

from monuseg.inference.params import PredictParams
from monuseg.inference.sliding_window import Forward
from monuseg.models.shared import backend
from monuseg.models.shared.scaling import SCALINGS


def load_forward(folder: Path, name: str, params: PredictParams) -> tuple[Forward, Any]:
    """Set up this process, load a trained model, and say on standard output what computes it.

    Args:
        folder: of the models.
        name: of the model.
        params: block `predict`.

    Returns:
        A function from (windows, height, width, 3) uint8 pixels to probabilities, and the model's
        card.

    Raises:
        PipelineError: as `configure` and `store.load`.
    """
    runtime = backend.configure(params, seed=0)
    # Only now, since this imports Keras, and Keras reads its backend when it is imported.
    from monuseg.models.shared import store

    model, card = store.load(folder, name)
    print(f"{name}: {runtime}", flush=True)
    return forward_of(model, card.scaling, jit_compile=runtime.jit_compile), card


def forward_of(model: Any, scaling: str, *, jit_compile: bool | None = None) -> Forward:
    """A function from (windows, height, width, 3) uint8 pixels to the model's probabilities.

    Args:
        model: a Keras model that returns logits; their sigmoids are the probabilities.
        scaling: how pixels become its inputs; see `monuseg.models.shared.scaling`.
        jit_compile: whether XLA compiles it, as `configure` decided; None: as the model has it from
            `compile_for_training`. A model that nobody told is compiled wherever Keras can.
    """
    if jit_compile is not None:
        model.jit_compile = jit_compile
    scale = SCALINGS[scaling]

    def forward(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        probability: npt.NDArray[np.float32] = expit(model.predict_on_batch(scale(pixels)))
        return probability

    return forward
