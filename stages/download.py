"""Stage `download`: the archives of the chosen source, verified, in data/archives/."""

import argparse

from stages.command import parser, run
from stages.dataset.sources.collect import collect
from stages.files import replacing_folder
from stages.params.dataset import DatasetParams
from stages.params.settings import Settings
from stages.paths import ARCHIVES


def main(arguments: argparse.Namespace) -> None:
    """Bring the archives in."""
    params = DatasetParams.load()
    with replacing_folder(ARCHIVES) as folder:
        archives = collect(params, Settings.from_environment(), folder)
    for archive in archives:
        print(ARCHIVES / archive.name)


if __name__ == "__main__":
    run(main, parser(__doc__).parse_args())
