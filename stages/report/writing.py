"""The report, from the files of a run."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from monuseg.core.files import replacing_all, write_text
from monuseg.core.paths import METRICS
from monuseg.formats import paths
from monuseg.formats.histories import read_history
from monuseg.formats.manifest import TEST, TRAIN, VALIDATION, SplitRecord, read_records
from monuseg.formats.rows import ModelsParams
from monuseg.scoring.kept_runs import read_references
from monuseg.scoring.paired import cautions, compare, odds
from monuseg.scoring.per_image import read_images
from monuseg.scoring.rows import Row, read_rows
from stages.report import charts, pages, tables
from stages.report.fates import count_fates
from stages.report.overlays import existing, galleries
from stages.report.params import ReportParams

# The challenge's patients are from The Cancer Genome Atlas; no other source has ids like these.
CHALLENGE_PREFIX = "TCGA-"

# The names that `stages.download.synthetic` gives to its slides.
SYNTHETIC_PREFIX = "SYN-"


def write_report() -> None:
    """Write metrics/report.md and metrics/report.html.

    Raises:
        PipelineError: a file that the report is made of is missing or malformed.
    """
    params = ReportParams.load()
    models = ModelsParams.load().names
    records = read_records(existing(paths.SPLITS, "tile"), SplitRecord)
    rows = read_rows(models, METRICS, paths.DETAIL)
    histories = {row.title: read_history(row.key, paths.HISTORY) for row in rows[: len(models)]}
    split = headline_split(rows)
    images = read_images(rows, paths.PER_IMAGE, split)
    # The baseline's nuclei are left out: the page shows what was learned.
    leader = leader_of(rows[:-1], split)
    learned = sorted(rows[:-1], key=lambda row: row is not leader)
    shown = [one for one in records if one.split == split and leader.key in images]
    given = content(
        rows,
        records,
        pairs=[] if split == TRAIN else compare(rows, images, tables.DECIDING),
        references=read_references(paths.REFERENCE),
        images=images,
        fates=count_fates([one for one in shown if one.tells_nuclei_apart], rows[:-1]),
        histories=histories,
    )
    markdown = pages.markdown(given)
    pictures = galleries(shown, learned, images[leader.key], params.overlays) if shown else []
    html = pages.html(markdown, charts.figures(given, pictures), pictures, learned)
    with replacing_all(METRICS / "report.md", METRICS / "report.html") as [text, page]:
        write_text(text, markdown)
        write_text(page, html)


def headline_split(rows: Sequence[Row]) -> str:
    """The split that the report is about: test if it was scored, else validation, else training."""
    scored = {split for row in rows for split, scores in row.scores.items() if scores}
    return next((split for split in (TEST, VALIDATION) if split in scored), TRAIN)


def leader_of(rows: Sequence[Row], split: str) -> Row:
    """The row of the highest Dice, the first of equals."""
    return max(rows, key=lambda row: row.value(split, "dice") or 0.0)


def calibrated_splits(rows: Sequence[Row]) -> list[str]:
    """The splits to show calibration of: those scored; training only if there is no other."""
    scored = [split for split in (VALIDATION, TEST) if any(row.scores.get(split) for row in rows)]
    return [split for split in scored or [TRAIN] if any(split in row.calibration for row in rows)]


def content(rows: Sequence[Row], records: Sequence[SplitRecord], **others: Any) -> dict[str, Any]:
    """All that report.md.j2 and the charts show.

    Args:
        rows: of this run, the baseline last.
        records: data/splits.csv.
        others: the rows' comparison on the images of `headline_split`, `pairs`; kept runs,
            `references`; the images' scores by row, `images`; training histories by title,
            `histories`; and `fates`, as `stages.report.fates.count_fates` has them.
    """
    split, leader = headline_split(rows), leader_of(rows[:-1], headline_split(rows))
    references, pairs = others["references"], others["pairs"]
    titles = tables.SCORE_TITLES
    found = [(titles[name], by) for pair in pairs for name, by in pair.found.items() if by]
    foreign = sum(not one.id.startswith(CHALLENGE_PREFIX) for one in records)
    this_run = "this run (other slides)" if foreign else "this run"
    kept = {f"kept run `{run.name}`": run.table_rows() for run in references if run.official_test}
    counted = pd.DataFrame(records).groupby(["split", "annotation", "um_per_pixel"], sort=False)
    return {
        **others,
        "rows": rows,
        "gain": next((pair.found for pair in pairs if pair[:2] == (leader, rows[-1])), {}),
        "split": split,
        "organs": {record.id: record.organ for record in records},
        "split_images": sum(record.split == split for record in records),
        "foreign": foreign,
        "synthetic": all(image.id.startswith(SYNTHETIC_PREFIX) for image in records),
        "leader": leader,
        "standing": tables.standing(rows, split, references),
        "odds": odds(len(found)) if found else "",
        "left_out": any(one.left_out for _, one in found),
        "cautions": cautions(found),
        "calibrated": calibrated_splits(rows),
        "sources": {this_run: rows, **kept},
        "data": counted["organ"].agg(["size", "nunique"]).reset_index().values.tolist(),
    }
