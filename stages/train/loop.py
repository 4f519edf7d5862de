"""The training loop: batches in, best weights and a history out."""

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from monuseg.formats.predictions import DISTANCE
from monuseg.formats.tiles import TiledImage
from monuseg.inference.forward import forward_of
from monuseg.models.shared.devices import from_first_process
from stages.train.batches import Batches
from stages.train.checkpoint import Checkpoint, State
from stages.train.deep_supervision import supervised, supervised_objective
from stages.train.losses import cross_entropy_dice
from stages.train.optimizer import LayerwiseAdamW
from stages.train.params import TrainParams
from stages.train.validation import validate

# What weight decay leaves alone: these do not overfit, and shrinking them only slows learning.
NOT_DECAYED = ["bias", "gamma", "beta"]

HistoryRow = dict[str, float | None]


@dataclass(frozen=True)
class Trained:
    """The outcome of a training.

    Attributes:
        weights: what `Model.get_weights` returned at the end of `epoch`.
        epoch: the one that was kept, from 1.
        history: one row per epoch, with the learning rate of its last step; the validation columns
            are None without validation images.
    """

    weights: list[npt.NDArray[np.generic]]
    epoch: int
    history: list[HistoryRow]


def compile_for_training(
    model: Any,
    params: TrainParams,
    learning_rate: float,
    *,
    jit_compile: bool,
    coarse: Mapping[str, int] | None = None,
    shares: Mapping[str, float] | None = None,
) -> Any:
    """Give the model its optimizer and objective.

    AdamW (Loshchilov and Hutter, https://arxiv.org/abs/1711.05101), with a moving average of the
    weights if asked for. With w steps of warm-up, step s from 0 has (s + 1) / (w + 1) of the
    highest learning rate, and step w has all of it; after that it falls as a cosine to 0, which the
    step after the last one would have. So no step is without effect.

    Args:
        model: the model to train.
        params: of the optimizer and the objective.
        learning_rate: the highest.
        jit_compile: whether XLA compiles it.
        coarse: its layers for deep supervision, from `Architecture.coarse_features`; used if
            `params.deep_supervision` is not 0.
        shares: of the learning rate, for the layers of these names; the others have all of it.

    Returns:
        What `fit` takes steps with: the model itself, or the model with additional heads.
    """
    steps = params.epochs * params.steps_per_epoch
    warmup = min(round(params.warmup * steps), steps - 1)
    schedule = keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=learning_rate / (warmup + 1),
        decay_steps=steps - warmup,
        warmup_target=learning_rate if warmup else None,
        warmup_steps=warmup,
    )
    kind = partial(LayerwiseAdamW, shares=shares) if shares else keras.optimizers.AdamW
    optimizer = kind(
        schedule,
        weight_decay=params.weight_decay,
        global_clipnorm=params.clip_norm,
        use_ema=params.ema_momentum > 0,
        ema_momentum=params.ema_momentum,
    )
    optimizer.exclude_from_weight_decay(var_names=NOT_DECAYED)
    weights = [params.output_weights.get(output, 1.0) for output in params.outputs]
    masks = [output != DISTANCE for output in params.outputs]
    if params.deep_supervision and coarse:
        learner = supervised(model, coarse)
        objective = supervised_objective(
            params.dice_weight, weights, masks, coarse, params.deep_supervision
        )
    else:
        learner = model
        objective = cross_entropy_dice(params.dice_weight, weights, masks)
    learner.compile(optimizer, objective, jit_compile=jit_compile)
    model.jit_compile = jit_compile  # also where it is not the learner: it is what validation runs
    return learner


def fit(
    model: Any,
    batches: Batches,
    validation: Sequence[TiledImage],
    params: TrainParams,
    *,
    scaling: str,
    divisor: int,
    progress: Callable[[HistoryRow], None],
    restored: Callable[[HistoryRow], None] = lambda row: None,
    checkpoint: Checkpoint | None = None,
    learner: Any = None,
) -> Trained:
    """Train a compiled model.

    With a checkpoint, the state is saved after epochs. If one is saved already, training continues
    from it and ends in the same weights and history as an uninterrupted one. Only the batches, a
    function of (seed, global step), and the model's layers, whose seeds are among its variables,
    draw random numbers.

    Args:
        model: the model to score and keep.
        batches: of the training images.
        validation: images that choose the epoch; may be empty.
        params: `epochs`, `steps_per_epoch` and `keep` are used.
        scaling: of the model's inputs.
        divisor: must divide height and width of the model's inputs.
        progress: called with each epoch's row when it is done.
        restored: called first with the row of each epoch that the checkpoint has.
        checkpoint: of this training.
        learner: what `compile_for_training` returned; by default the model itself.
    """
    learner = learner or model
    forward = forward_of(model.predict_on_batch, scaling)
    carried = _restored(checkpoint, learner)
    if carried is None:
        carried = _Carried(weights=model.get_weights())
    elif carried.epoch < params.epochs:
        print(f"resuming at epoch {carried.epoch + 1} of {params.epochs}", flush=True)
    else:
        print(f"resuming after epoch {carried.epoch}, the last", flush=True)
    for earlier in carried.history:
        restored(earlier)
    for epoch in range(carried.epoch + 1, params.epochs + 1):
        first = (epoch - 1) * params.steps_per_epoch
        objectives = []
        steps = tqdm(
            batches.ahead(first, first + params.steps_per_epoch),
            total=params.steps_per_epoch,
            desc=f"epoch {epoch}/{params.epochs}",
            disable=not sys.stderr.isatty(),
        )
        for step, (inputs, targets) in enumerate(steps, start=1):
            if step == params.steps_per_epoch:  # after a step, the optimizer has the next one's
                rate = float(learner.optimizer.learning_rate)
            objectives.append(float(learner.train_on_batch(inputs, targets)))
            steps.set_postfix(objective=f"{objectives[-1]:.4f}")
        with _averaged(learner) if params.ema_momentum else nullcontext():
            scores = validate(forward, validation, divisor) if validation else None
            weights = model.get_weights()
        row: HistoryRow = {
            "epoch": epoch,
            "learning_rate": rate,
            "objective": float(np.mean(objectives)),
            "validation_loss": scores.loss if scores else None,
            "validation_accuracy": scores.accuracy if scores else None,
            "validation_dice": scores.dice if scores else None,
        }
        carried.epoch = epoch
        carried.history.append(row)
        progress(row)
        if params.keep == "last" or scores is None:
            carried.kept, carried.weights = epoch, weights
        elif scores.dice > carried.kept_dice:
            carried.kept, carried.weights = epoch, weights
            carried.kept_dice = scores.dice
        if checkpoint and checkpoint.due():
            checkpoint.save(_state(carried, learner))
    return Trained(weights=carried.weights, epoch=carried.kept, history=carried.history)


@contextmanager
def _averaged(model: Any) -> Iterator[None]:
    """Within the context, the model has the moving average that its optimizer keeps."""
    variables = model.trainable_variables
    own = [np.array(keras.ops.convert_to_numpy(variable)) for variable in variables]
    model.optimizer.finalize_variable_values(variables)
    # If the backend has no variables of its own, the model's and the optimizer's now share arrays.
    # On JAX, prediction gives the model's arrays away, and the optimizer's would be lost with them.
    _assign(variables, [np.array(keras.ops.convert_to_numpy(variable)) for variable in variables])
    try:
        yield
    finally:
        _assign(variables, own)


def _assign(variables: Iterable[Any], arrays: Iterable[npt.NDArray[np.generic]]) -> None:
    for variable, array in zip(variables, arrays, strict=True):
        variable.assign(array)


@dataclass
class _Carried:
    """What one epoch hands to the next, besides the variables of model and optimizer.

    Every field that JSON can hold goes into the checkpoint by itself; arrays are named in `_state`
    and `_restored`.

    Attributes:
        weights: those kept so far.
        kept: the epoch that they come from.
        kept_dice: the validation Dice of that epoch, if it was chosen by that.
        epoch: the last finished epoch.
        history: one row per finished epoch.
    """

    weights: list[npt.NDArray[np.generic]]
    kept: int = 0
    kept_dice: float = -1.0
    epoch: int = 0
    history: list[HistoryRow] = field(default_factory=list)


def _state(carried: _Carried, model: Any) -> State:
    values = {name: value for name, value in vars(carried).items() if name != "weights"}
    arrays = {"weights": carried.weights}
    for owner, variables in _variables(model).items():
        arrays[owner] = [keras.ops.convert_to_numpy(variable) for variable in variables]
    return State(values, arrays)


def _restored(checkpoint: Checkpoint | None, model: Any) -> _Carried | None:
    """Load what was carried when the checkpoint was saved, and set the variables as they were.

    Of several processes only the first has a checkpoint, and all go on from it.
    """
    # Before its first step, an optimizer has no variables to set.
    model.optimizer.build(model.trainable_variables)
    state = from_first_process(checkpoint.load() if checkpoint else None)
    if state is None:
        return None
    for owner, variables in _variables(model).items():
        _assign(variables, state.arrays[owner])
    return _Carried(weights=list(state.arrays["weights"]), **state.values)


def _variables(model: Any) -> dict[str, list[Any]]:
    """All that training changes, including seeds of layers and statistics of normalisation."""
    return {"model": model.variables, "optimizer": model.optimizer.variables}
