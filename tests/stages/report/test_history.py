"""Reading training histories."""

from pathlib import Path

import pytest

from monuseg.core.errors import PipelineError
from stages.report.history import read_history
from stages.report.tables import history_table

HEAD = "epoch,learning_rate,objective,validation_loss,validation_accuracy,validation_dice\n"


def test_the_first_epoch_of_highest_dice_is_named(tmp_path: Path) -> None:
    rows = "1,0.1,0.9,0.5,0.8,0.7\n2,0.1,0.8,0.4,0.8,0.75\n3,0.1,0.7,0.3,0.8,0.75\n"
    (tmp_path / "unet.csv").write_text(HEAD + rows)
    table = history_table({"U-Net": read_history("unet", tmp_path)})
    assert list(table.iloc[0]) == ["U-Net", "3", "0.700", "0.750", "2"]


def test_without_validation_images_there_are_dashes(tmp_path: Path) -> None:
    (tmp_path / "unet.csv").write_text(HEAD + "1,0.1,0.9,,,\n2,0.1,0.8,,,\n")
    table = history_table({"U-Net": read_history("unet", tmp_path)})
    assert list(table.iloc[0]) == ["U-Net", "2", "0.800", "–", "–"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is no training history"),
        (HEAD, "is no training history .*no epoch"),
        ("epoch,objective\n1,2\n", "is no training history .*'validation_loss'"),
        (HEAD + "1,0.1,good,,,\n", "is no training history .*'good'"),
    ],
)
def test_a_malformed_history_is_named(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "unet.csv").write_text(text)
    with pytest.raises(PipelineError, match=rf"unet\.csv.*{message}.*dvc repro train@unet"):
        read_history("unet", tmp_path)
