"""The original's numbers agree with each other as its history says they must."""

import pandas as pd

from stages.report.tables import original_table


def printed(split: str) -> pd.DataFrame:
    table = original_table(split, {}).rename(columns={"`pixel_dice`": "pixel_dice"})
    scores = table[["Loss", "Accuracy", "F1", "pixel_dice"]].astype(float)
    return scores.assign(Model=table["Model"], From=table["From"])


def test_every_table_has_every_model() -> None:
    for split in ("train", "validation", "test"):
        assert list(printed(split)["Model"].unique()) == ["U-Net", "SegNet", "DeepLabV3+"]


def test_the_errors_in_print_are_the_ones_that_are_stated() -> None:
    table = printed("test").drop(columns="From")
    _, _, swapped, segnet, copied, _ = (line for _, line in table.iterrows())
    assert abs(swapped["F1"] - segnet["pixel_dice"]) <= 0.00011
    assert abs(swapped["pixel_dice"] - segnet["F1"]) <= 0.00011
    assert copied.drop("Model").equals(swapped.drop("Model"))
    wrong = [
        (split, line["Model"])
        for split in ("train", "validation", "test")
        for _, line in printed(split).iterrows()
        if "wrong" in line["From"]
    ]
    assert wrong == [("test", "SegNet"), ("test", "DeepLabV3+")]
