"""What changes of an image cost a network whose answer is known."""

import argparse
from pathlib import Path

import numpy as np
import pytest

from monuseg.core.errors import PipelineError
from monuseg.formats.images import write_labels, write_rgb
from monuseg.formats.manifest import SplitRecord, write_records
from monuseg.formats.paths import MASKS, RAW, SPLITS
from tests.monuseg.segment.networks import NAMED, network, two_discs
from tools import shifts


@pytest.fixture
def images(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One validation image of two dark discs, and a network that finds what is dark."""
    monkeypatch.setattr(shifts, "find", lambda model: NAMED)
    monkeypatch.setattr(shifts, "load", lambda named, params: network())
    for folder in (RAW, MASKS):
        folder.mkdir(parents=True)
    image = two_discs()
    dark = image[..., 0] < 128
    truth = np.where(dark, np.where(np.arange(120) < 60, 1, 2), 0).astype(np.uint16)
    write_rgb(RAW / "a.tif", image)
    write_labels(MASKS / "a.png", truth)
    write_records(SPLITS, [SplitRecord("a", "lung", "validation", 0.25, 0.25, "aperio-xml")])


def arguments(split: str = "validation") -> argparse.Namespace:
    return argparse.Namespace(model="darkness", split=split)


@pytest.mark.usefixtures("images")
def test_a_line_a_change_says_what_it_costs(capsys: pytest.CaptureFixture[str]) -> None:
    shifts.main(arguments())
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "darkness, 1 validation images:"
    found = {line[:31].strip(): line[31:].split() for line in lines[3:]}
    assert list(found) == list(shifts.SHIFTS)
    assert found[shifts.AS_IT_IS] == ["1.000", "1.000", "1.000", "0.000"]
    dice, _, pq, lost = map(float, found[shifts.HALF_SIZE])
    assert 0.9 < dice < 1
    assert pq > 0.8
    assert lost == pytest.approx(1 - dice, abs=2e-3)


@pytest.mark.usefixtures("images")
def test_a_split_without_images_is_said() -> None:
    with pytest.raises(PipelineError, match="no test image tells nuclei apart"):
        shifts.main(arguments("test"))


def test_changes_are_what_they_are_called() -> None:
    generator = np.random.default_rng(0)
    image = generator.integers(60, 240, (64, 80, 3), np.uint8)
    assert np.abs(shifts.stained(image, 1.0, 1.0).astype(int) - image).max() <= 1
    pink = np.full((8, 8, 3), (200, 120, 170), np.uint8)
    assert (shifts.stained(pink, 1.5, 1.0)[..., 0] < 200).all()  # haematoxylin takes red
    assert (shifts.stained(pink, 1.0, 1.5)[..., 1] < 120).all()  # eosin takes green
    assert (shifts.lit(image, 1.0, 0.97, 0.85)[..., 2] <= image[..., 2]).all()
    assert shifts.out_of_focus(image, 2.0).std() < image.std() / 2
    assert shifts.coarse(image, 80).shape == (32, 40, 3)
    blurred = shifts.out_of_focus(image, 2.0)
    away = [np.abs(shifts.compressed(blurred, q).astype(int) - blurred).mean() for q in (30, 95)]
    assert away[0] > away[1]
