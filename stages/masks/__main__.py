"""Stage `masks`: annotations to instance label maps, `data/masks/<id>.png`."""

import argparse
from dataclasses import asdict
from functools import partial

import pandas as pd

from monuseg.core.command import parser, run
from monuseg.core.errors import tell
from monuseg.core.files import replacing_folder
from monuseg.core.parallel import parallel_map
from monuseg.formats.manifest import ImageRecord, read_records
from monuseg.formats.paths import MASKS, RAW
from stages.masks.label_maps import Remark, write_mask
from stages.masks.params import MasksParams
from stages.masks.report import lines, require_known


def main(arguments: argparse.Namespace) -> None:
    """Write a label map for each image of the manifest, and what became of its regions."""
    params = MasksParams.load()
    records = read_records(RAW / "manifest.csv", ImageRecord)
    with replacing_folder(MASKS) as folder:
        write = partial(write_mask, raw=RAW.absolute(), folder=folder, params=params)
        written = parallel_map(write, records, title="masks")
        require_known(params.layers, written)
        remarks = [asdict(remark) for one in written for remark in one.remarks]
        columns = list(Remark.__dataclass_fields__)
        pd.DataFrame(remarks, columns=columns).to_csv(
            folder / "regions.csv", index=False, lineterminator="\n"
        )
        counts = pd.DataFrame([asdict(one.count) for one in written])
        counts.to_csv(folder / "counts.csv", index=False, lineterminator="\n")
    for line in lines(written, params.layers):
        tell(line)
    print(f"{counts['nuclei'].sum()} nuclei from {counts['regions'].sum()} regions")


if __name__ == "__main__":
    run(main, parser(__doc__).parse_args())
