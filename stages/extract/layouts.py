"""Which members of the archives are images, and which annotation belongs to which image.

Known layouts, told apart by the kind of each file rather than by one rigid path:

- official: `.../Tissue Images/<id>.tif` and `.../Annotations/<id>.xml`;
- flat: `<folder>/<id>.tif` and `<folder>/<id>.xml`;
- ready masks: `{Training,Test}/TissueImages/<id>.tif` (or .png) and
  `{Training,Test}/GroundTruth/<id>_bin_mask.png`.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

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


@dataclass
class _Sorted:
    """Members by what they are; ids with letter case folded, each with what was found under it."""

    images: dict[str, tuple[str, Member]] = field(default_factory=dict)
    annotations: dict[str, tuple[str, Member, Annotation]] = field(default_factory=dict)
    organ_tables: list[Member] = field(default_factory=list)
    ignored: list[Member] = field(default_factory=list)


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
            claim one id (letter case does not tell ids apart); nothing tells an image's part.
    """
    found = _Sorted()
    for member in members:
        if not _is_litter(member):
            _sort(member, found)
    if not found.images:
        raise PipelineError(f"no image in {_archives_of(members)}: {_shown(members)}; {EXPECTED}")
    _require_pairs(found)
    images = []
    for key, (image_id, image) in found.images.items():
        _, annotation, kind = found.annotations[key]
        images.append(ImageFiles(image_id, _part_of(image_id, image), image, annotation, kind))
    images.sort(key=lambda files: files.id)
    return Layout(images, found.organ_tables, found.ignored)


def _is_litter(member: Member) -> bool:
    # ".DS_Store", and "._x.tif", which macOS puts beside "x.tif".
    hidden = any(part.startswith(".") for part in member.path.parts)
    folders = {part.lower() for part in member.path.parts[:-1]}
    return hidden or LITTER_FOLDER in folders or member.path.name.lower() in LITTER_NAMES


def _sort(member: Member, found: _Sorted) -> None:
    suffix = member.path.suffix.lower()
    stem = member.path.stem
    if member.path.name.lower() == ORGAN_TABLE:
        found.organ_tables.append(member)
    elif suffix == XML_SUFFIX:
        _add_annotation(found, stem, member, APERIO_XML)
    elif suffix in IMAGE_SUFFIXES and _is_mask(member):
        _add_annotation(found, MASK_ENDING.sub("", stem), member, BINARY_MASK)
    elif suffix in IMAGE_SUFFIXES:
        key = _key(stem, member)
        if key in found.images:
            raise _two_for_one(stem, "images", found.images[key][1], member)
        found.images[key] = (stem, member)
    else:
        found.ignored.append(member)


def _is_mask(member: Member) -> bool:
    folder = re.sub(r"[^a-z]", "", member.path.parent.name.lower())
    return folder in MASK_FOLDERS or bool(MASK_ENDING.search(member.path.stem))


def _add_annotation(found: _Sorted, image_id: str, member: Member, kind: Annotation) -> None:
    key = _key(image_id, member)
    if key in found.annotations:
        raise _two_for_one(image_id, "annotations", found.annotations[key][1], member)
    found.annotations[key] = (image_id, member, kind)


def _key(image_id: str, member: Member) -> str:
    if not VALID_ID.fullmatch(image_id) or len(image_id.encode()) > ID_MAX_BYTES:
        raise PipelineError(
            f"{member.archive.name}: {str(member.path)!r} gives the id {image_id!r}, which is too "
            "long or has other characters than letters, digits and _ - . + ( ); rename the file"
        )
    return image_id.casefold()


def _two_for_one(image_id: str, what: str, first: Member, second: Member) -> PipelineError:
    return PipelineError(
        f"two {what} for id {image_id}: {first} and {second}; remove one, "
        "or the archive that holds it from params.yaml"
    )


def _require_pairs(found: _Sorted) -> None:
    alone = [member for key, (_, member) in found.images.items() if key not in found.annotations]
    if alone:
        raise PipelineError(
            f"image without annotation: {_shown(alone)}; add its .xml or _bin_mask.png, "
            "or remove the image"
        )
    alone = [member for key, (_, member, _) in found.annotations.items() if key not in found.images]
    if alone:
        raise PipelineError(
            f"annotation without image: {_shown(alone)}; add its .tif, or remove the annotation"
        )


def _part_of(image_id: str, image: Member) -> Part:
    # The innermost folder that says it, then the archive's name.
    for name in (*reversed(image.path.parts[:-1]), image.archive.stem):
        part = _part_in(name)
        if part:
            return part
    part = challenge_part_of(image_id)
    if part is None:
        raise PipelineError(
            f"{image}: nothing tells whether this image is for training or for testing; "
            "name the archive, or a folder in it, with `train` or `test`"
        )
    return part


def _part_in(name: str) -> Part | None:
    train, test = "train" in name.lower(), "test" in name.lower()
    if train == test:
        return None
    return "train" if train else "test"


def _archives_of(members: Iterable[Member]) -> str:
    return ", ".join(sorted({member.archive.name for member in members})) or "the archives"


def _shown(members: Sequence[Member]) -> str:
    more = len(members) - NAMES_SHOWN
    shown = ", ".join(str(member) for member in members[:NAMES_SHOWN]) or "they are empty"
    return shown + (f" (and {more} more)" if more > 0 else "")


def describe_ignored(members: Sequence[Member]) -> str:
    """One line on the files of no use."""
    return f"ignored {len(members)} file(s) of no known kind: {_shown(members)}"
