"""Segmenting a user's own images, with a network whose answer is known."""

import numpy as np
import pytest

from monuseg.inference.params import PredictParams
from monuseg.nuclei.watershed import NucleiSettings
from monuseg.segment.command import nuclei_table, segment

SETTINGS = NucleiSettings(threshold=0.5, smoothing=1.0, min_distance=3, min_area=10)
PARAMS = PredictParams.load().model_copy(update={"window": 64, "overlap": 16, "flips": False})


def darkness(pixels: np.ndarray) -> np.ndarray:
    return (1 - pixels[..., :1] / np.float32(255)).astype(np.float32)


@pytest.fixture
def image() -> np.ndarray:
    """Two dark discs of radius 10 and 14 on white."""
    rows, columns = np.mgrid[:90, :120]
    dark = ((rows - 30) ** 2 + (columns - 30) ** 2 <= 10**2) | (
        (rows - 60) ** 2 + (columns - 85) ** 2 <= 14**2
    )
    return np.repeat(np.where(dark, 20, 250).astype(np.uint8)[..., np.newaxis], 3, axis=2)


def test_nuclei_are_found_and_measured(image: np.ndarray) -> None:
    labels = segment(image, darkness, PARAMS, SETTINGS, classes=["nucleus"], divisor=16, scale=1.0)
    table = nuclei_table(labels, um_per_pixel=0.5)
    centres = table[["y", "x"]].round().to_numpy().tolist()
    assert sorted(centres) == [[30, 30], [60, 85]]
    assert table["area"].tolist() == [(labels == 1).sum(), (labels == 2).sum()]
    assert table["area_um2"].tolist() == pytest.approx((table["area"] * 0.25).tolist())
    assert abs(table["area"][centres.index([60, 85])] - np.pi * 14**2) < 30


@pytest.mark.parametrize("scale", [0.5, 2.0])
def test_another_resolution_is_brought_to_the_models_and_back(
    image: np.ndarray, scale: float
) -> None:
    seen = []

    def forward(pixels: np.ndarray) -> np.ndarray:
        seen.append(pixels.shape)
        return darkness(pixels)

    labels = segment(image, forward, PARAMS, SETTINGS, classes=["nucleus"], divisor=16, scale=scale)
    assert labels.shape == image.shape[:2]
    assert labels.max() == 2
    assert abs((labels > 0).sum() - np.pi * (10**2 + 14**2)) < 120
    assert len(seen) == (1 if scale == 0.5 else 4 * 5)  # windows of 64 on 45 x 60, on 180 x 240
