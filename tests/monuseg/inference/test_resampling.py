"""Resampling: as OpenCV resizes whole images, and the same bits in every part."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monuseg.inference.resampling import Resampling, resampled, transposed


def whole(image: np.ndarray, rows: Resampling, columns: Resampling) -> np.ndarray:
    return resampled(image, rows.weights(0, rows.made), columns.weights(0, columns.made))


def random_floats(height: int, width: int, channels: int) -> np.ndarray:
    generator = np.random.default_rng(height * width)
    return generator.random((height, width, channels), np.float32)


@pytest.mark.parametrize("made", [(37, 53), (80, 111), (59, 87), (21, 29), (11, 8)])
def test_as_opencv_resizes(made: tuple[int, int]) -> None:
    image = random_floats(40, 57, 3)
    found = whole(image, Resampling(40, made[0]), Resampling(57, made[1]))
    smaller = made[0] < 40
    interpolation = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
    expected = cv2.resize(image, made[::-1], interpolation=interpolation)
    np.testing.assert_allclose(found, expected, atol=2e-5)


@given(
    st.tuples(st.integers(1, 60), st.integers(1, 60)),
    st.tuples(st.integers(1, 90), st.integers(1, 90)),
    st.sampled_from([1, 3, 5]),
    st.data(),
)
def test_a_part_has_the_bits_of_the_whole(
    there: tuple[int, int], made: tuple[int, int], channels: int, data: st.DataObject
) -> None:
    image = random_floats(*there, channels)
    axes = [Resampling(*lengths) for lengths in zip(there, made, strict=True)]
    ends = [
        sorted(data.draw(st.lists(st.integers(0, n), min_size=2, max_size=2, unique=True)))
        for n in made
    ]
    sources = [slice(*axis.source(*end)) for axis, end in zip(axes, ends, strict=True)]
    weights = [axis.weights(*end) for axis, end in zip(axes, ends, strict=True)]
    (top, bottom), (left, right) = ends
    np.testing.assert_array_equal(
        resampled(image[sources[0], sources[1]], *weights),
        whole(image, *axes)[top:bottom, left:right],
    )


@given(st.integers(1, 200), st.integers(1, 200))
def test_one_value_stays_that_value(length: int, made: int) -> None:
    total = Resampling(length, made).weights(0, made).sum(axis=1)
    np.testing.assert_allclose(total, 1, atol=1e-6)


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 7])
def test_transposed(channels: int) -> None:
    part = random_floats(4, 9, channels)
    np.testing.assert_array_equal(transposed(part), part.swapaxes(0, 1))
