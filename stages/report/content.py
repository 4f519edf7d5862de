"""What the templates show, as plain data."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from monuseg.formats.manifest import TEST, TRAIN, VALIDATION, SplitRecord
from monuseg.scoring.paired import cautions, odds
from stages.report import tables
from stages.report.differences import DECIDING, Pair, differences_table
from stages.report.reference import ReferenceRun
from stages.report.rows import Row, leader_of

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
    fates: pd.DataFrame | None,
    histories: Mapping[str, pd.DataFrame],
    references: Sequence[ReferenceRun],
    records: Sequence[SplitRecord],
) -> dict[str, Any]:
    """All that report.md.j2 names, and what the charts show of it.

    Args:
        rows: of this run, the baseline last.
        pairs: their comparison on the images of `headline_split`.
        fates: of `stages.report.fates.count_fates`.
        histories: training histories by model.
        references: kept runs.
        records: data/splits.csv.
    """
    split = headline_split(rows)
    images = sum(record.split == split for record in records)
    titled = [
        (tables.SCORE_TITLES[name], one) for pair in pairs for name, one in pair.found.items()
    ]
    found = [one for _, one in titled if one is not None]
    foreign = sum(not one.id.startswith(CHALLENGE_PREFIX) for one in records)
    calibrated = calibrated_splits(rows)
    sources = {f"this run{' (other slides)' if foreign else ''}": rows} | {
        f"kept run `{run.name}`": run.table_rows() for run in references if run.official_test
    }
    standing = tables.standing(rows, split, references)
    counted = pd.DataFrame(records).groupby(["split", "annotation", "um_per_pixel"], sort=False)
    return {
        "split": split,
        "split_title": tables.SPLIT_TITLES[split],
        "split_images": f"{images} image{'' if images == 1 else 's'}",
        "all_images": len(records),
        "foreign": foreign,
        "synthetic": all(image.id.startswith(SYNTHETIC_PREFIX) for image in records),
        "leader": leader_of(rows[:-1], split),
        "standing": standing,
        "summary": tables.standing_table(standing, len(rows)),
        "further": tables.scores_table(rows, split, tables.FURTHER),
        "pairs": pairs,
        "differences": differences_table(pairs),
        "odds": odds(len(found)) if found else "",
        "left_out": any(one.left_out for one in found),
        "cautions": cautions(titled),
        "organs": tables.organ_tables(rows, split, DECIDING),
        "calibrated": calibrated,
        "calibration": tables.calibration_table(rows, calibrated),
        "uncalibrated": [one for one in (VALIDATION, TEST) if one not in calibrated],
        "fates": fates,
        "fates_table": None if fates is None else tables.fates_table(fates),
        "originals": {
            title: tables.original_table(one, sources) for one, title in tables.SPLIT_TITLES.items()
        },
        "comparison": tables.comparison_table(references),
        "references": references,
        "histories": tables.history_table(histories),
        "settings": tables.settings_table(rows),
        "data": counted["organ"].agg(["size", "nunique"]).reset_index().values.tolist(),
    }
