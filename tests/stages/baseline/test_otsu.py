"""The mask without training."""

import numpy as np

from stages.baseline.otsu import nucleus_mask

# Light that haematoxylin and eosin let through, as Ruifrok & Johnston measured them.
HAEMATOXYLIN = np.array([0.65, 0.70, 0.29])
EOSIN = np.array([0.07, 0.99, 0.11])


def stained(haematoxylin: np.ndarray, eosin: np.ndarray) -> np.ndarray:
    density = haematoxylin[..., np.newaxis] * HAEMATOXYLIN + eosin[..., np.newaxis] * EOSIN
    return (255 * np.exp(-density)).round().astype(np.uint8)


def test_finds_haematoxylin_and_not_eosin() -> None:
    nuclei = np.zeros((60, 60), bool)
    nuclei[10:25, 10:25] = nuclei[35:52, 30:50] = True
    eosin = np.zeros((60, 60))
    eosin[:, 40:] = 1.5  # darker than the nuclei in green
    image = stained(np.where(nuclei, 1.2, 0.2), eosin)
    found = nucleus_mask(image, sigma=1.0, min_area=30)
    dice = 2 * (found & nuclei).sum() / (found.sum() + nuclei.sum())
    assert dice > 0.95


def test_small_objects_are_dropped() -> None:
    nuclei = np.zeros((60, 60), bool)
    nuclei[10:25, 10:25] = nuclei[40:44, 40:44] = True
    image = stained(np.where(nuclei, 1.5, 0.1), np.full((60, 60), 0.3))
    assert nucleus_mask(image, sigma=0.0, min_area=1).sum() == 225 + 16
    assert nucleus_mask(image, sigma=0.0, min_area=17).sum() == 225


def test_an_image_of_one_colour_is_empty() -> None:
    assert not nucleus_mask(np.full((20, 30, 3), 200, np.uint8), sigma=2.0, min_area=0).any()
