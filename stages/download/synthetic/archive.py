"""Synthetic slides in zips with the layout of the official archives: TIF and Aperio XML."""

import tempfile
import zipfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from monuseg.core.files import replacing
from monuseg.core.parallel import parallel_map
from monuseg.formats.images import write_rgb
from stages.download.params import SyntheticParams
from stages.download.synthetic.nuclei import DECIMALS, Outline
from stages.download.synthetic.organs import organs_named
from stages.download.synthetic.slide import draw_slide

UM_PER_PIXEL = 0.25
TRAINING_ARCHIVE = "synthetic-training.zip"
TEST_ARCHIVE = "synthetic-test.zip"
TRAINING_FOLDER = "Synthetic Training Data"
TEST_FOLDER = "SyntheticTestData"
ORGANS_TABLE = "organs.csv"
# The earliest that a zip can hold; the true time would change the bytes.
ZIP_TIME = (1980, 1, 1, 0, 0, 0)
FILE_MODE = 0o644


@dataclass(frozen=True)
class _Drawing:
    """A slide to be drawn: its index among all slides, its id and its organ."""

    index: int
    id: str
    organ: str


def write_archives(params: SyntheticParams, folder: Path) -> list[Path]:
    """Draw the slides and write the training and the test archive into `folder`.

    Equal params give equal bytes. A slide depends only on the seed, its place in its own archive,
    its size, density and organ, so additional slides change none of the others.

    Returns:
        The two archives.

    Raises:
        PipelineError: there is no such organ.
    """
    organs_named(params.organs)
    training = _drawings(params, params.train_images, part=0)
    test = _drawings(params, params.test_images, part=1)
    folder.mkdir(parents=True, exist_ok=True)
    # Within `folder`, which all workers of a cluster can see.
    with tempfile.TemporaryDirectory(prefix=".slides-", dir=folder) as temporary:
        drawn = Path(temporary)
        parallel_map(
            partial(_draw, params=params, folder=drawn), training + test, title="draw slides"
        )
        archives = [folder / TRAINING_ARCHIVE, folder / TEST_ARCHIVE]
        _zip(archives[0], training, drawn, TRAINING_FOLDER, "Tissue Images/", "Annotations/")
        _zip(archives[1], test, drawn, TEST_FOLDER, "", "")
    return archives


def training_slides(params: SyntheticParams) -> dict[str, str]:
    """The organ of each slide of the training archive, by id."""
    drawings = _drawings(params, params.train_images, part=0)
    return {drawing.id: drawing.organ for drawing in drawings}


def aperio_xml(outlines: list[Outline]) -> str:
    """Outlines as Aperio ImageScope writes them, one region per nucleus.

    Args:
        outlines: (n, 2) x and y of each, the first pixel's centre at (1, 1).
    """
    lines = [
        f'<Annotations MicronsPerPixel="{UM_PER_PIXEL:.6f}">',
        '\t<Annotation Id="1" Name="" ReadOnly="0" Type="4" LineColor="65280" Visible="1">',
        "\t\t<Attributes/>",
        "\t\t<Regions>",
    ]
    for number, outline in enumerate(outlines, start=1):
        lines += [
            f'\t\t\t<Region Id="{number}" Type="0" Zoom="1" Analyze="1" DisplayId="{number}">',
            "\t\t\t\t<Attributes/>",
            "\t\t\t\t<Vertices>",
            *(
                f'\t\t\t\t\t<Vertex X="{x:.{DECIMALS}f}" Y="{y:.{DECIMALS}f}"/>'
                for x, y in outline.tolist()
            ),
            "\t\t\t\t</Vertices>",
            "\t\t\t</Region>",
        ]
    lines += ["\t\t</Regions>", "\t</Annotation>", "</Annotations>", ""]
    return "\n".join(lines)


def _drawings(params: SyntheticParams, count: int, part: int) -> list[_Drawing]:
    # Training slides have the even indices and test slides the odd ones, so that the
    # number of slides in one part changes nothing in the other.
    drawings = []
    for place in range(count):
        organ = params.organs[place % len(params.organs)]
        index = 2 * place + part
        drawings.append(_Drawing(index, f"SYN-{organ}-{index + 1:04d}", organ))
    return drawings


def _draw(drawing: _Drawing, params: SyntheticParams, folder: Path) -> None:
    # Slides are drawn in parallel; threads within each would only get in each other's way.
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        slide = draw_slide(
            drawing.organ,
            params.height,
            params.width,
            params.density,
            np.random.default_rng([params.seed, drawing.index]),
        )
    finally:
        cv2.setNumThreads(threads)
    write_rgb(folder / f"{drawing.id}.tif", slide.image)
    (folder / f"{drawing.id}.xml").write_text(
        aperio_xml(slide.outlines), encoding="utf-8", newline="\n"
    )


def _zip(
    archive: Path, drawings: list[_Drawing], drawn: Path, top: str, images: str, annotations: str
) -> None:
    rows = ["id,organ", *(f"{drawing.id},{drawing.organ}" for drawing in drawings), ""]
    with replacing(archive) as temporary, zipfile.ZipFile(temporary, "w") as target:
        _add(target, f"{top}/{ORGANS_TABLE}", "\n".join(rows).encode())
        for drawing in drawings:
            for place, suffix in ((images, ".tif"), (annotations, ".xml")):
                name = drawing.id + suffix
                _add(target, f"{top}/{place}{name}", (drawn / name).read_bytes())


def _add(target: zipfile.ZipFile, name: str, content: bytes) -> None:
    # Stored, not deflated: what zlib makes of the same bytes depends on its version.
    entry = zipfile.ZipInfo(name, date_time=ZIP_TIME)
    entry.create_system = 3  # Unix, wherever it runs
    entry.external_attr = FILE_MODE << 16
    target.writestr(entry, content)
