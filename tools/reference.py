"""Keep the results of a real run as metrics/reference/NAME.json.

The report shows what is kept beside the original's numbers. The scores of single images are kept
too, in metrics/reference/per_image/NAME, so that `python -m tools.compare` can set another run
beside this one image by image. Run it in the clone of the real run, after `dvc repro`, and commit
what it wrote.
"""

import argparse
from pathlib import Path

from monuseg.core.command import parser, run
from monuseg.core.errors import PipelineError
from monuseg.core.files import replacing_all, sha256_of
from monuseg.core.params import read_params, validated
from monuseg.core.paths import METRICS
from monuseg.formats import paths
from monuseg.formats.files import read_json, write_json
from monuseg.formats.rows import ModelsParams
from monuseg.scoring.kept_runs import ReferenceRun, kept_scores
from monuseg.scoring.rows import read_rows


def main(arguments: argparse.Namespace) -> None:
    """Write the file and the tables.

    Raises:
        PipelineError: the name or the description is invalid, or the run is incomplete.
    """
    params = read_params()
    models = ModelsParams.load().names
    rows = read_rows(models, METRICS, paths.DETAIL)
    content = {
        "name": arguments.name,
        "description": arguments.description,
        "dataset": {
            "source": params["dataset"]["source"],
            "protocol": params["tile"]["protocol"],
            "archives": archives(paths.ARCHIVES),
        },
        "params": params,
        "backend": params["train"]["backend"],
        "device": arguments.device or params["train"]["device"],
        "versions": versions(models, paths.MODELS),
        "rows": {row.key: kept_scores(row) for row in rows},
    }
    kept: ReferenceRun = validated(ReferenceRun, content, where=f"reference {arguments.name}")
    places = (
        paths.REFERENCE / paths.PER_IMAGE.name / kept.name,
        paths.REFERENCE / f"{kept.name}.json",
    )
    with replacing_all(*places) as [folder, file]:
        folder.mkdir()
        for row in rows:
            (folder / f"{row.key}.csv").write_bytes(table(row.key))
        write_json(file, kept.model_dump(mode="json"))


def table(row: str) -> bytes:
    """The scores of a row's images, as stage evaluate wrote them.

    Raises:
        PipelineError: there is none.
    """
    path = paths.PER_IMAGE / f"{row}.csv"
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise PipelineError(f"{path} is missing; run `dvc repro evaluate@{row}`") from error


def archives(folder: Path) -> list[dict[str, str]]:
    """Name and SHA-256 of every archive, hashed now: what was used, not what was asked for.

    Raises:
        PipelineError: there is none.
    """
    found = sorted(folder.glob("*.zip"))
    if not found:
        raise PipelineError(f"{folder} holds no archive; run `dvc repro download`")
    return [{"name": path.name, "sha256": sha256_of(path)} for path in found]


def versions(models: list[str], folder: Path) -> dict[str, dict[str, str]]:
    """The versions that the card of each model at hand names.

    Raises:
        PipelineError: one names none.
    """
    found: dict[str, dict[str, str]] = {}
    for model in models:
        path = folder / f"{model}.json"
        if path.is_file():
            card = read_json(path)
            if not isinstance(card, dict) or "versions" not in card:
                raise PipelineError(f"{path}: no model's card; run `dvc repro -f train@{model}`")
            found[model] = card["versions"]
    return found


if __name__ == "__main__":
    command = parser(__doc__)
    command.add_argument("name", help="lower-case letters, digits, `.`, `_` and `-`")
    command.add_argument("--description", required=True, help="one sentence for the report")
    command.add_argument("--device", default="", help="what it ran on; else train.device as set")
    run(main, command.parse_args())
