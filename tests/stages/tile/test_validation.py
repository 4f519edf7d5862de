"""Tests of `stages.tile.validation`."""

import math
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monuseg.core.errors import PipelineError
from monuseg.formats.protocol import CHALLENGE_TRAIN
from stages.tile.params import ValidationParams
from stages.tile.validation import validation_images

DEFAULTS: dict[str, object] = {
    "method": "fraction",
    "fraction": 0.2,
    "images": [],
    "organs": [],
    "fold": 0,
    "folds": 5,
    "seed": 1,
}

counts_by_organ = st.dictionaries(
    st.sampled_from(["breast", "kidney", "liver", "lung", "brain"]), st.integers(1, 9), min_size=1
)


def params(**values: object) -> ValidationParams:
    return ValidationParams.model_validate(DEFAULTS | values)


def images(counts: dict[str, int]) -> dict[str, str]:
    return {f"{organ}-{n}": organ for organ, count in counts.items() for n in range(count)}


@pytest.mark.parametrize("seed", range(20))
def test_6_of_the_challenges_30_are_spread_over_the_organs(seed: int) -> None:
    held_out = validation_images(CHALLENGE_TRAIN, params(seed=seed))
    assert len(held_out) == 6
    assert held_out <= CHALLENGE_TRAIN.keys()
    sizes = Counter(CHALLENGE_TRAIN.values())
    taken = Counter(CHALLENGE_TRAIN[image] for image in held_out)
    for organ, size in sizes.items():
        share = 6 * size / 30
        assert math.floor(share) <= taken[organ] <= math.ceil(share), organ


def test_the_seed_alone_decides_which() -> None:
    chosen = [validation_images(CHALLENGE_TRAIN, params(seed=seed)) for seed in (1, 1, 2)]
    assert chosen[0] == chosen[1] != chosen[2]
    # The manifest's order says nothing.
    shuffled = dict(reversed(CHALLENGE_TRAIN.items()))
    assert validation_images(shuffled, params(seed=1)) == chosen[0]


@given(counts=counts_by_organ, folds=st.integers(2, 6), seed=st.integers(0, 9))
def test_folds_partition_the_training_images(counts: dict[str, int], folds: int, seed: int) -> None:
    organs = images(counts)
    if len(organs) < folds:
        return
    held_out = [
        validation_images(organs, params(method="fold", fold=fold, folds=folds, seed=seed))
        for fold in range(folds)
    ]
    assert sorted(image for fold in held_out for image in fold) == sorted(organs)
    assert max(map(len, held_out)) - min(map(len, held_out)) <= 1
    for organ, size in counts.items():
        of_organ = [sum(organs[image] == organ for image in fold) for fold in held_out]
        assert max(of_organ) <= math.ceil(size / folds)


@given(counts=counts_by_organ, fraction=st.floats(0.01, 0.6), seed=st.integers(0, 9))
def test_fractions_hold_out_that_share(counts: dict[str, int], fraction: float, seed: int) -> None:
    organs = images(counts)
    if len(organs) < 3:
        return
    held_out = validation_images(organs, params(fraction=fraction, seed=seed))
    assert len(held_out) == max(1, round(fraction * len(organs)))
    assert held_out < organs.keys()


def test_named_takes_the_named() -> None:
    organs = images({"breast": 3})
    named = params(method="named", images=["breast-2", "breast-0"])
    assert validation_images(organs, named) == {"breast-0", "breast-2"}


def test_organs_takes_all_images_of_them() -> None:
    organs = images({"breast": 2, "liver": 3, "colon": 1})
    held_out = validation_images(organs, params(method="organs", organs=["breast", "colon"]))
    assert held_out == {"breast-0", "breast-1", "colon-0"}


def test_none_holds_nothing_out() -> None:
    assert validation_images(images({"breast": 3}), params(method="none")) == set()
    assert validation_images({}, params(method="none")) == set()


@pytest.mark.parametrize(
    ("organs", "values", "said"),
    [
        ({"breast": 3}, {"method": "named", "images": ["breast-0", "x"]}, "images: x is not a"),
        ({"breast": 2}, {"method": "named", "images": ["breast-0", "breast-1"]}, "2 of 2"),
        (
            {"breast": 2, "liver": 1},
            {"method": "organs", "organs": ["breast", "lung"]},
            "tile.validation.organs: no training image of the protocol shows lung; name some of "
            "breast, liver",
        ),
        ({"breast": 2}, {"method": "organs", "organs": ["breast"]}, "2 of 2"),
        ({"breast": 1}, {}, "holds out 1 of 1"),
        ({}, {}, "no training image"),
        ({}, {"method": "fold"}, "no training image"),
        ({"breast": 2}, {"method": "fold", "fold": 3}, "holds out 0 of 2"),
        ({"breast": 4}, {"fraction": 0.99}, "holds out 4 of 4"),
    ],
)
def test_what_leaves_one_side_empty_is_an_error(
    organs: dict[str, int], values: dict[str, object], said: str
) -> None:
    with pytest.raises(PipelineError, match=r"^params\.yaml: tile\.validation.*") as caught:
        validation_images(images(organs), params(**values))
    assert said in str(caught.value)
