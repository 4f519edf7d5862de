"""Find the nuclei of images and whole slides; needs no project, no training and no TensorFlow.

`monuseg segment photo.jpg slide.svs folder/` writes, for each image, a label map, a table and
outlines that QuPath imports, and `segment.csv`, a line an image, into the folder `nuclei`. An image
that cannot be segmented does not keep the others from it; the exit status is then 2. Run again
after an interruption, it goes on; what is done stays done.
"""

import argparse
import errno
import math
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from monuseg.core.errors import PartlyFailedError, PipelineError, explained, one_line, tell
from monuseg.core.files import replacing
from monuseg.readers.resolution import require_plausible
from monuseg.readers.slides import open_slide
from monuseg.segment.blocks import Blocks
from monuseg.segment.inputs import Input, inputs_of, share
from monuseg.segment.models import (
    BACKENDS,
    VIEWS,
    ModelChoice,
    Network,
    find,
    load,
    predict_params,
    pretrained,
    views_for,
)
from monuseg.segment.outputs.writing import FORMATS, RECORD, formats_of
from monuseg.segment.resolution_check import size_remark
from monuseg.segment.search import AUTO, EVERYWHERE, identity_of
from monuseg.segment.slide import SQUARE, Choices, segment_slide

SUMMARY = "segment{}.csv"
# Errors of one result, not of the disk or of the output folder.
OF_ONE = (errno.ENAMETOOLONG, errno.EISDIR)


@dataclass(frozen=True)
class Outcome:
    """A row of segment.csv: an image and what came of it.

    Attributes:
        image: the file.
        results: path of its results without suffix, in the folder of results.
        width: in pixels; this and what follows is None as far as the image could not be read.
        height: in pixels.
        um_per_pixel: micrometres per pixel.
        source: who states that; "default" is the model's resolution, for want of a statement.
        nuclei: how many were found.
        remark: what there is to know about them.
        error: why there are none.
    """

    image: str
    results: str
    width: int | None = None
    height: int | None = None
    um_per_pixel: float | None = None
    source: str | None = None
    nuclei: int | None = None
    remark: str | None = None
    error: str | None = None


def main(arguments: argparse.Namespace) -> None:
    """Write the nuclei of each image.

    Raises:
        PipelineError: an argument is wrong, or the model cannot be loaded.
        PartlyFailedError: as `segment_all`.
    """
    if arguments.um_per_pixel is not None:
        require_plausible(arguments.um_per_pixel, name="--um-per-pixel")
    if not 0 <= arguments.simplify < math.inf:
        raise PipelineError(f"--simplify {arguments.simplify:g}: not a number of pixels from 0")
    identity_of(str(arguments.tissue))  # raises before anything is computed
    choices = Choices(
        formats_of(arguments.write),
        arguments.simplify,
        str(arguments.tissue),
        arguments.um_per_pixel,
        arguments.views,
        not arguments.whole,
        arguments.scene,
    )
    inputs = share(inputs_of(arguments.images, arguments.slides, arguments.output), arguments.shard)
    named = find(str(arguments.model))
    network = load(named, predict_params(arguments.backend))
    if named.notice:
        print(f"{named.name}: {named.notice}", flush=True)
    part = f"-{arguments.shard.replace('/', '-of-')}" if arguments.shard else ""
    segment_all(inputs, named, network, choices, arguments.output / SUMMARY.format(part))


def segment_all(
    inputs: Sequence[Input], named: ModelChoice, network: Network, choices: Choices, summary: Path
) -> None:
    """Write the nuclei of each image and the table of all.

    Args:
        inputs: from `inputs_of`.
        named: the model, by name.
        network: the model, loaded.
        choices: of the user.
        summary: the table, in the folder of results.

    Raises:
        PartlyFailedError: after all others were written, an image failed or has damaged parts.
    """
    outcomes: list[Outcome] = []
    try:
        for one in inputs:
            outcomes.append(_segmented(one, named, network, choices, summary.parent))
    finally:  # of an interrupted run, too, it says what was done
        write_summary(summary, outcomes)
    print(one_line(f"results: {summary.parent}"), flush=True)
    failed = [one for one in outcomes if one.error]
    if failed:
        raise PartlyFailedError(
            f"{len(failed)} of {len(outcomes)} images failed or are damaged, {failed[0].image} "
            f"first; {summary} says why"
        )


def write_summary(path: Path, outcomes: Sequence[Outcome]) -> None:
    """Write segment.csv."""
    with replacing(path) as temporary:
        pd.DataFrame(
            [asdict(one) for one in outcomes],
            columns=[field.name for field in fields(Outcome)],
            dtype=object,
        ).to_csv(
            temporary,
            index=False,
            lineterminator="\n",
            errors="backslashreplace",  # names that are no UTF-8
        )


def _segmented(
    one: Input, named: ModelChoice, network: Network, choices: Choices, output: Path
) -> Outcome:
    """Write the nuclei of one image, unless they cannot be found."""
    outcome = Outcome(str(one.path), str(one.place.relative_to(output)))
    given = one.um_per_pixel if choices.um_per_pixel is None else choices.um_per_pixel
    try:
        slide = open_slide(
            one.path,
            um_per_pixel=given,
            crop_to_bounds=choices.crop_to_bounds,
            scene=choices.scene,
        )
    except (PipelineError, OSError) as error:
        return _failed(outcome, error)
    with (
        slide,
        tqdm(desc=one_line(one.path.name), unit="block", disable=not sys.stderr.isatty()) as bar,
    ):
        um_per_pixel, remark = slide.um_per_pixel, slide.remark
        if um_per_pixel is None:
            um_per_pixel = network.um_per_pixel
            assumed = f"no resolution stated, the model's {um_per_pixel:.3g} um per pixel assumed"
            remark = "; ".join(filter(None, [remark, f"{assumed} (--um-per-pixel sets it)"]))
        if remark:
            tell(f"{one.path}: {remark}")
        outcome = replace(
            outcome,
            width=slide.width,
            height=slide.height,
            um_per_pixel=um_per_pixel,
            source=slide.source,
            remark=remark,
        )
        views = choices.views or views_for(slide.height * slide.width)
        bar.total = len(Blocks(slide.height, slide.width))

        def progress(done: int, nuclei: int) -> None:
            bar.set_postfix(nuclei=nuclei, refresh=False)
            bar.update(done - bar.n)

        try:
            one.place.parent.mkdir(parents=True, exist_ok=True)
            written = segment_slide(
                slide, um_per_pixel, named, network.with_views(views), choices, one.place, progress
            )
        except PipelineError as error:
            return _failed(outcome, error)
        except OSError as error:
            if error.errno not in OF_ONE:
                raise
            return _failed(outcome, error)
    remarks = list(written.remarks)
    if slide.um_per_pixel is None:
        remarks += filter(None, [size_remark(written.nuclei, written.median_area, um_per_pixel)])
    for said in remarks:
        tell(f"{one.path}: {said}")
    found = f"{written.nuclei} nuclei at {um_per_pixel:.3g} um per pixel ({outcome.source})"
    print(one_line(f"{one.path}: {found}, {views} view{'s' * (views > 1)}"), flush=True)
    outcome = replace(
        outcome,
        nuclei=written.nuclei,
        remark="; ".join(filter(None, [remark, *remarks])) or None,
    )
    if written.damaged:
        damaged = (
            f"cannot be decoded in {len(written.damaged)} squares of {SQUARE} pixels, left out "
            f"({one.place.name}{RECORD} lists them); fetch or export it again"
        )
        return _failed(outcome, PipelineError(damaged))
    return outcome


def _failed(outcome: Outcome, error: Exception) -> Outcome:
    said = explained(error)
    image = one_line(outcome.image)  # as errors show it
    tell(said if image in said else f"{image}: {said}")
    return replace(outcome, error=said)


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    command.add_argument(
        "images", nargs="*", type=Path, metavar="image", help="a file, or a folder of images"
    )
    command.add_argument(
        "--slides", type=Path, metavar="CSV", help="a list: column path, perhaps um_per_pixel"
    )
    command.add_argument(
        "--output", type=Path, default=Path("nuclei"), help="folder to write to (nuclei)"
    )
    command.add_argument(
        "--model",
        type=lambda text: text if text in pretrained() else Path(text),
        default="unet",
        help=f"{', '.join(pretrained())}; or a trained one's card, as data/models/unet.json, or "
        "the folder of several, whose mean is taken (unet)",
    )
    command.add_argument(
        "--write",
        metavar="FORMATS",
        help=f"of {','.join(FORMATS)} (labels,csv,geojson; above 100 million pixels csv,geojson)",
    )
    command.add_argument(
        "--um-per-pixel",
        type=float,
        help="of the images; by default what they state, else that of the training images",
    )
    command.add_argument(
        "--views",
        type=int,
        choices=sorted(VIEWS),
        help="turned and mirrored copies to average over (4; above 4 million pixels 1)",
    )
    command.add_argument(
        "--tissue",
        type=lambda text: text if text in (AUTO, EVERYWHERE) else Path(text),
        default=AUTO,
        help="where to look: auto, none (everywhere), or a GeoJSON file of regions (auto)",
    )
    command.add_argument(
        "--simplify",
        type=float,
        default=0.0,
        metavar="PIXELS",
        help="that outlines of GeoJSON may be off, for smaller files (0)",
    )
    command.add_argument("--scene", type=int, help="which of a slide's scanned areas, from 1")
    command.add_argument(
        "--whole", action="store_true", help="keep the empty margin that some scanners add"
    )
    command.add_argument("--shard", metavar="I/N", help="every Nth image from the Ith, for arrays")
    command.add_argument(
        "--backend",
        choices=["auto", *BACKENDS],
        default="auto",
        help="what computes (auto: the first of these that is installed)",
    )
