"""A Keras model as a function from pixels to probabilities."""

from collections.abc import Callable, Sequence
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
    """The one model of `load_forwards`, and its card."""
    [loaded], _ = load_forwards([(folder, name)], params)
    return loaded


def load_forwards(
    models: Sequence[tuple[Path, str]], params: PredictParams
) -> tuple[list[tuple[Forward, Any]], backend.Runtime]:
    """Set up this process, load trained models, and say on standard output what computes them.

    Args:
        models: folder and name of each.
        params: block `predict`.

    Returns:
        Of each a function from (windows, height, width, 3) uint8 pixels to probabilities, and the
        model's card; and what `configure` decided.

    Raises:
        PipelineError: as `configure` and `store.load`.
    """
    runtime = backend.configure(params, seed=0)
    # Only now, since this imports Keras, and Keras reads its backend when it is imported.
    from monuseg.models.shared import store

    loaded = []
    for folder, name in models:
        model, card = store.load(folder, name)
        print(f"{name}: {runtime}", flush=True)
        loaded.append((forward_of(backend.inference(model, runtime), card.scaling), card))
    return loaded, runtime


def forward_of(network: Callable[[Any], Any], scaling: str) -> Forward:
    """A function from (windows, height, width, 3) uint8 pixels to a network's probabilities.

    Args:
        network: from inputs to logits, whose sigmoids are the probabilities; from
            `backend.inference`, or a model's `predict_on_batch`.
        scaling: how pixels become its inputs; see `monuseg.models.shared.scaling`.
    """
    scale = SCALINGS[scaling]

    def forward(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        probability: npt.NDArray[np.float32] = expit(network(scale(pixels)))
        return probability

    return forward
