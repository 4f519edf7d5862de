"""Crops: image and labels move together, and colours change as the parameters say."""

import cv2
import numpy as np
import pytest
from skimage.color import rgb_from_hed

from stages.train.augmentation import displacement, jitter_colour, lower_resolution, random_crop
from stages.train.params import AugmentationParams

NONE = AugmentationParams(
    rotate=0, scale=(1, 1), flip=False, elastic=0, elastic_scale=12, stain=0, stain_shift=0,
    stain_targets=0, brightness=0, white_balance=0, blur=0, blur_probability=0, resolution=1,
    resolution_probability=0,
)  # fmt: skip
STRONG = AugmentationParams(
    rotate=180, scale=(0.7, 1.4), flip=True, elastic=0, elastic_scale=12, stain=0.3,
    stain_shift=0.05, stain_targets=0, brightness=0.2, white_balance=0, blur=2,
    blur_probability=0.5, resolution=1, resolution_probability=0,
)  # fmt: skip
BENT = STRONG.model_copy(update={"elastic": 4.0})

NO_MAPS = np.zeros((96, 128, 0), np.uint8)


@pytest.fixture
def labels() -> np.ndarray:
    found = np.zeros((96, 128), np.uint16)
    found[20:50, 30:70] = 1
    found[60:90, 80:120] = 300
    return found


def as_image(labels: np.ndarray) -> np.ndarray:
    grey = np.where(labels > 0, 60, 200).astype(np.uint8)
    return np.repeat(grey[..., np.newaxis], 3, axis=2)


def test_without_augmentation_a_crop_is_cut_out_to_the_pixel(labels: np.ndarray) -> None:
    image = np.random.default_rng(0).integers(0, 256, (96, 128, 3), np.uint8)
    crop, cut, _ = random_crop(image, labels, NO_MAPS, (48, 64), 32, NONE, np.random.default_rng(1))
    np.testing.assert_array_equal(crop, image[32:64, 48:80])
    np.testing.assert_array_equal(cut, labels[32:64, 48:80])


def test_black_and_white_stay_within_their_range() -> None:
    """Where light or stains lead beyond it, in each of red, green and blue."""
    colours = np.array([0, 255], np.uint8)[np.indices((2, 2, 2)).reshape(3, 8).T][np.newaxis]
    extreme = STRONG.model_copy(
        update={"stain": 0.9, "stain_shift": 0.9, "brightness": 0.9, "blur_probability": 0.0}
    )
    wrong = []
    for params, seed in [(STRONG, 4), *((extreme, seed) for seed in range(300))]:
        draws = np.random.default_rng(seed)
        factors = draws.uniform(1 - params.stain, 1 + params.stain, 3)
        shifts = draws.uniform(-params.stain_shift, params.stain_shift, 3)
        light = 256 * draws.uniform(1 - params.brightness, 1 + params.brightness)
        density = -np.log((colours + 1.0) / 256)
        mixed = (density @ np.linalg.inv(rgb_from_hed) * factors + shifts) @ rgb_from_hed
        expected = np.clip(np.rint(light * np.exp(-mixed) - 1), 0, 255)
        made = jitter_colour(
            colours,
            params.model_copy(update={"blur_probability": 0.0}),
            np.random.default_rng(seed),
        )
        assert np.abs(made - expected).max() <= 1
        wrong.append((made != expected).mean())
    assert np.mean(wrong) < 0.001  # rounding


def straight_crop(image, labels, size, params, generator):
    """What a crop is where nothing bends it: one affine map, of three random numbers."""
    angle = np.deg2rad(generator.uniform(-params.rotate, params.rotate))
    scale = np.exp(generator.uniform(np.log(params.scale[0]), np.log(params.scale[1])))
    mirror = -1.0 if generator.random() < 0.5 else 1.0
    a, b = np.cos(angle) / scale, np.sin(angle) / scale
    linear = np.array([[a * mirror, -b], [b * mirror, a]])
    centre = np.array([64.0, 48.0]) - 0.5
    matrix = np.column_stack([linear, centre - linear @ np.full(2, size / 2 - 0.5)])
    return tuple(
        cv2.warpAffine(
            array, matrix, (size, size), flags=how | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REFLECT_101,
        )
        for array, how in ((image, cv2.INTER_LINEAR), (labels, cv2.INTER_NEAREST))
    )  # fmt: skip


@pytest.mark.parametrize("seed", range(4))
def test_without_elastic_a_crop_is_what_it_was_before_there_was_one(
    labels: np.ndarray, seed: int
) -> None:
    image = np.random.default_rng(0).integers(0, 256, (96, 128, 3), np.uint8)
    generator, restated = np.random.default_rng(seed), np.random.default_rng(seed)
    crop, cut, _ = random_crop(image, labels, NO_MAPS, (48, 64), 64, STRONG, generator)
    expected, expected_cut = straight_crop(image, labels, 64, STRONG, restated)
    np.testing.assert_array_equal(crop, expected)
    np.testing.assert_array_equal(cut, expected_cut)
    assert generator.random() == restated.random()  # and as much was drawn


@pytest.mark.parametrize("seed", range(4))
def test_a_shift_of_nearly_nothing_changes_nearly_nothing(labels: np.ndarray, seed: int) -> None:
    image = as_image(labels)
    hardly = STRONG.model_copy(update={"elastic": 1e-6})
    crop, cut, _ = random_crop(
        image, labels, NO_MAPS, (20, 30), 64, hardly, np.random.default_rng(seed)
    )
    straight, straight_cut, _ = random_crop(
        image, labels, NO_MAPS, (20, 30), 64, STRONG, np.random.default_rng(seed)
    )
    # The two functions of OpenCV round differently, and so at an edge do the nearest pixels.
    assert np.mean(np.abs(crop.astype(int) - straight) > 2) < 0.005
    assert np.mean(cut != straight_cut) < 0.005


@pytest.mark.parametrize("zoom", [1.0, 2.0])
def test_each_pixel_is_taken_from_where_its_shift_says(zoom: float) -> None:
    # What a pixel shows is where it lies.
    rows, columns = np.mgrid[:200, :200].astype(np.uint8)
    image = np.stack([columns, rows, rows], axis=-1)
    labels = np.zeros((200, 200), np.uint16)
    params = NONE.model_copy(update={"scale": (zoom, zoom), "elastic": 5.0})
    crop, _, _ = random_crop(
        image, labels, image[..., :1], (100, 90), 64, params, np.random.default_rng(5)
    )
    generator = np.random.default_rng(5)
    generator.random(2)  # angle and scale
    shift = displacement(64, 5.0, 12, generator)
    assert np.abs(shift).max() > 8
    places = np.arange(64) + 0.5 - 32
    np.testing.assert_allclose(crop[..., 0] - 89.5, (places + shift[0]) / zoom, atol=0.6)
    np.testing.assert_allclose(
        crop[..., 1] - 99.5, (places[:, np.newaxis] + shift[1]) / zoom, atol=0.6
    )


@pytest.mark.parametrize("scale", [3.0, 12.0, 200.0])
def test_shifts_are_as_large_everywhere_and_as_smooth_as_asked_for(scale: float) -> None:
    generator = np.random.default_rng(0)
    fields = np.stack([displacement(48, 2.5, scale, generator) for _ in range(1500)])
    assert fields.shape == (1500, 2, 48, 48)
    np.testing.assert_allclose(fields.std(axis=0), 2.5, rtol=0.1)  # at the corners too
    assert np.abs(fields.mean(axis=0)).max() < 0.35
    # Noise smoothed by a Gaussian correlates as a Gaussian sqrt(2) times as wide.
    for distance in (1, 4, 16):
        for axis in (-1, -2):
            near = np.moveaxis(fields, axis, 0)
            found = np.mean(near[distance:] * near[:-distance]) / 2.5**2
            assert abs(found - np.exp(-((distance / scale) ** 2) / 4)) < 0.04
    across = np.mean(fields[:, 0] * fields[:, 1]) / 2.5**2
    assert abs(across) < 0.04  # down and right have nothing to do with each other


def test_a_bent_crop_follows_from_the_generator(labels: np.ndarray) -> None:
    def crops(seed: int) -> list[np.ndarray]:
        generator = np.random.default_rng(seed)
        return [
            *random_crop(as_image(labels), labels, NO_MAPS, (48, 64), 64, BENT, generator)[:2],
            generator.random(),
        ]

    for first, again in zip(crops(1), crops(1), strict=True):
        np.testing.assert_array_equal(first, again)
    assert not np.array_equal(crops(1)[1], crops(2)[1])


@pytest.mark.parametrize("params", [STRONG, BENT], ids=["straight", "bent"])
@pytest.mark.parametrize("seed", range(8))
def test_image_and_labels_move_together(
    labels: np.ndarray, seed: int, params: AugmentationParams
) -> None:
    generator = np.random.default_rng(seed)
    crop, cut, _ = random_crop(as_image(labels), labels, NO_MAPS, (48, 64), 64, params, generator)
    dark = crop[..., 0] < 130
    # Bilinear against nearest: only pixels on an edge may differ.
    assert np.mean(dark != (cut > 0)) < 0.02
    assert set(np.unique(cut)) <= {0, 1, 300}


@pytest.mark.parametrize("params", [STRONG, BENT], ids=["straight", "bent"])
@pytest.mark.parametrize("maps", [1, 2])
def test_maps_move_with_the_image(
    labels: np.ndarray, maps: int, params: AugmentationParams
) -> None:
    image = as_image(labels)
    generator = np.random.default_rng(3)
    crop, _, found = random_crop(image, labels, image[..., :maps], (48, 64), 64, params, generator)
    assert found.dtype == np.uint8
    assert found.shape == (64, 64, maps)
    # OpenCV rounds otherwise for another number of channels.
    np.testing.assert_allclose(found, crop[..., :maps], atol=4)


def test_beyond_the_border_the_image_is_mirrored(labels: np.ndarray) -> None:
    image = np.random.default_rng(0).integers(0, 256, (96, 128, 3), np.uint8)
    crop, _, _ = random_crop(image, labels, NO_MAPS, (0, 64), 32, NONE, np.random.default_rng(1))
    np.testing.assert_array_equal(crop[16:], image[:16, 48:80])
    np.testing.assert_array_equal(crop[:16], image[16:0:-1, 48:80])


def test_scale_enlarges_what_is_shown() -> None:
    labels = np.zeros((101, 101), np.uint16)
    labels[40:61, 40:61] = 1
    double = NONE.model_copy(update={"scale": (2.0, 2.0)})
    _, cut, _ = random_crop(
        as_image(labels), labels, NO_MAPS, (50.5, 50.5), 80, double, np.random.default_rng(0)
    )
    assert abs((cut > 0).sum() / (labels > 0).sum() - 4) < 0.2


def test_no_jitter_leaves_pixels_as_they_are() -> None:
    image = np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)
    unchanged = jitter_colour(image, NONE, np.random.default_rng(1))
    assert np.abs(unchanged.astype(int) - image).max() <= 1  # rounding


@pytest.mark.parametrize(
    "change",
    [
        {"stain": 0.3},
        {"stain_shift": 0.1},
        {"brightness": 0.3},
        {"white_balance": 0.3},
        {"blur": 3.0, "blur_probability": 1.0},
    ],
)
def test_each_parameter_has_its_own_effect(change: dict[str, float]) -> None:
    image = np.random.default_rng(0).integers(60, 200, (40, 40, 3), np.uint8)
    changed = jitter_colour(image, NONE.model_copy(update=change), np.random.default_rng(1))
    assert np.abs(changed.astype(int) - image).mean() > 1


def test_white_background_stays_nearly_white_when_stains_are_multiplied() -> None:
    white = np.full((8, 8, 3), 255, np.uint8)
    stained = NONE.model_copy(update={"stain": 0.5})
    assert jitter_colour(white, stained, np.random.default_rng(1)).min() >= 254


def test_white_balance_scales_each_colour_by_itself() -> None:
    grey = np.full((8, 8, 3), 150, np.uint8)
    params = NONE.model_copy(update={"white_balance": 0.2})
    found = jitter_colour(grey, params, np.random.default_rng(1)).astype(int)
    assert np.ptp(found, axis=(0, 1)).max() == 0
    assert len(np.unique(found[0, 0])) == 3
    assert np.abs(found / 150 - 1).max() <= 0.2 + 1 / 150


def test_a_coarser_scan_has_no_finer_detail_and_stays_in_place() -> None:
    generator = np.random.default_rng(0)
    fine = generator.integers(0, 256, (64, 96, 3), np.uint8)
    slope = np.repeat(np.arange(0, 192, 2, dtype=np.uint8)[np.newaxis, :, np.newaxis], 64, axis=0)
    smooth = np.repeat(slope, 3, axis=2)
    params = NONE.model_copy(update={"resolution": 4.0, "resolution_probability": 1.0})
    for seed in range(5):
        coarse = lower_resolution(fine, params, np.random.default_rng(seed))
        assert coarse.shape == fine.shape
        assert coarse.std() < 0.8 * fine.std()
        kept = lower_resolution(smooth, params, np.random.default_rng(seed)).astype(int)
        assert np.abs(kept - smooth)[4:-4, 8:-8].mean() < 4  # JPEG


def test_resolution_is_lowered_as_often_as_asked_for() -> None:
    image = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
    params = NONE.model_copy(update={"resolution": 4.0, "resolution_probability": 0.3})
    changed = [
        (lower_resolution(image, params, np.random.default_rng(seed)) != image).any()
        for seed in range(400)
    ]
    assert 0.2 < np.mean(changed) < 0.4
    off = params.model_copy(update={"resolution_probability": 0.0})
    assert lower_resolution(image, off, np.random.default_rng(1)) is image
