"""Stage `download`: the archives of the chosen source, verified, in data/archives/."""

import argparse

from monuseg.core.command import parser, run
from monuseg.core.files import replacing_folder
from monuseg.core.settings import Settings
from monuseg.formats.paths import ARCHIVES
from stages.download.params import DatasetParams
from stages.download.sources.collect import collect


def main(arguments: argparse.Namespace) -> None:
    """Bring the archives in."""
    params = DatasetParams.load()
    with replacing_folder(ARCHIVES) as folder:
        archives = collect(params, Settings.from_environment(), folder)
    for archive in archives:
        print(ARCHIVES / archive.name)


if __name__ == "__main__":
    run(main, parser(__doc__).parse_args())
