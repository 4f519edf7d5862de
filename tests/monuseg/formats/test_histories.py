"""Reading training histories."""

from pathlib import Path

import pytest

from monuseg.core.errors import PipelineError
from monuseg.formats.histories import COLUMNS, read_history

HEAD = "epoch,learning_rate,objective,validation_loss,validation_accuracy,validation_dice\n"


def test_a_history_is_read_as_numbers(tmp_path: Path) -> None:
    (tmp_path / "unet.csv").write_text(HEAD + "1,0.1,0.9,,,\n2,0.1,0.8,0.4,0.8,0.75\n")
    history = read_history("unet", tmp_path)
    assert list(history.columns) == ["epoch", *COLUMNS]
    assert history.iloc[1].tolist() == [2.0, 0.8, 0.4, 0.75]
    assert history.iloc[0, 2:].isna().all()


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
