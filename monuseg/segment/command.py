"""What `monuseg segment` does; what it takes is in `monuseg.segment.arguments`."""

import argparse
import errno
import hashlib
import math
import os
import sys
from collections.abc import Generator, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from monuseg.core.errors import PartlyFailedError, PipelineError, explained, one_line, tell
from monuseg.core.files import replacing
from monuseg.core.settings import Settings
from monuseg.readers.resolution import require_plausible
from monuseg.readers.slides import open_slide
from monuseg.segment.blocks import Blocks
from monuseg.segment.distribution import on_workers
from monuseg.segment.inputs import Input, inputs_of, refuse_to_replace, shard_of_array, share
from monuseg.segment.models import (
    ModelChoice,
    Network,
    find,
    load,
    predict_params,
    views_for,
)
from monuseg.segment.options import REGION
from monuseg.segment.outputs.writing import RECORD, Written, formats_of, require_packages_of
from monuseg.segment.record import RemoteFile, SlideInfo, info_before, written_before
from monuseg.segment.region import DrawnRegions
from monuseg.segment.resolution_check import size_remark
from monuseg.segment.search import identity_of
from monuseg.segment.slide import SQUARE, Choices, drawn_regions, segment_slide, wanted_of
from monuseg.segment.staging import Scratch, path_of, staged, version_of

SUMMARY = "segment{}.csv"
# Errors of one result, not of the disk or of the output folder.
OF_ONE = (errno.ENAMETOOLONG, errno.EISDIR)


@dataclass(frozen=True)
class Outcome:
    """A row of segment.csv: an image and what came of it.

    Attributes:
        image: the file, or its URL without login and query.
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
    if arguments.region is not None:
        DrawnRegions.read(arguments.region, REGION)
    formats = formats_of(arguments.write)
    require_packages_of(formats, arguments.simplify)
    choices = Choices(
        formats,
        arguments.simplify,
        str(arguments.tissue),
        arguments.um_per_pixel,
        arguments.views,
        not arguments.whole,
        arguments.scene,
        None if arguments.region is None else str(arguments.region),
    )
    Scratch.of(arguments.output)  # so does this
    found = inputs_of(arguments.images, arguments.slides, arguments.output)
    if arguments.region is not None and len(found) > 1:
        raise PipelineError(
            f"{REGION} {arguments.region}: regions of one slide, but {len(found)} images are "
            "given; name one, or give each its own in the column `region` of a list (--slides)"
        )
    shard = shard_of_array(len(found)) if arguments.shard is None else arguments.shard
    inputs = share(found, shard)
    part = f"-{shard.replace('/', '-of-')}" if shard else ""
    summary = arguments.output / SUMMARY.format(part)
    tissue = arguments.tissue if isinstance(arguments.tissue, Path) else None
    refuse_to_replace(found, summary, [arguments.slides, arguments.region, tissue])
    named = find(str(arguments.model))
    network = load(named, predict_params(arguments.backend))
    if named.notice:
        print(f"{named.name}: {named.notice}", flush=True)
    segment_all(inputs, named, network, choices, summary)


def segment_all(
    inputs: Sequence[Input], named: ModelChoice, network: Network, choices: Choices, summary: Path
) -> None:
    """Write the nuclei of each image and the table of all.

    They are found here, or by the workers of the Dask scheduler that MONUSEG_SCHEDULER names.

    Args:
        inputs: from `inputs_of`.
        named: the model, by name.
        network: the model, loaded.
        choices: of the user.
        summary: the table, in the folder of results.

    Raises:
        PartlyFailedError: after all others were written, an image failed or has damaged parts.
        PipelineError: as `on_workers`.
    """
    done: dict[int, Outcome] = {}
    segment = partial(_segmented, named=named, choices=choices, output=summary.parent)
    scheduler = Settings.from_environment().scheduler
    ended: Generator[tuple[int, Outcome | PipelineError], None, None]
    if scheduler:
        ended = on_workers(segment, inputs, named, network, scheduler, summary.parent)
    else:
        ended = ((number, segment(one, network=network)) for number, one in enumerate(inputs))
    try:
        with closing(ended):
            for number, came in ended:
                if isinstance(came, PipelineError):
                    came = _failed(_row(inputs[number], summary.parent), came)
                done[number] = came
    finally:  # of an interrupted run, too, it says what was done
        outcomes = [done[number] for number in sorted(done)]
        if outcomes or not inputs:  # else nothing has begun, and the last call's stays
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
    outcome = _row(one, output)
    if choices.um_per_pixel is None:
        choices = replace(choices, um_per_pixel=one.um_per_pixel)
    if choices.region is None and one.region is not None:
        choices = replace(choices, region=str(one.region))
    remote = before = None
    try:
        if one.url:
            remote = _remote(one.url, choices)
            before = _done_before(one.place, remote, named, network, choices) if remote else None
    except (PipelineError, OSError) as error:
        return _failed(outcome, error)
    if before is not None:
        return _reported(_described(outcome, before[0], network), one, network, choices, *before)
    with ExitStack() as stack:
        try:
            path = one.path
            if one.url:
                path = stack.enter_context(staged(one.url, Scratch.of(output)))
            slide = open_slide(
                path,
                um_per_pixel=choices.um_per_pixel,
                crop_to_bounds=choices.crop_to_bounds,
                scene=choices.scene,
            )
        except (PipelineError, OSError) as error:
            return _failed(outcome, error)
        stack.enter_context(slide)
        quiet = not sys.stderr.isatty()
        bar = stack.enter_context(tqdm(desc=one_line(path.name), unit="block", disable=quiet))
        bar.total = len(Blocks(slide.height, slide.width))

        def progress(done: int, nuclei: int) -> None:
            bar.set_postfix(nuclei=nuclei, refresh=False)
            bar.update(done - bar.n)

        info = SlideInfo.of(slide)
        outcome = _described(outcome, info, network)
        try:
            one.place.parent.mkdir(parents=True, exist_ok=True)
            written = segment_slide(
                slide,
                _resolution(info, network),
                named,
                network.with_views(_views(info, choices)),
                choices,
                one.place,
                progress,
                remote=remote,
            )
        except PipelineError as error:
            return _failed(outcome, error)
        except OSError as error:
            if error.errno not in OF_ONE:
                raise
            return _failed(outcome, error)
    return _reported(outcome, one, network, choices, info, written)


def _remote(url: str, choices: Choices) -> RemoteFile | None:
    """What a file elsewhere is now, if its server tells versions."""
    version = version_of(url)
    if version is None:
        return None
    url_hash = hashlib.sha256(os.fsencode(path_of(url))).hexdigest()
    return RemoteFile(
        url_hash, version, choices.um_per_pixel, choices.crop_to_bounds, choices.scene
    )


def _done_before(
    place: Path, remote: RemoteFile, named: ModelChoice, network: Network, choices: Choices
) -> tuple[SlideInfo, Written] | None:
    """The results of a file elsewhere that stand already: it need not be copied again."""
    info = info_before(place, remote)
    if info is None:
        return None
    network = network.with_views(_views(info, choices))
    um_per_pixel = _resolution(info, network)
    wanted = wanted_of(info.identity, um_per_pixel, named, network, choices, drawn_regions(choices))
    written = written_before(place, wanted, remote.version)
    return None if written is None else (info, written)


def _resolution(info: SlideInfo, network: Network) -> float:
    """Micrometres per pixel; the model's for want of a statement."""
    return network.um_per_pixel if info.um_per_pixel is None else info.um_per_pixel


def _views(info: SlideInfo, choices: Choices) -> int:
    return choices.views or views_for(info.height * info.width)


def _described(outcome: Outcome, info: SlideInfo, network: Network) -> Outcome:
    """An image's row once it is read; what there is to know of it is said."""
    um_per_pixel, remark = _resolution(info, network), info.remark
    if info.um_per_pixel is None:
        assumed = f"no resolution stated, the model's {um_per_pixel:.3g} um per pixel assumed"
        remark = "; ".join(filter(None, [remark, f"{assumed} (--um-per-pixel sets it)"]))
    if remark:
        tell(f"{outcome.image}: {remark}")
    return replace(
        outcome,
        width=info.width,
        height=info.height,
        um_per_pixel=um_per_pixel,
        source=info.source,
        remark=remark,
    )


def _reported(
    outcome: Outcome,
    one: Input,
    network: Network,
    choices: Choices,
    info: SlideInfo,
    written: Written,
) -> Outcome:
    """An image's row once its results are there; they are said."""
    um_per_pixel, views = _resolution(info, network), _views(info, choices)
    remarks = list(written.remarks)
    if info.um_per_pixel is None:
        remarks += filter(None, [size_remark(written.nuclei, written.median_area, um_per_pixel)])
    for said in remarks:
        tell(f"{one.shown}: {said}")
    found = f"{written.nuclei} nuclei at {um_per_pixel:.3g} um per pixel ({info.source})"
    found = f"{found}, {views} view{'s' * (views > 1)}"
    if written.earlier:
        found = (
            "nothing computed: results of the same image, weights, settings and version stand, "
            f"beside {one.place}{RECORD}: {found}"
        )
    print(one_line(f"{one.shown}: {found}"), flush=True)
    outcome = replace(
        outcome,
        nuclei=written.nuclei,
        remark="; ".join(filter(None, [outcome.remark, *remarks])) or None,
    )
    if written.damaged:
        damaged = (
            f"cannot be decoded in {len(written.damaged)} squares of {SQUARE} pixels, left out "
            f"({one.place.name}{RECORD} lists them); fetch or export it again"
        )
        return _failed(outcome, PipelineError(damaged))
    return outcome


def _row(one: Input, output: Path) -> Outcome:
    return Outcome(one.shown, str(one.place.relative_to(output)))


def _failed(outcome: Outcome, error: Exception) -> Outcome:
    said = explained(error)
    image = one_line(outcome.image)  # as errors show it
    tell(said if image in said else f"{image}: {said}")
    return replace(outcome, error=said)
