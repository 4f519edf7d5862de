"""Ship the networks of a run with the package: monuseg/segment/pretrained/.

`python -m tools.pretrain [unet segnet ...]` takes `data/models` and the settings that stage
evaluate chose on validation images. Kernels are kept in half precision; vectors, whose range that
would not hold, in single. With several networks their mean is shipped as `ensemble` too.
MODEL_CARD.md there says what they are, from `metrics/` and `params.yaml`.
"""

import argparse
import hashlib
import io
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
from jinja2 import StrictUndefined, Template

from monuseg.core.command import parser, run
from monuseg.core.errors import PipelineError
from monuseg.core.files import replacing_all, write_text
from monuseg.core.params import read_params
from monuseg.core.paths import METRICS
from monuseg.formats.files import read_json, write_json
from monuseg.formats.manifest import TEST, TRAIN, VALIDATION, SplitRecord, read_records
from monuseg.formats.paths import MODELS, PREDICTIONS, SPLITS
from monuseg.formats.rows import ENSEMBLE
from monuseg.nuclei.chosen import read_chosen
from monuseg.segment.models import CARD, WEIGHTS
from monuseg.segment.options import PRETRAINED, SETTINGS
from tools.models import model_names

TEMPLATE = Path(__file__).with_name("model_card.md.j2")
SCORES = ["dice", "aji", "pq"]
NUCLEI = ["true_positives", "false_negatives", "false_positives"]


def main(arguments: argparse.Namespace) -> None:
    """Write the weights, cards and settings.

    Raises:
        PipelineError: a network was not trained or not evaluated.
    """
    names = arguments.models or model_names()
    rows = [*names, ENSEMBLE] if len(names) > 1 else names
    for row in rows:
        settings(row, names if row == ENSEMBLE else [row])
    write_text(PRETRAINED / "MODEL_CARD.md", card_page(rows, names))


def settings(row: str, names: Sequence[str]) -> None:
    """Write what `monuseg segment --model ROW` needs, all or nothing.

    Args:
        row: of the scores.
        names: of its networks.
    """
    chosen, _ = read_chosen(PREDICTIONS, row)
    contents = {name: halved(MODELS / f"{name}{WEIGHTS}") for name in names}
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    places = [PRETRAINED / f"{row}{SETTINGS}"]
    places += [PRETRAINED / f"{name}{suffix}" for name in names for suffix in (WEIGHTS, CARD)]
    with replacing_all(*places) as [settings_file, *files]:
        write_json(settings_file, {"sha256": hashes, "settings": asdict(chosen)})
        for name, weights, card in zip(names, files[::2], files[1::2], strict=True):
            weights.write_bytes(contents[name])
            write_json(card, read_json(MODELS / f"{name}{CARD}"))


def halved(path: Path) -> bytes:
    """A weights file with kernels, arrays of more than one axis, in half precision.

    Raises:
        PipelineError: it is missing or damaged, or a weight is beyond half precision.
    """
    if not path.is_file():
        raise PipelineError(f"{path} is missing; run `dvc repro`")
    content = io.BytesIO()
    with h5py.File(path) as given, h5py.File(content, "w") as made:

        def keep(name: str, node: Any) -> None:
            if not isinstance(node, h5py.Dataset):
                made.require_group(name).attrs.update(node.attrs)
                return
            array = node[()]
            packed: dict[str, Any] = {}
            if array.ndim > 1:
                packed = {"compression": "gzip", "compression_opts": 9, "shuffle": True}
                with np.errstate(over="ignore"):
                    array = array.astype(np.float16)
                if not np.isfinite(array).all():
                    raise PipelineError(f"{path}: {name}: beyond half precision; train it again")
            made.create_dataset(name, data=array, **packed).attrs.update(node.attrs)

        given.visititems(keep)
    return content.getvalue()


def card_page(rows: Sequence[str], names: Sequence[str]) -> str:
    """MODEL_CARD.md, of what `metrics/`, `params.yaml` and the shipped files hold.

    Args:
        rows: that are shipped.
        names: of the networks among them.
    """
    table = pd.read_csv(METRICS / "per_image" / f"{rows[-1]}.csv")
    test = table[table["split"] == TEST]
    splits = [record.split for record in read_records(SPLITS, SplitRecord)]
    cards = {name: read_json(PRETRAINED / f"{name}{CARD}") for name in names}
    page: str = Template(
        TEMPLATE.read_text(encoding="utf-8"), undefined=StrictUndefined, keep_trailing_newline=True
    ).render(
        um_per_pixel=cards[names[0]]["um_per_pixel"],
        images={split: splits.count(split) for split in (TRAIN, VALIDATION, TEST)},
        train=read_params()["train"],
        scores={row: read_json(METRICS / f"{row}.json")[TEST] for row in rows},
        row=rows[-1],
        organs=[
            (organ, len(group), *group[SCORES].mean()) for organ, group in test.groupby("organ")
        ],
        worst=test.sort_values("dice").iloc[0],
        nuclei={kind: int(test[f"nucleus_{kind}"].sum()) for kind in NUCLEI},
        files=[_described(name, cards[name]) for name in names],
    )
    return page


def _described(name: str, card: dict[str, Any]) -> dict[str, object]:
    content = (PRETRAINED / f"{name}{WEIGHTS}").read_bytes()
    return {
        "name": f"{name}{WEIGHTS}",
        "network": ", ".join(
            f"{key} {value}" for key, value in card["params"].items() if key != "learning_rate"
        ),
        "kilobytes": round(len(content) / 1000),
        "sha256": hashlib.sha256(content).hexdigest(),
    }


if __name__ == "__main__":
    command = parser(__doc__)
    command.add_argument("models", nargs="*", help="names of networks; default: all of params.yaml")
    run(main, command.parse_args())
