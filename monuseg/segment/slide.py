"""The nuclei of one image or slide, from its pixels to the files of its results."""

import json
import shutil
import threading
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from monuseg.core.errors import PipelineError
from monuseg.core.locks import LockedError, exclusive
from monuseg.formats.images import RGB
from monuseg.formats.scale import scale_of
from monuseg.inference.sliding_window import Region
from monuseg.inference.stain import AS_IT_IS, fitted
from monuseg.inference.streaming import Stream, Wanted
from monuseg.readers.slides import DamagedRegionError, Slide, open_slide
from monuseg.segment.blocks import Blocks, Finished, Progress, segment_blocks
from monuseg.segment.models import ModelChoice, Network, describe
from monuseg.segment.options import AUTO, EVERYWHERE
from monuseg.segment.outputs.target import Target
from monuseg.segment.outputs.writing import Written, write_all
from monuseg.segment.record import RemoteFile, SlideInfo, withdraw, write_record, written_before
from monuseg.segment.region import DrawnRegions, Inside
from monuseg.segment.search import (
    SearchArea,
    identity_of,
    inside,
    search_area,
    whole_blocks,
)

DAMAGE = "damage.txt"  # beside finished blocks, which are not read again
LOCK = "lock"
# Squares of a slide that its stains are estimated from, and their side in pixels: as many pixels as
# a few images of MoNuSeg have. An image of no more is looked at as a whole.
SAMPLES, SAMPLE_SIDE = 16, 512
# Of what cannot be decoded, squares of this side are left out, and the rest is kept.
SQUARE = 256
WHITE = 255
# Micrometres around a drawn region that are computed as well: its nuclei, and those that touch
# them, are to be those of the whole slide. As many as a block sees around it.
AROUND_REGION = 64.0
# What decides on the files of results, and not on the nuclei in them.
OF_FILES = ("formats", "simplify")


@dataclass
class Pixels:
    """The pixels of a slide, for one thread at a time; what is damaged is white, and remembered.

    Attributes:
        slide: the slide.
        kept: file of the squares that could not be decoded; made with the first.
        damaged: these squares, also those that the file has.
    """

    slide: Slide
    kept: Path
    damaged: set[Region] = field(default_factory=set)
    _one_at_a_time: threading.Lock = field(
        default_factory=threading.Lock, init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        lines = self.kept.read_text().splitlines() if self.kept.is_file() else []
        # Of a killed run, the last one may be cut short; then no finished block depends on it.
        self.damaged |= {Region(*json.loads(line)) for line in lines if line.endswith("]")}

    def _remember(self, region: Region) -> None:
        if region not in self.damaged:
            self.damaged.add(region)
            with self.kept.open("a") as file:
                file.write(f"\n{json.dumps(region)}")

    def read(self, y: int, x: int, height: int, width: int) -> RGB:
        """A region, (height, width, 3), in pixels of the full resolution."""
        with self._one_at_a_time:
            return self._read(y, x, height, width)

    def _read(self, y: int, x: int, height: int, width: int) -> RGB:
        try:
            return self.slide.read(y, x, height, width)
        except DamagedRegionError:
            rows, columns = _split(y, height), _split(x, width)
        if len(rows) == len(columns) == 1:
            top, left = y - y % SQUARE, x - x % SQUARE
            bottom = min(top + SQUARE, self.slide.height)
            self._remember(Region(top, bottom, left, min(left + SQUARE, self.slide.width)))
            return np.full((height, width, 3), WHITE, np.uint8)
        return np.concatenate(
            [np.concatenate([self._read(t, e, h, w) for e, w in columns], axis=1) for t, h in rows]
        )


def _split(start: int, size: int) -> list[tuple[int, int]]:
    """Two parts that meet between squares, as tiles do, each a start and a size; or the whole."""
    middle = round((start + size / 2) / SQUARE) * SQUARE
    if not start < middle < start + size:
        return [(start, size)]
    return [(start, middle - start), (middle, start + size - middle)]


@dataclass(frozen=True)
class Choices:
    """What the user chose beside the model.

    Attributes:
        formats: of the results, from `monuseg.segment.outputs.writing.formats_of`.
        simplify: pixels that outlines of GeoJSON may be off.
        tissue: "auto": where there is tissue; "none": everywhere; or the path of a GeoJSON file.
        um_per_pixel: of all images, whatever they state.
        views: to average over; None: what an image of its size is worth.
        crop_to_bounds: leave out a slide's empty margin.
        scene: one of a slide's scanned areas.
        region: the path of a GeoJSON file; of nuclei those are kept whose centroid is in it.
    """

    formats: Sequence[str] | None = None
    simplify: float = 0.0
    tissue: str = "auto"
    um_per_pixel: float | None = None
    views: int | None = None
    crop_to_bounds: bool = True
    scene: int | None = None
    region: str | None = None


def drawn_regions(choices: Choices) -> DrawnRegions | None:
    """The regions that were chosen.

    Raises:
        PipelineError: their file cannot be read.
    """
    return DrawnRegions.read(Path(choices.region), "region") if choices.region else None


def wanted_of(
    identity: str,
    um_per_pixel: float,
    named: ModelChoice,
    network: Network,
    choices: Choices,
    regions: DrawnRegions | None,
) -> dict[str, Any]:
    """All that decides on the results of a slide, as JSON.

    Args:
        identity: of the slide.
        um_per_pixel: its micrometres per pixel.
        named: the model, by name.
        network: the model, loaded.
        choices: of the user.
        regions: from `drawn_regions`.

    Raises:
        PipelineError: the file for `tissue` cannot be read.
    """
    return {
        "slide": identity,
        "um_per_pixel": um_per_pixel,
        "version": version("monuseg"),
        "weights": list(named.identity),
        "network": describe(network),
        "settings": asdict(named.settings),
        "tissue": identity_of(choices.tissue),
        "region": regions.identity if regions else None,
        "formats": list(choices.formats) if choices.formats else None,
        "simplify": choices.simplify,
    }


def segment_slide(
    slide: Slide,
    um_per_pixel: float,
    named: ModelChoice,
    network: Network,
    choices: Choices,
    place: Path,
    progress: Progress | None = None,
    *,
    remote: RemoteFile | None = None,
) -> Written:
    """Find the nuclei of a slide and write them.

    A run that was ended goes on with the blocks that it had not finished. Where the results of the
    same file, weights, settings and version lie already, nothing is done. Those of others are
    removed before the new ones are written.

    Args:
        slide: opened.
        um_per_pixel: its micrometres per pixel.
        named: the model, by name.
        network: the model, loaded.
        choices: of the user.
        place: the results' path without suffix.
        progress: as `segment_blocks` takes it.
        remote: of which file elsewhere the slide is a copy, or None.

    Raises:
        PipelineError: as the parts; or another run writes these results.
    """
    regions = drawn_regions(choices)
    wanted = wanted_of(slide.identity, um_per_pixel, named, network, choices, regions)
    identity = {key: wanted[key] for key in wanted if key not in OF_FILES}
    # A slide's identity need not show what is mended in its middle.
    modified = slide.path.stat().st_mtime_ns
    before = written_before(place, wanted, modified)
    if before is not None:
        return before
    scratch = unfinished(place)
    scale = scale_of(um_per_pixel, network.um_per_pixel)
    origin = _origin(slide, choices)
    target = Target(
        slide.path.name, slide.width, slide.height, um_per_pixel, slide.identity, origin=origin
    )
    tissue = area = searched = search_area(slide, um_per_pixel, choices.tissue, origin)
    blocks, around = Blocks(slide.height, slide.width), 0
    if choices.tissue not in (AUTO, EVERYWHERE):
        # The edge of what is computed lies on glass by itself; a drawn one may cut nuclei in two.
        searched, around = whole_blocks(tissue, blocks), blocks.halo
    if regions:
        regions = regions.moved(origin)
        area = inside(tissue, regions, slide, um_per_pixel)
        searched = inside(searched, regions, slide, um_per_pixel, AROUND_REGION)
    try:
        with exclusive(scratch / LOCK):
            finished = Finished(scratch, blocks, {**identity, "modified": modified})
            if not any(number in finished for number in range(len(blocks))):
                (scratch / DAMAGE).unlink(missing_ok=True)
            pixels = Pixels(slide, scratch / DAMAGE)
            # By the whole slide's tissue: a region changes none of the nuclei.
            normalise = _normalisation(pixels, tissue, network.stain_normalisation)
            windows = partial(searched.is_near, pixels=around)
            stream = _stream(pixels, normalise, network, scale, windows)
            segment_blocks(
                stream,
                pixels.read,
                finished,
                network.classes,
                named.settings,
                scale,
                wanted=searched.touches,
                progress=progress,
            )
            nuclei = Inside(finished, regions) if regions else finished
            beside = withdraw(place, identity)
            written = write_all(
                nuclei, target, place, choices.formats, pixels.read, area, simplify=choices.simplify
            )
            if regions and not (written.nuclei or area.mask.any()):
                written.remarks.append("no tissue in the region; --tissue none searches all of it")
            if any(origin):
                written.remarks.append(
                    "GeoJSON is counted from the corner that QuPath shows, which is at x "
                    f"{origin[0]}, y {origin[1]} of these pixels"
                )
            written.damaged = [list(region) for region in sorted(pixels.damaged)]
            info = SlideInfo.of(slide)
            write_record(place, wanted, written, modified, remote, info, beside)
            shutil.rmtree(scratch)
    except LockedError as error:
        raise PipelineError(
            f"{place}: process {error.holder} writes these results; wait for it, or give another "
            "--output"
        ) from error
    return written


def _origin(slide: Slide, choices: Choices) -> tuple[int, int]:
    """The pixel (x, y) of a slide that QuPath shows as its upper left one.

    QuPath leaves out the empty margin and shows all scanned areas, as we do unless told otherwise.
    """
    if choices.crop_to_bounds and choices.scene is None:
        return 0, 0
    with open_slide(slide.path, um_per_pixel=slide.um_per_pixel) as shown:
        return shown.origin[1] - slide.origin[1], shown.origin[0] - slide.origin[0]


def _stream(
    pixels: Pixels,
    normalise: Callable[[RGB], RGB],
    network: Network,
    scale: float,
    windows: Wanted,
) -> Stream:
    """The probabilities of a slide; 0 where only windows see it that are not wanted."""

    def read(y: int, x: int, height: int, width: int) -> RGB:
        return normalise(pixels.read(y, x, height, width))

    return Stream(
        network.forward,
        read,
        pixels.slide.height,
        pixels.slide.width,
        network.params,
        divisor=network.divisor,
        scale=scale,
        wanted=windows,
    )


def _normalisation(pixels: Pixels, area: SearchArea, kind: str) -> Callable[[RGB], RGB]:
    """How the stains of a slide become those that the network knows."""
    if kind == AS_IT_IS:
        return lambda image: image
    slide = pixels.slide
    if slide.height * slide.width <= SAMPLES * SAMPLE_SIDE**2:
        return fitted(pixels.read(0, 0, slide.height, slide.width))
    squares = [
        Region(y, min(y + SAMPLE_SIDE, slide.height), x, min(x + SAMPLE_SIDE, slide.width))
        for y in range(0, slide.height, SAMPLE_SIDE)
        for x in range(0, slide.width, SAMPLE_SIDE)
    ]
    shares = np.array([area.share(square) for square in squares])
    # The middle ones of those full of tissue, else of those with the most: spread over the slide.
    best = np.flatnonzero(shares >= min(0.9, np.sort(shares)[-SAMPLES:][0]))
    chosen = best[np.linspace(0, len(best) - 1, min(SAMPLES, len(best))).round().astype(int)]
    parts = [
        pixels.read(top, left, bottom - top, right - left).reshape(-1, 1, 3)
        for top, bottom, left, right in (squares[number] for number in chosen)
    ]
    return fitted(np.concatenate(parts))


def unfinished(place: Path) -> Path:
    """The folder of a slide's finished blocks and lock, which is there until all are done."""
    return place.with_name(f".{place.name}.unfinished")
