"""Where crops are cut: organs, images and nuclei, each as often as asked for."""

from collections import Counter

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


def an_image(
    name: str, organ: str, labels: np.ndarray | None = None, tiles: int = 1, size: int = 64
) -> TiledImage:
    """An image of tiles one below the other, without nuclei unless given."""
    if labels is None:
        labels = np.zeros((size, size), np.uint16)
    height, width = labels.shape
    windows = [(height // tiles * tile, 0, height // tiles, width) for tile in range(tiles)]
    pixels = np.zeros((height, width, 3), np.uint8)
    return TiledImage(name, 0.25, height, width, pixels, labels, windows, organ)


def drawn(images: list[TiledImage], params: SamplingParams, draws: int = DRAWS):
    generator = np.random.default_rng(0)
    sampler = Sampler(images, params)
    return [sampler.draw(generator) for _ in range(draws)]


def shares(values: list[str]) -> dict[str, float]:
    return {name: count / len(values) for name, count in Counter(values).items()}


@pytest.fixture
def nuclei() -> np.ndarray:
    """A small nucleus of 16 pixels, a large one of 400, and numbers between them that are none."""
    labels = np.zeros((64, 64), np.uint16)
    labels[4:8, 50:54] = 3
    labels[30:50, 10:30] = 40_000
    return labels


def test_by_area_any_tile_is_as_likely_as_any_other_and_nothing_more_is_drawn() -> None:
    images = [an_image("a", "lung", tiles=3), an_image("b", "brain")]
    tiles = [(image, window) for image in images for window in image.windows]
    sampler = Sampler(images, TODAY)
    generator, restated = np.random.default_rng(3), np.random.default_rng(3)
    for _ in range(50):
        image, (y, x, height, width) = tiles[restated.integers(4)]
        centre = (restated.uniform(y, y + height), restated.uniform(x, x + width))
        assert sampler.draw(generator) == (image, centre)


def test_an_organ_of_one_image_is_as_likely_as_the_others() -> None:
    images = [an_image(f"liver {number}", "liver", tiles=4) for number in range(18)]
    images += [an_image("a", "brain"), an_image("b", "lung", tiles=2), an_image("c", "lung")]
    by_area = shares([image.organ for image, _ in drawn(images, TODAY)])
    assert by_area["brain"] < 0.03
    equal = [image for image, _ in drawn(images, EQUAL)]
    for organ in ("liver", "brain", "lung"):
        assert abs(shares([image.organ for image in equal])[organ] - 1 / 3) < TOLERANCE
    # Any image of the organ, whatever its size.
    of_lungs = shares([image.id for image in equal if image.organ == "lung"])
    assert abs(of_lungs["b"] - 0.5) < 2 * TOLERANCE
    assert len({image.id for image in equal}) == 21


def test_a_point_is_anywhere_in_the_image() -> None:
    image = an_image("a", "lung", tiles=2)
    points = np.array([point for _, point in drawn([image], EQUAL)])
    assert points.min() >= 0
    assert points.max() < 64
    counts = np.histogram2d(*points.T, bins=4, range=[[0, 64], [0, 64]])[0]
    np.testing.assert_allclose(counts / DRAWS, 1 / 16, atol=0.02)


@pytest.mark.parametrize("share", [0.3, 1.0])
def test_a_share_of_the_points_lies_in_nuclei(nuclei: np.ndarray, share: float) -> None:
    params = SamplingParams(organs="area", nuclei=share)
    points = [point for _, point in drawn([an_image("a", "lung", nuclei, tiles=2)], params)]
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
