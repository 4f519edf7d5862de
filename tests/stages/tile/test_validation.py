"""Tests of `stages.tile.validation`."""

import math
from collections import Counter
from fractions import Fraction

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
    share = Fraction(str(fraction))
    assert len(held_out) == max(1, round(share * len(organs)))
    assert held_out < organs.keys()
    taken = Counter(organs[image] for image in held_out)
    for organ, size in counts.items():
        assert abs(taken[organ] - share * size) < 1 or len(held_out) == 1


SEVEN = {"breast": 6, "kidney": 6, "liver": 6, "prostate": 6, "bladder": 2, "colon": 2, "lung": 2}


@pytest.mark.parametrize("added", [*SEVEN, "an organ of its own"])
def test_one_more_image_changes_the_hold_out_by_two_at_most(added: str) -> None:
    before = images(SEVEN)
    for seed in range(10):
        drawn = validation_images(before, params(seed=seed))
        folds = fold_of(before, seed)
        for number in range(5):
            after = {**before, f"new-{number}": added}
            assert len(validation_images(after, params(seed=seed)) ^ drawn) <= 2
            moved = fold_of(after, seed).items() - folds.items()
            # Of 30 and the new one; a new draw moves 24.
            assert len(moved) <= 11


def fold_of(organs: dict[str, str], seed: int) -> dict[str, int]:
    return {
        image: fold
        for fold in range(5)
        for image in validation_images(organs, params(method="fold", fold=fold, seed=seed))
    }


def test_on_average_few_change_their_fold() -> None:
    before = images(SEVEN)
    moved = [
        len(fold_of({**before, "new": organ}, seed).items() - fold_of(before, seed).items()) - 1
        for organ in SEVEN
        for seed in range(20)
    ]
    assert sum(moved) / len(moved) < 5


@pytest.mark.parametrize("organ", SEVEN)
def test_without_one_image_that_is_not_held_out_hardly_another_is(organ: str) -> None:
    every = images(SEVEN)
    drawn = validation_images(every, params())
    for image in every.keys() - drawn:
        if every[image] == organ:
            fewer = {other: name for other, name in every.items() if other != image}
            assert len(validation_images(fewer, params()) ^ drawn) <= 2


def test_the_draw_is_of_a_hash_that_no_version_or_machine_changes() -> None:
    # Another hash or order would change every split of users' data.
    drawn = validation_images(CHALLENGE_TRAIN, params(seed=1))
    assert {patient.removeprefix("TCGA-") for patient in drawn} == {
        *("49-4488", "AR-A1AS", "AY-A8YK", "G2-A2EK", "G9-6362", "HE-7128")
    }


counted_patients = st.lists(
    st.tuples(st.sampled_from("ABCDEFGHIJ"), st.sampled_from(["breast", "lung", "brain"])),
    min_size=3,
    max_size=30,
)


@given(
    drawn=counted_patients,
    method=st.sampled_from(["fraction", "fold"]),
    fraction=st.floats(0.05, 0.6),
    fold=st.integers(0, 2),
    seed=st.integers(0, 9),
)
def test_a_patient_is_never_on_both_sides(
    drawn: list[tuple[str, str]], method: str, fraction: float, fold: int, seed: int
) -> None:
    organs = {f"{n}": organ for n, (_, organ) in enumerate(drawn)}
    patients = {f"{n}": patient for n, (patient, _) in enumerate(drawn)}
    number = len(set(patients.values()))
    if number < 3:
        return
    chosen = params(method=method, fraction=fraction, fold=fold, folds=3, seed=seed)
    held_out = validation_images(organs, chosen, patients)
    inside = {patients[image] for image in held_out}
    assert inside.isdisjoint(patients[image] for image in organs.keys() - held_out)
    if method == "fraction":
        assert len(inside) == max(1, round(Fraction(str(fraction)) * number))
    else:
        assert len(inside) in (number // 3, -(-number // 3))


def test_folds_hold_out_every_patient_once() -> None:
    organs = {f"{patient}-{n}": "lung" for patient in "ABCDEFG" for n in range(3)}
    patients = {image: image[0] for image in organs}
    held_out = [
        validation_images(organs, params(method="fold", fold=fold, folds=3), patients)
        for fold in range(3)
    ]
    assert sorted(image for fold in held_out for image in fold) == sorted(organs)
    assert sorted(len(fold) for fold in held_out) == [6, 6, 9]


def test_a_patient_counts_for_the_organ_that_most_of_the_images_show() -> None:
    # Two of each organ: a fold of two has one of each.
    organs = {"a1": "lung", "a2": "lung", "a3": "brain", "b": "lung", "c": "brain", "d": "brain"}
    patients = {image: image[0] for image in organs}
    for seed in range(10):
        chosen = params(method="fold", fold=0, folds=2, seed=seed)
        held_out = {patients[image] for image in validation_images(organs, chosen, patients)}
        assert len(held_out & {"a", "b"}) == len(held_out & {"c", "d"}) == 1


def test_part_of_a_patient_cannot_be_named() -> None:
    organs = {"P-DX1": "lung", "P-DX2": "lung", "Q-DX1": "lung"}
    patients = {image: image[0] for image in organs}
    with pytest.raises(PipelineError) as caught:
        validation_images(organs, params(method="named", images=["P-DX1"]), patients)
    assert str(caught.value) == (
        "params.yaml: tile.validation.images: P-DX1 is named, but not P-DX2 of the same patient, "
        "P; name both or neither"
    )
    whole = params(method="named", images=["P-DX2", "P-DX1"])
    assert validation_images(organs, whole, patients) == {"P-DX1", "P-DX2"}


def test_a_patient_of_two_organs_is_held_out_whole_and_said(
    capsys: pytest.CaptureFixture[str],
) -> None:
    organs = {"P-1": "lung", "P-2": "brain", "Q-1": "brain", "R-1": "lung"}
    patients = {image: image[0] for image in organs}
    of_lung = params(method="organs", organs=["lung"])
    assert validation_images(organs, of_lung, patients) == {"P-1", "P-2", "R-1"}
    assert capsys.readouterr().err == (
        "P-2: held out too, though it shows brain: other images of its patient, P, show an organ "
        "of tile.validation.organs\n"
    )


def test_one_patient_cannot_be_divided() -> None:
    organs = dict.fromkeys(("a", "b", "c"), "lung")
    with pytest.raises(PipelineError, match=r"holds out 3 of 3 .* \(all of 1 of 1 patients\)"):
        validation_images(organs, params(), dict.fromkeys(organs, "P"))


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
        ({"breast": 2}, {"method": "organs", "organs": ["Breast"]}, "shows Breast; name some of b"),
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
