"""Tests of `stages.train.params`."""

from collections.abc import Callable

import pytest

from monuseg.core.errors import PipelineError
from stages.train.params import TrainParams

SetParams = Callable[[dict[str, object]], None]


@pytest.mark.usefixtures("project")
def test_models_blocks_are_no_part_of_the_block_train() -> None:
    params = TrainParams.load()
    assert params.augmentation.scale == (0.8, 1.25)
    assert "unet" not in params.model_dump()


def test_a_models_block_within_it_is_an_unknown_key(set_params: SetParams) -> None:
    set_params({"train.unet": {"width": 8}})
    with pytest.raises(PipelineError, match=r"params\.yaml: train\.unet: unknown key"):
        TrainParams.load()


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (
            {"devices": 2},
            "train: `devices` other than 1 needs `backend: jax`; change one of the two",
        ),
        ({"devices": 0, "backend": "jax"}, "train.devices: must be greater than or equal to 1"),
    ],
)
def test_devices_that_cannot_train_together_are_refused(
    values: dict[str, object], said: str, set_params: SetParams
) -> None:
    set_params({f"train.{key}": value for key, value in values.items()})
    with pytest.raises(PipelineError) as caught:
        TrainParams.load()
    assert str(caught.value).startswith(f"params.yaml: {said}")


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"augmentation.elastic": -1.0}, "augmentation.elastic: must be greater than or equal to"),
        ({"augmentation.elastic_scale": 0}, "augmentation.elastic_scale: must be greater than"),
        (
            {"augmentation.elastic": 10.5, "augmentation.elastic_scale": 20},
            "augmentation: `elastic` must be at most half of `elastic_scale`; lower it",
        ),
        ({"sampling": None}, "sampling: must be a mapping of keys"),
        ({"sampling.organs": "same"}, "sampling.organs: must be 'area' or 'equal'"),
        ({"sampling.nuclei": 1.1}, "sampling.nuclei: must be less than or equal to 1"),
        ({"sampling.tiles": 1}, "sampling.tiles: unknown key"),
    ],
)
def test_a_mistake_in_how_crops_are_made_is_named(
    values: dict[str, object], said: str, set_params: SetParams
) -> None:
    set_params({f"train.{key}": value for key, value in values.items()})
    with pytest.raises(PipelineError) as caught:
        TrainParams.load()
    assert str(caught.value).startswith(f"params.yaml: train.{said}")
