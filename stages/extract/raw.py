"""From archives to data/raw: images as `<id>.tif`, annotations as `<id>.xml` or `<id>.mask.png`."""

import csv
import io
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import cv2
from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import ParseError, iterparse
from tqdm import tqdm

from monuseg.core.errors import PipelineError
from monuseg.core.files import sha256_of
from monuseg.formats.images import RGB, write_rgb
from monuseg.formats.manifest import APERIO_XML, BINARY_MASK, ImageRecord
from monuseg.formats.protocol import UNKNOWN_ORGAN, organ_of
from monuseg.readers.aperio import BYTES_MAX as XML_BYTES_MAX
from monuseg.readers.raster import BYTES_MAX as IMAGE_BYTES_MAX
from monuseg.readers.raster import decode_mask, decode_rgb
from stages.extract.archives import Member, opened, require_at_most
from stages.extract.layouts import ImageFiles, recognise, shown

# A 40x objective; what the challenge's images were scanned with.
DEFAULT_UM_PER_PIXEL = 0.25
# From an electron microscope's to a magnifying glass's; a number outside is a damaged one.
UM_PER_PIXEL_RANGE = (0.001, 100.0)
RESOLUTION_ATTRIBUTE = "MicronsPerPixel"
TABLE_BYTES_MAX = 1 << 20


def write_raw(archives: Sequence[Path], folder: Path, *, max_bytes: int) -> list[ImageRecord]:
    """Unpack the images and annotations of all archives into one plain folder.

    Args:
        archives: zip files of any known layout; see `stages.extract.layouts`.
        folder: exists and is empty.
        max_bytes: an archive whose images and annotations unpack to more is refused.

    Returns:
        A record of each image, sorted by id.

    Raises:
        PipelineError: an archive is damaged, of unknown layout or unsafe; an image or mask is
            unreadable, or the two differ in size.
    """
    with ExitStack() as stack:
        members: list[Member] = []
        for path in archives:
            members += stack.enter_context(opened(path))
        layout = recognise(members)
        used = [m for files in layout.images for m in (files.image, files.annotation)]
        require_at_most(max_bytes, used)
        organs = _organs(layout.organ_tables)
        # `None`: no progress bar where standard error is no terminal.
        images = tqdm(layout.images, desc="extract", disable=None)
        records = [_write_image(files, organs, folder) for files in images]
    # Only now, so that an error stands alone.
    if layout.ignored:
        ignored = f"ignored {len(layout.ignored)} file(s) of no known kind"
        print(f"{ignored}: {shown(layout.ignored)}", file=sys.stderr)
    masks = sum(record.annotation == BINARY_MASK for record in records)
    if masks:
        print(
            f"{masks} image(s) have a binary mask instead of outlines: their nuclei will be "
            "connected components, so touching nuclei are one",
            file=sys.stderr,
        )
    return records


def microns_per_pixel(path: Path) -> float:
    """The resolution that an Aperio XML's root element states, or 0.25 um where it states none.

    Reads the root element only. An XML that cannot be parsed counts as stating none: whoever reads
    its outlines says what is wrong with it.
    """
    try:
        with path.open("rb") as file:
            _, root = next(iter(iterparse(file, events=("start",))))
        stated = float(root.get(RESOLUTION_ATTRIBUTE, ""))
    except (ParseError, DefusedXmlException, StopIteration, ValueError, LookupError):
        return DEFAULT_UM_PER_PIXEL
    least, most = UM_PER_PIXEL_RANGE
    return stated if least <= stated <= most else DEFAULT_UM_PER_PIXEL


def _write_image(files: ImageFiles, organs: dict[str, str], folder: Path) -> ImageRecord:
    image_path = folder / f"{files.id}.tif"
    content = files.image.read(IMAGE_BYTES_MAX)
    image = decode_rgb(content, name=str(files.image))
    # A TIF is kept byte for byte; a PNG becomes a TIF of the same pixels.
    if files.image.path.suffix.lower() == ".png":
        write_rgb(image_path, image)
    else:
        image_path.write_bytes(content)
    um_per_pixel = DEFAULT_UM_PER_PIXEL
    if files.kind == APERIO_XML:
        annotation_path = folder / f"{files.id}.xml"
        annotation_path.write_bytes(files.annotation.read(XML_BYTES_MAX))
        um_per_pixel = microns_per_pixel(annotation_path)
    else:
        annotation_path = folder / f"{files.id}.mask.png"
        _write_mask(annotation_path, files, image)
    return ImageRecord(
        id=files.id,
        organ=organ_of(files.id) or organs.get(files.id.casefold(), UNKNOWN_ORGAN),
        part=files.part,
        um_per_pixel=um_per_pixel,
        annotation=files.kind,
        sha256=sha256_of(image_path),
        annotation_sha256=sha256_of(annotation_path),
    )


def _write_mask(path: Path, files: ImageFiles, image: RGB) -> None:
    mask = decode_mask(files.annotation.read(IMAGE_BYTES_MAX), name=str(files.annotation))
    if mask.shape != image.shape[:2]:
        raise PipelineError(
            f"{files.annotation}: {mask.shape[1]} x {mask.shape[0]} pixels, but its image "
            f"{files.image} has {image.shape[1]} x {image.shape[0]}; "
            "export the mask at the image's size"
        )
    _, encoded = cv2.imencode(".png", mask)
    path.write_bytes(encoded.tobytes())


def _organs(tables: list[Member]) -> dict[str, str]:
    """Organ by id with letter case folded, from all tables `organs.csv`."""
    organs: dict[str, str] = {}
    for table in tables:
        for image_id, organ in _organ_rows(table):
            if organs.setdefault(image_id.casefold(), organ) != organ:
                raise PipelineError(
                    f"{table}: {image_id} is {organ} here and {organs[image_id.casefold()]} "
                    "before; keep one"
                )
    return organs


def _organ_rows(table: Member) -> list[tuple[str, str]]:
    content = table.read(TABLE_BYTES_MAX)
    try:
        # utf-8-sig: Excel begins its CSV with a byte-order mark.
        rows = csv.DictReader(io.StringIO(content.decode("utf-8-sig")), strict=True)
        if not {"id", "organ"} <= set(rows.fieldnames or []):
            raise PipelineError(f"{table}: expected the columns id,organ; found {rows.fieldnames}")
        pairs = [((row["id"] or "").strip(), (row["organ"] or "").strip().lower()) for row in rows]
    except (UnicodeDecodeError, csv.Error) as error:
        raise PipelineError(f"{table}: no CSV in UTF-8 ({error}); save it as such") from error
    return [(image_id, organ) for image_id, organ in pairs if image_id and organ]
