"""The weights that come along: what they are, what they compute, and that they find nuclei.

`python -m tests.monuseg.segment.test_pretrained` writes anew what they are expected to compute.
"""

import subprocess
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import pytest
from scipy.special import expit

from monuseg.inference.stain import NORMALISATIONS
from monuseg.models.shared import store
from monuseg.models.shared.scaling import SCALINGS
from monuseg.nuclei.watershed import nuclei_from_predictions
from monuseg.scoring.instances import score_nuclei
from monuseg.segment import models
from tests.repository import REPOSITORY

EXPECTED = Path(__file__).parent / "expected"
MOST_BYTES = 12_000_000


@cache
def slide() -> tuple[np.ndarray, np.ndarray]:
    """A synthetic slide, as it was drawn when these weights were shipped, and its label map."""
    image, labels = (
        cv2.imread(str(EXPECTED / f"{name}.png"), cv2.IMREAD_UNCHANGED)
        for name in ("slide", "nuclei")
    )
    return np.ascontiguousarray(image[..., ::-1]), labels


@cache
def probabilities(name: str) -> np.ndarray:
    """Of a model that comes along, (height, width, classes), upright alone."""
    found = []
    for folder, member in models.find(name).members:
        model, card = store.load(folder, member)
        image = NORMALISATIONS[card.stain_normalisation](slide()[0])
        [logits] = model.predict_on_batch(SCALINGS[card.scaling](image[np.newaxis]))
        found.append(expit(logits))
    return np.asarray(np.mean(found, axis=0))


def as_image(found: np.ndarray) -> np.ndarray:
    return np.rint(found * 255).astype(np.uint8)


@pytest.mark.parametrize("name", models.pretrained())
def test_they_compute_what_they_did_when_they_were_shipped(name: str) -> None:
    expected = cv2.imread(str(EXPECTED / f"{name}.png"), cv2.IMREAD_UNCHANGED)
    away = np.abs(as_image(probabilities(name)).astype(int) - expected)
    assert np.ptp(expected) > 200
    assert np.mean(away > 1) < 0.001


@pytest.mark.parametrize("name", models.pretrained())
def test_they_find_the_nuclei_of_a_slide_of_another_kind(name: str) -> None:
    """They were trained on real tissue, never on synthetic slides."""
    _, truth = slide()
    found = nuclei_from_predictions(
        probabilities(name), ["nucleus", "boundary", "distance"], models.find(name).settings
    )
    overlap = 2 * ((found > 0) & (truth > 0)).sum() / ((found > 0).sum() + (truth > 0).sum())
    assert overlap > 0.7
    aji = score_nuclei(truth, found).aji
    assert aji is not None
    assert aji > 0.4


def test_there_is_one_and_its_licence_and_card() -> None:
    assert "unet" in models.pretrained()
    assert "CC-BY-NC-SA-4.0" in (models.PRETRAINED / "LICENSE").read_text()
    assert "CC BY-NC-SA 4.0" in (models.PRETRAINED / "MODEL_CARD.md").read_text()


def test_all_that_git_ever_kept_of_them_stays_small() -> None:
    """A clone has every revision of them, for ever."""
    folder = models.PRETRAINED.relative_to(REPOSITORY)
    objects = subprocess.run(
        ["git", "rev-list", "--objects", "--all", "--", str(folder)],
        cwd=REPOSITORY, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    hashes = [line.split()[0] for line in objects.splitlines() if f" {folder}/" in line]
    sizes = subprocess.run(
        ["git", "cat-file", "--batch-check=%(objectsize)"],
        cwd=REPOSITORY, input="\n".join(hashes), capture_output=True, text=True, check=True,
    ).stdout.split()  # fmt: skip
    assert sum(map(int, sizes)) < MOST_BYTES


if __name__ == "__main__":
    for each in models.pretrained():
        cv2.imwrite(str(EXPECTED / f"{each}.png"), as_image(probabilities(each)))
