"""What holds for every prediction, against the definitions written out with a mask a nucleus."""

from itertools import compress, pairwise

import cellseg_metrics
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from monuseg.formats.manifest import SplitRecord
from monuseg.nuclei.watershed import above
from monuseg.scoring.calibration import BINS, expected_calibration_error, reliability
from monuseg.scoring.contingency import contingency
from monuseg.scoring.instances import aji, score_nuclei
from monuseg.scoring.intervals import interval
from monuseg.scoring.pixels import CLIP, ProbabilityHistogram
from stages.evaluate.images import ImageScores
from stages.evaluate.selection import THRESHOLDS, best_threshold, dices_of, threshold_scores
from stages.evaluate.summary import DIGITS, MEANS, detail, headline, intervals

Labels = npt.NDArray[np.integer]
Mask = npt.NDArray[np.bool_]

FEW = settings(max_examples=settings.default.max_examples // 2)
TOLERANCE = 1.01 * 10.0**-DIGITS  # of what is rounded for the metrics files


@st.composite
def pairs_of_maps(draw: st.DrawFn) -> tuple[Labels, Labels]:
    """A truth of rectangles, and a prediction that is the same moved, split, joined or another."""
    height, width = draw(st.integers(1, 24)), draw(st.integers(1, 24))
    truth = rectangles(draw, height, width)
    how = draw(st.sampled_from(["same", "moved", "joined", "split", "other", "nothing"]))
    if how == "moved":
        prediction = np.roll(truth, draw(st.integers(-3, 3)), axis=draw(st.integers(0, 1)))
    elif how == "joined":
        prediction = (truth + 1) // 2
    elif how == "split":
        prediction = np.where(truth, 2 * truth + np.indices(truth.shape)[0] % 2, 0)
    elif how == "other":
        prediction = rectangles(draw, height, width)
    else:
        prediction = truth if how == "same" else np.zeros_like(truth)
    return truth, prediction


def rectangles(draw: st.DrawFn, height: int, width: int) -> Labels:
    labels = np.zeros((height, width), np.int64)
    for label in draw(st.lists(st.integers(1, 60), max_size=8)):
        y, x = draw(st.integers(0, height - 1)), draw(st.integers(0, width - 1))
        labels[y : y + draw(st.integers(1, 9)), x : x + draw(st.integers(1, 9))] = label
    return labels


def nuclei_of(labels: Labels) -> list[Mask]:
    return [labels == label for label in sorted(set(labels.ravel().tolist()) - {0})]


def aji_by_the_challenges_rule(truth: Labels, prediction: Labels) -> float | None:
    """Line by line what `Aggregated_Jaccard_Index_v1_0.m` does, with full masks."""
    true, predicted = nuclei_of(truth), nuclei_of(prediction)
    if not true and not predicted:
        return None
    used = [False] * len(predicted)
    intersection = union = 0
    for nucleus in true:
        ious = [(nucleus & one).sum() / (nucleus | one).sum() for one in predicted]
        best = int(np.argmax(ious)) if ious else -1
        if best < 0 or ious[best] == 0:
            union += int(nucleus.sum())
            continue
        intersection += int((nucleus & predicted[best]).sum())
        union += int((nucleus | predicted[best]).sum())
        used[best] = True
    for one, was_used in zip(predicted, used, strict=True):
        if not was_used:
            union += int(one.sum())
    return intersection / union


@given(pairs_of_maps())
def test_aji_is_the_challenges(maps: tuple[Labels, Labels]) -> None:
    assert aji(contingency(*maps)) == aji_by_the_challenges_rule(*maps)


@FEW
@given(pairs_of_maps())
def test_panoptic_quality_is_that_of_full_masks_and_of_cellseg_metrics(
    maps: tuple[Labels, Labels],
) -> None:
    truth, prediction = maps
    true, predicted = nuclei_of(truth), nuclei_of(prediction)
    ious = [(t & p).sum() / (t | p).sum() for t in true for p in predicted]
    matched = [iou for iou in ious if iou > 0.5]
    found = score_nuclei(truth, prediction)
    assert found.true_positives == len(matched)
    assert found.false_positives == len(predicted) - len(matched)
    assert found.false_negatives == len(true) - len(matched)
    if true or predicted:
        assert found.dq == pytest.approx(2 * len(matched) / (len(true) + len(predicted)))
        assert found.pq == pytest.approx(2 * sum(matched) / (len(true) + len(predicted)))
    assert found.sq == (pytest.approx(np.mean(matched)) if matched else None)
    theirs = cellseg_metrics.panoptic_quality(truth.astype(np.int32), prediction.astype(np.int32))
    for name in ("pq", "dq", "sq"):
        # It says 0 where a score is undefined, and adds 1e-8 to denominators.
        assert (getattr(found, name) or 0.0) == pytest.approx(theirs[name], abs=1e-6)


@given(pairs_of_maps())
def test_scores_keep_their_bounds_and_order(maps: tuple[Labels, Labels]) -> None:
    found = score_nuclei(*maps)
    truth, prediction = (labels > 0 for labels in maps)
    if not (truth | prediction).any():
        assert (found.aji, found.aji_plus, found.pq, found.dq, found.sq) == (None,) * 5
        return
    assert found.aji is not None
    assert found.aji_plus is not None
    assert found.pq is not None
    assert found.dq is not None
    iou = (truth & prediction).sum() / (truth | prediction).sum()
    # To tell nuclei apart is harder than to tell nuclei from background.
    assert 0 <= found.aji <= iou <= 1
    assert 0 <= found.aji_plus <= iou
    assert 0 <= found.pq <= found.dq <= 1
    if found.sq is None:
        assert found.pq == 0
    else:
        assert 0.5 < found.sq <= 1
        assert found.pq == pytest.approx(found.dq * found.sq)
    same = score_nuclei(maps[0], maps[0])
    if truth.any():
        assert (same.aji, same.aji_plus, same.pq, same.dq, same.sq) == (1,) * 5
    perfect = len(nuclei_of(maps[0])) == len(nuclei_of(maps[1])) and all(
        any(np.array_equal(one, other) for other in nuclei_of(maps[1]))
        for one in nuclei_of(maps[0])
    )
    assert (found.pq == 1) == (found.aji == 1) == (found.aji_plus == 1) == perfect


@given(pairs_of_maps(), st.integers(0, 9))
def test_names_places_and_background_mean_nothing(maps: tuple[Labels, Labels], seed: int) -> None:
    truth, prediction = maps
    generator = np.random.default_rng(seed)
    before = score_nuclei(truth, prediction)
    # Other labels in the same order, of which ties are decided; with gaps, and up to 16 bits.
    names = np.append(0, np.sort(generator.choice(np.arange(1, 2**16), 200, replace=False)))
    assert score_nuclei(names[truth].astype(np.uint16), names[prediction]) == before
    # The pixels of both maps in another order.
    order = generator.permutation(truth.size)
    assert score_nuclei(truth.ravel()[order], prediction.ravel()[order]) == before
    assert score_nuclei(np.pad(truth, 3), np.pad(prediction, 3)) == before


@given(pairs_of_maps())
def test_truth_and_prediction_may_be_exchanged_in_panoptic_quality(
    maps: tuple[Labels, Labels],
) -> None:
    found, exchanged = score_nuclei(*maps), score_nuclei(*reversed(maps))
    assert (exchanged.dq, exchanged.true_positives) == (found.dq, found.true_positives)
    assert exchanged.false_positives == found.false_negatives
    for name in ("pq", "sq"):
        # The mean of the same numbers in another order.
        assert getattr(exchanged, name) == pytest.approx(getattr(found, name))


@FEW
@given(pairs_of_maps(), pairs_of_maps())
def test_two_images_side_by_side_score_between_the_two(
    left: tuple[Labels, Labels], right: tuple[Labels, Labels]
) -> None:
    height = max(left[0].shape[0], right[0].shape[0])

    def beside(one: Labels, other: Labels) -> Labels:
        one, other = (np.pad(m, ((0, height - m.shape[0]), (0, 0))) for m in (one, other))
        return np.hstack([one, np.where(other, other + 1000, 0)])

    both = score_nuclei(*(beside(one, other) for one, other in zip(left, right, strict=True)))
    parts = [score_nuclei(*left), score_nuclei(*right)]
    for name in ("true_positives", "false_positives", "false_negatives"):
        assert getattr(both, name) == sum(getattr(part, name) for part in parts)
    for name in ("aji", "pq", "dq", "sq"):
        known = [getattr(part, name) for part in parts if getattr(part, name) is not None]
        if known:
            assert min(known) - 1e-12 <= getattr(both, name) <= max(known) + 1e-12
        else:
            assert getattr(both, name) is None


@st.composite
def predicted_images(draw: st.DrawFn) -> tuple[npt.NDArray[np.float16], Mask]:
    shape = draw(st.tuples(st.integers(1, 9), st.integers(1, 9)))
    elements = st.one_of(st.floats(0, 1, width=16), st.sampled_from([0.0, 0.5, 1.0]))
    probability = draw(arrays.arrays(np.float16, shape, elements=elements))
    return probability, draw(arrays.arrays(np.bool_, shape))


SETS = st.lists(predicted_images(), min_size=1, max_size=5)


@given(predicted_images(), st.sampled_from(THRESHOLDS))
def test_pixel_scores_keep_their_bounds_and_order(
    image: tuple[npt.NDArray[np.float16], Mask], threshold: float
) -> None:
    probability, truth = image
    counts = ProbabilityHistogram.of(probability, truth).at(threshold)
    mask = above(probability, threshold)
    exchanged = ProbabilityHistogram.of(truth.astype(np.float16), mask).at(0.5)
    assert (exchanged.dice, exchanged.iou, exchanged.accuracy) == (
        counts.dice,
        counts.iou,
        counts.accuracy,
    )
    assert (exchanged.precision, exchanged.recall) == (counts.recall, counts.precision)
    if counts.dice is not None and counts.iou is not None:
        assert 0 <= counts.iou <= counts.dice <= 1
        assert counts.dice == pytest.approx(2 * counts.iou / (1 + counts.iou))
        assert (counts.dice == 1) == np.array_equal(mask, truth)
    if counts.precision and counts.recall:
        harmonic = 2 / (1 / counts.precision + 1 / counts.recall)
        assert counts.dice == pytest.approx(harmonic)


@FEW
@given(SETS)
def test_the_threshold_of_a_higher_mean_dice_does_not_exist(
    images: list[tuple[npt.NDArray[np.float16], Mask]],
) -> None:
    scores, used = threshold_scores([dices_of(ProbabilityHistogram.of(*image)) for image in images])
    # The highest threshold has the fewest pixels: an image that it defines, all define.
    highest = np.float32(THRESHOLDS[-1])
    defined = [bool(truth.any() or (p.astype(np.float32) >= highest).any()) for p, truth in images]
    assert used == defined
    by_hand = {}
    for threshold in THRESHOLDS:
        dices = []
        for probability, truth in compress(images, defined):
            mask = probability.astype(np.float32) >= np.float32(threshold)
            dices.append(2 * (mask & truth).sum() / (mask.sum() + truth.sum()))
        by_hand[threshold] = np.mean(dices) if dices else -1
    assert by_hand[best_threshold(scores)] == pytest.approx(max(by_hand.values()))


def scored(
    images: list[tuple[npt.NDArray[np.float16], Mask]], threshold: float
) -> tuple[list[ImageScores], dict[str, ProbabilityHistogram]]:
    """Images with a nucleus for each mask of theirs, every second one annotated by a mask only.

    With their histograms, pooled by organ.
    """
    made = []
    pooled: dict[str, ProbabilityHistogram] = {}
    for number, (probability, truth) in enumerate(images):
        histogram = ProbabilityHistogram.of(probability, truth)
        kind = "binary-mask" if number % 2 else "aperio-xml"
        organ = ["lung", "brain"][number // 2 % 2]
        mask = above(probability, threshold).astype(np.uint16)
        made.append(
            ImageScores.of(
                SplitRecord(f"{number}", organ, "test", 0.25, 0.25, kind),
                histogram,
                threshold,
                nuclei=None if number % 2 else score_nuclei(truth.astype(np.uint16), mask),
            )
        )
        pooled[organ] = pooled[organ] + histogram if organ in pooled else histogram
    return made, pooled


@FEW
@given(SETS, st.sampled_from(THRESHOLDS))
def test_a_split_is_pooled_over_pixels_or_averaged_over_images(
    images: list[tuple[npt.NDArray[np.float16], Mask]], threshold: float
) -> None:
    found = headline(*scored(images, threshold), probabilities=True)
    further = detail(*scored(images, threshold), probabilities=True)
    p = np.concatenate([probability.ravel() for probability, _ in images]).astype(np.float64)
    t = np.concatenate([truth.ravel() for _, truth in images])
    mask = above(p, threshold)
    clipped = np.clip(p, CLIP, 1 - CLIP)
    cross_entropy = np.where(t, -np.log(clipped), -np.log1p(-clipped)).mean()
    assert found["loss"] == pytest.approx(cross_entropy, abs=TOLERANCE)
    assert found["accuracy"] == pytest.approx((mask == t).mean(), abs=TOLERANCE)
    if (mask | t).any():
        f1 = 2 * (mask & t).sum() / (mask.sum() + t.sum())
        assert found["f1"] == pytest.approx(f1, abs=TOLERANCE)
    else:
        assert "f1" not in found
    means: dict[str, list[float]] = {name: [] for name in MEANS}
    for number, (probability, truth) in enumerate(images):
        one = above(probability, threshold)
        if (one | truth).any():
            means["dice"].append(2 * (one & truth).sum() / (one.sum() + truth.sum()))
            means["iou"].append((one & truth).sum() / (one | truth).sum())
            if number % 2 == 0:
                # Each mask is a single nucleus.
                means["aji"].append((one & truth).sum() / (one | truth).sum())
    for name in ("dice", "iou", "aji"):
        assert further["support"][name] == len(means[name])
        if means[name]:
            assert found[name] == pytest.approx(np.mean(means[name]), abs=TOLERANCE)
        else:
            assert name not in found
    assert sum(organ["images"] for organ in further["organs"].values()) == len(images)
    assert all(np.isfinite(value) for value in found.values())


@FEW
@given(predicted_images())
def test_calibration_is_that_of_bins_by_hand(
    image: tuple[npt.NDArray[np.float16], Mask],
) -> None:
    probability, truth = image
    p, t = probability.ravel().astype(np.float64), truth.ravel()
    bins = reliability(ProbabilityHistogram.of(probability, truth))
    assert sum(one.pixels for one in bins) == p.size
    error = 0.0
    for one in bins:
        members = (p >= one.low) & ((p < one.high) | (one.high == 1))
        assert members.sum() == one.pixels > 0
        assert one.mean_probability == pytest.approx(p[members].mean())
        assert one.nucleus_fraction == pytest.approx(t[members].mean())
        error += abs(p[members].sum() - t[members].sum()) / p.size
    assert [one.low for one in bins] == sorted({round(one.low * BINS) / BINS for one in bins})
    assert all(first.high <= second.low for first, second in pairwise(bins))
    found = expected_calibration_error(bins)
    assert found == pytest.approx(error)
    assert 0 <= error <= 1


values_of_images = st.lists(st.floats(0, 1), min_size=2, max_size=20)


@given(values_of_images)
def test_an_interval_is_about_the_mean_whatever_the_order(values: list[float]) -> None:
    found = interval(values)
    assert found is not None
    assert np.mean(found) == pytest.approx(np.mean(values), abs=1e-9)
    # The widest are those of as many values at either end; t is 12.7 at most.
    assert 0 <= found[1] - found[0] <= 2 * 12.71 * np.ptp(values) / 2 + 1e-9
    assert interval(values[::-1]) == pytest.approx(found, abs=1e-9)


@FEW
@given(values_of_images, st.floats(-3, 3), st.floats(0.1, 3))
def test_an_interval_moves_and_grows_with_its_values(
    values: list[float], shift: float, factor: float
) -> None:
    before = interval(values)
    after = interval([shift + factor * value for value in values])
    assert before is not None
    assert after == pytest.approx([shift + factor * end for end in before], abs=1e-9)


@settings(max_examples=settings.default.max_examples // 5)
@given(SETS)
def test_intervals_are_those_of_the_images_that_define_the_score(
    images: list[tuple[npt.NDArray[np.float16], Mask]],
) -> None:
    members, _ = scored(images, 0.5)
    found = intervals(members)
    for name in ("dice", "aji"):
        holder = [image.pixels if name == "dice" else image.nuclei for image in members]
        known = [getattr(one, name, None) for one in holder]
        defined = [value for value in known if value is not None]
        expected = interval(defined)
        if expected is None:
            assert f"{name}_lo" not in found
        else:
            ends = (found[f"{name}_lo"], found[f"{name}_hi"])
            assert ends == pytest.approx(np.clip(expected, 0, 1), abs=TOLERANCE)
