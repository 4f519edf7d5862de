"""Tests of `monuseg.readers.instances`: label maps, masks, and what is neither."""

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from scipy import ndimage

from monuseg.core.errors import PipelineError
from monuseg.readers.instances import as_ground_truth

SIDE = 256


def nuclei(number: int, seed: int = 0, radii: tuple[int, int] = (5, 12)) -> npt.NDArray[np.int64]:
    """A map of so many ellipses at random, of which the later are covered by the earlier."""
    generator = np.random.default_rng(seed)
    labels = np.zeros((SIDE, SIDE), np.int64)
    for value in range(1, number + 1):
        centre = [int(at) for at in generator.integers(10, SIDE - 10, 2)]
        axes = [int(radius) for radius in generator.integers(*radii, 2)]
        drawn = np.zeros((SIDE, SIDE), np.uint8)
        cv2.ellipse(drawn, centre, axes, float(generator.uniform(0, 180)), 0, 360, 1, -1)
        labels[(drawn > 0) & (labels == 0)] = value
    return labels


def grid(number: int, side: int = 12) -> npt.NDArray[np.int64]:
    """Squares that touch each other on all sides."""
    across = SIDE // side
    values = np.arange(1, across * across + 1)
    values[number:] = 0
    return values.reshape(across, across).repeat(side, axis=0).repeat(side, axis=1)


SOLID = (nuclei(30) > 0).astype(np.uint8) * 255
ONE = (nuclei(1) > 0).astype(np.uint8) * 255


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.int64])
@pytest.mark.parametrize("number", [2, 20, 200, 255])
def test_a_label_map_is_taken_whatever_its_type(number: int, dtype: type[np.integer]) -> None:
    labels = nuclei(number, radii=(3, 9))
    kind, found = as_ground_truth(labels.astype(dtype), name="a")
    assert kind == "label-map"
    assert found.dtype == np.uint16
    assert np.array_equal(found, np.unique(labels, return_inverse=True)[1].reshape(SIDE, SIDE))


def test_a_label_map_may_have_gaps_touch_everywhere_and_hold_single_pixels() -> None:
    labels = grid(400)
    labels[labels > 0] *= 11
    assert np.array_equal(as_ground_truth(labels, name="a")[1], labels // 11)
    dots = np.zeros((SIDE, SIDE), np.uint8)
    dots[::20, ::20] = np.arange(1, 170).reshape(13, 13)
    assert np.array_equal(as_ground_truth(dots, name="a")[1], dots)


def test_a_few_numbers_in_pieces_do_not_spoil_a_label_map() -> None:
    labels = grid(100)
    labels[labels == 5] = 6
    labels[200:212, 200:212] = 6
    kind, found = as_ground_truth(labels, name="a")
    assert (kind, found.max()) == ("label-map", 99)


def test_more_than_16_bits_of_instances_are_refused() -> None:
    with pytest.raises(PipelineError, match=r"^a: more than 65535 instances; cut it"):
        as_ground_truth(np.arange(65_537).reshape(1, -1), name="a")
    dots = np.zeros((512, 512), np.int64)
    dots[::2, ::2] = np.arange(65_536).reshape(256, 256)
    assert np.array_equal(as_ground_truth(dots, name="a")[1], dots)


ALONE, APART = nuclei(1) > 0, nuclei(2) > 0
BESIDE_A_SMALL_ONE = ALONE.copy()
BESIDE_A_SMALL_ONE[:3, :3] = True


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (ALONE.astype(np.uint8), "binary-mask"),
        (ALONE.astype(np.uint8) * 255, "binary-mask"),
        (ALONE.astype(np.uint16), "label-map"),  # one nucleus of a 16-bit label map
        (ALONE.astype(np.int64) * 7, "label-map"),
        (ALONE.astype(np.uint16) * 255, "binary-mask"),
        (ALONE.astype(np.uint16) * 65_535, "binary-mask"),
        (APART.astype(np.uint16), "binary-mask"),  # two areas of one number
        (APART.astype(np.int64), "binary-mask"),
        (BESIDE_A_SMALL_ONE.astype(np.int64), "binary-mask"),
        (np.zeros((5, 6), np.uint8), "binary-mask"),
        (np.zeros((5, 6), np.uint16), "label-map"),
        (np.full((5, 6), 255, np.uint8), "binary-mask"),
    ],
)
def test_what_one_number_beside_0_means(values: npt.NDArray[np.integer], kind: str) -> None:
    found, array = as_ground_truth(values, name="a")
    assert found == kind
    assert np.array_equal(array, (values > 0) * (1 if kind == "label-map" else 255))


SOFT = "neither instances nor two, as in a mask with soft or resized edges; save 0 and 255, or one"
JPEG = "grey values near 0 and 255, as JPEG or smoothing leaves them in a mask"
CLASSES = "mark several areas each, as classes do; save one number per nucleus"


def jpeg(mask: npt.NDArray[np.uint8], quality: int) -> npt.NDArray[np.uint8]:
    content = cv2.imencode(".jpg", mask, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return np.asarray(cv2.imdecode(content, cv2.IMREAD_GRAYSCALE), np.uint8)


def antialiased(number: int) -> npt.NDArray[np.uint8]:
    generator = np.random.default_rng(4)
    mask = np.zeros((SIDE, SIDE), np.uint8)
    for _ in range(number):
        x, y, radius = (int(value) for value in generator.integers(16 * 12, 16 * (SIDE - 12), 3))
        cv2.circle(mask, (x, y), 60 + radius % 120, 255, -1, cv2.LINE_AA, 4)
    return mask


NEITHER = {
    "resized": (cv2.resize(SOLID, None, fx=1.7, fy=1.7), SOFT),
    "resized, one nucleus": (cv2.resize(ONE, None, fx=1.7, fy=1.7), SOFT),
    "reduced": (cv2.resize(SOLID, None, fx=0.4, fy=0.4, interpolation=cv2.INTER_AREA), SOFT),
    "antialiased": (antialiased(30), SOFT),
    "antialiased, one nucleus": (antialiased(1), SOFT),
    "distances": (ndimage.distance_transform_edt(SOLID).astype(np.uint8), SOFT),
    "noise": (np.random.default_rng(0).integers(0, 256, (SIDE, SIDE), dtype=np.uint8), SOFT),
    "noise of 16 bits": (np.random.default_rng(0).integers(0, 999, (SIDE, SIDE)), SOFT),
    "smoothed": (cv2.GaussianBlur(SOLID, (0, 0), 2), JPEG),
    "smoothed, one nucleus": (cv2.GaussianBlur(ONE, (0, 0), 2), JPEG),
    **{f"JPEG of quality {quality}": (jpeg(SOLID, quality), JPEG) for quality in (30, 75, 95)},
    "JPEG, one nucleus": (jpeg(ONE, 75), JPEG),
    "classes": ((nuclei(30) % 4).astype(np.uint8), f"the numbers 1, 2, 3 {CLASSES}"),
    "classes of 16 bits": (nuclei(30) % 4, f"the numbers 1, 2, 3 {CLASSES}"),
    "two classes of 0, 127 and 255": (
        np.array([0, 127, 255], np.uint8)[nuclei(30) % 3],
        f"the numbers 127, 255 {CLASSES}",
    ),
    "inner and boundary": (
        np.where(cv2.morphologyEx(SOLID, cv2.MORPH_GRADIENT, np.ones((3, 3))) > 0, 2, SOLID > 0),
        CLASSES,
    ),
    "a label map that was smoothed": (
        cv2.resize(nuclei(60).astype(np.uint8), None, fx=1.5, fy=1.5),
        CLASSES,
    ),
    "background of -1": (nuclei(9) - 1, "its least number is -1, but 0 must be the background"),
    "background of 1": (nuclei(9) + 1, "its least number is 1, but 0 must be the background"),
}


@pytest.mark.parametrize(("values", "said"), NEITHER.values(), ids=NEITHER)
def test_what_is_neither_instances_nor_a_mask_is_refused_with_the_reason(
    values: npt.NDArray[np.integer], said: str
) -> None:
    with pytest.raises(PipelineError, match=rf"^a: .*{said}"):
        as_ground_truth(values, name="a")
