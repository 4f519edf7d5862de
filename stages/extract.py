"""Stage `extract`: archives of any known layout to one plain folder, data/raw/."""

import argparse

from stages.command import parser, run
from stages.dataset.archives import archive_paths
from stages.dataset.manifest import TRAIN, write_records
from stages.dataset.raw import write_raw
from stages.files import replacing_folder
from stages.params.extract import ExtractParams
from stages.paths import ARCHIVES, RAW


def main(arguments: argparse.Namespace) -> None:
    """Unpack images and annotations, and write the manifest."""
    params = ExtractParams.load()
    with replacing_folder(RAW) as folder:
        records = write_raw(archive_paths(ARCHIVES), folder, max_bytes=params.max_bytes)
        write_records(folder / "manifest.csv", records)
    training = sum(record.part == TRAIN for record in records)
    print(f"{len(records)} images: {training} for training, {len(records) - training} for testing")


if __name__ == "__main__":
    run(main, parser(__doc__).parse_args())
