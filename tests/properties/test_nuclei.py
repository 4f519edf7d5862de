"""What holds for every map of P(nucleus)."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from hypothesis import example, given, settings
from hypothesis import strategies as st

from monuseg.formats.images import Labels
from monuseg.nuclei.watershed import (
    LARGEST_HOLE,
    NucleiSettings,
    above,
    filled,
    nuclei_from_predictions,
    without_small,
)

Mask = npt.NDArray[np.bool_]
Probability = npt.NDArray[np.floating]
Pixel = tuple[int, int]

BY_EDGE = [(-1, 0), (0, -1), (0, 1), (1, 0)]
BY_CORNER = [(-1, -1), (-1, 1), (1, -1), (1, 1)]
FEW = settings(max_examples=settings.default.max_examples // 2)

thresholds = st.integers(1, 99).map(lambda percent: percent / 100)
chosen = st.builds(
    NucleiSettings,
    threshold=thresholds,
    smoothing=st.sampled_from([0.0, 0.5, 1.0, 3.0]),
    min_distance=st.integers(1, 9),
    min_area=st.integers(0, 12),
)


def nuclei_from_probability(
    probability: npt.NDArray[np.floating], settings: NucleiSettings
) -> Labels:
    """The nuclei of a map of P(nucleus) alone."""
    return nuclei_from_predictions(probability[..., np.newaxis], ["nucleus"], settings)


@st.composite
def maps(draw: st.DrawFn) -> Probability:
    """Blobs, noise or both, of any size from one pixel up, in either precision."""
    height, width = draw(st.integers(1, 40)), draw(st.integers(1, 40))
    generator = np.random.default_rng(draw(st.integers(0, 10_000)))
    probability = generator.random((height, width)) * draw(st.sampled_from([0.0, 0.3, 1.0]))
    rows, columns = np.indices((height, width))
    for _ in range(draw(st.integers(0, 6))):
        y, x = draw(st.integers(-2, 41)), draw(st.integers(-2, 41))
        away = np.hypot(rows - y, columns - x) / draw(st.integers(1, 14))
        blob = np.clip(1.5 - away, 0, 1)
        ring = np.where(away < draw(st.sampled_from([0.0, 0.6])), 0, blob)
        probability = np.maximum(probability, ring)
    return probability.astype(draw(st.sampled_from([np.float16, np.float32, np.float64])))


def group(pixel: Pixel, members: set[Pixel], steps: list[Pixel]) -> set[Pixel]:
    """The pixels of `members` that are reached from one of them, which they leave."""
    found, ahead = set(), [pixel]
    members.discard(pixel)
    while ahead:
        y, x = ahead.pop()
        found.add((y, x))
        near = {(y + dy, x + dx) for dy, dx in steps} & members
        members -= near
        ahead += near
    return found


def groups(mask: Mask, steps: list[Pixel]) -> list[set[Pixel]]:
    """The connected objects of a mask, by walking."""
    members = {(int(y), int(x)) for y, x in np.argwhere(mask)}
    found = []
    while members:
        found.append(group(next(iter(members)), members, steps))
    return found


def mask_of(shape: tuple[int, ...], pixels: list[set[Pixel]]) -> Mask:
    mask = np.zeros(shape, bool)
    for y, x in set().union(*pixels):
        mask[y, x] = True
    return mask


def foreground_by_hand(probability: Probability, settings: NucleiSettings) -> Mask:
    """Threshold, holes and small objects, by walking from pixel to pixel."""
    mask = np.vectorize(lambda p: np.float32(p) >= np.float32(settings.threshold), otypes=[bool])(
        probability
    )
    height, width = mask.shape
    holes = [
        hole
        for hole in groups(~mask, BY_EDGE + BY_CORNER)
        if len(hole) <= LARGEST_HOLE
        and not any(y in (0, height - 1) or x in (0, width - 1) for y, x in hole)
    ]
    mask |= mask_of(mask.shape, holes)
    large = [one for one in groups(mask, BY_EDGE) if len(one) >= settings.min_area]
    return mask_of(mask.shape, large)


PLAIN = NucleiSettings(threshold=0.5, smoothing=1.0, min_distance=60, min_area=0)


@FEW
@example(np.pad(np.zeros((10, LARGEST_HOLE // 10)), 1, constant_values=1), PLAIN)  # just closed
@example(np.pad(np.zeros((3, LARGEST_HOLE // 3 + 1)), 1, constant_values=1), PLAIN)  # just not
@given(maps(), chosen)
def test_nuclei_share_the_foreground_out(
    probability: Probability, settings: NucleiSettings
) -> None:
    labels = nuclei_from_probability(probability, settings)
    assert (labels.dtype, labels.shape) == (np.uint16, probability.shape)
    count = int(labels.max())
    assert np.unique(labels[labels > 0]).tolist() == list(range(1, count + 1))
    for number in range(1, count + 1):
        nucleus = groups(labels == number, BY_EDGE)
        assert len(nucleus) == 1, "a nucleus in pieces"
        assert len(nucleus[0]) >= settings.min_area
    # Nothing outside; and what is inside but of no nucleus was too small a part of an object.
    foreground = foreground_by_hand(probability, settings)
    assert not labels[~foreground].any()
    if settings.min_area <= 1:
        np.testing.assert_array_equal(labels > 0, foreground)


@FEW
@given(maps(), chosen)
def test_half_and_single_precision_give_the_same_nuclei(
    probability: Probability, settings: NucleiSettings
) -> None:
    half = probability.astype(np.float16)
    found = nuclei_from_probability(half, settings)
    for precision in (np.float32, np.float64):
        np.testing.assert_array_equal(
            nuclei_from_probability(half.astype(precision), settings), found
        )


@FEW
@given(maps(), chosen)
def test_with_centres_too_far_apart_each_object_is_one_nucleus(
    probability: Probability, settings: NucleiSettings
) -> None:
    whole = NucleiSettings(settings.threshold, settings.smoothing, 60, settings.min_area)
    labels = nuclei_from_probability(probability, whole)
    objects = groups(foreground_by_hand(probability, whole), BY_EDGE)
    assert labels.max() == len(objects)
    for one in objects:
        assert len({int(labels[pixel]) for pixel in one}) == 1


SYMMETRIES: list[Callable[[npt.NDArray[np.generic]], npt.NDArray[np.generic]]] = [
    np.flipud,
    np.fliplr,
    np.transpose,
    np.rot90,
]


@given(maps(), thresholds, st.integers(0, 20), st.sampled_from(SYMMETRIES))
def test_the_foreground_turns_with_the_image(
    probability: Probability,
    threshold: float,
    min_area: int,
    turned: Callable[[npt.NDArray[np.generic]], npt.NDArray[np.generic]],
) -> None:
    # Where equal peaks compete the first one wins, so the nuclei themselves need not.
    def foreground(values: npt.NDArray[np.generic]) -> Mask:
        return without_small(filled(above(np.asarray(values, np.float32), threshold)), min_area)

    np.testing.assert_array_equal(foreground(turned(probability)), turned(foreground(probability)))


@FEW
@given(maps(), chosen, *[st.integers(0, 9)] * 4)
def test_background_around_an_image_changes_nothing(
    probability: Probability,
    settings: NucleiSettings,
    top: int,
    bottom: int,
    left: int,
    right: int,
) -> None:
    # Smoothing mirrors the image at its border, where background would be.
    sharp = NucleiSettings(settings.threshold, 0.0, settings.min_distance, settings.min_area)
    around = ((top, bottom), (left, right))
    expected: Labels = np.pad(nuclei_from_probability(probability, sharp), around)
    padded = np.pad(probability, around)
    np.testing.assert_array_equal(nuclei_from_probability(padded, sharp), expected)
