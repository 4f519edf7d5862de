"""Stage `tile`: images to splits, padded arrays and windows, `data/tiles/<split>/`."""

import argparse
from collections import Counter
from collections.abc import Sequence
from functools import partial
from typing import get_args

import pandas as pd

from monuseg.core.command import parser, run
from monuseg.core.errors import tell
from monuseg.core.files import naming, replacing_all
from monuseg.core.parallel import parallel_map
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
                written = parallel_map(write, members, title=f"tile {split}")
                rows = [row for image in written for row in image.rows]
                index = pd.DataFrame(rows, columns=COLUMNS)
                index.to_csv(folder / INDEX, index=False, lineterminator="\n")
            said += _remarks_on_rescaled(members, written)
            summary.append(f"{split}: {len(members)} images, {len(rows)} tiles")
        write_records(table, records)
    # Only now, so that an error stands alone.
    for remark in said:
        tell(remark)
    print("\n".join(summary))


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
