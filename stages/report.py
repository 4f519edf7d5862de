"""Stage `report`: the page of tables, curves and pictures, as HTML and as Markdown."""

import argparse

from stages import paths
from stages.command import parser, run
from stages.dataset.manifest import TRAIN, SplitRecord, read_records
from stages.errors import PipelineError
from stages.files import write_text
from stages.params.bootstrap import BootstrapParams
from stages.params.models import ModelsParams
from stages.params.report import ReportParams
from stages.reporting import markdown, page
from stages.reporting.differences import compare
from stages.reporting.history import read_history
from stages.reporting.overlays import chosen_images, gallery
from stages.reporting.reference import read_references
from stages.reporting.rows import read_rows
from stages.reporting.sections import Results, headline_split, report


def main(arguments: argparse.Namespace) -> None:
    """Write metrics/report.md and metrics/report.html.

    Raises:
        PipelineError: a file that the report is made of is missing or malformed.
    """
    params = ReportParams.load()
    draws = BootstrapParams.load()
    models = ModelsParams.load().names
    if not paths.SPLITS.is_file():
        raise PipelineError(f"{paths.SPLITS} is missing; run `dvc repro tile`")
    records = read_records(paths.SPLITS, SplitRecord)
    rows = read_rows(models, paths.METRICS, paths.DETAIL)
    split = headline_split(rows)
    comparison = None
    if split != TRAIN:
        comparison = compare(
            rows, paths.PER_IMAGE, split, resamples=draws.bootstrap, seed=draws.seed
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
