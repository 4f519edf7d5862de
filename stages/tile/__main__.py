"""Stage `tile`: images to splits, padded arrays and windows, `data/tiles/<split>/`."""

import argparse
import csv
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import get_args

from monuseg.core.command import parser, run
from monuseg.core.errors import tell
from monuseg.core.files import naming, replacing_all
from monuseg.core.parallel import parallel_each
from monuseg.formats.manifest import ImageRecord, Split, SplitRecord, read_records, write_records
from monuseg.formats.paths import MASKS, RAW, SPLITS, TILES
from monuseg.formats.tiles import COLUMNS, INDEX
from stages.tile.params import TileParams
from stages.tile.splits import remarks, split_images
from stages.tile.tiles import Tiled, write_tiles


def main(arguments: argparse.Namespace) -> None:
    """Assign each image to a split, then write the arrays and the index of each split."""
    params = TileParams.load()
    manifest = read_records(RAW / "manifest.csv", ImageRecord)
    records = split_images(manifest, params)
    used = {record.id for record in records}
    said = remarks([record for record in manifest if record.id in used])
    splits = get_args(Split)
    summary = []
    with replacing_all(SPLITS, *(TILES / split for split in splits)) as (table, *folders):
        for split, folder in zip(splits, folders, strict=True):
            members = [record for record in records if record.split == split]
            folder.mkdir()
            with naming(folder):
                write = partial(
                    write_tiles,
                    raw=RAW.absolute(),
                    masks=MASKS.absolute(),
                    folder=folder,
                    size=params.size,
                    stride=params.stride,
                )
                written, tiles = _write_split(write, members, folder / INDEX, f"tile {split}")
            said += _remarks_on_rescaled(members, written)
            summary.append(f"{split}: {len(members)} images, {tiles} tiles")
        write_records(table, records)
    # Only now, so that an error stands alone.
    for remark in said:
        tell(remark)
    print("\n".join(summary))


def _write_split(
    write: Callable[[SplitRecord], Tiled], records: Sequence[SplitRecord], index: Path, title: str
) -> tuple[list[Tiled], int]:
    """Write the images of a split and its index, row by row: there may be millions.

    Returns:
        What was written of each image, without its rows; and how many rows there are.
    """
    written = []
    tiles = 0
    with index.open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        table.writeheader()

        def take(image: Tiled) -> None:
            nonlocal tiles
            tiles += len(image.rows)
            table.writerows(image.rows)
            written.append(replace(image, rows=[]))

        parallel_each(write, records, take, title=title)
    return written, tiles


def _remarks_on_rescaled(records: Sequence[SplitRecord], written: Sequence[Tiled]) -> list[str]:
    """How many images were rescaled and from what, and which lost nuclei by it."""
    said = []
    changed = [record for record in records if record.scale != 1]
    if changed:
        values = Counter(f"{record.um_per_pixel:.2g}" for record in changed)
        said.append(
            f"{changed[0].split}: {len(changed)} of {len(records)} images rescaled to "
            f"{changed[0].tiled_um_per_pixel:g} um per pixel, from "
            + ", ".join(f"{value} ({values[value]})" for value in sorted(values))
        )
    for record, image in zip(records, written, strict=True):
        if image.vanished:
            said.append(
                f"{record.id}: {image.vanished} of {image.nuclei} nuclei are too small for a pixel "
                f"at {record.tiled_um_per_pixel:g} um per pixel, and missing in the tiles"
            )
    return said


if __name__ == "__main__":
    run(main, parser(__doc__).parse_args())
