"""Nuclei of an image of any size, block by block, kept on disk so that a killed run goes on."""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from skimage.color import hed_from_rgb

from monuseg.core.ahead import overlapped
from monuseg.core.errors import PipelineError
from monuseg.core.files import replacing, write_text
from monuseg.formats.images import Labels
from monuseg.formats.predictions import NUCLEUS, Probabilities
from monuseg.inference.sliding_window import Region
from monuseg.inference.streaming import Read, Stream, Wanted, everywhere
from monuseg.nuclei.watershed import EDGES, NucleiSettings, nuclei_from_predictions
from monuseg.segment.objects import Mask, Objects

SIDE = 2048  # pixels of a block's core
# Pixels around it that are seen as well. A nucleus belongs to the block that has the middle of its
# box; so one of 200 pixels reaches 100 beyond the core, and its neighbours are seen too.
HALO = 256
# Two masks of one nucleus, from two blocks, share more than this of their union.
SAME_NUCLEUS = 0.3

KEY = "key.txt"
BLOCK = "block-*.npz"

# From a pixel's red, green and blue to its optical density of haematoxylin: the law of Beer and
# Lambert, and the first row of Ruifrok & Johnston's deconvolution (2001).
HAEMATOXYLIN = -np.log10((np.arange(256)[:, np.newaxis] + 1) / 256) * hed_from_rgb[:, 0]

# Blocks done of all, and the nuclei in them.
Progress = Callable[[int, int], None]


class Block(NamedTuple):
    """A part of an image.

    Attributes:
        core: its own pixels; those of all blocks cover the image once.
        seen: these and the halo.
    """

    core: Region
    seen: Region


@dataclass(frozen=True)
class Blocks(Sequence[Block]):
    """The blocks of an image, row by row.

    Attributes:
        height: of the image.
        width: of the image.
        side: of a block's core, in pixels.
        halo: in pixels.
    """

    height: int
    width: int
    side: int = SIDE
    halo: int = HALO

    @property
    def columns(self) -> int:
        """Blocks in a row."""
        return -(-self.width // self.side)

    def __len__(self) -> int:
        return -(-self.height // self.side) * self.columns

    def __getitem__(self, number: int) -> Block:  # type: ignore[override]  # no slices
        if not 0 <= number < len(self):
            raise IndexError(number)
        y, x = (place * self.side for place in divmod(number, self.columns))
        core = Region(y, min(y + self.side, self.height), x, min(x + self.side, self.width))
        seen = Region(
            max(0, core.top - self.halo),
            min(self.height, core.bottom + self.halo),
            max(0, core.left - self.halo),
            min(self.width, core.right + self.halo),
        )
        return Block(core, seen)

    def owners(self, boxes: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """The numbers of the blocks that boxes, (n, 4), belong to."""
        middle = (boxes[:, :2] + boxes[:, 2:] - 1) // 2 // self.side
        return np.asarray(middle[:, 0] * self.columns + middle[:, 1])

    def around(self, number: int) -> list[int]:
        """The blocks that share an edge or a corner with one."""
        row, column = divmod(number, self.columns)
        near = [
            (row + down, column + across)
            for down in (-1, 0, 1)
            for across in (-1, 0, 1)
            if (down or across) and 0 <= column + across < self.columns
        ]
        return [n for y, x in near if 0 <= (n := y * self.columns + x) < len(self)]


class Finished:
    """The nuclei of finished blocks, a file each; iterating reads them in the blocks' order.

    Args:
        folder: of the files; it is made if it is missing. Those of another identity are removed.
        blocks: of the image.
        identity: all that decides on the nuclei, as JSON: the image, the model, the settings.
    """

    def __init__(self, folder: Path, blocks: Blocks, identity: Mapping[str, object]) -> None:
        self.blocks, self._folder = blocks, folder
        shape = [blocks.height, blocks.width, blocks.side, blocks.halo]
        content = json.dumps([shape, dict(identity)], sort_keys=True)
        key = hashlib.sha256(content.encode()).hexdigest()
        if not (folder / KEY).is_file() or (folder / KEY).read_text(encoding="utf-8") != key:
            for old in folder.glob(BLOCK):
                old.unlink()
            write_text(folder / KEY, key)

    def __contains__(self, number: int) -> bool:
        return self._path(number).is_file()

    def __iter__(self) -> Iterator[Objects]:
        return (self.read(number) for number in range(len(self.blocks)) if number in self)

    def write(self, number: int, objects: Objects) -> None:
        """Keep the nuclei of a block, all or nothing."""
        bits = np.concatenate([np.zeros(0, bool), *(mask.ravel() for mask in objects.masks)])
        with replacing(self._path(number)) as temporary:
            np.savez(
                temporary,
                boxes=objects.boxes,
                masks=np.packbits(bits),
                probability=objects.probability,
                haematoxylin=objects.haematoxylin,
            )

    def read(self, number: int) -> Objects:
        """The nuclei of a block.

        Raises:
            PipelineError: its file is damaged.
        """
        path = self._path(number)
        try:
            with np.load(path, allow_pickle=False) as file:
                boxes, packed = file["boxes"], file["masks"]
                probability, haematoxylin = file["probability"], file["haematoxylin"]
        except (ValueError, KeyError, EOFError, BadZipFile) as error:
            raise PipelineError(f"{path} is damaged ({error}); delete it and run again") from error
        sides = boxes[:, 2:] - boxes[:, :2]
        ends = np.cumsum(sides.prod(axis=1))
        bits = np.split(np.unpackbits(packed).view(bool), ends)[:-1] if len(ends) else []
        masks = [mask.reshape(side) for mask, side in zip(bits, sides.tolist(), strict=True)]
        return Objects(boxes, masks, probability, haematoxylin)

    def _path(self, number: int) -> Path:
        return self._folder / BLOCK.replace("*", f"{number:08d}")


def segment_blocks(
    stream: Stream,
    read: Read,
    finished: Finished,
    classes: Sequence[str],
    settings: NucleiSettings,
    scale: float,
    *,
    wanted: Wanted = everywhere,
    progress: Progress | None = None,
) -> None:
    """Find the nuclei of all blocks that are not finished.

    They are those of the whole image, if none is larger than the halo allows: nuclei are told apart
    by what is around them. Where two blocks see a nucleus differently, the first one's is kept, and
    no pixel belongs to two.

    Args:
        stream: the image's probabilities.
        read: its pixels, as they were scanned; it is called in another thread than `stream` reads.
        finished: where blocks are kept.
        classes: of the model's outputs.
        settings: how nuclei are told apart, in the model's pixels.
        scale: the model's pixels per pixel of the image.
        wanted: blocks whose core it does not want have no nuclei of their own.
        progress: is told how many blocks are done, and the nuclei in them.

    Raises:
        PipelineError: as `nuclei_from_predictions`.
    """
    blocks = finished.blocks
    active = np.array([wanted(block.core) for block in blocks])
    numbers = np.flatnonzero(active).tolist()
    unfinished = [number for number in numbers if number not in finished]
    done = len(blocks) - len(unfinished)
    nuclei = sum(len(objects) for objects in finished) if progress else 0
    following = iter(unfinished)  # in the order of the stream's regions

    def finish(predictions: Probabilities) -> int:
        number = next(following)
        labels = nuclei_from_predictions(predictions, classes, settings, scale)
        # Who is not to decide later: blocks before this one, and those that are left out.
        decided = ~active
        decided[:number] = True
        before = [finished.read(n) for n in blocks.around(number) if n < number and n in finished]
        own = _own(labels, blocks, number, decided, before, settings.at(scale).min_area)
        probability = predictions[..., list(classes).index(NUCLEUS)]
        objects = _measured(own, blocks[number].seen, probability, read)
        finished.write(number, objects)
        return len(objects)

    # The model works on the next block meanwhile. Both are closed at once where one fails: their
    # threads read the image, which the caller will close.
    with (
        closing(stream.regions([blocks[number].seen for number in unfinished])) as predicted,
        closing(overlapped(finish, predicted)) as each,
    ):
        for found in each:
            done, nuclei = done + 1, nuclei + found
            if progress:
                progress(done, nuclei)


def _own(
    labels: Labels,
    blocks: Blocks,
    number: int,
    decided: Mask,
    before: Sequence[Objects],
    min_area: int,
) -> Labels:
    """The nuclei of what a block sees that are its own, without the pixels of those before.

    A nucleus whose middle is in a decided block is its own too, if nobody has it: there it may have
    looked different, with its middle here.
    """
    (core, seen), found = blocks[number], ndimage.find_objects(labels)
    boxes = _boxes(found, seen)
    owners = blocks.owners(boxes)
    lost = decided[owners] & _over(boxes, core) & ~_cut(boxes, seen, blocks)
    own = (owners == number) | lost
    kept = labels.copy()
    for place in np.flatnonzero(~own).tolist():
        part = kept[found[place]]
        part[part == place + 1] = 0
    claimed, areas = _claimed(before, seen)
    if len(areas):
        for place in np.flatnonzero(own).tolist():
            box = found[place]
            _yield(kept[box], place + 1, claimed[box], areas, min_area)
    return kept


def _yield(
    labels: Labels,
    label: int,
    claimed: npt.NDArray[np.int32],
    areas: npt.NDArray[np.int64],
    min_area: int,
) -> None:
    """Take from a nucleus, in place, the pixels of others; all if it is one of them."""
    nucleus = labels == label
    others = claimed[nucleus]
    if not others.any():
        return
    shared = np.bincount(others, minlength=len(areas))
    free, shared[0] = shared[0], 0
    same = shared > SAME_NUCLEUS * (areas + len(others) - shared)
    labels[nucleus & (claimed > 0)] = 0
    parts, _ = ndimage.label(nucleus & (claimed == 0), EDGES)
    sizes = np.bincount(parts.ravel())[1:]
    if same[1:].any() or 2 * free < len(others) or sizes.max() < min_area:
        labels[nucleus] = 0
    else:
        labels[nucleus & (parts != 1 + sizes.argmax())] = 0


def _claimed(
    before: Sequence[Objects], seen: Region
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
    """Which pixels of a region others have, numbered from 1, and the area of each of these."""
    claimed = np.zeros((seen.bottom - seen.top, seen.right - seen.left), np.int32)
    areas: list[int] = []
    for objects in before:
        for place in np.flatnonzero(_over(objects.boxes, seen)).tolist():
            top, left = objects.boxes[place, :2].tolist()
            y, x = max(top, seen.top), max(left, seen.left)
            mask = objects.masks[place]
            areas.append(int(mask.sum()))
            inside = mask[y - top : seen.bottom - top, x - left : seen.right - left]
            y, x = y - seen.top, x - seen.left
            claimed[y : y + inside.shape[0], x : x + inside.shape[1]][inside] = len(areas)
    return claimed, np.array([0, *areas] if areas else [], np.int64)


def _measured(
    labels: Labels, seen: Region, probability: npt.NDArray[np.float16], read: Read
) -> Objects:
    """Nuclei as objects, with what is measured of each.

    Args:
        labels: (height, width) of a region.
        seen: the region.
        probability: (height, width) P(nucleus).
        read: the image's pixels.
    """
    found = ndimage.find_objects(labels)
    there = [place for place, box in enumerate(found) if box is not None]
    if not there:
        return Objects.none()
    boxes = _boxes([found[place] for place in there], seen)
    masks = [labels[found[place]] == place + 1 for place in there]
    top, left = (boxes[:, :2].min(axis=0) - (seen.top, seen.left)).tolist()
    bottom, right = (boxes[:, 2:].max(axis=0) - (seen.top, seen.left)).tolist()
    part = (slice(top, bottom), slice(left, right))
    inside = np.flatnonzero(labels[part])
    of = labels[part].ravel()[inside]
    pixels = read(top + seen.top, left + seen.left, bottom - top, right - left)
    colours = pixels.reshape(-1, 3)[inside]
    red, green, blue = (HAEMATOXYLIN[:, channel][colours[:, channel]] for channel in range(3))
    density = red + green + blue
    areas = np.bincount(of)

    def mean(values: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
        total = np.bincount(of, weights=values)[1:]
        return (total[there] / areas[1:][there]).astype(np.float32)

    return Objects(boxes, masks, mean(probability[part].ravel()[inside]), mean(density))


def _boxes(found: Sequence[tuple[slice, slice]], seen: Region) -> npt.NDArray[np.int64]:
    """Boxes `y0, x0, y1, x1` in pixels of the image, (n, 4), from slices of a region."""
    boxes = [(y.start, x.start, y.stop, x.stop) for y, x in found]
    origin = np.array([seen.top, seen.left] * 2)
    return np.asarray(np.array(boxes, np.int64).reshape(-1, 4) + origin)


def _over(boxes: npt.NDArray[np.int64], region: Region) -> Mask:
    """Which boxes have a pixel of a region."""
    starts = (boxes[:, :2] < (region.bottom, region.right)).all(axis=1)
    return np.asarray(starts & (boxes[:, 2:] > (region.top, region.left)).all(axis=1))


def _cut(boxes: npt.NDArray[np.int64], seen: Region, blocks: Blocks) -> Mask:
    """Which boxes end where a region does and the image does not."""
    top, bottom, left, right = seen
    at = boxes == (top, left, bottom, right)
    return np.asarray((at & (boxes != (0, 0, blocks.height, blocks.width))).any(axis=1))
