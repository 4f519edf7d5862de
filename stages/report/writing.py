"""The report, from the files of a run."""

from monuseg.core.errors import PipelineError
from monuseg.core.files import replacing_all, write_text
from monuseg.core.paths import METRICS
from monuseg.formats import paths
from monuseg.formats.manifest import TRAIN, SplitRecord, read_records
from monuseg.formats.rows import ModelsParams
from stages.report import charts, pages
from stages.report.content import content, headline_split
from stages.report.differences import compare, read_images
from stages.report.fates import count_fates
from stages.report.history import read_history
from stages.report.overlays import galleries
from stages.report.params import ReportParams
from stages.report.reference import read_references
from stages.report.rows import leader_of, read_rows


def write_report() -> None:
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
    images = read_images(rows, paths.PER_IMAGE, split)
    # The baseline's nuclei are left out: the page shows what was learned.
    leader = leader_of(rows[:-1], split)
    learned = sorted(rows[:-1], key=lambda row: row is not leader)
    shown = [one for one in records if one.split == split and leader.key in images]
    given = content(
        rows=rows,
        pairs=[] if split == TRAIN else compare(rows, images),
        fates=count_fates([one for one in shown if one.tells_nuclei_apart], rows[:-1]),
        histories=histories,
        references=read_references(paths.REFERENCE),
        records=records,
    )
    markdown = pages.markdown(**given)
    pictures = galleries(shown, learned, images[leader.key], params.overlays) if shown else []
    figures = charts.figures(rows, images, pictures, histories, given)
    html = pages.html(markdown, figures=figures, pictures=pictures, rows=learned)
    with replacing_all(METRICS / "report.md", METRICS / "report.html") as [text, page]:
        write_text(text, markdown)
        write_text(page, html)
