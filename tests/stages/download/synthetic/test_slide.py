"""Synthetic slides: the outlines are those of the nuclei that the image shows."""

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from pycocotools import mask as coco

from monuseg.core.errors import PipelineError
from stages.baseline.otsu import nucleus_mask
from stages.baseline.params import BaselineParams
from stages.download.synthetic.organs import ORGANS
from stages.download.synthetic.slide import Slide, draw_slide

# pycocotools' own arrays are older than numpy 2's protocol; their values are right.
pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy:DeprecationWarning"
)

SIDE = 256


def drawn(organ: str, seed: int = 1, density: float = 1.0, side: int = SIDE) -> Slide:
    return draw_slide(organ, side, side, density, np.random.default_rng([seed, 0]))


def labels_of(slide: Slide) -> npt.NDArray[np.int32]:
    """Label map by the challenge's rasterisation, the first outline in front."""
    height, width, _ = slide.image.shape
    labels = np.zeros((height, width), np.int32)
    for number, outline in enumerate(slide.outlines, start=1):
        encoded = coco.frPyObjects([(outline - 0.5).ravel().tolist()], height, width)
        inside = coco.decode(encoded)[..., 0] > 0
        labels[inside & (labels == 0)] = number
    return labels


def red_density(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    """Optical density of red light, which haematoxylin absorbs and eosin hardly does."""
    return -np.log10((image[..., 0].astype(float) + 1) / 256)


@pytest.mark.parametrize("organ", ORGANS)
def test_outlines_enclose_what_is_dark_in_haematoxylin(organ: str) -> None:
    slide = drawn(organ)
    labels = labels_of(slide)
    inside = (labels > 0).astype(np.uint8)
    ring = (cv2.dilate(inside, np.ones((13, 13))) > 0) & (cv2.dilate(inside, np.ones((5, 5))) == 0)
    density = red_density(slide.image)
    assert density[inside > 0].mean() > 1.3 * density[ring].mean()


def test_outlines_fit_to_the_pixel() -> None:
    # Shifted either way, the outlines separate dark from bright less well than as they are.
    height = width = 384
    contrast = {}
    slides = [drawn(organ, seed=5, side=height) for organ in ("breast", "colon", "lung")]
    for shift in (-2, -1, 0, 1, 2):
        differences = []
        for slide in slides:
            inside = np.roll(labels_of(slide) > 0, (shift, shift), (0, 1))
            density = red_density(slide.image)[4 : height - 4, 4 : width - 4]
            inside = inside[4 : height - 4, 4 : width - 4]
            differences.append(density[inside].mean() - density[~inside].mean())
        contrast[shift] = float(np.mean(differences))
    assert max(contrast, key=lambda shift: contrast[shift]) == 0
    assert contrast[1] == pytest.approx(contrast[-1], rel=0.05)


@pytest.mark.parametrize("organ", ["kidney", "stomach", "brain"])
def test_every_nucleus_shows(organ: str) -> None:
    slide = drawn(organ, seed=3)
    areas = np.bincount(labels_of(slide).ravel(), minlength=len(slide.outlines) + 1)[1:]
    assert len(areas) == len(slide.outlines) > 10
    assert areas.min() >= 15


def test_nuclei_touch_and_overlap_and_none_is_hidden() -> None:
    touching = overlapping = nuclei = 0
    for seed in range(4):
        slide = drawn("stomach", seed=seed)
        height, width, _ = slide.image.shape
        labels = labels_of(slide)
        left, right = labels[:, :-1], labels[:, 1:]
        meeting = (left > 0) & (right > 0) & (left != right)
        touching += len(np.unique(np.stack([left[meeting], right[meeting]]), axis=1).T)
        nuclei += len(slide.outlines)
        for number, outline in enumerate(slide.outlines, start=1):
            encoded = coco.frPyObjects([(outline - 0.5).ravel().tolist()], height, width)
            whole = int(coco.decode(encoded).sum())
            seen = int((labels == number).sum())
            assert seen > 0.5 * whole
            overlapping += seen < 0.95 * whole
    assert touching > 0.05 * nuclei
    assert overlapping > 0.02 * nuclei


def test_same_generator_draws_the_same_slide() -> None:
    first, again, other = drawn("lung"), drawn("lung"), drawn("lung", seed=2)
    np.testing.assert_array_equal(first.image, again.image)
    assert all(map(np.array_equal, first.outlines, again.outlines))
    assert not np.array_equal(first.image, other.image)


def test_threads_do_not_change_a_slide() -> None:
    threads = cv2.getNumThreads()
    try:
        cv2.setNumThreads(1)
        alone = drawn("prostate")
        cv2.setNumThreads(4)
        together = drawn("prostate")
    finally:
        cv2.setNumThreads(threads)
    np.testing.assert_array_equal(alone.image, together.image)


def test_density_scales_the_number_of_nuclei() -> None:
    half = len(drawn("liver", density=0.5, side=384).outlines)
    whole = len(drawn("liver", density=1.0, side=384).outlines)
    assert half == pytest.approx(whole / 2, rel=0.25)


def test_organs_differ_in_number_and_size_of_nuclei() -> None:
    def seen(organ: str) -> tuple[float, float]:
        slides = [drawn(organ, seed=seed, side=384) for seed in range(4)]
        areas = [np.bincount(labels_of(slide).ravel())[1:] for slide in slides]
        return float(np.mean([len(each) for each in areas])), float(np.median(np.hstack(areas)))

    (stomach_count, stomach_area), (colon_count, colon_area) = seen("stomach"), seen("colon")
    assert stomach_count > 1.4 * colon_count
    assert colon_area > 1.4 * stomach_area


@pytest.mark.parametrize(("height", "width"), [(32, 32), (48, 131), (200, 64)])
def test_awkward_sizes(height: int, width: int) -> None:
    for organ in ORGANS:
        slide = draw_slide(organ, height, width, 1.0, np.random.default_rng(4))
        assert slide.image.shape == (height, width, 3)
        assert slide.image.dtype == np.uint8


def test_an_unknown_organ_is_one_clear_error() -> None:
    with pytest.raises(PipelineError, match=r"dataset\.synthetic\.organs.*'spleen'.*breast"):
        drawn("spleen")


def test_a_threshold_finds_nuclei_about_as_well_as_in_tissue() -> None:
    # On the 44 images of MoNuSeg the stage's parameters give a mean Dice of 0.746 (0.54 to 0.86).
    params = BaselineParams.load()
    scores = []
    for seed, organ in enumerate([*ORGANS, *ORGANS]):  # a style each
        slide = drawn(organ, seed, side=384)
        true = labels_of(slide) > 0
        found = nucleus_mask(slide.image, sigma=params.sigma, min_area=params.min_area)
        scores.append(2 * np.count_nonzero(true & found) / (true.sum() + found.sum()))
    assert 0.69 < np.mean(scores) < 0.79
    assert min(scores) > 0.45
