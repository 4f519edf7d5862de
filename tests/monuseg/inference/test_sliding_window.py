"""Windows: every pixel, no seam, any size."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monuseg.inference.sliding_window import predict_image


def brightness(pixels: np.ndarray) -> np.ndarray:
    """A network without context: each pixel's own value."""
    return (pixels[..., :1] / np.float32(255)).astype(np.float32)


def random_image(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


@settings(max_examples=60, deadline=None)
@given(
    height=st.integers(1, 90),
    width=st.integers(1, 90),
    window=st.integers(8, 64),
    overlap=st.integers(0, 31),
    batch_size=st.integers(1, 5),
)
def test_blending_predictions_that_agree_changes_nothing(
    height: int, width: int, window: int, overlap: int, batch_size: int
) -> None:
    image = random_image(height, width)
    found = predict_image(
        brightness, image, window=window, overlap=min(overlap, window // 2), divisor=8,
        batch_size=batch_size,
    )  # fmt: skip
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, brightness(image), atol=1e-6)


def test_an_image_that_fits_goes_through_at_once_padded_to_the_divisor() -> None:
    shapes = []

    def forward(pixels: np.ndarray) -> np.ndarray:
        shapes.append(pixels.shape)
        return brightness(pixels)

    predict_image(forward, random_image(60, 50), window=64, overlap=8, divisor=16)
    assert shapes == [(1, 64, 64, 3)]


def test_all_windows_have_one_shape_and_overlap_as_asked() -> None:
    starts = []

    def forward(pixels: np.ndarray) -> np.ndarray:
        starts.extend(int(window[0, 0, 0]) for window in pixels)
        assert pixels.shape[1:] == (32, 32, 3)
        return brightness(pixels)

    image = np.zeros((32, 100, 3), np.uint8)
    image[..., 0] = np.arange(100)
    predict_image(forward, image, window=32, overlap=8, divisor=16)
    assert starts == [0, 24, 48, 68]


def test_a_window_counts_least_at_its_edge() -> None:
    calls = iter(range(100))

    def numbered(pixels: np.ndarray) -> np.ndarray:
        return np.stack([np.full((32, 32, 1), next(calls), np.float32) for _ in pixels])

    found = predict_image(
        numbered, np.zeros((32, 48, 3), np.uint8), window=32, overlap=16, divisor=16
    )[0, :, 0]
    assert found[0] == 0
    assert found[-1] == 1
    assert np.all(np.diff(found) >= 0)
    assert np.abs(np.diff(found)).max() < 0.1  # no seam


def test_a_model_that_returns_more_windows_than_it_was_given_is_an_error() -> None:
    def doubled(pixels: np.ndarray) -> np.ndarray:
        return brightness(np.concatenate([pixels, pixels]))

    for side in (8, 12):  # one window, and several
        with pytest.raises(ValueError, match="longer"):
            predict_image(doubled, random_image(side, side), window=8, overlap=2, divisor=1)


def test_the_answers_of_all_windows_are_not_held_at_once() -> None:
    image = np.zeros((512, 512, 3), np.uint8)

    def forward(pixels: np.ndarray) -> np.ndarray:
        return np.zeros((*pixels.shape[:3], 8), np.float32)

    tracemalloc.start()
    found = predict_image(forward, image, window=64, overlap=32, divisor=1)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # The windows' answers are four times as large as the image's.
    assert peak < 1.6 * found.nbytes
