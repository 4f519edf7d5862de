"""Test-time augmentation: every view is brought back to the image's own pixels."""

import cv2
import numpy as np
import pytest

from monuseg.core.errors import PipelineError
from monuseg.formats.images import PIXELS_MAX
from monuseg.formats.tiles import pad
from monuseg.inference.params import PredictParams
from monuseg.inference.views import (
    UPRIGHT,
    over_views,
    predict_augmented,
    views_of,
)

ALL = views_of(flips=True, rotations=True)
PLAIN = PredictParams.load().model_copy(
    update={"window": 512, "overlap": 16, "flips": False, "rotations": False, "scales": [1.0]}
)


def brightness(pixels: np.ndarray) -> np.ndarray:
    return (pixels[..., :1] / np.float32(255)).astype(np.float32)


def random_image(height: int = 23, width: int = 31) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def window(height: int = 23, width: int = 31) -> np.ndarray:
    return random_image(height, width)[np.newaxis]


@pytest.mark.parametrize(("flips", "rotations", "number"), [(0, 0, 1), (1, 0, 4), (1, 1, 8)])
def test_no_two_views_are_the_same(flips: int, rotations: int, number: int) -> None:
    pixels, seen = window(24, 24), []

    def forward(view: np.ndarray) -> np.ndarray:
        seen.append(view.tobytes())
        return brightness(view)

    over_views(forward, views_of(flips=bool(flips), rotations=bool(rotations)))(pixels)
    assert seen[0] == pixels.tobytes()
    assert len(set(seen)) == len(seen) == number


@pytest.mark.parametrize("classes", [1, 3, 5])
def test_views_come_back_to_where_they_were(classes: int) -> None:
    def forward(view: np.ndarray) -> np.ndarray:
        return np.repeat(brightness(view), classes, axis=-1)

    pixels = np.concatenate([window(), window()[:, ::-1]])
    found = over_views(forward, ALL)(pixels)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, forward(pixels), atol=1e-6)


def test_flips_are_the_image_and_its_mirror_images() -> None:
    pixels, seen = window(), []

    def forward(view: np.ndarray) -> np.ndarray:
        seen.append(view)
        return brightness(view)

    over_views(forward, views_of(flips=True, rotations=False))(pixels)
    expected = [pixels, pixels[:, :, ::-1], pixels[:, ::-1], pixels[:, ::-1, ::-1]]
    assert {view.tobytes() for view in seen} == {view.tobytes() for view in expected}


def test_one_view_is_the_models_own_answer() -> None:
    found = over_views(brightness, UPRIGHT)(window())
    np.testing.assert_array_equal(found, brightness(window()))


def test_what_a_network_gets_wrong_on_one_side_is_averaged_out() -> None:
    def left_half(view: np.ndarray) -> np.ndarray:
        answer = np.zeros((*view.shape[:3], 1), np.float32)
        answer[:, :, : view.shape[2] // 2] = 1
        return answer

    assert over_views(left_half, ALL)(window(16, 16)) == pytest.approx(0.5)


def test_padding_is_turned_with_the_window() -> None:
    image, seen = random_image(20, 32), []

    def forward(view: np.ndarray) -> np.ndarray:
        seen.append(view[0])
        return brightness(view)

    flips = {"window": 64, "flips": True}
    predict_augmented(forward, image, PLAIN.model_copy(update=flips), divisor=16)
    padded = pad(image, 32, 32)
    assert {view.tobytes() for view in seen} == {
        np.ascontiguousarray(padded[::y, ::x]).tobytes() for y in (1, -1) for x in (1, -1)
    }


@pytest.mark.parametrize("scale", [0.5, 0.8, 1.5])
def test_other_sizes_come_back_to_the_images(scale: float) -> None:
    rows, columns = np.mgrid[:60, :84]
    image = np.repeat((rows + columns)[..., np.newaxis], 3, axis=2).astype(np.uint8)
    sizes = []

    def forward(view: np.ndarray) -> np.ndarray:
        sizes.append(view.shape[1:3])
        return np.repeat(brightness(view), 2, axis=-1)

    found = predict_augmented(
        forward, image, PLAIN.model_copy(update={"scales": [scale]}), divisor=1
    )
    assert sizes == [(round(60 * scale), round(84 * scale))]
    assert found.shape == (60, 84, 2)
    np.testing.assert_allclose(found[4:-4, 4:-4, 1], brightness(image)[4:-4, 4:-4, 0], atol=0.01)


@pytest.mark.parametrize(
    ("scale", "interpolation"), [(2.0, cv2.INTER_LINEAR), (0.5, cv2.INTER_AREA)]
)
def test_images_are_enlarged_bilinearly_and_shrunk_by_averaging(
    scale: float, interpolation: int
) -> None:
    image, seen = random_image(12, 20), []

    def forward(view: np.ndarray) -> np.ndarray:
        seen.append(view[0])
        return brightness(view)

    predict_augmented(forward, image, PLAIN, divisor=1, scale=scale)
    size = (round(20 * scale), round(12 * scale))
    expected = cv2.resize(image.astype(np.float32), size, interpolation=interpolation)
    np.testing.assert_array_equal(seen[0], np.floor(expected + 0.5))


def test_sizes_count_alike() -> None:
    def large(view: np.ndarray) -> np.ndarray:
        return np.full((*view.shape[:3], 1), float(view.shape[1] > 20), np.float32)

    params = PLAIN.model_copy(update={"scales": [0.5, 1.0, 1.5, 2.0]})
    assert predict_augmented(large, random_image(20, 20), params, divisor=1) == pytest.approx(0.5)


def test_the_block_predict_says_which() -> None:
    seen = []

    def forward(pixels: np.ndarray) -> np.ndarray:
        seen.append(pixels.shape)
        return brightness(pixels)

    update = {"window": 64, "overlap": 16, "flips": True, "rotations": True, "scales": [1.0, 0.5]}
    params = PredictParams.load().model_copy(update=update)
    found = predict_augmented(forward, random_image(32, 64), params, divisor=16)
    assert found.shape == (32, 64, 1)
    assert seen[:8].count((1, 32, 64, 3)) == seen[:8].count((1, 64, 32, 3)) == 4
    assert seen[8:].count((1, 16, 32, 3)) == seen[8:].count((1, 32, 16, 3)) == 4


@pytest.mark.parametrize("scale", [0.4, 0.8, 1.25, 2.0, 2.4])
def test_the_model_sees_its_own_resolution_and_answers_for_the_images_pixels(scale: float) -> None:
    rows, columns = np.mgrid[:60, :84]
    image = np.stack([4 * rows, 3 * columns, columns], axis=-1).astype(np.uint8)
    seen = []

    def forward(pixels: np.ndarray) -> np.ndarray:
        seen.append(pixels.shape)
        return (pixels[..., :2] / np.float32(255)).astype(np.float32)

    found = predict_augmented(forward, image, PLAIN, divisor=1, scale=scale)
    assert seen == [(1, round(60 * scale), round(84 * scale), 3)]
    assert found.shape == (60, 84, 2)
    # Both maps rise steadily, so that their error is how far they moved.
    moved = (found[6:-6, 6:-6] * 255.0 - image[6:-6, 6:-6, :2]) / (4, 3)
    assert np.abs(moved.mean(axis=(0, 1))).max() < 0.1


def test_an_image_of_one_pixel_and_a_line_have_answers_at_every_scale() -> None:
    for shape in [(1, 1), (1, 50), (50, 1)]:
        for scale in (0.2, 1.0, 7.3):
            image = np.full((*shape, 3), 51, np.uint8)
            found = predict_augmented(brightness, image, PLAIN, divisor=16, scale=scale)
            assert found.shape == (*shape, 1)
            assert found == pytest.approx(0.2, abs=1e-3)


def test_answers_are_rounded_as_they_are_stored() -> None:
    def third(pixels: np.ndarray) -> np.ndarray:
        return np.full((*pixels.shape[:3], 1), 1 / 3, np.float32)

    found = predict_augmented(third, random_image(), PLAIN, divisor=1)
    assert found.dtype == np.float16
    assert np.all(found == np.float16(1 / 3))


def test_an_image_that_would_become_enormous_is_refused_before_it_is_made() -> None:
    side = int(PIXELS_MAX**0.5) // 40
    image = np.zeros((side + 1, side, 3), np.uint8)
    with pytest.raises(PipelineError, match=r"250 x 251 pixels become 10000 x 10040.*cut it"):
        predict_augmented(brightness, image, PLAIN, divisor=1, scale=40.0)
