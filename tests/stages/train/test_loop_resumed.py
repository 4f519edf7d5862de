"""A training that was interrupted and resumed ends as one that was not, to the byte."""

import hashlib
import random
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
from keras import layers

from monuseg.formats.tiles import TiledImage
from stages.train import loop
from stages.train.batches import Batch, Batches
from stages.train.checkpoint import Checkpoint, opened
from stages.train.loop import HistoryRow, Trained, compile_for_training, fit
from stages.train.losses import cross_entropy_dice
from stages.train.params import TrainParams
from stages.train.validation import ValidationScores

STEPS = 3
PARAMS = TrainParams.load().model_copy(
    update={
        "epochs": 3,
        "steps_per_epoch": STEPS,
        "batch_size": 2,
        "crop": 32,
        "warmup": 0.4,
        "keep": "best",
    }
)
KEY = "0" * 64
# What seeds the layers of a model; a resumed one must not need it.
SEED, OTHER_SEED = 1, 99

Interruption = Callable[[int], None]


class StoppedError(Exception):
    """Stands for the end of a process."""


def build() -> keras.Model:
    """With statistics, and with random numbers of two layers' own."""
    image = keras.Input((None, None, 3), name="image")
    x = layers.Conv2D(4, 3, padding="same", name="first")(image)
    x = layers.BatchNormalization(name="normalisation")(x)
    x = layers.GaussianNoise(0.3, name="noise")(x)
    x = layers.Dropout(0.4, name="dropout")(layers.ReLU(name="relu")(x))
    logits = layers.Conv2D(1, 3, padding="same", dtype="float32", name="logits")(x)
    return keras.Model(image, logits, name="noisy")


def ours(model: keras.Model) -> None:
    compile_for_training(model, PARAMS, 0.01, jit_compile=False)


def averaging(model: keras.Model) -> None:
    optimizer = keras.optimizers.SGD(0.05, momentum=0.9, use_ema=True, ema_overwrite_frequency=4)
    model.compile(optimizer, cross_entropy_dice(1.0), jit_compile=False)


def accumulating_and_scaling_the_loss(model: keras.Model) -> None:
    inner = keras.optimizers.Adam(0.01, gradient_accumulation_steps=2)
    optimizer = keras.optimizers.LossScaleOptimizer(inner, dynamic_growth_steps=4)
    model.compile(optimizer, cross_entropy_dice(1.0), jit_compile=False)


class Unplugged(Batches):
    """Batches that end at a step."""

    last = 10**9

    def __getitem__(self, step: int) -> Batch:
        """The batch, or the end."""
        if step >= self.last:
            raise StoppedError
        return super().__getitem__(step)


def train(
    images: list[TiledImage],
    prepare: Callable[[keras.Model], None],
    checkpoint: Checkpoint | None,
    *,
    seed: int = SEED,
    until_step: int = 10**9,
    until_epoch: int = 10**9,
) -> tuple[Trained, keras.Model]:
    keras.utils.set_random_seed(seed)
    model = build()
    prepare(model)
    batches = Unplugged(images[:1], PARAMS, "symmetric")
    batches.last = until_step

    def progress(row: HistoryRow) -> None:
        if row["epoch"] == until_epoch:
            raise StoppedError

    trained = fit(
        model, batches, images[1:], PARAMS, scaling="symmetric", divisor=1, progress=progress,
        checkpoint=checkpoint,
    )  # fmt: skip
    return trained, model


def bytes_of(trained: Trained, model: keras.Model, folder: Path) -> dict[str, object]:
    """All that a training ends in: the stage's files, and more."""
    folder.mkdir(exist_ok=True)
    everything = [*model.variables, *model.optimizer.variables]
    arrays = [keras.ops.convert_to_numpy(variable) for variable in everything]
    saved = build()
    saved.set_weights(trained.weights)
    saved.save_weights(folder / "kept.weights.h5")
    return {
        "epoch": trained.epoch,
        "weights": hashlib.sha256((folder / "kept.weights.h5").read_bytes()).hexdigest(),
        "history": pd.DataFrame(trained.history).to_csv(index=False),
        "variables": [array.tobytes() for array in arrays],
    }


@pytest.mark.parametrize("prepare", [ours, averaging, accumulating_and_scaling_the_loss])
def test_resumed_is_as_uninterrupted(
    prepare: Callable[[keras.Model], None], images: list[TiledImage], tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    expected = bytes_of(*train(images, prepare, None), tmp_path / "files")
    # In the middle of the second epoch, then at its end but before it is saved.
    for end in ({"until_step": STEPS + 1}, {"until_epoch": 2}):
        with (
            pytest.raises(StoppedError),
            opened(tmp_path / "s", "noisy", KEY, 0) as interrupted,
        ):
            train(images, prepare, interrupted, **end)
    assert capsys.readouterr().out == "resuming at epoch 2 of 3\n"
    with opened(tmp_path / "s", "noisy", KEY, 0) as again:
        found = bytes_of(*train(images, prepare, again, seed=OTHER_SEED), tmp_path / "files")
        assert capsys.readouterr().out == "resuming at epoch 2 of 3\n"
        assert found == expected
        # And where all epochs were done, but their result was not written.
        found = bytes_of(*train(images, prepare, again, seed=OTHER_SEED), tmp_path / "files")
        assert capsys.readouterr().out == "resuming after epoch 3, the last\n"
        assert found == expected


@pytest.mark.parametrize("forgotten", ["optimizer", "model", "seeds"])
def test_each_part_of_the_state_is_needed(
    forgotten: str, images: list[TiledImage], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The test above would find it missing."""
    parts = {
        "optimizer": lambda model: {"model": model.variables},
        "model": lambda model: {"optimizer": model.optimizer.variables},
        "seeds": lambda model: {"model": model.weights, "optimizer": model.optimizer.variables},
    }
    expected = bytes_of(*train(images, ours, None), tmp_path / "files")
    monkeypatch.setattr(loop, "_variables", parts[forgotten])
    checkpoint = Checkpoint(tmp_path, KEY, 0)
    with pytest.raises(StoppedError):
        train(images, ours, checkpoint, until_epoch=2)
    found = bytes_of(*train(images, ours, checkpoint, seed=OTHER_SEED), tmp_path / "files")
    assert found["history"] != expected["history"]
    assert found["weights"] != expected["weights"]


def test_the_best_epoch_so_far_is_remembered(images: list[TiledImage], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    scripted = iter([0.2, 0.9, 0.5])

    def scores(*_: object) -> ValidationScores:
        return ValidationScores(0.1, 0.5, next(scripted))

    monkeypatch.setattr(loop, "validate", scores)
    checkpoint = Checkpoint(tmp_path, KEY, 0)
    with pytest.raises(StoppedError):
        train(images, ours, checkpoint, until_step=2 * STEPS + 1)
    trained, model = train(images, ours, checkpoint, seed=OTHER_SEED)
    assert trained.epoch == 2
    assert [row["validation_dice"] for row in trained.history] == [0.2, 0.9, 0.5]
    last = model.get_weights()
    assert not all(np.array_equal(a, b) for a, b in zip(trained.weights, last, strict=True))


def test_training_draws_no_random_number_that_a_checkpoint_does_not_hold(
    images: list[TiledImage],
) -> None:
    keras.utils.set_random_seed(SEED)
    model = build()
    ours(model)
    before = random.getstate(), np.random.get_state()[1].tobytes()  # noqa: NPY002
    fit(
        model, Batches(images[:1], PARAMS, "symmetric"), images[1:], PARAMS,
        scaling="symmetric", divisor=1, progress=lambda row: None,
    )  # fmt: skip
    assert before == (random.getstate(), np.random.get_state()[1].tobytes())  # noqa: NPY002
