"""What is learned of a label map, against definitions pixel by pixel."""

import numpy as np
import pytest
from scipy import ndimage

from stages.train.targets import FULL, maps_of, target_of

OUTPUTS = ["nucleus", "boundary", "distance"]


@pytest.fixture
def labels() -> np.ndarray:
    """Two nuclei that touch, one apart, and one that the border cuts."""
    found = np.zeros((40, 48), np.uint16)
    found[5:16, 5:16] = 4
    found[5:16, 16:24] = 2
    rows, columns = np.mgrid[:40, :48]
    found[(rows - 28) ** 2 + (columns - 15) ** 2 <= 60] = 1
    found[30:, 40:] = 3
    return found


def to_the_edge(labels: np.ndarray) -> np.ndarray:
    """The distance of every pixel to the nearest pixel of another label, less half a pixel."""
    found = np.zeros(labels.shape)
    for number in np.unique(labels):
        # Distances to pixels beyond the border are none: there is no edge.
        found = np.where(
            labels == number, ndimage.distance_transform_edt(labels == number) - 0.5, found
        )
    return found


def test_the_mask_comes_first_and_is_exact(labels: np.ndarray) -> None:
    target = target_of(labels, maps_of(labels, ["nucleus"], 4))
    assert target.shape == (40, 48, 1)
    assert target.dtype == np.float32
    np.testing.assert_array_equal(target[..., 0], labels > 0)


@pytest.mark.parametrize("width", [2, 4, 6])
def test_the_band_lies_half_inside_and_half_outside_of_every_edge(
    labels: np.ndarray, width: int
) -> None:
    band = maps_of(labels, OUTPUTS, width)[..., 0]
    assert set(np.unique(band)) == {0, FULL}
    # Across the upper edge of a nucleus, and across the line between the two that touch.
    assert np.flatnonzero(band[:12, 10]).tolist() == list(range(5 - width // 2, 5 + width // 2))
    between = np.flatnonzero(band[10, 9:21]) + 9
    assert between.tolist() == list(range(16 - width // 2, 16 + width // 2))


def test_the_band_is_what_is_near_another_label(labels: np.ndarray) -> None:
    band = maps_of(labels, OUTPUTS, 4)[..., 0] > 0
    near = to_the_edge(labels) < 2
    # A pixel whose nearest other label lies across a corner may count either way.
    assert np.mean(band != near) < 0.01
    assert not band[36:, 44:].any()  # at the border that cuts a nucleus there is no edge


def test_the_distance_is_1_in_the_middle_of_each_nucleus_and_small_at_its_edge(
    labels: np.ndarray,
) -> None:
    distance = maps_of(labels, OUTPUTS, 4)[..., 1]
    assert not distance[labels == 0].any()
    for number in (1, 2, 3, 4):
        inside = distance[labels == number]
        assert inside.max() == FULL
        assert 0 < inside.min() < 0.2 * FULL
    assert distance[10, 10] == FULL  # the middle of a square
    np.testing.assert_array_equal(distance[10, 5:10], np.sort(distance[10, 5:10]))


def test_the_order_is_that_of_the_outputs(labels: np.ndarray) -> None:
    one, other = (maps_of(labels, names, 4) for names in (OUTPUTS, [OUTPUTS[0], *OUTPUTS[:0:-1]]))
    np.testing.assert_array_equal(one, other[..., ::-1])


def test_without_nuclei_all_is_background() -> None:
    assert not maps_of(np.zeros((8, 9), np.uint16), OUTPUTS, 4).any()


def test_a_nucleus_of_one_pixel_has_a_middle() -> None:
    labels = np.zeros((5, 5), np.uint16)
    labels[2, 2] = 7
    assert maps_of(labels, ["nucleus", "distance"], 4)[2, 2, 0] == FULL


def test_an_unknown_output_is_an_error(labels: np.ndarray) -> None:
    with pytest.raises(ValueError, match="'colour'"):
        maps_of(labels, ["nucleus", "colour"], 4)
