"""Choose and score on all training images: each predicted by a network that never saw its patient.

`python -m tools.cross_validate segnet --output FOLDER` trains the model once a fold of whole
patients, keeps the probabilities of the images held out, and chooses threshold and settings of
nuclei on these out-of-fold probabilities, of 30 images rather than a few. FOLDER holds them,
every candidate's scores, and `per_image.csv`, which `python -m tools.compare` sets beside that of
another recipe (`--split validation`). The folds' networks are an ensemble: `monuseg segment --model
FOLDER` applies their mean with the chosen settings. No stage of the graph: it changes params.yaml,
runs `dvc repro`, and puts params.yaml back. Test images are not looked at. Interrupted, the same
command goes on; with another block `evaluate` it chooses anew on the folds that stand.
"""

import argparse
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from functools import partial
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from monuseg.core.command import parser, run
from monuseg.core.errors import PipelineError
from monuseg.core.files import replacing_all
from monuseg.core.parallel import begin_as_worker, outcome_of, parallel_map
from monuseg.core.params import read_params
from monuseg.formats.files import read_json, write_json
from monuseg.formats.manifest import TEST, VALIDATION, SplitRecord, read_records
from monuseg.formats.paths import MASKS, MODELS, SPLITS
from monuseg.formats.predictions import read_output
from monuseg.formats.rows import ModelsParams
from monuseg.segment.folds import NOTE, PREDICTED, network, settings_of
from stages.evaluate import summary
from stages.evaluate.choices import choose
from stages.evaluate.images import Row, score_image
from stages.evaluate.params import EvaluateParams
from stages.predict.images import predict
from tools import dvc
from tools.preset import apply, params_put_back, parsed

CANDIDATES, TABLE = "candidates.json", "per_image.csv"


def main(arguments: argparse.Namespace) -> None:
    """Train the folds that the output lacks, then choose, score and print.

    Raises:
        PipelineError: the model is none, a change is unknown or invalid, or the output is of other
            parameters, and nothing ran; or a fold failed, and the output holds those before.
            params.yaml is as it was.
    """
    model, output = arguments.model, arguments.output
    if model not in (names := ModelsParams.load().names):
        raise PipelineError(f"{model} is no model of params.yaml; there are {', '.join(names)}")
    changes = parsed(arguments.set)
    with params_put_back():
        # More folds than patients are reported before the first has trained, if ids are known.
        last = arguments.folds - 1
        for fold in (last, 0):
            apply([*changes, *_folds(fold, arguments.folds)])
        # No fold depends on how is chosen.
        params = {key: block for key, block in read_params().items() if key != EvaluateParams.key}
        setting = {"model": model, "folds": arguments.folds, "params": params}
        begun = _is_begun(output, setting)
        if not _stands(output, last):
            # The ids of other data are known to stage tile alone, which refuses too many folds.
            apply(_folds(last, arguments.folds))
            dvc.reproduce("tile")
        if not begun:
            write_json(output / NOTE, setting)
        for fold in range(arguments.folds):
            apply(_folds(fold, arguments.folds))
            if _stands(output, fold):
                print(f"fold {fold + 1} of {arguments.folds}: stands in {output}")
                continue
            print(f"fold {fold + 1} of {arguments.folds}", flush=True)
            # Chosen with another network in this one's place.
            settings_of(output).unlink(missing_ok=True)
            dvc.reproduce(f"train@{model}")
            _keep(model, output, fold)
        # Where all folds stood, data/ may be of other parameters.
        dvc.reproduce("tile")
        _choose(model, output, EvaluateParams.load())


def _folds(fold: int, folds: int) -> list[tuple[str, Any]]:
    block = "tile.validation"
    return [(f"{block}.method", "fold"), (f"{block}.folds", folds), (f"{block}.fold", fold)]


def _stands(output: Path, fold: int) -> bool:
    return all(file.is_file() for file in network(output, fold))


def _is_begun(output: Path, setting: dict[str, Any]) -> bool:
    """Whether the output holds folds of this setting already, rather than nothing."""
    path = output / NOTE
    if path.exists():
        try:
            stands = read_json(path)
        except ValueError as error:
            raise PipelineError(
                f"{path} is no valid JSON ({error}); give another --output, or move {output} away"
            ) from error
        if stands != setting:
            raise PipelineError(
                f"{path}: of another model or other parameters; give another --output, or move "
                f"{output} away"
            )
        return True
    if output.is_dir() and any(output.iterdir()):
        raise PipelineError(f"{output}: not empty, and no cross-validation; give another --output")
    return False


def _keep(model: str, output: Path, fold: int) -> None:
    """Keep a fold's probabilities of the images held out, then its weights: they say it is done."""
    records = [one for one in read_records(SPLITS, SplitRecord) if one.split == VALIDATION]
    predict_apart(model, records, output / PREDICTED / model)
    with replacing_all(*network(output, fold)) as [card, weights]:
        shutil.copyfile(MODELS / f"{model}.json", card)
        shutil.copyfile(MODELS / f"{model}.weights.h5", weights)


def predict_apart(model: str, records: Sequence[SplitRecord], folder: Path) -> None:
    """`predict` in a process of its own: one process configures Keras, and loads a model, once.

    Raises:
        PipelineError: as `predict`; or the process was killed.
    """
    context = get_context("spawn")
    received, sent = context.Pipe(duplex=False)
    # The function travels by name, so that tests can give another.
    work = partial(predict, model, records)
    child = context.Process(target=_send_outcome, args=(sent, work, folder, os.getpid()))
    child.start()
    sent.close()
    try:
        _, error = received.recv()
    except EOFError:
        raise PipelineError(
            f"{model}: the process that predicts a fold was killed, most often for lack of memory; "
            "run the same command again, with less beside it"
        ) from None
    except BaseException:
        child.kill()  # there is no time to wait for it
        raise
    finally:
        child.join()
    if error is not None:
        raise error


def _send_outcome(
    sent: Connection, work: Callable[[Path], None], folder: Path, parent: int
) -> None:
    begin_as_worker(parent)
    sent.send(outcome_of(work, folder))


def _choose(model: str, output: Path, params: EvaluateParams) -> None:
    """Choose on all folds' probabilities, score them with that, and write and print both."""
    members = [
        replace(one, split=VALIDATION)
        for one in read_records(SPLITS, SplitRecord)
        if one.split != TEST
    ]
    predictions = output.absolute() / PREDICTED / model
    row = Row(predictions, read_output(predictions).classes, MASKS.absolute())
    # What params give for the row is what this is to replace.
    free = params.model_copy(update={"settings": {}})
    choices = choose(members, row, free, probabilities=True)
    files = (output / TABLE, output / CANDIDATES, settings_of(output))
    # Together, so that no score stands beside settings of another choice.
    with replacing_all(output / "nuclei", *files) as [nuclei, table, candidates, settings]:
        nuclei.mkdir()
        score = partial(score_image, row=row, settings=choices.settings, nuclei=nuclei)
        images = [image for image, _ in parallel_map(score, members, title=f"score {model}")]
        rows = [summary.per_image(image, probabilities=True) for image in images]
        summary.write_table(table, rows)
        write_json(candidates, choices.as_candidates())
        write_json(settings, choices.as_settings())
    print(f"{model}, {len(images)} images, each held out once:")
    for name in ("dice", "aji", "pq"):
        print(f"  {name} {_mean(rows, name)}")
    chosen = asdict(choices.settings).items()
    print(f"chosen on them: {', '.join(f'{name} {value}' for name, value in chosen)}")


def _mean(rows: Sequence[dict[str, Any]], score: str) -> str:
    defined = [row[score] for row in rows if row[score] is not None]
    return f"{sum(defined) / len(defined):.4f}" if defined else "undefined"


if __name__ == "__main__":
    command = parser(__doc__)
    command.add_argument("model", help="name of a model, such as segnet")
    command.add_argument("--folds", type=int, default=5, help="of patients (default: 5)")
    command.add_argument("--set", nargs="*", default=[], metavar="key=value", help="in every fold")
    command.add_argument("--output", type=Path, required=True, help="folder to write")
    run(main, command.parse_args())
