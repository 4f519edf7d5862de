"""The original's numbers agree with each other as its history says they must."""

from stages.report.original import MODELS, PRINTED, TRUE


def test_every_table_has_every_model() -> None:
    assert {split: tuple(table) for split, table in PRINTED.items()} == dict.fromkeys(
        ("train", "validation", "test"), MODELS
    )
    assert tuple(TRUE["test"]) == MODELS


def test_the_errors_in_print_are_the_ones_that_are_stated() -> None:
    printed, true = PRINTED["test"], TRUE["test"]
    swapped = printed["segnet"]
    assert abs(swapped.f1 - true["segnet"].pixel_dice) <= 0.00011
    assert abs(swapped.pixel_dice - true["segnet"].f1) <= 0.00011
    copied = printed["deeplabv3plus"]
    assert (copied.loss, copied.accuracy, copied.f1, copied.pixel_dice) == (
        *(swapped.loss, swapped.accuracy, swapped.f1, swapped.pixel_dice),
    )
    marked = {
        (split, model)
        for split, table in PRINTED.items()
        for model, scores in table.items()
        if scores.wrong_in_print
    }
    assert marked == {("test", "segnet"), ("test", "deeplabv3plus")}
