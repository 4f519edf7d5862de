"""The training loop: batches in, best weights and a history out."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from stages.dataset.tiles import TiledImage
from stages.inference.forward import forward_of
from stages.params.train import TrainParams
from stages.training.batches import Batches
from stages.training.losses import cross_entropy_dice
from stages.training.validation import validate

# What weight decay leaves alone: these do not overfit, and shrinking them only slows learning.
NOT_DECAYED = ["bias", "gamma", "beta"]

HistoryRow = dict[str, float | None]


@dataclass(frozen=True)
class Trained:
    """The outcome of a training.

    Attributes:
        weights: what `Model.get_weights` gave at the end of `epoch`.
        epoch: which one was kept, from 1.
        history: a row an epoch; the validation columns are None without validation images.
    """

    weights: list[npt.NDArray[np.generic]]
    epoch: int
    history: list[HistoryRow]


def compile_for_training(
    model: Any, params: TrainParams, learning_rate: float, *, jit_compile: bool
) -> None:
    """Give the model its optimizer and objective.

    AdamW (Loshchilov and Hutter, https://arxiv.org/abs/1711.05101) with a linear warm-up and a
    cosine decay to zero at the last step.
    """
    steps = params.epochs * params.steps_per_epoch
    warmup = round(params.warmup * steps)
    schedule = keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=0.0 if warmup else learning_rate,
        decay_steps=steps - warmup,
        warmup_target=learning_rate if warmup else None,
        warmup_steps=warmup,
    )
    optimizer = keras.optimizers.AdamW(
        schedule, weight_decay=params.weight_decay, global_clipnorm=params.clip_norm
    )
    optimizer.exclude_from_weight_decay(var_names=NOT_DECAYED)
    model.compile(optimizer, cross_entropy_dice(params.dice_weight), jit_compile=jit_compile)


def fit(
    model: Any,
    batches: Batches,
    validation: list[TiledImage],
    params: TrainParams,
    *,
    scaling: str,
    divisor: int,
    progress: Callable[[HistoryRow], None],
) -> Trained:
    """Train a compiled model.

    Args:
        model: compiled by `compile_for_training`.
        batches: of the training images.
        validation: images that choose the epoch; may be empty.
        params: `epochs`, `steps_per_epoch` and `keep` are used.
        scaling: of the model's inputs.
        divisor: of the model's inputs.
        progress: called with each epoch's row when it is done.
    """
    forward = forward_of(model, scaling)
    history: list[HistoryRow] = []
    kept, kept_dice = (0, model.get_weights()), -1.0
    for epoch in range(1, params.epochs + 1):
        first = (epoch - 1) * params.steps_per_epoch
        objectives = []
        steps = tqdm(
            batches.ahead(first, first + params.steps_per_epoch),
            total=params.steps_per_epoch,
            desc=f"epoch {epoch}/{params.epochs}",
            disable=not sys.stderr.isatty(),
        )
        for inputs, targets in steps:
            objectives.append(float(model.train_on_batch(inputs, targets)))
            steps.set_postfix(objective=f"{objectives[-1]:.4f}")
        scores = validate(forward, validation, divisor) if validation else None
        row: HistoryRow = {
            "epoch": epoch,
            "learning_rate": float(model.optimizer.learning_rate),
            "objective": float(np.mean(objectives)),
            "validation_loss": scores.loss if scores else None,
            "validation_accuracy": scores.accuracy if scores else None,
            "validation_dice": scores.dice if scores else None,
        }
        history.append(row)
        progress(row)
        if params.keep == "last" or scores is None:
            kept = (epoch, model.get_weights())
        elif scores.dice > kept_dice:
            kept, kept_dice = (epoch, model.get_weights()), scores.dice
    return Trained(weights=kept[1], epoch=kept[0], history=history)
