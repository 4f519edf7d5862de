"""Deep supervision: what further heads see, what they weigh, and that they are not kept."""

from pathlib import Path

import keras
import numpy as np
import pytest

from monuseg.formats.tiles import TiledImage
from monuseg.models.unet import network as unet
from stages.train.batches import Batches
from stages.train.checkpoint import Checkpoint, opened
from stages.train.deep_supervision import supervised, supervised_objective
from stages.train.loop import Trained, compile_for_training, fit
from stages.train.losses import cross_entropy_dice
from stages.train.params import TrainParams

UNET = unet.Params(width=2, learning_rate=0.01)
COARSE = unet.coarse_features(UNET)
PARAMS = TrainParams.load().model_copy(
    update={
        "epochs": 2,
        "steps_per_epoch": 3,
        "batch_size": 2,
        "crop": 32,
        "deep_supervision": 0.5,
        "ema_momentum": 0.9,
        "outputs": ["nucleus", "boundary"],
    }
)


def test_the_first_channels_are_the_networks_own() -> None:
    model = unet.build(UNET, classes=2)
    image = np.random.default_rng(1).normal(size=(2, 32, 48, 3)).astype(np.float32)
    heads = supervised(model, COARSE).predict_on_batch(image)
    assert heads.shape == (2, 32, 48, 2 * (1 + len(COARSE)))
    np.testing.assert_allclose(heads[..., :2], model.predict_on_batch(image), atol=1e-6)


def test_a_further_head_sees_its_features_and_no_finer_ones() -> None:
    """Logits at stride 8, repeated: the same over squares of 8 pixels, and other ones beside."""
    model = unet.build(UNET, classes=1)
    image = np.random.default_rng(2).normal(size=(1, 64, 64, 3)).astype(np.float32)
    coarsest = supervised(model, COARSE).predict_on_batch(image)[0, ..., -1]
    np.testing.assert_array_equal(coarsest, np.kron(coarsest[::8, ::8], np.ones((8, 8))))
    assert len(np.unique(coarsest)) == (64 // 8) ** 2


def test_heads_count_by_powers_of_the_weight() -> None:
    generator = np.random.default_rng(3)
    targets = (generator.random((2, 8, 8, 2)) < 0.3).astype(np.float32)
    heads = [generator.normal(0, 2, targets.shape).astype(np.float32) for _ in range(3)]
    objective = supervised_objective(1.0, [1.0, 3.0], [True, False], {"a": 2, "b": 4}, 0.5)
    single = cross_entropy_dice(1.0, [1.0, 3.0], [True, False])
    first, second, third = (float(single(targets, logits)) for logits in heads)
    found = float(objective(targets, np.concatenate(heads, axis=-1)))
    assert found == pytest.approx((first + second / 2 + third / 4) / 1.75, rel=1e-5)


def test_without_a_weight_the_model_itself_is_trained() -> None:
    model = unet.build(UNET, classes=2)
    params = PARAMS.model_copy(update={"deep_supervision": 0.0})
    assert compile_for_training(model, params, 0.01, jit_compile=False, coarse=COARSE) is model


def train(
    images: list[TiledImage], checkpoint: Checkpoint | None, seed: int = 1, until: int = 10**9
) -> Trained:
    class StoppedError(Exception):
        pass

    def progress(row: dict[str, float | None]) -> None:
        if row["epoch"] == until:
            raise StoppedError

    keras.utils.set_random_seed(seed)
    model = unet.build(UNET, classes=2)
    learner = compile_for_training(model, PARAMS, 0.01, jit_compile=False, coarse=COARSE)
    batches = Batches(images[:1], PARAMS, "symmetric")
    try:
        return fit(
            model, batches, images[1:], PARAMS, scaling="symmetric", divisor=16,
            progress=progress, checkpoint=checkpoint, learner=learner,
        )  # fmt: skip
    except StoppedError:
        return Trained([], 0, [])


def test_the_networks_weights_are_kept_without_the_further_heads(
    images: list[TiledImage],
) -> None:
    model = unet.build(UNET, classes=2)
    fresh = model.get_weights()
    trained = train(images, None)
    assert [w.shape for w in trained.weights] == [w.shape for w in fresh]
    model.set_weights(trained.weights)


@pytest.mark.long
def test_further_heads_are_part_of_the_state_of_an_interrupted_training(
    images: list[TiledImage], tmp_path: Path
) -> None:
    expected = train(images, None)
    with opened(tmp_path, "unet", "0" * 64, 0) as checkpoint:
        # Stopped before its second epoch is saved; other random weights are overwritten.
        train(images, checkpoint, until=2)
        resumed = train(images, checkpoint, seed=9)
    assert resumed.history == expected.history
    for one, other in zip(resumed.weights, expected.weights, strict=True):
        np.testing.assert_array_equal(one, other)
