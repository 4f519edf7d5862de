"""Stage `masks`: annotations to instance label maps, `data/masks/<id>.png`."""

import argparse
from dataclasses import asdict
from functools import partial

import pandas as pd

from monuseg.core.command import parser, run
from monuseg.core.files import replacing_folder
from monuseg.core.parallel import parallel_map
from monuseg.formats.manifest import ImageRecord, read_records
from monuseg.formats.paths import MASKS, RAW
from stages.masks.label_maps import CLIPPED, Remark, write_mask
from stages.masks.params import MasksParams


def main(arguments: argparse.Namespace) -> None:
    """Write a label map for each image of the manifest, and what became of its regions."""
    params = MasksParams.load()
    records = read_records(RAW / "manifest.csv", ImageRecord)
    with replacing_folder(MASKS) as folder:
        write = partial(
            write_mask, raw=RAW.absolute(), folder=folder, rasterisation=params.rasterisation
        )
        written = parallel_map(write, records, title="masks")
        remarks = [asdict(remark) for _, of_image in written for remark in of_image]
        columns = list(Remark.__dataclass_fields__)
        pd.DataFrame(remarks, columns=columns).to_csv(
            folder / "regions.csv", index=False, lineterminator="\n"
        )
        counts = pd.DataFrame([asdict(count) for count, _ in written])
        counts.to_csv(folder / "counts.csv", index=False, lineterminator="\n")
    for remark in remarks:
        if remark["remark"] != CLIPPED:
            print("{id}: layer {layer}, region {region}: {remark}".format(**remark))
    print(f"{counts['nuclei'].sum()} nuclei from {counts['regions'].sum()} regions")


if __name__ == "__main__":
    run(main, parser(__doc__).parse_args())
