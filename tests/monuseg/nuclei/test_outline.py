"""An image's own threshold: the one whose outline runs along P(boundary)."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from monuseg.core.errors import PipelineError
from monuseg.nuclei import outline
from monuseg.nuclei.outline import THRESHOLDS, Outlines, shifted
from monuseg.nuclei.watershed import (
    NucleiSettings,
    Separation,
    nuclei_from_predictions,
    threshold_of,
)


def maps(edge: float, centres: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """P(nucleus) that falls off over 12 pixels, and P(boundary) along its level `edge`."""
    rows, columns = np.mgrid[:160, :160]
    nucleus = np.zeros((160, 160), np.float32)
    for number in range(centres):
        y, x = 40 + 80 * (number // 2), 40 + 80 * (number % 2)
        away = np.hypot(rows - y, columns - x)
        nucleus = np.maximum(nucleus, np.clip((26 - away) / 12, 0, 1).astype(np.float32))
    boundary = np.exp(-(((nucleus - edge) / 0.15) ** 2)).astype(np.float32)
    return nucleus, boundary


@pytest.mark.parametrize("edge", [0.3, 0.5, 0.7])
def test_the_threshold_is_where_the_boundary_is(edge: float) -> None:
    assert Outlines.of(*maps(edge)).threshold == pytest.approx(edge, abs=0.06)


def test_sums_are_those_of_pairs_one_by_one() -> None:
    generator = np.random.default_rng(0)
    nucleus = ndimage.gaussian_filter(generator.random((37, 41)), 1).astype(np.float16)
    nucleus = (nucleus - nucleus.min()) / np.ptp(nucleus)
    boundary = generator.random((37, 41)).astype(np.float16)
    found = Outlines.of(nucleus, boundary)
    for place, threshold in enumerate(THRESHOLDS):
        inside = nucleus.astype(np.float32) >= np.float32(threshold)
        length, total = 0, 0.0
        for y in range(37):
            for x in range(41):
                for other in ((y + 1, x), (y, x + 1)):
                    if max(other[0] - 36, other[1] - 40) <= 0 and inside[y, x] != inside[other]:
                        length += 1
                        total += (float(boundary[y, x]) + float(boundary[other])) / 2
        assert found.lengths[place] == length
        assert found.boundary[place] == pytest.approx(total, abs=1e-9)


@pytest.mark.parametrize("rows", [1, 7, 60, 64, 121])
def test_parts_of_rows_give_the_same(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    # Through the middle of two nuclei: their last row counts once, also where it is a part alone.
    nucleus, boundary = (one[:121] for one in maps(0.5))
    whole = Outlines.of(nucleus, boundary)
    monkeypatch.setattr(outline, "ROWS", rows)
    parts = Outlines.of(nucleus, boundary)
    assert np.array_equal(parts.lengths, whole.lengths)
    np.testing.assert_allclose(parts.boundary, whole.boundary, rtol=1e-12)


def test_images_add_up() -> None:
    one, other = Outlines.of(*maps(0.3)), Outlines.of(*maps(0.7, centres=1))
    both = one + other
    assert np.array_equal(both.lengths, one.lengths + other.lengths)
    # Four nuclei against one.
    assert both.threshold == pytest.approx(0.3, abs=0.1)


def test_without_an_outline_there_is_none() -> None:
    empty = np.zeros((50, 50), np.float32)
    assert Outlines.of(empty, empty).threshold is None
    assert Outlines.none().threshold is None
    few = empty.copy()
    few[20:23, 20:23] = 1
    assert Outlines.of(few, few).threshold is None


def test_without_a_boundary_along_any_outline_there_is_none() -> None:
    nucleus, boundary = maps(0.5)
    assert Outlines.of(nucleus, np.zeros_like(boundary)).threshold is None


def test_a_few_nuclei_that_are_surer_decide_nothing() -> None:
    pale, boundary = maps(0.4)
    pale = np.tile(pale * np.float32(0.6), (5, 5))
    boundary = np.tile(boundary, (5, 5)) * np.float32(0.5)
    sure, edge = maps(0.7)
    pale[:160, :160], boundary[:160, :160] = sure, edge
    found = Outlines.of(pale, boundary)
    assert outline.SHORTEST < found.lengths[-1] < found.lengths.max() / 20
    assert found.threshold is not None
    assert found.threshold < 0.4


def test_a_shift_moves_the_threshold_and_keeps_the_order() -> None:
    probability = np.linspace(0, 1, 101, dtype=np.float16)
    made = shifted(probability, 0.4, 0.6)
    assert made[40] == pytest.approx(0.6, abs=1e-3)
    assert made[0] == 0
    assert made[-1] == 1
    assert np.all(np.diff(made) > 0)
    logit = np.log(made[1:-1] / (1 - made[1:-1]))
    p = probability[1:-1].astype(np.float64)
    expected = np.log(p / (1 - p)) - np.log(0.4 / 0.6) + np.log(0.6 / 0.4)
    np.testing.assert_allclose(logit, expected, atol=1e-3)
    np.testing.assert_allclose(shifted(probability, 0.5, 0.5), probability, atol=1e-6)


def pictured(edge: float) -> np.ndarray:
    """(160, 160, 2) of `maps`, as a predictions folder keeps it."""
    return np.stack(maps(edge), axis=-1).astype(np.float16)


@pytest.mark.parametrize("separation", ["shape", "boundary"])
def test_nuclei_end_where_the_image_says(separation: Separation) -> None:
    classes, predictions = ["nucleus", "boundary"], pictured(0.3)
    chosen = NucleiSettings(0.6, 0.0, 5, 10, separation, 0.2)
    own = replace(chosen, own_threshold=True)
    threshold = threshold_of(predictions, classes, own)
    assert threshold == pytest.approx(0.3, abs=0.06)
    assert threshold_of(predictions, classes, chosen) == 0.6
    labels = nuclei_from_predictions(predictions, classes, own)
    assert np.array_equal(labels > 0, predictions[..., 0] >= np.float16(threshold))
    assert labels.max() == 4
    # A part of an image has the threshold of the whole.
    given = nuclei_from_predictions(predictions, classes, own, threshold=0.5)
    assert np.array_equal(given > 0, predictions[..., 0] >= np.float16(0.5))


def test_how_sure_a_nucleus_must_be_is_relative_to_the_threshold() -> None:
    classes, predictions = ["nucleus", "boundary"], pictured(0.3)
    sure = NucleiSettings(0.6, 0.0, 5, 10, "boundary", 0.2, 0.7)
    pale = (predictions * np.array([0.55, 1])).astype(np.float16)
    assert nuclei_from_predictions(pale, classes, sure).max() == 0
    assert nuclei_from_predictions(pale, classes, replace(sure, own_threshold=True)).max() == 4


def test_without_a_boundary_no_image_has_its_own() -> None:
    settings = NucleiSettings(0.5, 0.0, 5, 10, own_threshold=True)
    with pytest.raises(PipelineError, match="own threshold needs the output 'boundary'"):
        nuclei_from_predictions(pictured(0.3)[..., :1], ["nucleus"], settings)


def test_an_image_without_an_outline_has_the_common_one() -> None:
    settings = NucleiSettings(0.5, 0.0, 5, 10, own_threshold=True)
    assert threshold_of(np.zeros((40, 40, 2)), ["nucleus", "boundary"], settings) == 0.5
