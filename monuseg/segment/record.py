"""The record beside an image's results: of what they are. By it nothing is done twice."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from pydantic import TypeAdapter

from monuseg.formats.files import read_json, write_json
from monuseg.readers.slides import Slide
from monuseg.segment.outputs.writing import RECORD, SUFFIXES, Written

# A record that is not there, or not as it is written.
_NONE = (OSError, ValueError, TypeError, KeyError, AttributeError)


@dataclass(frozen=True)
class SlideInfo:
    """What there is to know of an opened slide without its pixels; see `Slide`.

    Attributes:
        height: in pixels.
        width: in pixels.
        um_per_pixel: micrometres per pixel, or None.
        source: who states that.
        remark: on the resolution or the choice of pixels, or None.
        identity: of the file's pixels and their choice.
    """

    height: int
    width: int
    um_per_pixel: float | None
    source: str
    remark: str | None
    identity: str

    @classmethod
    def of(cls, slide: Slide) -> Self:
        """Those of a slide."""
        return cls(
            slide.height,
            slide.width,
            slide.um_per_pixel,
            slide.source,
            slide.remark,
            slide.identity,
        )


@dataclass(frozen=True)
class RemoteFile:
    """A file elsewhere, and how its copy is opened: the same look the same.

    Attributes:
        url_hash: SHA-256 of the URL without login and query.
        version: of the file, from `monuseg.segment.staging.version_of`.
        um_per_pixel: whatever it states, or None.
        crop_to_bounds: leave out its empty margin.
        scene: one of its scanned areas, or None.
    """

    url_hash: str
    version: int
    um_per_pixel: float | None
    crop_to_bounds: bool
    scene: int | None


def write_record(
    place: Path,
    wanted: Mapping[str, Any],
    written: Written,
    modified: int,
    remote: RemoteFile | None,
    info: SlideInfo,
    beside: Iterable[str] = (),
) -> None:
    """Say of what the results beside it are.

    Args:
        place: the results' path without suffix.
        wanted: all that decides on them, as JSON.
        written: what they are.
        modified: the image file's time of modification, by which a damaged one may be mended.
        remote: where the image was copied from, or None. If that is not the version that came, it
            is not kept: servers behind one name may differ.
        info: of the image; kept of a copy.
        beside: files of the same nuclei that earlier runs wrote, from `withdraw`.
    """
    content: dict[str, Any] = {"of": dict(wanted), "written": written.record()}
    if others := sorted({*beside} - {*written.files}):
        content["beside"] = others
    if written.damaged:
        content["modified"] = modified
    if remote and remote.version == modified:
        content |= {"remote": asdict(remote), "info": asdict(info)}
    write_json(_path(place), content)


def written_before(place: Path, wanted: Mapping[str, Any], modified: int) -> Written | None:
    """What an earlier run wrote, if it is what is wanted and still there.

    Args:
        place: as `write_record` takes it, as are the others.
        wanted: now.
        modified: now.
    """
    try:
        content = read_json(_path(place))
        written = Written(**content["written"])
        same = content["of"] == wanted
        same &= not written.damaged or content["modified"] == modified
        there = all(place.with_name(place.name + suffix).is_file() for suffix in written.files)
    except _NONE:
        return None
    if not (same and there):
        return None
    written.earlier = True
    return written


def info_before(place: Path, remote: RemoteFile) -> SlideInfo | None:
    """How a file elsewhere looked, if the results there are of the same version, opened the same.

    Args:
        place: as `write_record` takes it.
        remote: the file as it is now, and how it would be opened.
    """
    try:
        content = read_json(_path(place))
        same = RemoteFile(**content["remote"]) == remote
        info = TypeAdapter(SlideInfo).validate_python(content["info"])
    except _NONE:
        return None
    return info if same else None


def withdraw(place: Path, identity: Mapping[str, Any]) -> list[str]:
    """Remove a record, and the files that it lists if they are of other nuclei.

    So a run that is ended while it writes leaves nothing that is taken for whole, and no file of
    one model lies beside one of another.

    Args:
        place: as `write_record` takes it.
        identity: what decides on nuclei, of what `wanted` holds.

    Returns:
        The names, without the image's, of files that it lists and that are of the same nuclei.
    """
    try:
        content = read_json(_path(place))
        other = any(content["of"].get(key) != value for key, value in identity.items())
        listed = {*SUFFIXES} & {*content["written"]["files"], *content.get("beside", [])}
    except _NONE:
        other, listed = False, set()
    stay = []
    for suffix in sorted(listed):
        path = place.with_name(place.name + suffix)
        if other:
            path.unlink(missing_ok=True)
        elif path.is_file():
            stay.append(suffix)
    _path(place).unlink(missing_ok=True)
    return stay


def _path(place: Path) -> Path:
    """The record's path."""
    return place.with_name(place.name + RECORD)
