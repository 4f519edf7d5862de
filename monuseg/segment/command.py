"""Apply a trained model to your own images; not a stage of the graph.

`monuseg segment MODEL IMAGE [IMAGE ...] --output FOLDER [--um-per-pixel 0.5]` writes, for
each image, `<name>.nuclei.png` (16-bit label map) and `<name>.nuclei.csv` (one row per nucleus:
label, centre and area), and `segment.csv` (one row per image). A folder stands for the images in
it. An image that cannot be segmented does not keep the others from it.
"""

import argparse
import errno
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import pandas as pd
from skimage.measure import regionprops_table
from tqdm import tqdm

from monuseg.core.errors import PipelineError, explained, one_line, tell
from monuseg.core.files import replacing, replacing_all
from monuseg.formats.images import RGB, Labels, write_labels
from monuseg.formats.paths import MODELS, PREDICTIONS
from monuseg.formats.scale import scale_of
from monuseg.inference.forward import load_forward
from monuseg.inference.params import PredictParams
from monuseg.inference.sliding_window import Forward
from monuseg.inference.stain import NORMALISATIONS
from monuseg.inference.views import predict_augmented
from monuseg.models.shared.registry import architecture
from monuseg.nuclei.chosen import read_chosen
from monuseg.nuclei.watershed import NucleiSettings, nuclei_from_predictions
from monuseg.readers.raster import decode_rgb
from monuseg.readers.resolution import require_plausible
from monuseg.segment.inputs import (
    LABELS_SUFFIX,
    TABLE_SUFFIX,
    Outcome,
    images_of,
    inspected,
    read_image,
)

SUMMARY = "segment.csv"
# Errors of one result, not of the disk or of the output folder.
OF_ONE = (errno.ENAMETOOLONG, errno.EISDIR)
# From an image and its micrometres per pixel.
Segment = Callable[[RGB, float], Labels]


def main(arguments: argparse.Namespace) -> None:
    """Write the nuclei of each image.

    Raises:
        PipelineError: the model is unknown, not trained or not evaluated, `--um-per-pixel` is none,
            two images have the same name, or, after all others were written, an image failed.
    """
    if arguments.um_per_pixel is not None:
        require_plausible(arguments.um_per_pixel, name="--um-per-pixel")
    divisor = architecture(arguments.model).divisor
    paths = images_of(arguments.images, arguments.output)
    settings, _ = read_chosen(PREDICTIONS, arguments.model)
    params = PredictParams.load()
    forward, card = load_forward(MODELS, arguments.model, params)

    def labels_of(image: RGB, um_per_pixel: float) -> Labels:
        return segment(
            NORMALISATIONS[card.stain_normalisation](image),
            forward,
            params,
            settings,
            classes=card.classes,
            divisor=divisor,
            scale=scale_of(um_per_pixel, card.um_per_pixel),
        )

    segment_all(
        paths, labels_of, arguments.output, given=arguments.um_per_pixel, default=card.um_per_pixel
    )


def segment_all(
    paths: Sequence[Path],
    labels_of: Segment,
    output: Path,
    *,
    given: float | None,
    default: float,
) -> None:
    """Check all images, then write the nuclei of each and the table of all.

    Args:
        paths: from `images_of`.
        labels_of: finds the nuclei of an image.
        output: folder to write to.
        given: the images' micrometres per pixel, whatever they state.
        default: the model's, for images that state none.

    Raises:
        PipelineError: after all others were written, an image failed.
    """
    output.mkdir(parents=True, exist_ok=True)
    outcomes: list[Outcome] = []
    for path in paths:
        outcome, remark = inspected(path, given=given, default=default)
        outcomes.append(outcome)
        if outcome.error or remark:
            tell(outcome.error or f"{path}: {remark}")
    try:
        bar = tqdm(paths, desc="segment", disable=not sys.stderr.isatty())
        for place, path in enumerate(bar):
            um_per_pixel = outcomes[place].um_per_pixel
            if um_per_pixel is not None:
                outcomes[place] = _segmented(path, outcomes[place], um_per_pixel, labels_of, output)
    finally:  # of an interrupted run, too, it says what was done
        with replacing(output / SUMMARY) as temporary:
            pd.DataFrame([asdict(one) for one in outcomes], dtype=object).to_csv(
                temporary,
                index=False,
                lineterminator="\n",
                errors="backslashreplace",  # names that are no UTF-8
            )
    failed = [one.image for one in outcomes if one.error]
    if failed:
        raise PipelineError(
            f"{len(failed)} of {len(outcomes)} images failed, {failed[0]} first; "
            f"{output / SUMMARY} says why"
        )


def _segmented(
    path: Path, outcome: Outcome, um_per_pixel: float, labels_of: Segment, output: Path
) -> Outcome:
    """Write the nuclei of one image, unless they cannot be found."""
    try:
        image = decode_rgb(read_image(path), name=str(path))
    except (PipelineError, OSError) as error:  # it was there a moment ago
        return _failed(outcome, error)
    try:
        labels = labels_of(image, um_per_pixel)
    except PipelineError as error:
        return _failed(outcome, PipelineError(f"{path}: {error}"))
    table = nuclei_table(labels, um_per_pixel)
    places = (output / f"{path.stem}{suffix}" for suffix in (LABELS_SUFFIX, TABLE_SUFFIX))
    try:
        with replacing_all(*places) as [labels_file, table_file]:
            write_labels(labels_file, labels)
            table.to_csv(table_file, index=False, lineterminator="\n", float_format="%.2f")
    except OSError as error:
        if error.errno not in OF_ONE:
            raise
        return _failed(outcome, error)
    said = f"{len(table)} nuclei at {um_per_pixel:g} um per pixel ({outcome.source})"
    tqdm.write(one_line(f"{path}: {said}"))
    return replace(outcome, nuclei=len(table))


def _failed(outcome: Outcome, error: Exception) -> Outcome:
    said = explained(error)
    tqdm.write(said, file=sys.stderr)
    return replace(outcome, error=said)


def segment(
    image: RGB,
    forward: Forward,
    params: PredictParams,
    settings: NucleiSettings,
    *,
    classes: Sequence[str],
    divisor: int,
    scale: float,
) -> Labels:
    """The nuclei of one image.

    The model sees it at its own resolution; nuclei are told apart in the image's own pixels, so
    that no label is ever resampled.

    Args:
        image: (height, width, 3).
        forward: the model.
        params: windows and views.
        settings: how nuclei are told apart, in pixels of the model's images.
        classes: of the model's outputs.
        divisor: must divide height and width of the model's input.
        scale: the model's pixels per pixel of the image, from `scale_of`.

    Returns:
        (height, width) labels.

    Raises:
        PipelineError: as `predict_augmented` and `nuclei_from_predictions`.
    """
    predictions = predict_augmented(forward, image, params, divisor=divisor, scale=scale)
    return nuclei_from_predictions(predictions, classes, settings, scale)


def nuclei_table(labels: Labels, um_per_pixel: float) -> pd.DataFrame:
    """One row per nucleus: label, centre (y, x) in pixels from 0, area in pixels and um2."""
    measured = regionprops_table(labels, properties=("label", "centroid", "area"))
    table = pd.DataFrame(measured).set_axis(["label", "y", "x", "area"], axis="columns")
    return table.assign(area=table["area"].astype(int), area_um2=table["area"] * um_per_pixel**2)


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    command.add_argument("model", help="name of a trained and evaluated model, such as unet")
    command.add_argument(
        "images", nargs="+", type=Path, metavar="image", help="a file, or a folder of images"
    )
    command.add_argument("--output", type=Path, required=True, help="folder to write to")
    command.add_argument(
        "--um-per-pixel",
        type=float,
        help="of the images; by default what they state, else that of the training images",
    )
