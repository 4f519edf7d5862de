"""The report's sections, put together from data, tables, figures and prose."""

from collections.abc import Sequence
from dataclasses import dataclass

from monuseg.formats.manifest import TEST, TRAIN, VALIDATION, SplitRecord
from monuseg.formats.predictions import BASELINE
from stages.report import overlays, prose
from stages.report.differences import Comparison, differences, listed
from stages.report.document import (
    Block,
    Bullets,
    Document,
    Figure,
    Gallery,
    Legend,
    Notice,
    Paragraph,
    Section,
    escaped,
)
from stages.report.figures import (
    reliability_curves,
    scores_with_intervals,
    training_curves,
)
from stages.report.history import History, history_table
from stages.report.reference import ReferenceRun
from stages.report.rows import Row
from stages.report.tables import (
    FURTHER,
    SCORE_TITLES,
    SPLIT_TITLES,
    SUMMARY,
    Source,
    calibration_table,
    comparison_table,
    number,
    organ_tables,
    original_table,
    scores_table,
)

# The patients of the challenge are from The Cancer Genome Atlas; no other source's ids begin so.
CHALLENGE_PREFIX = "TCGA-"

# How `stages.download.synthetic` names the slides that it draws.
DRAWN_PREFIX = "SYN-"

# What a model must clear the baseline in.
DECIDING = ("dice", "aji", "pq")

SHORT_HASH = 12


@dataclass(frozen=True)
class Results:
    """All that the report is made of.

    Attributes:
        rows: of this run, the baseline last.
        histories: of its models.
        references: kept runs.
        records: data/splits.csv.
        galleries: the pictures, of images of `headline_split`.
        comparison: every two rows on those images; None where they are training images.
    """

    rows: Sequence[Row]
    histories: Sequence[History]
    references: Sequence[ReferenceRun]
    records: Sequence[SplitRecord]
    galleries: Sequence[Gallery]
    comparison: Comparison | None


def report(results: Results) -> Document:
    """The whole report."""
    sections = (
        _summary(results),
        differences(results.comparison),
        _organs(results.rows),
        _calibration(results.rows),
        _original(results),
        Section("errors", "What was wrong in print", (Bullets(prose.WRONG_IN_PRINT),)),
        _comparison(results),
        _training(results),
        _overlays(results),
        Section("metrics", "How the scores are defined", (Bullets(prose.METRICS),)),
    )
    return Document(prose.TITLE, prose.LEAD, sections)


def headline_split(rows: Sequence[Row]) -> str:
    """The split that the report is about: test if it was scored, else validation, else training."""
    for split in (TEST, VALIDATION):
        if any(row.scores.get(split) for row in rows):
            return split
    return TRAIN


def is_challenge(records: Sequence[SplitRecord]) -> bool:
    """Whether every image is one of the challenge's."""
    return all(record.id.startswith(CHALLENGE_PREFIX) for record in records)


def verdict(row: Row, baseline: Row, split: str, comparison: Comparison | None = None) -> str:
    """Whether a row clears the baseline in every deciding score that both have, in one sentence.

    Args:
        row: a model's or the ensemble's.
        baseline: the row that it must clear.
        split: whose scores.
        comparison: image by image, which says where a lead may be chance; without it none is.
    """
    pairs = [
        (name, ours, theirs)
        for name in DECIDING
        if (ours := row.value(split, name)) is not None
        and (theirs := baseline.value(split, name)) is not None
    ]
    title = escaped(row.title)
    if not pairs:
        return f"**{title}** cannot be compared with the baseline: no score of both."
    worse = [pair for pair in pairs if pair[1] <= pair[2]]
    shown = ", ".join(
        f"{SCORE_TITLES[name]} {number(ours)} against {number(theirs)}"
        for name, ours, theirs in worse or pairs
    )
    if worse:
        return f"**{title} does not clear the baseline**: {shown}."
    chance = [
        SCORE_TITLES[name]
        for name, *_ in pairs
        if comparison and not comparison.holds(row, baseline, name)
    ]
    if chance:
        return (
            f"**{title} is above the baseline, which may be chance in {listed(chance)}**: {shown}."
        )
    return f"**{title} clears the baseline**: {shown}."


def _summary(results: Results) -> Section:
    rows, split = results.rows, headline_split(results.rows)
    blocks: list[Block] = []
    if not is_challenge(results.records):
        blocks.append(Notice(_foreign_notice(results)))
    if split != TEST:
        blocks.append(
            Notice(
                f"The test images are not scored in this run; shown are its {split} images, "
                "on which choices were made."
            )
        )
    count = sum(record.split == split for record in results.records)
    images = f"{count} image" if count == 1 else f"{count} images"
    baseline = next(row for row in rows if row.key == BASELINE)
    blocks += [
        scores_table(rows, split, SUMMARY, f"{SPLIT_TITLES[split]}, {images}"),
        Paragraph(
            "Otsu's threshold on the haematoxylin image needs no training; a model that does not "
            "clear it is worthless."
        ),
        Bullets(
            tuple(
                verdict(row, baseline, split, results.comparison)
                for row in rows
                if not row.is_baseline
            )
        ),
        Figure(
            scores_with_intervals(rows, split),
            "Score, and its 95 % interval where there is one; dotted: the baseline.",
        ),
        scores_table(rows, split, FURTHER, f"{SPLIT_TITLES[split]}, further scores"),
    ]
    return Section("summary", "Summary", tuple(blocks))


def _organs(rows: Sequence[Row]) -> Section:
    tables = organ_tables(rows, headline_split(rows), DECIDING)
    blocks: tuple[Block, ...] = (Paragraph(prose.ORGANS_INTRO), *tables)
    if not tables:
        blocks = (Paragraph("No scores of organs are kept of these images."),)
    return Section("organs", "Organ by organ", blocks)


def _calibration(rows: Sequence[Row]) -> Section:
    anchor, title = "calibration", "How true the probabilities are"
    scored = [split for split in (VALIDATION, TEST) if any(row.scores.get(split) for row in rows)]
    # Where nothing else is scored, the training images are better than nothing.
    splits = [split for split in scored or [TRAIN] if any(split in row.calibration for row in rows)]
    if not splits:
        return Section(anchor, title, (Paragraph(prose.NO_CALIBRATION),))
    blocks: list[Block] = [Paragraph(prose.CALIBRATION_INTRO)]
    unscored = [split for split in (VALIDATION, TEST) if split not in scored]
    if unscored:
        blocks.append(Paragraph(f"Not scored in this run: {' and '.join(unscored)} images."))
    blocks += [
        calibration_table(rows, splits),
        Figure(
            reliability_curves(rows, splits),
            "Reliability: mean P(nucleus) of the pixels of a bin, and their share on a nucleus.",
        ),
    ]
    return Section(anchor, title, tuple(blocks))


def _foreign_notice(results: Results) -> str:
    ids = [record.id for record in results.records]
    foreign = [image for image in ids if not image.startswith(CHALLENGE_PREFIX)]
    if all(image.startswith(DRAWN_PREFIX) for image in ids):
        what = (
            f"**This run is of drawn slides.** None of its {len(ids)} images is tissue: a program "
            "drew them, to show that the pipeline works from end to end."
        )
    else:
        what = (
            f"**These are not MoNuSeg's slides alone**: {len(foreign)} of this run's {len(ids)} "
            "images are none of the challenge's."
        )
    below = "; the reference runs below do" if results.references else ""
    return (
        f"{what} This run's numbers compare neither with the original's nor with published "
        f"ones{below}."
    )


def _original(results: Results) -> Section:
    ours = "this run" if is_challenge(results.records) else "this run (other slides)"
    sources = [
        Source(ours, results.rows, "" if is_challenge(results.records) else "muted"),
        *(
            Source(f"reference `{run.name}`", run.table_rows())
            for run in results.references
            if run.official_test
        ),
    ]
    tables = tuple(original_table(split, sources) for split in (TRAIN, VALIDATION, TEST))
    return Section("original", "The original's tables", (Paragraph(prose.ORIGINAL_INTRO), *tables))


def _comparison(results: Results) -> Section:
    blocks: list[Block] = [Paragraph(prose.COMPARISON_INTRO)]
    if not results.references:
        blocks.append(Paragraph(prose.NO_REFERENCE))
    official = [run for run in results.references if run.official_test]
    blocks.append(comparison_table(official))
    for run in results.references:
        if not run.official_test:
            title = f"`{run.name}`, test images of protocol {escaped(run.dataset.protocol)}"
            blocks.append(scores_table(run.table_rows(), TEST, SUMMARY, title))
    if results.references:
        blocks.append(Bullets(tuple(_description(run) for run in results.references)))
    return Section("comparison", "On the real images, beside published numbers", tuple(blocks))


def _description(run: ReferenceRun) -> str:
    archives = ", ".join(
        f"{escaped(archive.name)} (`{archive.sha256[:SHORT_HASH]}…`)"
        for archive in run.dataset.archives
    )
    return (
        f"`{run.name}`: {escaped(run.description)} Protocol {escaped(run.dataset.protocol)}; Keras "
        f"on {escaped(run.backend)}, {escaped(run.device)}; {archives}."
    )


def _training(results: Results) -> Section:
    figure = Figure(
        training_curves(results.histories),
        "Objective: cross-entropy and soft Dice of augmented crops; validation: whole images.",
    )
    return Section("training", "Training", (history_table(results.histories), figure))


def _overlays(results: Results) -> Section:
    if not results.galleries:
        text = "None were asked for (`report.overlays` is 0)."
        return Section("overlays", "Prediction and truth", (Paragraph(text),))
    shown = ", ".join(gallery.title for gallery in results.galleries)
    legend = Legend(
        (
            (overlays.TRUTH_COLOUR, "true outline"),
            (overlays.PREDICTION_COLOUR, "predicted outline"),
            (overlays.AGREED_COLOUR, "nucleus in both"),
            (overlays.MISSED_COLOUR, "missed"),
            (overlays.ADDED_COLOUR, "added"),
        )
    )
    return Section(
        "overlays",
        "Prediction and truth",
        (
            Paragraph(
                f"{prose.OVERLAYS_INTRO} Images: {shown}. The pictures are in `report.html`."
            ),
            legend,
            *results.galleries,
        ),
    )
