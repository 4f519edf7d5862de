"""Stage `report`: the page of tables, curves and pictures, as HTML and as Markdown."""

import argparse

from monuseg.core.command import parser, run
from monuseg.core.errors import PipelineError
from monuseg.core.files import replacing_all, write_text
from monuseg.core.paths import METRICS
from monuseg.formats import paths
from monuseg.formats.manifest import TRAIN, SplitRecord, read_records
from monuseg.formats.rows import ModelsParams
from stages.report import figures, pages
from stages.report.content import calibrated_splits, content, headline_split
from stages.report.differences import compare
from stages.report.history import read_history
from stages.report.overlays import COLOURS, chosen_images, gallery
from stages.report.params import ReportParams
from stages.report.reference import read_references
from stages.report.rows import read_rows


def main(arguments: argparse.Namespace) -> None:
    """Write metrics/report.md and metrics/report.html.

    Raises:
        PipelineError: a file that the report is made of is missing or malformed.
    """
    params = ReportParams.load()
    models = ModelsParams.load().names
    if not paths.SPLITS.is_file():
        raise PipelineError(f"{paths.SPLITS} is missing; run `dvc repro tile`")
    records = read_records(paths.SPLITS, SplitRecord)
    rows = read_rows(models, METRICS, paths.DETAIL)
    histories = {model: read_history(model, paths.HISTORY) for model in models}
    split = headline_split(rows)
    pairs = [] if split == TRAIN else compare(rows, paths.PER_IMAGE, split)
    shown = chosen_images(records, split, params.overlays)
    # The baseline's nuclei are left out: the page shows what was learned.
    galleries = [
        gallery(record, rows[:-1], raw=paths.RAW, masks=paths.MASKS, nuclei=paths.NUCLEI)
        for record in shown
    ]
    markdown = pages.markdown(
        **content(
            rows=rows,
            pairs=pairs,
            histories=histories,
            references=read_references(paths.REFERENCE),
            records=records,
            shown=shown,
        )
    )
    calibrated = calibrated_splits(rows)
    html = pages.html(
        markdown,
        scores=figures.scores_with_intervals(rows, split),
        reliability=figures.reliability_curves(rows, calibrated) if calibrated else None,
        training=figures.training_curves(histories),
        galleries=galleries,
        colours=COLOURS,
    )
    with replacing_all(METRICS / "report.md", METRICS / "report.html") as [text, page]:
        write_text(text, markdown)
        write_text(page, html)


if __name__ == "__main__":
    run(main, parser(__doc__).parse_args())
