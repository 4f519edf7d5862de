"""Stage `tile`: images to splits, padded arrays and windows, data/tiles/<split>/."""

import argparse
from functools import partial
from pathlib import Path
from typing import get_args

import pandas as pd

from stages.command import parser, run
from stages.dataset import tiles
from stages.dataset.images import read_labels, read_rgb
from stages.dataset.manifest import (
    TEST,
    TRAIN,
    VALIDATION,
    ImageRecord,
    Split,
    SplitRecord,
    read_records,
    write_records,
)
from stages.dataset.protocol import assign
from stages.dataset.validation import validation_images
from stages.errors import PipelineError
from stages.files import replacing_folder
from stages.parallel import parallel_map
from stages.params.tile import TileParams
from stages.paths import MASKS, RAW, SPLITS, TILES


def main(arguments: argparse.Namespace) -> None:
    """Assign each image to a split, then write the arrays and the index of each split."""
    params = TileParams.load()
    records = read_records(RAW / "manifest.csv", ImageRecord)
    splits = _split(records, params)
    for split in get_args(Split):
        members = [record for record in splits if record.split == split]
        with replacing_folder(TILES / split) as folder:
            write = partial(_write_tiles, folder=folder, size=params.size, stride=params.stride)
            written = parallel_map(write, members, title=f"tile {split}")
            rows = [row for of_image in written for row in of_image]
            index = pd.DataFrame(rows, columns=tiles.COLUMNS)
            index.to_csv(folder / tiles.INDEX, index=False, lineterminator="\n")
        print(f"{split}: {len(members)} images, {len(rows)} tiles")
    write_records(SPLITS, splits)


def _split(records: list[ImageRecord], params: TileParams) -> list[SplitRecord]:
    parts = assign(records, params.protocol)
    training = {record.id: record.organ for record in records if parts.get(record.id) == TRAIN}
    held_out = validation_images(training, params.validation)

    def split_of(image_id: str) -> Split:
        if parts[image_id] == TEST:
            return TEST
        return VALIDATION if image_id in held_out else TRAIN

    return [
        SplitRecord(
            record.id, record.organ, split_of(record.id), record.um_per_pixel, record.annotation
        )
        for record in records
        if record.id in parts
    ]


def _write_tiles(
    record: SplitRecord, *, folder: Path, size: int, stride: int
) -> list[dict[str, object]]:
    image = read_rgb(RAW / f"{record.id}.tif")
    labels = read_labels(MASKS / f"{record.id}.png")
    if labels.shape != image.shape[:2]:
        raise PipelineError(
            f"{MASKS / record.id}.png is {labels.shape[1]} x {labels.shape[0]} pixels, its image "
            f"{image.shape[1]} x {image.shape[0]}; the two must be of one size"
        )
    tiles.write_image(folder, record.id, image, labels, size)
    return tiles.tile_rows(record.id, record.organ, record.um_per_pixel, labels, size, stride)


if __name__ == "__main__":
    run(main, parser(__doc__).parse_args())
