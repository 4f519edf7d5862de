"""Scoring one image from its files, in functions for parallel maps over images."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

from monuseg.core.errors import PipelineError
from monuseg.formats.images import Labels, read_labels, write_labels
from monuseg.formats.manifest import SplitRecord
from monuseg.formats.predictions import Probabilities, read_probabilities
from monuseg.nuclei.watershed import NucleiSettings, certain, nuclei_from_predictions
from monuseg.scoring.contingency import contingency
from monuseg.scoring.instances import NucleusScores, aji, panoptic, score_nuclei
from monuseg.scoring.pixels import PixelCounts, ProbabilityHistogram
from stages.evaluate.selection import dices_of


@dataclass(frozen=True)
class Row:
    """The folders of the predictions to score and of the truth.

    Attributes:
        predictions: the predictions folder.
        classes: names of the predictions' channels, "nucleus" first.
        masks: the folder of true label maps, `<id>.png`.
    """

    predictions: Path
    classes: tuple[str, ...]
    masks: Path

    def read(self, image: str) -> tuple[Probabilities, Labels]:
        """Read an image's predictions, (height, width, classes), and true labels, (height, width).

        Raises:
            PipelineError: a file is missing or damaged, or the two differ in size.
        """
        predictions = read_probabilities(self.predictions, image)
        truth = read_labels(self.masks / f"{image}.png")
        height, width, channels = predictions.shape
        if (height, width) != truth.shape:
            raise PipelineError(
                f"{self.predictions / image}.npy: {height} x {width} "
                f"pixels, but the mask has {truth.shape[0]} x {truth.shape[1]}; "
                f"predict {self.predictions.name!r} again"
            )
        if channels != len(self.classes):
            raise PipelineError(
                f"{self.predictions / image}.npy: {channels} channels, but the classes are "
                f"{', '.join(self.classes)}; predict {self.predictions.name!r} again"
            )
        return predictions, truth


@dataclass(frozen=True)
class ImageScores:
    """The scores of one image; its histogram is apart, since it is a hundred times as large.

    Attributes:
        record: which image.
        pixels: its pixels at the chosen threshold.
        nuclei: scores of its nuclei; None if the annotation does not tell nuclei apart.
        loss: as `ProbabilityHistogram.loss`.
        pixel_dice: as `ProbabilityHistogram.pixel_dice`.
    """

    record: SplitRecord
    pixels: PixelCounts
    nuclei: NucleusScores | None
    loss: float | None
    pixel_dice: float | None

    @classmethod
    def of(
        cls,
        record: SplitRecord,
        histogram: ProbabilityHistogram,
        threshold: float,
        nuclei: NucleusScores | None,
    ) -> "ImageScores":
        """The scores of an image with this histogram, at this threshold."""
        pixels = histogram.at(threshold)
        return cls(record, pixels, nuclei, histogram.loss, histogram.pixel_dice)


def threshold_dices(record: SplitRecord, row: Row) -> list[float | None]:
    """The Dice of one image at each threshold of `THRESHOLDS`.

    Raises:
        PipelineError: as `Row.read`; or a probability is NaN or outside 0..1.
    """
    predictions, truth = row.read(record.id)
    file = row.predictions / f"{record.id}.npy"
    return dices_of(_histogram(predictions[..., 0], truth, file))


def candidate_scores(
    record: SplitRecord, row: Row, candidates: Sequence[NucleiSettings]
) -> list[tuple[float | None, float | None]]:
    """The AJI and PQ of one image with each of several settings.

    Successive settings that differ only in `min_probability` share one watershed.

    Raises:
        PipelineError: as `Row.read` and `nuclei_from_predictions`.
    """
    predictions, truth = row.read(record.id)
    scores = []
    for every, members in groupby(candidates, lambda one: replace(one, min_probability=0.0)):
        labels = _nuclei(record, row, predictions, every)
        for settings in members:
            kept = certain(labels, predictions[..., 0], settings.min_probability)
            table = contingency(truth, kept)
            scores.append((aji(table), panoptic(table).pq))
    return scores


def score_image(
    record: SplitRecord, row: Row, settings: NucleiSettings, nuclei: Path
) -> tuple[ImageScores, ProbabilityHistogram]:
    """Score one image and write its predicted nuclei to `<id>.png` in the folder `nuclei`.

    Returns:
        The scores, and the histogram of P(nucleus).

    Raises:
        PipelineError: as `threshold_dices` and `candidate_scores`.
    """
    predictions, truth = row.read(record.id)
    histogram = _histogram(predictions[..., 0], truth, row.predictions / f"{record.id}.npy")
    labels = _nuclei(record, row, predictions, settings)
    write_labels(nuclei / f"{record.id}.png", labels)
    scores = score_nuclei(truth, labels) if record.tells_nuclei_apart else None
    return ImageScores.of(record, histogram, settings.threshold, scores), histogram


def _histogram(probability: Probabilities, truth: Labels, path: Path) -> ProbabilityHistogram:
    try:
        return ProbabilityHistogram.of(probability, truth > 0)
    except ValueError as error:
        raise PipelineError(f"{path}: {error}; predict {path.parent.name!r} again") from error


def _nuclei(
    record: SplitRecord, row: Row, predictions: Probabilities, settings: NucleiSettings
) -> Labels:
    try:
        return nuclei_from_predictions(predictions, row.classes, settings, record.scale)
    except PipelineError as error:
        raise PipelineError(f"{row.predictions / record.id}.npy: {error}") from error
