"""Stage `train@MODEL`: train one model on data/tiles/train; the test images are never read."""

import argparse
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pandas as pd

from monuseg.core.command import parser, run
from monuseg.core.errors import PipelineError
from monuseg.core.files import replacing
from monuseg.core.settings import Settings
from monuseg.formats.paths import HISTORY, MODELS, TILES
from monuseg.formats.tiles import OnDemand, TiledImage, read_tiles
from monuseg.inference.stain import AS_IT_IS, NORMALISATIONS
from monuseg.models.shared import backend
from monuseg.models.shared.devices import on_one_device, spread
from stages.train.live import curves_of
from stages.train.params import TrainParams
from stages.train.stains import random_stains
from stages.train.stored import Stored


def main(arguments: argparse.Namespace) -> None:
    """Write data/models/MODEL.weights.h5 and .json, and metrics/history/MODEL.csv."""
    params = TrainParams.load()
    runtime = backend.configure(params, params.seed, together=params.devices != 1)
    devices = spread(params.devices, runtime)
    if params.batch_size % devices:
        raise PipelineError(
            f"params.yaml: train.batch_size: {params.batch_size} is not divisible by {devices} "
            "devices; change it, or train.devices"
        )
    # Only now, since these import Keras, and Keras reads its backend when it is imported.
    from monuseg.models.shared import registry, store
    from stages.train.batches import Batches
    from stages.train.checkpoint import opened
    from stages.train.identity import training_key
    from stages.train.loop import compile_for_training, fit

    architecture = registry.architecture(arguments.model)
    model_params = architecture.params.load()
    if params.crop % architecture.divisor:
        raise PipelineError(
            f"params.yaml: train.crop: {params.crop} is not divisible by {architecture.divisor}, "
            f"as {arguments.model} needs"
        )
    model_params.require_crop(params.crop)
    training, validation = (read_tiles(TILES / split) for split in ("train", "validation"))
    if not training:
        raise PipelineError("data/tiles/train has no image; change tile.protocol in params.yaml")

    if params.keep == "best" and not validation:
        raise PipelineError(
            "params.yaml: train.keep: best needs validation images, and tile.validation holds none "
            "out; set train.keep to last, or hold some out"
        )
    model = architecture.build(model_params, len(params.outputs))
    architecture.initialise(model, model_params)
    coarse = architecture.coarse_features(model_params)
    if params.deep_supervision and not coarse:
        raise PipelineError(
            f"params.yaml: train.deep_supervision: {arguments.model} names no coarse features to "
            "supervise; set it to 0"
        )
    learner = compile_for_training(
        model,
        params,
        model_params.learning_rate,
        jit_compile=runtime.jit_compile,
        coarse=coarse,
        shares=architecture.learning_rates(model, model_params),
    )
    print(
        f"{arguments.model}: {model.count_params():,} parameters, {len(training)} training and "
        f"{len(validation)} validation images, {runtime}"
        + (f", {devices} devices" if devices > 1 else "")
    )

    settings = Settings.from_environment()
    is_first = settings.process_index == 0
    read = [block.model_dump(mode="json") for block in (params, model_params)]
    key = training_key(
        [arguments.model, read, asdict(runtime), devices, backend.versions()],
        initial=model.get_weights(),
        folders=[TILES / "train", TILES / "validation"],
    )
    scratch = settings.scratch / "training"
    with (
        opened(scratch, arguments.model, key, settings.checkpoint_seconds)
        if is_first
        else nullcontext()
    ) as checkpoint:
        targets = random_stains(
            (image.image for image in training),
            params.augmentation.stain_targets,
            normalised=params.stain_normalisation != AS_IT_IS,
        )
        training, validation = (
            normalised(images, params.stain_normalisation, scratch)
            for images in (training, validation)
        )
        draw = curves_of(arguments.model) if is_first else lambda row: None

        def progress(row: Mapping[str, float | None]) -> None:
            if is_first:
                _print_row(row)
            draw(row)

        trained = fit(
            model,
            # A GPU outruns one thread; on a CPU more would take the backend's cores.
            Batches(
                training,
                params,
                model_params.scaling,
                workers=settings.workers if runtime.gpu else 1,
                part=(settings.process_index, settings.processes),
                scratch=scratch,
                stains=targets,
            ),
            validation,
            params,
            scaling=model_params.scaling,
            divisor=architecture.divisor,
            progress=progress,
            restored=draw,
            checkpoint=checkpoint,
            learner=learner,
        )
        if not is_first:
            return
        on_one_device()
        card = store.Card(
            model=arguments.model,
            params=model_params.model_dump(),
            classes=list(params.outputs),
            scaling=model_params.scaling,
            um_per_pixel=round(float(np.mean([image.um_per_pixel for image in training])), 6),
            epoch=trained.epoch,
            seed=params.seed,
            versions=backend.versions(),
            stain_normalisation=params.stain_normalisation,
            precision=runtime.precision,
        )
        store.save(MODELS, card, trained.weights)
        with replacing(HISTORY / f"{arguments.model}.csv") as temporary:
            pd.DataFrame(trained.history).to_csv(
                temporary, index=False, lineterminator="\n", float_format="%.6g"
            )


def normalised(images: Sequence[TiledImage], name: str, scratch: Path) -> Sequence[TiledImage]:
    """The images with their stains normalised by one of `NORMALISATIONS`, stored in `scratch`."""
    if name == AS_IT_IS:
        return images
    pixels = Stored(scratch)
    for image in images:
        pixels.append(NORMALISATIONS[name](image.image))
    return OnDemand(lambda place: replace(images[place], image=pixels[place]), len(images))


def _print_row(row: Mapping[str, float | None]) -> None:
    print(", ".join(f"{k} {v:.4g}" for k, v in row.items() if v is not None), flush=True)


if __name__ == "__main__":
    command = parser(__doc__)
    command.add_argument("model", help="name of a folder in monuseg/models, such as unet")
    run(main, command.parse_args())
