"""Stage `tile`: images to splits, padded arrays and windows, `data/tiles/<split>/`."""

import argparse
from functools import partial
from typing import get_args

import pandas as pd

from monuseg.core.command import parser, run
from monuseg.core.files import replacing_folder
from monuseg.core.parallel import parallel_map
from monuseg.formats.manifest import ImageRecord, Split, read_records, write_records
from monuseg.formats.paths import MASKS, RAW, SPLITS, TILES
from monuseg.formats.tiles import COLUMNS, INDEX
from stages.tile.params import TileParams
from stages.tile.splits import split_images
from stages.tile.tiles import write_tiles


def main(arguments: argparse.Namespace) -> None:
    """Assign each image to a split, then write the arrays and the index of each split."""
    params = TileParams.load()
    records = read_records(RAW / "manifest.csv", ImageRecord)
    splits = split_images(records, params)
    for split in get_args(Split):
        members = [record for record in splits if record.split == split]
        with replacing_folder(TILES / split) as folder:
            write = partial(
                write_tiles,
                raw=RAW.absolute(),
                masks=MASKS.absolute(),
                folder=folder,
                size=params.size,
                stride=params.stride,
            )
            written = parallel_map(write, members, title=f"tile {split}")
            rows = [row for of_image in written for row in of_image]
            index = pd.DataFrame(rows, columns=COLUMNS)
            index.to_csv(folder / INDEX, index=False, lineterminator="\n")
        print(f"{split}: {len(members)} images, {len(rows)} tiles")
    write_records(SPLITS, splits)


if __name__ == "__main__":
    run(main, parser(__doc__).parse_args())
