"""Stage `report`: the page of tables, curves and pictures, as HTML and as Markdown."""

import argparse

from monuseg.core import paths
from monuseg.core.command import parser, run
from monuseg.core.errors import PipelineError
from monuseg.core.files import write_text
from monuseg.core.params import ModelsParams
from monuseg.formats.manifest import TRAIN, SplitRecord, read_records
from monuseg.scoring.intervals import IntervalParams
from stages.report import markdown, page
from stages.report.differences import compare
from stages.report.history import read_history
from stages.report.overlays import chosen_images, gallery
from stages.report.params import ReportParams
from stages.report.reference import read_references
from stages.report.rows import read_rows
from stages.report.sections import Results, headline_split, report


def main(arguments: argparse.Namespace) -> None:
    """Write metrics/report.md and metrics/report.html.

    Raises:
        PipelineError: a file that the report is made of is missing or malformed.
    """
    params = ReportParams.load()
    draws = IntervalParams.load()
    models = ModelsParams.load().names
    if not paths.SPLITS.is_file():
        raise PipelineError(f"{paths.SPLITS} is missing; run `dvc repro tile`")
    records = read_records(paths.SPLITS, SplitRecord)
    rows = read_rows(models, paths.METRICS, paths.DETAIL)
    split = headline_split(rows)
    comparison = None
    if split != TRAIN:
        comparison = compare(
            rows, paths.PER_IMAGE, split, resamples=draws.resamples, seed=draws.seed
        )
    # The baseline's nuclei are left out: the page shows what was learned.
    learned = [row for row in rows if not row.is_baseline]
    document = report(
        Results(
            rows=rows,
            histories=[read_history(model, paths.HISTORY) for model in models],
            references=read_references(paths.REFERENCE),
            records=records,
            galleries=[
                gallery(record, learned, raw=paths.RAW, masks=paths.MASKS, nuclei=paths.NUCLEI)
                for record in chosen_images(records, split, params.overlays)
            ],
            comparison=comparison,
        )
    )
    write_text(paths.METRICS / "report.md", markdown.render(document))
    write_text(paths.METRICS / "report.html", page.render(document))


if __name__ == "__main__":
    run(main, parser(__doc__).parse_args())
