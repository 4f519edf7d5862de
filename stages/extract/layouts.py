"""Which members of the archives are images, and which annotation belongs to which image.

Known layouts, recognised by the kind of each file rather than by one rigid path:

- official: `.../Tissue Images/<id>.tif` and `.../Annotations/<id>.xml`;
- flat: `<folder>/<id>.tif` and `<folder>/<id>.xml`;
- ready masks: `{Training,Test}/TissueImages/<id>.tif` (or .png) and
  `{Training,Test}/GroundTruth/<id>_bin_mask.png`.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from monuseg.core.errors import PipelineError
from monuseg.formats.manifest import APERIO_XML, BINARY_MASK, Annotation, Part
from monuseg.formats.protocol import challenge_part_of
from stages.extract.archives import Member

IMAGE_SUFFIXES = {".tif", ".tiff", ".png"}
XML_SUFFIX = ".xml"
ORGAN_TABLE = "organs.csv"
# What operating systems leave in archives; not worth a line.
LITTER_NAMES = {"thumbs.db", "desktop.ini"}
LITTER_FOLDER = "__macosx"
# Folders (letters only, lower case) whose images are masks even without a suffix that says so.
MASK_FOLDERS = {"groundtruth", "masks", "mask", "binarymasks", "annotations", "labels"}
MASK_ENDING = re.compile(r"[_.-](?:bin(?:ary)?[_.-])?mask$", re.IGNORECASE)
# An id becomes a file name: a letter or digit first, then nothing a file system or CSV objects to.
VALID_ID = re.compile(r"\w[\w .+()-]*")
ID_MAX_BYTES = 200  # file systems allow 255 a name, of which a suffix takes some
NAMES_SHOWN = 3
EXPECTED = (
    "expected <id>.tif with <id>.xml, or <id>.tif with <id>_bin_mask.png in a folder GroundTruth"
)


@dataclass(frozen=True)
class ImageFiles:
    """An image and its annotation, still in their archives.

    Attributes:
        id: the image's name without suffix.
        part: which of the archives' two parts it came in.
        image: a TIF or PNG.
        annotation: an XML file or a binary mask.
        kind: which of the two `annotation` is.
    """

    id: str
    part: Part
    image: Member
    annotation: Member
    kind: Annotation


@dataclass(frozen=True)
class Layout:
    """What the archives hold.

    Attributes:
        images: sorted by id.
        organ_tables: files `organs.csv`.
        ignored: files of no use; litter of operating systems is not among them.
    """

    images: list[ImageFiles]
    organ_tables: list[Member]
    ignored: list[Member]


def recognise(members: Sequence[Member]) -> Layout:
    """Sort the files of all archives into images with their annotations.

    Raises:
        PipelineError: there is no image; an image lacks its annotation or the reverse; two files
            claim one id (which may not differ in letter case only); an image's part is unknown.
    """
    images: dict[str, Member] = {}
    annotations: dict[str, Member] = {}
    layout = Layout([], [], [])
    for member in members:
        if _is_litter(member.path):
            continue
        suffix = member.path.suffix.lower()
        is_mask = suffix in IMAGE_SUFFIXES and _is_mask(member.path)
        if member.path.name.lower() == ORGAN_TABLE:
            layout.organ_tables.append(member)
        elif suffix == XML_SUFFIX or is_mask:
            image_id = MASK_ENDING.sub("", member.path.stem) if is_mask else member.path.stem
            _claim(annotations, "annotations", image_id, member)
        elif suffix in IMAGE_SUFFIXES:
            _claim(images, "images", member.path.stem, member)
        else:
            layout.ignored.append(member)
    if not images:
        archives = ", ".join(sorted({member.archive.name for member in members}))
        raise PipelineError(
            f"no image in {archives or 'the archives'}: {shown(members)}; {EXPECTED}"
        )
    _require_pairs(images, annotations)
    for key, image in images.items():
        annotation = annotations[key]
        is_xml = annotation.path.suffix.lower() == XML_SUFFIX
        kind: Annotation = APERIO_XML if is_xml else BINARY_MASK
        layout.images.append(ImageFiles(image.path.stem, _part_of(image), image, annotation, kind))
    layout.images.sort(key=lambda files: files.id)
    return layout


def _is_litter(path: PurePosixPath) -> bool:
    # ".DS_Store", and "._x.tif", which macOS puts beside "x.tif".
    is_hidden = any(part.startswith(".") for part in path.parts)
    folders = {part.lower() for part in path.parts[:-1]}
    return is_hidden or LITTER_FOLDER in folders or path.name.lower() in LITTER_NAMES


def _is_mask(path: PurePosixPath) -> bool:
    folder = re.sub(r"[^a-z]", "", path.parent.name.lower())
    return folder in MASK_FOLDERS or bool(MASK_ENDING.search(path.stem))


def _claim(found: dict[str, Member], what: str, image_id: str, member: Member) -> None:
    """Enter a file under its id, with letter case folded."""
    if not VALID_ID.fullmatch(image_id) or len(image_id.encode()) > ID_MAX_BYTES:
        raise PipelineError(
            f"{member.archive.name}: {str(member.path)!r} gives the id {image_id!r}, which is too "
            "long or has other characters than letters, digits and _ - . + ( ); rename the file"
        )
    first = found.setdefault(image_id.casefold(), member)
    if first is not member:
        raise PipelineError(
            f"two {what} for id {image_id}: {first} and {member}; remove one, "
            "or the archive that holds it from params.yaml"
        )


def _require_pairs(images: dict[str, Member], annotations: dict[str, Member]) -> None:
    alone = [image for key, image in images.items() if key not in annotations]
    if alone:
        raise PipelineError(
            f"image without annotation: {shown(alone)}; add its .xml or _bin_mask.png, "
            "or remove the image"
        )
    alone = [annotation for key, annotation in annotations.items() if key not in images]
    if alone:
        raise PipelineError(
            f"annotation without image: {shown(alone)}; add its .tif, or remove the annotation"
        )


def _part_of(image: Member) -> Part:
    # The innermost folder that says it, then the archive's name.
    for name in (*reversed(image.path.parts[:-1]), image.archive.stem):
        is_train, is_test = "train" in name.lower(), "test" in name.lower()
        if is_train != is_test:
            return "train" if is_train else "test"
    part = challenge_part_of(image.path.stem)
    if part is None:
        raise PipelineError(
            f"{image}: nothing tells whether this image is for training or for testing; "
            "name the archive, or a folder in it, with `train` or `test`"
        )
    return part


def shown(members: Sequence[Member]) -> str:
    """The first few of some files, for a message."""
    more = len(members) - NAMES_SHOWN
    names = ", ".join(str(member) for member in members[:NAMES_SHOWN]) or "they are empty"
    return names + (f" (and {more} more)" if more > 0 else "")
