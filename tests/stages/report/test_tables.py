"""The right numbers in the right cells."""

import pandas as pd

from monuseg.scoring.calibration import ReliabilityBin
from monuseg.scoring.kept_runs import ReferenceRun
from monuseg.scoring.rows import Row
from stages.report.tables import (
    SUMMARY,
    calibration_table,
    comparison_table,
    entries,
    fates_table,
    history_table,
    organ_tables,
    original_table,
    scores_table,
    settings_table,
    standing,
)

OURS = {"loss": 0.2, "accuracy": 0.91, "f1": 0.79, "dice": 0.8, "pixel_dice": 0.96}


def texts(table: pd.DataFrame) -> list[list[str]]:
    return table.to_numpy().tolist()


def lines(table: pd.DataFrame, model: str) -> list[list[str]]:
    """The rows of one model, without its name."""
    return [line[1:] for line in texts(table) if line[0] == model]


def test_summary_has_a_dash_for_what_is_missing_and_intervals_where_both_ends_are() -> None:
    scores = {"dice": 0.80049, "aji": 0.6, "dice_lo": 0.78, "dice_hi": 0.82, "aji_lo": 0.5}
    table = scores_table(entries([Row("unet", {"test": scores})], "test"), SUMMARY)
    assert list(table.columns) == [
        *("Method", "Dice", "AJI", "PQ", "F1", "IoU", "Accuracy", "Loss"),
    ]
    assert texts(table) == [["U-Net", "0.800 *(0.780–0.820)*", "0.600", *"–––––"]]


def test_the_best_of_a_column_is_strong_and_the_lowest_loss_is_best() -> None:
    rows = [
        # What looks equal, as PQ does, is not told apart.
        Row("unet", {"test": {"dice": 0.8101, "loss": 0.3, "pq": 0.5001}}),
        Row("segnet", {"test": {"dice": 0.8, "loss": 0.2, "pq": 0.5002}}),
        Row("deeplabv3plus", {"test": {"dice": 0.8102}}),
        Row("otsu", {"test": {"dice": 0.7}}),
    ]
    assert texts(scores_table(entries(rows, "test"), ("dice", "loss", "pq"))) == [
        ["U-Net", "**0.810**", "0.300", "0.500"],
        ["SegNet", "0.800", "**0.200**", "0.500"],
        ["DeepLabV3+", "**0.810**", "–", "–"],
        ["Otsu, no training", "0.700", "–", "–"],
    ]


def test_original_test_table_has_printed_true_and_ours() -> None:
    ours = [Row("unet", {"test": OURS}), Row("otsu", {"test": {"f1": 0.7}})]
    table = original_table("test", {"this run": ours})
    assert list(table.columns) == [
        *("Model", "From", "Loss", "Accuracy", "F1", "`pixel_dice`", "Dice")
    ]
    assert lines(table, "U-Net") == [
        ["original, printed", "0.2981", "0.9054", "0.7715", "0.9587", "–"],
        ["original, notebook", "0.2981", "0.9055", "0.7715", "0.9587", "–"],
        ["this run", "0.2000", "0.9100", "0.7900", "0.9600", "0.8000"],
    ]
    assert lines(table, "SegNet") == [
        [
            "original, printed (wrong: F1 and Dice swapped)",
            "0.2250",
            "0.9028",
            "0.9581",
            "0.7663",
            "–",
        ],
        ["original, notebook", "0.2250", "0.9028", "0.7664", "0.9582", "–"],
    ]
    assert lines(table, "DeepLabV3+") == [
        [
            "original, printed (wrong: a copy of SegNet's row)",
            "0.2250",
            "0.9028",
            "0.9581",
            "0.7663",
            "–",
        ],
        ["original, notebook", "0.4100", "0.9090", "0.7858", "0.9588", "–"],
    ]
    assert lines(table, "Otsu, no training") == [["this run", "–", "–", "0.7000", "–", "–"]]


def test_original_training_table_has_no_true_row_of_its_own() -> None:
    table = original_table("train", {"this run": [Row("otsu", {})]})
    assert lines(table, "SegNet") == [
        ["original, printed", "0.2399", "0.8965", "0.8085", "0.9572", "–"],
    ]
    assert lines(table, "Otsu, no training") == []


def test_a_source_that_did_not_score_a_split_has_no_row_in_its_table() -> None:
    both = Row("unet", {"train": OURS, "test": OURS})
    sources = {"this run": [both], "other": [Row("unet", {"test": OURS, "train": {}})]}
    own = {
        split: [line[0] for line in lines(original_table(split, sources), "U-Net")][-2:]
        for split in ("train", "test")
    }
    assert own == {"train": ["original, printed", "this run"], "test": ["this run", "other"]}


def test_further_rows_stand_between_the_original_models_and_the_baseline() -> None:
    scored = {"validation": {"dice": 0.5}}
    rows = [Row(key, scored) for key in ("tiny", "unet", "ensemble", "otsu")]
    table = original_table("validation", {"this run": rows, "other": rows})
    groups = list(dict.fromkeys(table["Model"]))
    assert groups == [*("U-Net", "SegNet", "DeepLabV3+", "tiny", "Ensemble", "Otsu, no training")]
    assert [line[0] for line in lines(table, "tiny")] == ["this run", "other"]


def kept(name: str, protocol: str) -> ReferenceRun:
    return ReferenceRun.model_validate(
        {
            "name": name,
            "description": "Real.",
            "dataset": {
                "source": "file",
                "protocol": protocol,
                "archives": [{"name": "a.zip", "sha256": "0" * 64}],
            },
            "params": {},
            "backend": "tensorflow",
            "device": "cpu",
            "rows": {
                "unet": {"test": {"dice": 0.805, "dq": 0.8}},
                "segnet": {"train": {"dice": 0.9}},
                "otsu": {"test": {"dice": 0.767}},
            },
        }
    )


def test_comparison_puts_kept_runs_above_published_numbers_and_marks_other_images() -> None:
    table = comparison_table([kept("real", "challenge"), kept("mine", "ids")])
    here, other = "here, `real`", "here, `mine`, **on other images** (ids)"
    assert texts(table)[:4] == [
        ["U-Net", here, "0.805", *"––––", "0.800", "–"],
        ["Otsu, no training", here, "0.767", *"––––––"],
        ["U-Net", other, "0.805", *"––––", "0.800", "–"],
        ["Otsu, no training", other, "0.767", *"––––––"],
    ]
    assert len(table) == 4 + 10
    winner = table.iloc[-1]
    assert winner["Method"] == "Winner of the challenge"
    assert winner["AJI"] == "0.691 *(0.680–0.702)*"
    assert "](https://" in winner["Source"]


def test_the_best_of_others_stands_below_the_run() -> None:
    rows = [Row("unet", {"test": {"dice": 0.8}}), Row("otsu", {"test": {"dice": 0.7}})]
    runs = [kept("real", "challenge"), kept("mine", "ids")]
    table = scores_table(standing(rows, "test", runs), SUMMARY, len(rows), "images")
    assert [line[:3] for line in texts(table)] == [
        ["U-Net", "this run", "**0.800**"],
        ["Otsu, no training", "this run", "0.700"],
        ["U-Net, real", "the official 14", "0.805"],
        ["Original's best F1", "the official 14", "–"],
        ["CellViT SAM-H, pre-trained on PanNuke", "the official 14", "0.833"],
        ["Winner of the challenge", "the official 14", "–"],
    ]
    assert table["F1"].iloc[3] == "0.786"
    assert table["AJI"].iloc[5] == "0.691 *(0.680–0.702)*"
    # Without a kept run of the official images there is none.
    assert len(standing(rows, "test", runs[1:])) == 5


def test_fates_are_summed_over_sizes_and_a_fate_that_none_had_is_0() -> None:
    counts = pd.DataFrame(
        [
            ["a|b", "small", "matched", 2],
            ["a|b", "large", "matched", 3],
            ["a|b", "small", "invented", 1],
        ],
        columns=["method", "size", "fate", "nuclei"],
    )
    table = fates_table(counts)
    assert list(table.columns) == ["Method", "Matched", "Missed", "Merged", "Split", "Invented"]
    assert texts(table) == [["a\\|b", "5", "0", "0", "0", "1"]]


def test_settings_have_a_dash_where_a_row_has_none() -> None:
    rows = [
        Row(
            "unet",
            {},
            settings={"min_area": 30, "chosen_on": {"threshold": "given", "nuclei": "train"}},
        ),
        Row("otsu", {}),
    ]
    table = settings_table(rows)
    assert list(table.columns) == ["Method", "Min area", "Chosen on"]
    assert texts(table) == [["U-Net", "30", "given, train"], ["Otsu, no training", "–", "–"]]


def test_a_table_a_score_with_a_row_an_organ_and_all_below() -> None:
    nan = float("nan")
    ids = ["a", "b", "c", "d"]
    unet = {"dice": [0.8, 0.9, 0.7, 0.6], "aji": [0.4, nan, 0.5, 0.3], "pq": [nan] * 4}
    otsu = {"dice": [0.9, 0.9, 0.8, 0.7], "aji": [nan] * 4, "pq": [nan] * 4}
    images = {"unet": pd.DataFrame(unet, ids), "otsu": pd.DataFrame(otsu, ids)}
    rows = [Row("unet", {}), Row("segnet", {}), Row("otsu", {})]
    organs = {"a": "lung", "b": "brain", "c": "lung", "d": "lung", "of training": "colon"}
    tables = organ_tables(rows, images, organs)
    assert list(tables) == ["Dice", "AJI"]
    assert list(tables["Dice"].columns) == ["Organ", "Images", "U-Net", "Otsu, no training"]
    assert texts(tables["Dice"]) == [
        ["brain", "1", "0.900", "0.900"],
        ["lung", "3", "0.700", "**0.800**"],
        ["all", "4", "0.750", "**0.825**"],
    ]
    assert texts(tables["AJI"]) == [
        ["brain", "1", "–", "–"],
        ["lung", "3", "0.400", "–"],
        ["all", "4", "0.400", "–"],
    ]
    assert organ_tables(rows, {}, organs) == {}


def calibrated(row: str, errors: dict[str, float]) -> Row:
    """A row of one bin a split, whose gap is the error."""
    bins = {split: [ReliabilityBin(0.5, 0.6, 9, 0.5, 0.5 + gap)] for split, gap in errors.items()}
    return Row(row, {}, bins)


def test_the_lowest_calibration_error_is_strong_and_a_mask_has_a_dash() -> None:
    rows = [
        calibrated("unet", {"validation": 0.04, "test": 0.01}),
        calibrated("segnet", {"validation": 0.02, "test": 0.03}),
        Row("otsu", {}),
    ]
    table = calibration_table(rows, ("validation", "test"))
    assert list(table.columns) == ["Method", "Validation", "Test"]
    assert texts(table) == [
        ["U-Net", "0.040", "**0.010**"],
        ["SegNet", "**0.020**", "0.030"],
        ["Otsu, no training", "–", "–"],
    ]


def history(*dice: float | None) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "epoch": [float(number) for number in range(1, len(dice) + 1)],
            "objective": [1 - number / 10 for number in range(1, len(dice) + 1)],
            "validation_loss": [None if one is None else 0.5 for one in dice],
            "validation_dice": dice,
        }
    ).astype(float)


def test_the_first_epoch_of_highest_dice_is_named() -> None:
    table = history_table({"U-Net": history(0.7, 0.75, 0.75)})
    assert texts(table) == [["U-Net", "3", "0.700", "0.750", "2"]]


def test_without_validation_images_there_are_dashes_for_the_highest_dice() -> None:
    table = history_table({"U-Net": history(None, None)})
    assert texts(table) == [["U-Net", "2", "0.800", "–", "–"]]
