"""The arguments of `monuseg segment` and `monuseg export`; imports nothing that loads slowly."""

import argparse
from pathlib import Path
from typing import get_args

from monuseg.segment.options import (
    AUTO,
    BACKENDS,
    EVERYWHERE,
    FORMATS,
    REGION,
    VIEWS,
    ExportFormat,
    pretrained,
)
from monuseg.segment.staging import is_url

SEGMENT = """\
Find the nuclei of images and whole slides; needs no project, no training and no TensorFlow.

`monuseg segment photo.jpg slide.svs folder/` writes, for each image, a label map, a table and
outlines that QuPath imports, and `segment.csv`, a line an image, into the folder `nuclei`. An image
that cannot be segmented does not keep the others from it; the exit status is then 2. Run again
after an interruption, it goes on; what is done stays done."""

EXPORT = """\
Write a network for other programs, with the scaling of pixels inside.

`monuseg export unet --format onnx --output unet.onnx` writes a network that takes RGB pixels from 0
to 255 as float32, (images, height, width, 3), and returns probabilities, (images, height, width,
classes). Normalisation of stains is not in it, nor what tells touching nuclei apart. The formats
onnx and savedmodel need TensorFlow, onnx also tf2onnx."""


def add_segment_arguments(command: argparse.ArgumentParser) -> None:
    """Declare what `monuseg segment` takes."""
    command.add_argument(
        "images",
        nargs="*",
        type=_image,
        metavar="image",
        help="a file, a folder of images, or a URL as s3://bucket/slide.svs",
    )
    command.add_argument(
        "--slides",
        type=Path,
        metavar="CSV",
        help="a list: column path, perhaps um_per_pixel and region",
    )
    command.add_argument(
        "--output", type=Path, default=Path("nuclei"), help="folder to write to (nuclei)"
    )
    command.add_argument(
        "--model",
        type=_model,
        default="unet",
        help=f"{', '.join(pretrained())}; or a trained one's card, as data/models/unet.json, or "
        "the folder of several, whose mean is taken (unet)",
    )
    command.add_argument(
        "--write",
        metavar="FORMATS",
        help=f"of {','.join(FORMATS)} (labels,csv,geojson; above 100 million pixels csv,geojson)",
    )
    command.add_argument(
        "--um-per-pixel",
        type=float,
        help="of the images; by default what they state, else that of the training images",
    )
    command.add_argument(
        "--views",
        type=int,
        choices=sorted(VIEWS),
        help="turned and mirrored copies to average over (4; above 4 million pixels 1)",
    )
    command.add_argument(
        "--tissue",
        type=lambda text: text if text in (AUTO, EVERYWHERE) else Path(text),
        default=AUTO,
        help="where to look: auto, none (everywhere), or a GeoJSON file of regions (auto)",
    )
    command.add_argument(
        REGION,
        type=Path,
        metavar="GEOJSON",
        help="polygons that were drawn on the one image, as QuPath exports them: within the tissue "
        "of --tissue, nuclei whose centroid is in one of them are reported, and no others",
    )
    command.add_argument(
        "--simplify",
        type=float,
        default=0.0,
        metavar="PIXELS",
        help="that outlines of GeoJSON may be off, for smaller files (0)",
    )
    command.add_argument("--scene", type=int, help="which of a slide's scanned areas, from 1")
    command.add_argument(
        "--whole", action="store_true", help="keep the empty margin that some scanners add"
    )
    command.add_argument(
        "--shard",
        metavar="I/N",
        help="every Nth image from the Ith (all; in a job array of SLURM the task's share)",
    )
    command.add_argument(
        "--backend",
        choices=["auto", *BACKENDS],
        default="auto",
        help="what computes (auto: the first of these that is installed)",
    )


def add_export_arguments(command: argparse.ArgumentParser) -> None:
    """Declare what `monuseg export` takes."""
    command.add_argument(
        "model",
        type=_model,
        help=f"{', '.join(pretrained())}; or a trained one's card, as data/models/unet.json",
    )
    command.add_argument(
        "--format", required=True, choices=get_args(ExportFormat), help="what to write"
    )
    command.add_argument(
        "--output",
        required=True,
        type=Path,
        help="file to write, as unet.onnx or unet.keras; of savedmodel a folder",
    )


def _image(text: str) -> str | Path:
    return text if is_url(text) else Path(text)


def _model(text: str) -> str | Path:
    """A name as it is; a path is from where the command is called."""
    return text if text in pretrained() else Path(text)
