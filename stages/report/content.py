"""What the templates show, as plain data."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from monuseg.formats.manifest import TEST, TRAIN, VALIDATION, SplitRecord
from monuseg.scoring.paired import cautions, odds
from stages.report import tables
from stages.report.differences import DECIDING, Pair, differences_table, statements, verdict
from stages.report.reference import ReferenceRun
from stages.report.rows import Row

# The challenge's patients are from The Cancer Genome Atlas; no other source has ids like these.
CHALLENGE_PREFIX = "TCGA-"

# The names that `stages.download.synthetic` gives to its slides.
SYNTHETIC_PREFIX = "SYN-"


def headline_split(rows: Sequence[Row]) -> str:
    """The split that the report is about: test if it was scored, else validation, else training."""
    for split in (TEST, VALIDATION):
        if any(row.scores.get(split) for row in rows):
            return split
    return TRAIN


def calibrated_splits(rows: Sequence[Row]) -> list[str]:
    """The splits to show calibration of: those scored; training only if there is no other."""
    scored = [split for split in (VALIDATION, TEST) if any(row.scores.get(split) for row in rows)]
    return [split for split in scored or [TRAIN] if any(split in row.calibration for row in rows)]


def content(
    *,
    rows: Sequence[Row],
    pairs: Sequence[Pair],
    histories: Mapping[str, pd.DataFrame],
    references: Sequence[ReferenceRun],
    records: Sequence[SplitRecord],
    shown: Sequence[SplitRecord],
) -> dict[str, Any]:
    """All that report.md.j2 names.

    Args:
        rows: of this run, the baseline last.
        pairs: their comparison on the images of `headline_split`.
        histories: training histories by model.
        references: kept runs.
        records: data/splits.csv.
        shown: the images of the overlays.
    """
    split = headline_split(rows)
    *learned, baseline = rows
    images = sum(record.split == split for record in records)
    titled = [
        (tables.SCORE_TITLES[name], one) for pair in pairs for name, one in pair.found.items()
    ]
    found = [one for _, one in titled if one is not None]
    foreign = [one.id for one in records if not one.id.startswith(CHALLENGE_PREFIX)]
    calibrated = calibrated_splits(rows)
    sources = {f"this run{' (other slides)' if foreign else ''}": rows} | {
        f"kept run `{run.name}`": run.table_rows() for run in references if run.official_test
    }
    return {
        "split": split,
        "split_title": tables.SPLIT_TITLES[split],
        "images": images,
        "all_images": len(records),
        "foreign": len(foreign),
        "synthetic": all(image.id.startswith(SYNTHETIC_PREFIX) for image in records),
        "summary": tables.scores_table(rows, split, tables.SUMMARY),
        "further": tables.scores_table(rows, split, tables.FURTHER),
        "verdicts": [verdict(row, baseline, split, pairs) for row in learned],
        "differences": differences_table(pairs),
        "statements": {tables.SCORE_TITLES[one]: statements(pairs, one) for one in DECIDING},
        "odds": odds(len(found)) if found else "",
        "left_out": any(one.left_out for one in found),
        "cautions": cautions(titled),
        "organs": tables.organ_tables(rows, split, DECIDING),
        "calibration": tables.calibration_table(rows, calibrated) if calibrated else None,
        "uncalibrated": [one for one in (VALIDATION, TEST) if one not in calibrated],
        "originals": {
            tables.SPLIT_TITLES[one]: tables.original_table(one, sources)
            for one in (TRAIN, VALIDATION, TEST)
        },
        "comparison": tables.comparison_table(references),
        "references": references,
        "histories": tables.history_table(histories),
        "shown": shown,
    }
