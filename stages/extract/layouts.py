"""Which members of the archives are images, and which annotation belongs to which image.

Files are told apart by their kind and by the words in their folder's name, not by one rigid path;
docs/data.md lists the layouts.
"""

import fnmatch
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from monuseg.core.errors import PipelineError
from monuseg.formats.manifest import Part
from monuseg.formats.protocol import challenge_part_of
from monuseg.readers.raster import BYTES_MAX as IMAGE_BYTES_MAX
from monuseg.readers.raster import SUFFIXES as IMAGE_SUFFIXES
from monuseg.readers.raster import decode_map
from stages.extract.archives import Member

OUTLINE_SUFFIXES = {".xml", ".annotations", ".geojson", ".json"}
ARRAY_SUFFIX = ".npy"
# Many programs write a .json beside an image, so one counts only where nothing else does.
WEAK_SUFFIX = ".json"
WHOLE_SLIDE_SUFFIX = ".svs"
ORGAN_TABLE = "organs.csv"
# What operating systems leave in archives; not worth a line.
LITTER_NAMES = {"thumbs.db", "desktop.ini", ".ds_store"}
LITTER_FOLDER = "__macosx"
LITTER_PREFIX = "._"  # macOS puts "._x.tif" beside "x.tif"
# Whole words of a folder's name whose images are masks. A folder of both kinds of word, as
# `images_and_masks`, decides nothing.
MASK_WORDS = {
    *("mask", "masks", "binarymask", "binarymasks", "label", "labels", "labelled", "labeled"),
    *("gt", "truth", "groundtruth", "annotation", "annotations", "annotator"),
    *("inst", "instance", "instances"),
}
IMAGE_WORDS = {"image", "images", "tissue", "data", "slide", "slides"}
MASK_ENDING = re.compile(
    r"[_. -](?:bin(?:ary)?[_. -])?(?:masks?|labels?|labell?ed|instances?|gt)$", re.IGNORECASE
)
# Folders (letters only, lower case) of what is drawn from an annotation or leaves regions out.
DERIVED = re.compile(
    r"overlay|distancemap|weight(?:ed)?map|vague|stackedmask|visuali[sz]ation|preview|thumbnail"
)
# NuInsSeg's and CryoNuSeg's masks of one annotation (https://github.com/masih4/NuInsSeg): the
# first is the one to evaluate with; in `label masks` numbers add up where nuclei overlap.
BEST_MASKS = "label masks modify"
OTHER_MASKS = {
    *("label masks", "mask binary", "mask binary without border"),
    "mask binary without border erode",
}
UNREAD = {
    ".mat": "MATLAB's format; save a label map as .png or .npy",
    ".roi": "ImageJ's outlines; save a label map as .png",
    ".zip": "an archive in an archive",
}
UNKNOWN_KIND = "no known kind"
TRAIN_WORD, TEST_WORD = (
    re.compile(rf"(?:monuseg|monusac)?{word}(?:ing|s)?(?:data|sets?|images?|slides?)?")
    for word in ("train", "test")
)
# What MoNuSAC calls its training part; the other is "MoNuSAC Testing Data and Annotations".
MONUSAC_TRAINING = "monusac_images_and_annotations"
# `latestTrainingData2` is latest, Training, Data.
WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[^\W\d_A-Z]+")
# An id becomes a file name: a letter or digit first, then nothing a file system or CSV objects to.
VALID_ID = re.compile(r"\w[\w .+()-]*")
ID_MAX_BYTES = 200  # file systems allow 255 a name, of which a suffix takes some
# What QuPath's tile exporter calls a tile: the slide, and where in it the tile lies.
QUPATH_TILE = re.compile(r"(.+?) ?\[([dxywhzt]=-?[\d.]+(?:,[dxywhzt]=-?[\d.]+)*)\]")
TNBC_FOLDERS = re.compile(r"slide[ _-]?(\d+)/gt[ _-]?\1", re.IGNORECASE)
NAMES_SHOWN = 3
EXPECTED = (
    "expected <id>.tif with <id>.xml or <id>.geojson, or with <id>_mask.png or labels/<id>.png; "
    "docs/data.md lists the layouts"
)
PANNUKE = {"images.npy", "masks.npy"}


@dataclass(frozen=True)
class ImageFiles:
    """An image and its annotation, still in their archives.

    Attributes:
        id: the image's name without suffix; see `id_of`.
        part: which of the archives' two parts it came in.
        slide: whose part it is, where its name or folder says so.
        image: a file of one of `IMAGE_SUFFIXES`.
        annotation: outlines, an image or an array.
    """

    id: str
    part: Part
    slide: str | None
    image: Member
    annotation: Member

    @property
    def has_outlines(self) -> bool:
        """Whether the annotation is a file of outlines, not of pixels."""
        return self.annotation.path.suffix.lower() in OUTLINE_SUFFIXES


@dataclass(frozen=True)
class Ignored:
    """A file that is not used.

    Attributes:
        member: in its archive.
        reason: in a few words.
    """

    member: Member
    reason: str


@dataclass(frozen=True)
class Layout:
    """What the archives hold.

    Attributes:
        images: sorted by id.
        organ_tables: files `organs.csv`.
        ignored: files of no use; litter of operating systems is not among them.
        unmatched: annotations that count, each as its image's only one, though the pattern of
            those to choose does not match them.
    """

    images: list[ImageFiles]
    organ_tables: list[Member]
    ignored: list[Ignored]
    unmatched: list[Member]


def recognise(members: Sequence[Member], annotations: str | None = None) -> Layout:
    """Sort the files of all archives into images with their annotations.

    Args:
        members: of all archives.
        annotations: a pattern as of a shell, which the path of the right annotation matches where
            an image has several.

    Raises:
        PipelineError: there is no image; an image lacks its annotation or the reverse; two files
            claim one id (which may not differ in letter case only); an image's part is unknown, or
            its annotation is of the other.
    """
    layout = Layout([], [], [], [])
    images, candidates = _sorted_by_kind(members, layout)
    if not images:
        archives = ", ".join(sorted({member.archive.name for member in members}))
        raise PipelineError(
            f"no image in {archives or 'the archives'}: {shown(members)}; {_hint(members, layout)}"
        )
    found = {key: _one_image(key, claimed, layout) for key, claimed in images.items()}
    paired: defaultdict[str, list[Member]] = defaultdict(list)
    for member in candidates:
        paired[_annotation_key(member.path, images)].append(member)
    _require_pairs(found, paired, layout)
    chosen = {key: _one_annotation(found[key], paired[key], annotations, layout) for key in found}
    for key, image in found.items():
        part = _part_of(image)
        annotated = _stated_part(chosen[key])
        if annotated not in (None, part):
            raise PipelineError(
                f"{image} is for {part}, its annotation {chosen[key]} for {annotated}; "
                "put both into one part, or rename one"
            )
        layout.images.append(
            ImageFiles(
                id_of(image.path.stem),
                part,
                _slide_of(image.path, chosen[key].path),
                image,
                chosen[key],
            )
        )
    layout.images.sort(key=lambda files: files.id)
    layout.ignored.sort(key=lambda one: (one.member.archive.name, str(one.member.path)))
    return layout


def id_of(stem: str) -> str:
    """An image's id from its file's name without suffix.

    Both are the same but for a tile of QuPath's: `A [x=1,y=2,w=3,h=4]` is `A (x1_y2_w3_h4)`.
    """
    tile = QUPATH_TILE.fullmatch(stem)
    if tile is None:
        return stem
    return f"{tile[1]} ({tile[2].replace('=', '').replace(',', '_')})"


def _sorted_by_kind(
    members: Sequence[Member], layout: Layout
) -> tuple[dict[str, list[Member]], list[Member]]:
    """Images by id with letter case folded, and annotations; all else goes into the layout."""
    images: defaultdict[str, list[Member]] = defaultdict(list)
    annotations: list[Member] = []
    for member in members:
        path, suffix = member.path, member.path.suffix.lower()
        if _is_litter(path):
            continue
        reason = _reason_to_ignore(path)
        if reason:
            layout.ignored.append(Ignored(member, reason))
        elif path.name.lower() == ORGAN_TABLE:
            layout.organ_tables.append(member)
        elif suffix not in IMAGE_SUFFIXES or _is_mask(path):
            annotations.append(member)
        else:
            _require_valid_id(member)
            images[id_of(path.stem).casefold()].append(member)
    return images, annotations


def _is_litter(path: PurePosixPath) -> bool:
    name = path.name.lower()
    folders = {part.lower() for part in path.parts[:-1]}
    return LITTER_FOLDER in folders or name in LITTER_NAMES or name.startswith(LITTER_PREFIX)


def _reason_to_ignore(path: PurePosixPath) -> str | None:
    suffix = path.suffix.lower()
    if any(part.startswith(".") for part in path.parts):
        return "hidden, its name or its folder's begins with a dot"
    if path.name.lower() == ORGAN_TABLE:
        return None
    if suffix not in IMAGE_SUFFIXES | OUTLINE_SUFFIXES | {ARRAY_SUFFIX}:
        return UNREAD.get(suffix, UNKNOWN_KIND)
    if any(DERIVED.search(re.sub(r"[^a-z]", "", part.lower())) for part in path.parts[:-1]):
        return "in a folder of derived or partial maps"
    return None


def _words(name: str) -> set[str]:
    return {word.lower() for word in WORD.findall(name)}


def _is_mask(path: PurePosixPath) -> bool:
    words = _words(path.parent.name)
    is_of_masks = bool(words & MASK_WORDS) and not words & IMAGE_WORDS
    return is_of_masks or bool(MASK_ENDING.search(path.stem))


def _require_valid_id(member: Member) -> None:
    stem = member.path.stem
    if not VALID_ID.fullmatch(id_of(stem)) or len(stem.encode()) > ID_MAX_BYTES:
        raise PipelineError(
            f"{member.archive.name}: {str(member.path)!r} gives the id {stem!r}, which is too "
            "long or has other characters than letters, digits and _ - . + ( ); rename the file"
        )


def _annotation_key(path: PurePosixPath, images: Mapping[str, object]) -> str:
    """The id that a file annotates, with letter case folded."""
    stems = [path.stem]
    if path.suffix.lower() not in OUTLINE_SUFFIXES:
        stems.insert(0, MASK_ENDING.sub("", path.stem))
    # Some programs name an annotation after the whole file, as `x.svs.geojson`.
    stems += [
        PurePosixPath(stem).stem
        for stem in stems
        if PurePosixPath(stem).suffix.lower() in IMAGE_SUFFIXES
    ]
    keys = [id_of(stem).casefold() for stem in stems]
    return next((key for key in keys if key in images), keys[0])


def _one_image(key: str, claimed: list[Member], layout: Layout) -> Member:
    others = [one for one in claimed if one.path.suffix.lower() != WHOLE_SLIDE_SUFFIX]
    # MoNuSAC has each image twice.
    if len(others) == 1 and {one.path.with_suffix("") for one in claimed} == {
        others[0].path.with_suffix("")
    }:
        layout.ignored.extend(
            Ignored(one, f"{others[0].path.name} beside it is the same image")
            for one in claimed
            if one is not others[0]
        )
        return others[0]
    if len(claimed) > 1:
        first, second = claimed[:2]
        masks = [one for one in claimed[:2] if _looks_like_a_mask(one)]
        remedy = "rename or remove one, or the archive that holds it from params.yaml"
        if len(masks) == 1:
            remedy = (
                f"{masks[0].path} looks like a mask, which is known by a folder `masks` or by "
                f"the name {masks[0].path.stem}_mask{masks[0].path.suffix}; rename it"
            )
        raise PipelineError(f"two images for id {second.path.stem}: {first} and {second}; {remedy}")
    return claimed[0]


def _looks_like_a_mask(member: Member) -> bool:
    try:
        decode_map(member.read(IMAGE_BYTES_MAX), name=str(member))
    except PipelineError:
        return False
    return True


def _one_annotation(
    image: Member, claimed: list[Member], pattern: str | None, layout: Layout
) -> Member:
    left = _without(claimed, _weaker(claimed), "an image has another annotation", layout)
    if pattern:
        others = [member for member in left if not _matches(member.path, pattern)]
        if len(others) < len(left):
            left = _without(left, others, "not chosen by extract.annotations", layout)
        elif len(left) == 1:
            layout.unmatched.append(left[0])
    if len(left) > 1:
        left = _without(left, _variants(left), f"{BEST_MASKS} beside it counts", layout)
    if len(left) > 1:
        raise PipelineError(
            f"two annotations for id {image.path.stem}: {left[0]} and {left[1]}; "
            + _choice(left[0].path, left[1].path, pattern)
        )
    return left[0]


def _without(
    members: Iterable[Member], dropped: Sequence[Member], reason: str, layout: Layout
) -> list[Member]:
    layout.ignored.extend(Ignored(member, reason) for member in dropped)
    gone = set(dropped)
    return [member for member in members if member not in gone]


def _weaker(claimed: Sequence[Member]) -> list[Member]:
    weak = [member for member in claimed if member.path.suffix.lower() == WEAK_SUFFIX]
    return weak if len(weak) < len(claimed) else []


def _variants(claimed: Sequence[Member]) -> list[Member]:
    """Those that were made of an outline of which another file is the better one."""
    folders = {
        one.path.parent.parent for one in claimed if one.path.parent.name.lower() == BEST_MASKS
    }
    return [
        member
        for member in claimed
        if member.path.parent.name.lower() in OTHER_MASKS and member.path.parent.parent in folders
    ]


def _matches(path: PurePosixPath, pattern: str) -> bool:
    return fnmatch.fnmatchcase(f"/{path}".casefold(), pattern.casefold())


def _choice(first: PurePosixPath, second: PurePosixPath, pattern: str | None) -> str:
    """How to choose between two files."""
    own = [part for part in first.parent.parts if part not in second.parent.parts]
    if own:
        example = f"*/{own[0]}/*"
    elif first.suffix.lower() != second.suffix.lower():
        example = f"*{first.suffix}"
    else:
        return "remove one, or the archive that holds it from params.yaml"
    now = f" (now {pattern})" if pattern else ""
    return (
        f"remove one, or set extract.annotations{now} in params.yaml to a pattern that only the "
        f"right one's path matches, as '{example}'"
    )


def _require_pairs(
    images: Mapping[str, Member], annotations: Mapping[str, list[Member]], layout: Layout
) -> None:
    alone = [image for key, image in images.items() if key not in annotations]
    unpaired = [one for key, found in annotations.items() if key not in images for one in found]
    if alone:
        raise PipelineError(
            f"image without annotation: {shown(alone)}; {_missing(alone[0], unpaired, layout)}"
        )
    weak = [one for one in unpaired if one.path.suffix.lower() == WEAK_SUFFIX]
    strong = _without(unpaired, weak, "no image of this name", layout)
    if strong:
        raise PipelineError(
            f"annotation without image: {shown(strong)}; add its .tif, or remove the annotation"
        )


def _missing(image: Member, unpaired: Sequence[Member], layout: Layout) -> str:
    """What to do about an image without annotation, from the files near it."""
    stem = image.path.stem.casefold()
    for one in layout.ignored:
        if one.member.path.stem.casefold() == stem:
            return f"{one.member.path} is not read: {one.reason}"
    siblings = [one for one in unpaired if one.path.parent.parent == image.path.parent.parent]
    if image.path.parent.parent.name == image.path.stem and siblings:
        return (
            f"{siblings[0].path.parent} has a mask of each nucleus; join them in a label map, "
            f"labels/{image.path.stem}.png"
        )
    others = f", or rename {unpaired[0].path}, which fits no image" if unpaired else ""
    return (
        f"add its annotation ({image.path.stem}.xml, .geojson, _mask.png or labels/"
        f"{image.path.stem}.png), or remove the image{others}"
    )


def _hint(members: Sequence[Member], layout: Layout) -> str:
    """What to do where no image was found."""
    for one in layout.ignored:
        if one.member.path.suffix.lower() in IMAGE_SUFFIXES:
            return f"{one.member.path} is not read: {one.reason}"
    if {member.path.name.lower() for member in members} >= PANNUKE:
        return "PanNuke's arrays of all tiles are not read: save each as <id>.png, labels/<id>.png"
    return EXPECTED


def _slide_of(image: PurePosixPath, annotation: PurePosixPath) -> str | None:
    tile = QUPATH_TILE.fullmatch(image.stem)
    if tile:
        return tile[1]
    # TNBC's eleven patients have a folder of images and one of masks each.
    folders = f"{image.parent.name}/{annotation.parent.name}"
    return image.parent.name if TNBC_FOLDERS.fullmatch(folders) else None


def _stated_part(member: Member) -> Part | None:
    """What the innermost folder says that says anything, then the archive's name."""
    for name in (*reversed(member.path.parts[:-1]), member.archive.stem):
        words = _words(name)
        is_train, is_test = (any(map(one.fullmatch, words)) for one in (TRAIN_WORD, TEST_WORD))
        is_train = is_train or name.lower() == MONUSAC_TRAINING
        if is_train != is_test:
            return "train" if is_train else "test"
    return None


def _part_of(image: Member) -> Part:
    part = _stated_part(image) or challenge_part_of(image.path.stem)
    if part is None:
        raise PipelineError(
            f"{image}: nothing tells whether this image is for training or for testing; "
            "name the archive, or a folder in it, with the word `train` or `test`"
        )
    return part


def shown(members: Sequence[object]) -> str:
    """The first few of some files, for a message."""
    more = len(members) - NAMES_SHOWN
    names = ", ".join(str(member) for member in members[:NAMES_SHOWN]) or "they are empty"
    return names + (f" (and {more} more)" if more > 0 else "")
