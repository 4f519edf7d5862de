"""Stage `extract`: archives of any known layout to one plain folder, data/raw/."""

import argparse

from monuseg.core.command import parser, run
from monuseg.core.files import replacing_folder
from monuseg.formats.manifest import TRAIN, write_records
from monuseg.formats.paths import ARCHIVES, RAW
from stages.extract.archives import archive_paths
from stages.extract.params import ExtractParams
from stages.extract.raw import write_raw


def main(arguments: argparse.Namespace) -> None:
    """Unpack images and annotations, and write the manifest."""
    params = ExtractParams.load()
    with replacing_folder(RAW) as folder:
        records = write_raw(
            archive_paths(ARCHIVES),
            folder,
            max_bytes=params.max_bytes,
            annotations=params.annotations,
            um_per_pixel=params.um_per_pixel,
        )
        write_records(folder / "manifest.csv", records)
    training = sum(record.part == TRAIN for record in records)
    print(f"{len(records)} images: {training} for training, {len(records) - training} for testing")


if __name__ == "__main__":
    run(main, parser(__doc__).parse_args())
