"""Nuclei from probability maps."""

import time
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import ndimage
from skimage.segmentation import watershed

from monuseg.core.errors import PipelineError
from monuseg.nuclei import watershed as module
from monuseg.nuclei.watershed import (
    LARGEST_HOLE,
    NucleiSettings,
    above,
    certain,
    filled,
    nuclei_from_predictions,
    separations,
    without_small,
)

Mask = npt.NDArray[np.bool_]

SETTINGS = NucleiSettings(threshold=0.5, smoothing=1.0, min_distance=5, min_area=10)


def discs(shape: tuple[int, int], *centres_and_radii: tuple[int, int, int]) -> Mask:
    rows, columns = np.indices(shape)
    mask = np.zeros(shape, bool)
    for y, x, radius in centres_and_radii:
        mask |= (rows - y) ** 2 + (columns - x) ** 2 <= radius**2
    return mask


def label(mask: Mask, settings: NucleiSettings = SETTINGS) -> npt.NDArray[np.uint16]:
    return nuclei_from_predictions(mask[..., np.newaxis].astype(np.float32), ["nucleus"], settings)


def test_separate_nuclei_stay_whole() -> None:
    mask = discs((60, 90), (20, 20, 10), (40, 60, 12))
    labels = label(mask)
    assert labels.dtype == np.uint16
    assert labels.max() == 2
    np.testing.assert_array_equal(labels > 0, mask)
    assert len(set(labels[discs((60, 90), (20, 20, 10))].tolist())) == 1


def test_touching_nuclei_are_split_at_the_neck() -> None:
    mask = discs((40, 70), (20, 22, 12), (20, 44, 12))
    labels = label(mask)
    assert labels.max() == 2
    np.testing.assert_array_equal(labels > 0, mask)
    left, right = labels[20, 22], labels[20, 44]
    assert left != right
    assert set(labels[:, :32].ravel().tolist()) == {0, left}
    assert set(labels[:, 35:].ravel().tolist()) == {0, right}


def test_a_larger_least_distance_keeps_them_one() -> None:
    mask = discs((40, 70), (20, 22, 12), (20, 44, 12))
    assert label(mask, NucleiSettings(0.5, 1.0, 30, 10)).max() == 1


def test_a_bulge_near_a_higher_one_is_no_nucleus_even_if_that_is_dropped_too() -> None:
    # Each bulge is lower than the one before it, and only neighbours are within the distance.
    mask = discs((40, 90), (20, 20, 14), (20, 40, 12), (20, 58, 10))
    assert label(mask, NucleiSettings(0.5, 1.0, 5, 1)).max() == 3
    assert label(mask, NucleiSettings(0.5, 1.0, 22, 1)).max() == 1


def test_small_nuclei_are_dropped_and_numbers_have_no_gap() -> None:
    mask = discs((40, 80), (10, 10, 5), (10, 40, 1), (25, 60, 5))
    labels = label(mask)
    assert np.unique(labels).tolist() == [0, 1, 2]
    assert labels[10, 40] == 0


def test_a_small_object_beside_a_large_one_is_kept() -> None:
    # Its centre is nearer to the large one's than nuclei of one object may be.
    mask = discs((50, 50), (25, 20, 12))
    mask[24:28, 34:38] = True
    labels = label(mask, NucleiSettings(0.5, 2.0, 20, 10))
    assert labels.max() == 2
    np.testing.assert_array_equal(labels > 0, mask)


def test_pixels_that_meet_at_a_corner_are_two_objects() -> None:
    mask = np.zeros((12, 12), bool)
    mask[2:6, 2:6] = mask[6:10, 6:10] = True
    assert label(mask).max() == 2


def test_holes_are_closed_up_to_a_size() -> None:
    nucleus = discs((60, 60), (30, 30, 14))
    hole = discs((60, 60), (30, 30, 6))
    assert hole.sum() <= LARGEST_HOLE
    np.testing.assert_array_equal(label(nucleus & ~hole) > 0, nucleus)
    lumen = discs((60, 60), (30, 30, 10))
    assert lumen.sum() > LARGEST_HOLE
    np.testing.assert_array_equal(filled(nucleus & ~lumen), nucleus & ~lumen)


@pytest.mark.parametrize(("pixels", "closed"), [(200, True), (201, False)])
def test_a_hole_of_200_pixels_is_the_largest_that_is_closed(pixels: int, closed: bool) -> None:
    mask = np.ones((3, pixels + 2), bool)
    mask[1, 1:-1] = False
    assert filled(mask).all() == closed


def test_a_bay_at_the_border_is_no_hole() -> None:
    mask = np.ones((10, 10), bool)
    mask[0, 4:6] = False
    mask[5, 5] = False
    expected = np.ones((10, 10), bool)
    expected[0, 4:6] = False
    np.testing.assert_array_equal(filled(mask), expected)


def test_nothing_and_everything() -> None:
    assert not label(np.zeros((20, 30), bool)).any()
    whole = label(np.ones((20, 30), bool), NucleiSettings(0.5, 1.0, 30, 10))
    assert (whole == 1).all()


def test_nuclei_of_low_mean_probability_are_dropped_and_numbers_have_no_gap() -> None:
    shape = (30, 90)
    probability = np.zeros(shape, np.float32)
    centres = [(15, 15, 8), (15, 45, 8), (15, 75, 8)]
    for centre, value in zip(centres, (0.9, 0.6, 0.7), strict=True):
        probability[discs(shape, centre)] = value
    # Of one nucleus the half is certain: its mean decides.
    probability[:15, 60:][probability[:15, 60:] > 0] = 0.9
    found = {
        least: nuclei_from_predictions(
            probability[..., np.newaxis], ["nucleus"], replace(SETTINGS, min_probability=least)
        )
        for least in (0.0, 0.59, 0.61, 0.75, 0.85, 0.95)
    }
    kept = {least: labels.max() for least, labels in found.items()}
    assert kept == {0.0: 3, 0.59: 3, 0.61: 2, 0.75: 2, 0.85: 1, 0.95: 0}
    expected = np.where(discs(shape, centres[0]), 1, 0) + np.where(discs(shape, centres[2]), 2, 0)
    np.testing.assert_array_equal(found[0.75], expected)
    np.testing.assert_array_equal(certain(found[0.0], probability, 0.75), expected)


def test_a_nucleus_whose_mean_is_the_least_probability_is_kept() -> None:
    labels = np.array([[1, 1, 0, 2, 2]], np.uint16)
    probability = np.array([[0.5, 1, 0, 0.5, 0.75]], np.float32)
    assert certain(labels, probability, 0.75).tolist() == [[1, 1, 0, 0, 0]]


def test_a_nucleus_of_one_pixel() -> None:
    mask = np.zeros((5, 5), bool)
    mask[2, 3] = True
    assert label(mask, NucleiSettings(0.5, 0.0, 3, 1))[2, 3] == 1
    assert not label(mask, NucleiSettings(0.5, 0.0, 3, 2)).any()


def test_half_precision_decides_as_single_precision() -> None:
    probability = np.linspace(0, 1, 5000, dtype=np.float16)
    for threshold in (0.2, 0.3, 0.34, 0.7):
        single = above(probability.astype(np.float32), threshold)
        np.testing.assert_array_equal(above(probability, threshold), single)
    assert above(np.array([0.5], np.float16), 0.5).all()


@settings(max_examples=60, deadline=None)
@given(
    arrays.arrays(np.bool_, (14, 17)),
    st.sampled_from([0.0, 1.0]),
    st.integers(1, 4),
    st.integers(0, 4),
)
def test_what_always_holds(mask: Mask, smoothing: float, distance: int, area: int) -> None:
    chosen = NucleiSettings(0.5, smoothing, distance, area)
    labels = label(mask, chosen)
    # Numbers without gaps, each nucleus connected and large enough.
    assert np.unique(labels[labels > 0]).tolist() == list(range(1, int(labels.max()) + 1))
    for number in range(1, int(labels.max()) + 1):
        nucleus = labels == number
        assert ndimage.label(nucleus)[1] == 1
        assert nucleus.sum() >= area
    # No object is lost before the last dropping: with no least area every pixel has a nucleus.
    assert not (labels > 0)[~filled(mask)].any()
    everything = label(mask, NucleiSettings(0.5, smoothing, distance, 0))
    np.testing.assert_array_equal(everything > 0, filled(mask))
    np.testing.assert_array_equal(labels, label(mask, chosen))


def test_objects_of_the_least_area_stay() -> None:
    mask = np.array([[1, 1, 0, 1, 0, 1, 1, 1]], bool)
    kept = np.array([[1, 1, 0, 0, 0, 1, 1, 1]], bool)
    np.testing.assert_array_equal(without_small(mask, 2), kept)
    np.testing.assert_array_equal(without_small(mask, 0), mask)


def test_more_nuclei_than_labels_is_an_error() -> None:
    mask = np.zeros((520, 520), bool)
    mask[::2, ::2] = True
    with pytest.raises(PipelineError, match=r"67600 nuclei.*65535.*raise"):
        label(mask, NucleiSettings(0.5, 0.0, 1, 0))


def test_as_many_nuclei_as_labels_are_none_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LABELS_MAX", 2)
    chosen = NucleiSettings(0.5, 0.0, 1, 1)
    assert label(np.array([[True, False, True]]), chosen).max() == 2
    with pytest.raises(PipelineError, match="3 nuclei"):
        label(np.array([[True, False, True, False, True]]), chosen)


def test_the_same_wherever_the_array_lies_in_memory() -> None:
    # Symmetric nuclei have equal peaks, so that a last bit would decide which one is the centre.
    rng = np.random.default_rng(5)
    mask = discs((96, 96), *[(int(y), int(x), 7) for y, x in rng.integers(0, 96, (25, 2))])
    chosen = NucleiSettings(0.5, 0.0, 3, 0)
    expected = label(mask, chosen)
    for offset in range(1, 40):
        elsewhere = np.zeros(mask.size + offset, np.float32)[offset:].reshape(mask.shape)
        elsewhere[:] = mask
        found = nuclei_from_predictions(elsewhere[..., np.newaxis], ["nucleus"], chosen)
        np.testing.assert_array_equal(found, expected)


def test_what_other_objects_are_near_does_not_matter() -> None:
    # Two lobes and a neck; within the distance of the second, another object is higher.
    lobes = discs((60, 90), (30, 11, 6), (30, 31, 6))
    lobes[29:32, 11:31] = True
    other = discs((60, 90), (30, 54, 15))
    chosen = NucleiSettings(0.5, 1.0, 16, 1)
    assert label(lobes, chosen).max() == 2
    assert label(lobes | other, chosen).max() == 3


@settings(max_examples=60, deadline=None)
@given(*[arrays.arrays(np.bool_, (14, 17))] * 2, st.integers(1, 6))
def test_there_are_as_many_nuclei_beside_others(left: Mask, right: Mask, distance: int) -> None:
    # Not the same to the pixel: which of two equally near nuclei gets one depends on all.
    chosen = NucleiSettings(0.5, 0.0, distance, 0)
    both = label(np.hstack([left, np.zeros((14, 1), bool), right]), chosen)
    assert both.max() == int(label(left, chosen).max()) + int(label(right, chosen).max())


LEARNED = ["nucleus", "boundary", "distance"]


def learned(first: Mask, second: Mask) -> npt.NDArray[np.float32]:
    """What a perfect network says of two nuclei, from their masks."""
    edges = ndimage.binary_dilation(first) & ndimage.binary_dilation(second)
    distance = np.zeros(first.shape)
    for nucleus in (first, second):
        inside = ndimage.distance_transform_edt(nucleus)
        distance += inside / inside.max()
    return np.stack([first | second, edges, distance], axis=-1).astype(np.float32)


@pytest.mark.parametrize("separation", ["boundary", "distance"])
def test_what_the_network_learned_parts_nuclei_that_the_mask_does_not(separation: str) -> None:
    first, second = np.zeros((40, 60), bool), np.zeros((40, 60), bool)
    first[10:30, 10:25], second[10:30, 25:50] = True, True  # one rectangle, without a neck
    predictions = learned(first, second)
    by_shape = NucleiSettings(0.5, 2.0, 9, 10)
    assert nuclei_from_predictions(predictions, LEARNED, by_shape).max() == 1
    chosen = replace(by_shape, smoothing=0.0, separation=separation, marker_threshold=0.5)
    labels = nuclei_from_predictions(predictions, LEARNED, chosen)
    assert labels.max() == 2
    assert np.mean((labels == labels[20, 15]) == first) > 0.98
    assert np.mean((labels == labels[20, 40]) == second) > 0.98


def flooded_as_a_whole(
    maps: npt.NDArray[np.float32], chosen: NucleiSettings
) -> npt.NDArray[np.int64]:
    """What the module does faster, by scikit-image on the whole image; without smoothing."""
    mask = without_small(filled(above(maps[..., 0], chosen.threshold)), chosen.min_area)
    hills = maps[..., 2] if chosen.separation == "distance" else maps[..., 0] * (1 - maps[..., 1])
    markers, count = ndimage.label(mask & (hills >= np.float32(chosen.marker_threshold)))
    objects, _ = ndimage.label(mask)
    rest = ~np.isin(objects, np.unique(objects[markers > 0])) & mask
    markers[rest] = objects[rest] + count
    levels = -hills.astype(np.float64)
    places = np.flatnonzero(markers)
    levels.ravel()[places] *= 1 + np.arange(len(places), 0, -1) * 2.0**-50
    labels = watershed(levels, markers, mask=mask)
    kept = np.bincount(labels.ravel()) >= max(1, chosen.min_area)
    kept[0] = False
    return np.where(kept, np.cumsum(kept), 0)[labels]


@pytest.mark.parametrize("separation", ["boundary", "distance"])
@pytest.mark.parametrize("sigma", [0.8, 1.5, 4])
@pytest.mark.parametrize("states", [0, 12])  # few: many pixels of one height
def test_each_pixel_is_what_flooding_the_whole_image_makes_it(
    separation: str, sigma: float, states: int
) -> None:
    generator = np.random.default_rng(0)
    parted = 0
    for threshold in (0.3, 0.45, 0.5, 0.6):
        maps = np.stack(
            [
                ndimage.gaussian_filter(generator.random((90, 130)), sigma * part)
                for part in (1, 0.6, 0.8)
            ],
            axis=-1,
        )
        maps -= maps.min(axis=(0, 1))
        maps /= maps.max(axis=(0, 1))
        maps = (np.round(maps * states) / states if states else maps).astype(np.float32)
        chosen = NucleiSettings(threshold, 0.0, 3, 5, separation=separation, marker_threshold=0.5)
        expected = flooded_as_a_whole(maps, chosen)
        found = nuclei_from_predictions(maps, LEARNED, chosen)
        np.testing.assert_array_equal(found, expected)
        parted += int(found.max()) - ndimage.label(found > 0)[1]
    assert parted > 10


def test_nuclei_that_lie_around_others_are_parted_like_all() -> None:
    """So cut out, they would take more than the image."""
    rows, columns = np.indices((121, 121))
    ring = np.maximum(abs(rows - 60), abs(columns - 60))
    mask = (ring % 2 == 0) & (ring < 60)
    lobes = (abs(rows - 60) <= 1) | (abs(columns - 60) <= 1)
    maps = np.stack([mask, ~lobes, mask * (0.3 + 0.6 * ~lobes)], axis=-1).astype(np.float32)
    chosen = NucleiSettings(0.5, 0.0, 3, 5, separation="distance", marker_threshold=0.5)
    found = nuclei_from_predictions(maps, LEARNED, chosen)
    assert found.max() > 4 * 20
    np.testing.assert_array_equal(found, flooded_as_a_whole(maps, chosen))


def test_an_object_without_a_marker_is_one_nucleus() -> None:
    first, second = discs((40, 70), (20, 20, 8)), discs((40, 70), (20, 50, 8))
    predictions = learned(first, second)
    predictions[:, 35:, 2] *= 0.2
    chosen = NucleiSettings(0.5, 0.0, 3, 10, separation="distance", marker_threshold=0.5)
    labels = nuclei_from_predictions(predictions, LEARNED, chosen)
    assert labels.max() == 2
    np.testing.assert_array_equal(labels > 0, first | second)


def test_numbers_have_no_gap_where_one_object_has_no_marker_and_any_area_will_do() -> None:
    maps = np.zeros((5, 30, 2), np.float32)
    for left, height in ((0, 0.9), (10, 0.2), (20, 0.9)):
        maps[:, left : left + 8] = (1, height)
    chosen = NucleiSettings(0.5, 0.0, 1, 0, separation="distance", marker_threshold=0.5)
    labels = nuclei_from_predictions(maps, ["nucleus", "distance"], chosen)
    assert np.unique(labels).tolist() == [0, 1, 2, 3]


def test_the_order_of_the_channels_is_that_of_the_classes() -> None:
    first, second = discs((40, 60), (20, 22, 12)), discs((40, 60), (20, 40, 6))
    predictions = learned(first & ~second, second)
    chosen = NucleiSettings(0.5, 1.0, 3, 10, separation="distance", marker_threshold=0.5)
    turned = nuclei_from_predictions(
        predictions[..., [0, 2, 1]], ["nucleus", "distance", "boundary"], chosen
    )
    np.testing.assert_array_equal(turned, nuclei_from_predictions(predictions, LEARNED, chosen))


def test_a_separation_needs_its_output() -> None:
    assert separations(["nucleus"]) == ["shape"]
    assert separations(["nucleus", "distance"]) == ["shape", "distance"]
    chosen = NucleiSettings(0.5, 0.0, 3, 10, separation="boundary")
    with pytest.raises(PipelineError, match=r"'boundary'.*outputs are nucleus, distance"):
        nuclei_from_predictions(np.zeros((4, 4, 2)), ["nucleus", "distance"], chosen)


def test_lengths_and_areas_follow_the_resolution() -> None:
    chosen = NucleiSettings(0.4, 2.0, 5, 30, "boundary", 0.3, 0.6)
    assert chosen.at(1.0) is chosen
    assert chosen.at(2.0) == replace(chosen, smoothing=1.0, min_distance=2, min_area=8)
    assert chosen.at(0.5) == replace(chosen, smoothing=4.0, min_distance=10, min_area=120)
    assert chosen.at(20.0) == replace(chosen, smoothing=0.1, min_distance=1, min_area=1)


@pytest.mark.parametrize(("pixels", "closed"), [(50, True), (51, False)])
def test_the_largest_hole_follows_the_resolution(pixels: int, closed: bool) -> None:
    mask = np.ones((3, pixels + 2), np.float32)
    mask[1, 1:-1] = 0
    chosen = NucleiSettings(0.5, 0.0, 1, 0)
    labels = nuclei_from_predictions(mask[..., np.newaxis], ["nucleus"], chosen, 2.0)
    assert (labels > 0).all() == closed


def test_a_full_size_image_takes_a_moment() -> None:
    rng = np.random.default_rng(5)
    places = [(int(y), int(x), 9) for y, x in rng.integers(0, 250, (50, 2))]
    mask = np.tile(discs((250, 250), *places), (4, 4))
    start = time.process_time()
    assert label(mask, NucleiSettings(0.5, 2.0, 5, 30)).max() > 400
    # About 0.2 s; the bound leaves room for a busy machine.
    assert time.process_time() - start < 2


def test_two_thousand_nuclei_take_a_moment() -> None:
    rng = np.random.default_rng(5)
    mask = np.zeros((1000, 1000), bool)
    for y, x in np.stack(np.divmod(np.arange(2000), 45), axis=1) * 22 + rng.integers(
        5, 9, (2000, 2)
    ):
        mask[y - 4 : y + 5, x - 4 : x + 5] = True
    start = time.process_time()
    assert label(mask, NucleiSettings(0.5, 1.0, 5, 30)).max() == 2000
    assert time.process_time() - start < 2
