"""Where crops are cut: organs, images and nuclei, each as often as asked for."""

import tempfile
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from monuseg.formats.tiles import TiledImage
from stages.train.params import SamplingParams
from stages.train.sampling import Sampler

TODAY = SamplingParams(organs="area", nuclei=0.0)
EQUAL = SamplingParams(organs="equal", nuclei=0.0)
NUCLEI = SamplingParams(organs="area", nuclei=1.0)

DRAWS = 4000
# Four standard deviations of a share of as many draws.
TOLERANCE = 4 * 0.5 / np.sqrt(DRAWS)


def an_image(name: str, organ: str, labels: np.ndarray | None = None, size: int = 64) -> TiledImage:
    """An image of one tile, without nuclei unless given."""
    if labels is None:
        labels = np.zeros((size, size), np.uint16)
    height, width = labels.shape
    pixels = np.zeros((height, width, 3), np.uint8)
    return TiledImage(name, 0.25, height, width, pixels, labels, [(0, 0, height, width)], organ)


def drawn(images: list[TiledImage], params: SamplingParams, draws: int = DRAWS):
    generator = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as scratch:
        sampler = Sampler(images, params, Path(scratch))
        found = [sampler.draw(generator) for _ in range(draws)]
    return [(images[number], point) for number, point in found]


def shares(values: list[str]) -> dict[str, float]:
    return {name: count / len(values) for name, count in Counter(values).items()}


@pytest.fixture
def nuclei() -> np.ndarray:
    """A small nucleus of 16 pixels, a large one of 400, and numbers between them that are none."""
    labels = np.zeros((64, 64), np.uint16)
    labels[4:8, 50:54] = 3
    labels[30:50, 10:30] = 40_000
    return labels


def test_by_area_any_pixel_is_as_likely_as_any_other_and_nothing_more_is_drawn(
    tmp_path: Path,
) -> None:
    images = [an_image("a", "lung"), an_image("b", "brain", size=32)]
    sampler = Sampler(images, TODAY, tmp_path)
    generator, restated = np.random.default_rng(3), np.random.default_rng(3)
    for _ in range(50):
        number = int(restated.integers(64 * 64 + 32 * 32) >= 64 * 64)
        side = images[number].height
        centre = (restated.uniform(0, side), restated.uniform(0, side))
        assert sampler.draw(generator) == (number, centre)


@pytest.mark.parametrize("params", [TODAY, EQUAL])
def test_pixels_that_lie_in_two_tiles_are_drawn_no_more_often(params: SamplingParams) -> None:
    """Of 80 pixels in tiles of 64, the 48 in the middle lie in both."""
    labels = np.zeros((80, 80), np.uint16)
    windows = [(y, x, 64, 64) for y in (0, 16) for x in (0, 16)]
    image = replace(an_image("a", "lung", labels), windows=windows)
    points = np.array([point for _, point in drawn([image], params)])
    for along in points.T:
        counts = np.histogram(along, bins=5, range=(0, 80))[0]
        np.testing.assert_allclose(counts / DRAWS, 1 / 5, atol=4 * (0.16 / DRAWS) ** 0.5)


def test_padding_is_not_drawn() -> None:
    image = replace(an_image("a", "lung"), height=30, width=32, windows=[(0, 0, 30, 32)])
    points = np.array([point for _, point in drawn([image, image], TODAY, 300)])
    assert (points < [30, 32]).all()
    assert (points.max(axis=0) > [28, 30]).all()


def test_an_organ_of_one_image_is_as_likely_as_the_others() -> None:
    images = [an_image(f"liver {number}", "liver") for number in range(18)]
    images += [an_image("a", "brain"), an_image("b", "lung", size=96), an_image("c", "lung")]
    by_area = shares([image.organ for image, _ in drawn(images, TODAY)])
    # 1 of 18 + 1 + 2.25 + 1 areas.
    assert abs(by_area["brain"] - 1 / 22.25) < TOLERANCE
    assert abs(by_area["lung"] - 3.25 / 22.25) < TOLERANCE
    equal = [image for image, _ in drawn(images, EQUAL)]
    for organ in ("liver", "brain", "lung"):
        assert abs(shares([image.organ for image in equal])[organ] - 1 / 3) < TOLERANCE
    # Any image of the organ, whatever its size.
    of_lungs = shares([image.id for image in equal if image.organ == "lung"])
    assert abs(of_lungs["b"] - 0.5) < 2 * TOLERANCE
    assert len({image.id for image in equal}) == 21


def test_a_point_is_anywhere_in_the_image() -> None:
    image = an_image("a", "lung")
    points = np.array([point for _, point in drawn([image], EQUAL)])
    assert points.min() >= 0
    assert points.max() < 64
    counts = np.histogram2d(*points.T, bins=4, range=[[0, 64], [0, 64]])[0]
    np.testing.assert_allclose(counts / DRAWS, 1 / 16, atol=0.02)


@pytest.mark.parametrize("share", [0.3, 1.0])
def test_a_share_of_the_points_lies_in_nuclei(nuclei: np.ndarray, share: float) -> None:
    params = SamplingParams(organs="area", nuclei=share)
    points = [point for _, point in drawn([an_image("a", "lung", nuclei)], params)]
    inside = np.mean([nuclei[int(y), int(x)] > 0 for y, x in points])
    by_chance = np.mean(nuclei > 0)
    assert abs(inside - (share + (1 - share) * by_chance)) <= TOLERANCE


def test_a_nucleus_of_a_25th_of_the_area_is_drawn_five_times_as_often(nuclei: np.ndarray) -> None:
    points = [point for _, point in drawn([an_image("a", "lung", nuclei)], NUCLEI)]
    found = Counter(int(nuclei[int(y), int(x)]) for y, x in points)
    assert found.keys() == {3, 40_000}
    # 1 / sqrt(16) against 1 / sqrt(400).
    assert abs(found[3] / DRAWS - 5 / 6) < TOLERANCE


def test_any_pixel_of_a_torn_nucleus_is_as_likely_as_any_other() -> None:
    labels = np.zeros((40, 40), np.uint16)
    labels[2:4, 5] = labels[30, 20:22] = 1
    labels[10:20, 10:20] = 2  # between the two, and within their box
    points = [point for _, point in drawn([an_image("a", "lung", labels)], NUCLEI)]
    pixels = Counter((int(y), int(x)) for y, x in points if labels[int(y), int(x)] == 1)
    assert pixels.keys() == {(2, 5), (3, 5), (30, 20), (30, 21)}
    assert min(pixels.values()) > 0.85 * max(pixels.values())
    fractions = np.array(points) % 1
    np.testing.assert_allclose(fractions.mean(axis=0), 0.5, atol=0.03)


def test_padding_holds_no_nuclei_of_its_own() -> None:
    labels = np.zeros((64, 64), np.uint16)
    labels[10:14, 20:24] = 1
    labels[40:60, 40:60] = 1  # mirrored into the padding
    labels[50:, :] = 2
    image = TiledImage(
        "a", 0.25, 30, 32, np.zeros((64, 64, 3), np.uint8), labels, [(0, 0, 30, 32)], "liver"
    )  # fmt: skip
    points = np.array([point for _, point in drawn([image], NUCLEI, 300)])
    assert points.min(axis=0).tolist() >= [10, 20]
    assert (points < [14, 24]).all()


@pytest.mark.parametrize("organs", ["area", "equal"])
def test_images_without_nuclei_are_drawn_as_often_and_anywhere(
    nuclei: np.ndarray, organs: str
) -> None:
    images = [an_image("a", "lung", nuclei), an_image("b", "brain")]
    params = SamplingParams.model_validate({"organs": organs, "nuclei": 1.0})
    found = drawn(images, params)
    assert abs(shares([image.id for image, _ in found])["b"] - 0.5) < TOLERANCE
    points = np.array([point for image, point in found if image.id == "b"])
    np.testing.assert_allclose(points.mean(axis=0), 32, atol=2)
    # And if there are none anywhere.
    assert len(drawn(images[1:], params, 10)) == 10


def test_draws_follow_from_the_generator(nuclei: np.ndarray) -> None:
    images = [an_image("a", "lung", nuclei), an_image("b", "brain", nuclei)]
    params = SamplingParams(organs="equal", nuclei=0.5)
    assert drawn(images, params, 100) == drawn(images, params, 100)
