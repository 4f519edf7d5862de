"""From archives to data/raw: images as `<id>.tif`, annotations beside them, both as they count."""

import csv
import hashlib
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import cv2
from tqdm import tqdm

from monuseg.core.errors import PipelineError, tell
from monuseg.core.files import sha256_of
from monuseg.formats.images import RGB, write_rgb
from monuseg.formats.manifest import (
    ANNOTATION_SUFFIXES,
    BINARY_MASK,
    Annotation,
    ImageRecord,
)
from monuseg.formats.protocol import UNKNOWN_ORGAN, organ_of, patient_of
from monuseg.formats.scale import ASSUMED
from monuseg.readers.annotations import kind_of, stated_resolution
from monuseg.readers.raster import BYTES_MAX as IMAGE_BYTES_MAX
from monuseg.readers.raster import decode_map, decode_rgb, is_plain_tif
from monuseg.readers.regions import BYTES_MAX as OUTLINES_BYTES_MAX
from monuseg.readers.resolution import (
    ANNOTATION,
    DEFAULT_UM_PER_PIXEL,
    Stated,
    settle,
    stated_by_image,
)
from stages.extract.archives import Member, opened, require_at_most
from stages.extract.layouts import Ignored, ImageFiles, Layout, recognise, shown
from stages.extract.tables import Metadata, key_of, read_tables

IGNORED_TABLE = "ignored.csv"


def write_raw(
    archives: Sequence[Path],
    folder: Path,
    *,
    max_bytes: int,
    annotations: str | None = None,
    um_per_pixel: float | None = None,
) -> list[ImageRecord]:
    """Unpack the images and annotations of all archives into one plain folder.

    Files that are not used are listed in a table `ignored.csv`, if there are any.

    Args:
        archives: zip files of any known layout; see `stages.extract.layouts`.
        folder: exists and is empty.
        max_bytes: as in `stages.extract.params`, as are the next two.
        annotations: which count where an image has several.
        um_per_pixel: micrometres per pixel of every image, if they are given.

    Returns:
        A record of each image, sorted by id.

    Raises:
        PipelineError: an archive is damaged, of unknown layout or unsafe; an image or annotation
            is unreadable, or the two differ in size; two images have the same pixels.
    """
    with ExitStack() as stack:
        members: list[Member] = []
        for path in archives:
            members += stack.enter_context(opened(path))
        layout = recognise(members, annotations)
        used = [m for files in layout.images for m in (files.image, files.annotation)]
        require_at_most(max_bytes, used)
        metadata, unused = read_tables(layout.organ_tables)
        writer = _Writer(folder, metadata, um_per_pixel)
        # `None`: no progress bar where standard error is no terminal.
        records = [writer.write(one) for one in tqdm(layout.images, desc="extract", disable=None)]
    if layout.ignored:
        _write_ignored(folder / IGNORED_TABLE, layout.ignored)
    # Only now, so that an error stands alone.
    remarks = [*_remarks(layout, metadata), *_remarks_on(records), *writer.disagreements]
    if unused:
        remarks.append(f"organs.csv has {len(unused)} column(s) of no use: {shown(unused)}")
    for line in remarks:
        tell(line)
    return records


class _Writer:
    """Writes one image after the other, and remembers whose pixels it has seen."""

    def __init__(
        self, folder: Path, metadata: Mapping[str, Metadata], um_per_pixel: float | None
    ) -> None:
        self.disagreements: list[str] = []
        self._folder = folder
        self._metadata = metadata
        self._um_per_pixel = um_per_pixel
        self._seen: dict[bytes, Member] = {}

    def write(self, files: ImageFiles) -> ImageRecord:
        """Write an image and its annotation.

        Raises:
            PipelineError: as `write_raw`.
        """
        path = self._folder / f"{files.id}.tif"
        content = files.image.read(IMAGE_BYTES_MAX)
        image = decode_rgb(content, name=str(files.image))
        self._require_new(image, files.image)
        # Later stages read such a TIF as it is; all else becomes a TIF of the same pixels.
        if is_plain_tif(content):
            path.write_bytes(content)
        else:
            write_rgb(path, image)
        kind, annotation_path, stated = self._write_annotation(files, image)
        metadata = self._metadata.get(key_of(files.id), Metadata())
        resolution, remark = settle(
            [*stated_by_image(content), *stated], given=metadata.um_per_pixel or self._um_per_pixel
        )
        if remark:
            self.disagreements.append(f"{files.id}: {remark}")
        patient = metadata.patient or _patient_by_name(files) or files.id
        return ImageRecord(
            id=files.id,
            organ=metadata.organ or organ_of(files.id) or UNKNOWN_ORGAN,
            patient=patient.upper(),
            part=files.part,
            um_per_pixel=resolution.um_per_pixel,
            um_per_pixel_source=resolution.source,
            annotation=kind,
            sha256=sha256_of(path),
            annotation_sha256=sha256_of(annotation_path),
        )

    def _write_annotation(
        self, files: ImageFiles, image: RGB
    ) -> tuple[Annotation, Path, list[Stated]]:
        name = str(files.annotation)
        if files.has_outlines:
            content = files.annotation.read(OUTLINES_BYTES_MAX)
            kind = kind_of(content, name=name)
            stated = stated_resolution(content, kind)
        else:
            kind, pixels = decode_map(files.annotation.read(IMAGE_BYTES_MAX), name=name)
            if pixels.shape != image.shape[:2]:
                raise PipelineError(
                    f"{name}: {pixels.shape[1]} x {pixels.shape[0]} pixels, but its image "
                    f"{files.image} has {image.shape[1]} x {image.shape[0]}; "
                    "export it at the image's size"
                )
            content = cv2.imencode(".png", pixels)[1].tobytes()
            stated = None
        path = self._folder / f"{files.id}{ANNOTATION_SUFFIXES[kind]}"
        path.write_bytes(content)
        return kind, path, [] if stated is None else [Stated(stated, ANNOTATION)]

    def _require_new(self, image: RGB, member: Member) -> None:
        """Refuse pixels that another image has: one could be learned and the other scored."""
        if (image == image[0, 0]).all():  # empty glass; there may be many tiles of it
            return
        key = hashlib.sha256(f"{image.shape}".encode() + image.tobytes()).digest()
        first = self._seen.setdefault(key, member)
        if first is not member:
            raise PipelineError(f"{first} and {member} have the same pixels; remove one")


def _patient_by_name(files: ImageFiles) -> str | None:
    return patient_of(files.id) or files.slide


def _write_ignored(path: Path, ignored: Sequence[Ignored]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["archive", "path", "reason"])
        for one in ignored:
            archive = one.member.archive.name
            path_shown = str(one.member).removeprefix(f"{archive}: ")
            writer.writerow([archive, path_shown, one.reason])


def _remarks(layout: Layout, metadata: Mapping[str, Metadata]) -> list[str]:
    """What the layout leaves to say."""
    lines = []
    if layout.ignored:
        members = [one.member for one in layout.ignored]
        lines.append(
            f"ignored {len(members)} file(s): {shown(members)}; data/raw/{IGNORED_TABLE} says why"
        )
    if layout.unmatched:
        lines.append(
            f"{len(layout.unmatched)} image(s) have one annotation, which counts though "
            f"extract.annotations does not match it: {shown(layout.unmatched)}"
        )
    keys = {key_of(files.id) for files in layout.images}
    strangers = [key for key in metadata if key not in keys]
    if strangers:
        lines.append(f"organs.csv names {len(strangers)} id(s) of no image: {shown(strangers)}")
    apart = _without_patient(layout.images, metadata)
    if apart:
        lines.append(
            f"{len(apart)} image(s) count as another patient's than those of the same slide or "
            f"barcode whose patient organs.csv names; name theirs too: {shown(apart)}"
        )
    renamed = [files.id for files in layout.images if files.id != files.image.path.stem]
    if renamed:
        lines.append(
            f"{len(renamed)} tile(s) of QuPath have ids without [ ] = and ,: {shown(renamed)}"
        )
    return lines


def _without_patient(images: Sequence[ImageFiles], metadata: Mapping[str, Metadata]) -> list[str]:
    """Ids without a patient in organs.csv, which names one for others of their slide."""
    renamed: set[str | None] = set()
    silent = {}
    for files in images:
        named, known = metadata.get(key_of(files.id), Metadata()).patient, _patient_by_name(files)
        if not named:
            silent[files.id] = known
        elif known and named.upper() != known.upper():
            renamed.add(known)
    return [image_id for image_id, known in silent.items() if known in renamed]


def _remarks_on(records: Sequence[ImageRecord]) -> list[str]:
    """What the records leave to say."""
    lines = []
    masks = sum(record.annotation == BINARY_MASK for record in records)
    if masks:
        lines.append(
            f"{masks} image(s) have a binary mask instead of outlines: their nuclei will be "
            "connected components, so touching nuclei are one"
        )
    assumed = [record.id for record in records if record.um_per_pixel_source == ASSUMED]
    if assumed:
        lines.append(
            f"{len(assumed)} image(s) do not state their resolution; {DEFAULT_UM_PER_PIXEL} um per "
            f"pixel is assumed (extract.um_per_pixel gives another): {shown(assumed)}"
        )
    return lines
