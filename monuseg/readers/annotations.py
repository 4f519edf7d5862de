"""Which program wrote an annotation of outlines, and its regions."""

from pathlib import Path
from typing import Final

from monuseg.core.errors import PipelineError
from monuseg.formats.manifest import APERIO_XML, ASAP_XML, GEOJSON, HALO_XML, Annotation
from monuseg.readers import aperio, geojson, outlines_xml
from monuseg.readers import regions as limits
from monuseg.readers.aperio import AperioTarget
from monuseg.readers.asap import AsapTarget
from monuseg.readers.halo import HaloTarget
from monuseg.readers.regions import SHOWN_MAX, Region, require_at_most

TARGETS: Final = {APERIO_XML: AperioTarget, HALO_XML: HaloTarget, ASAP_XML: AsapTarget}
# Root elements of what else people have beside their images.
OTHERS = {
    "annotations": "NDP.view's annotation",
    "annotation": "Pascal VOC's or LabelMe's annotation",
    "html": "a web page",
    "OME": "OME-XML",
    "svg": "a drawing",
}
READ = "Aperio ImageScope's, HALO's and ASAP's XML and QuPath's GeoJSON are read"
BEFORE_TEXT = b"\xef\xbb\xbf\xff\xfe\0 \t\r\n"  # byte-order marks and white space


def kind_of(content: bytes, *, name: str) -> Annotation:
    """Which kind of annotation a file of outlines is, by what it holds.

    Args:
        content: the file's bytes.
        name: what an error calls the file.

    Raises:
        PipelineError: none that is known, or it is damaged at its beginning.
    """
    first = content[:1000].lstrip(BEFORE_TEXT)[:1]
    if first in (b"{", b"["):
        geojson.loaded(content, name=name)
        return GEOJSON
    if first and first != b"<":
        raise PipelineError(
            f"{name}: neither XML nor JSON (it begins with {content[:8]!r}); {READ}"
        )
    found = _Kind(name)
    outlines_xml.feed(content, found, name=name)
    return found.kind


class _Kind:
    """Tells a kind by the first elements; HALO's and Aperio's differ only in their regions."""

    def __init__(self, name: str) -> None:
        self.elements = 0
        self.kind: Annotation = APERIO_XML
        self._name = name

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        self.elements += 1
        if self.elements == 1:
            if tag == AsapTarget.root:
                self.kind = ASAP_XML
                raise outlines_xml.EnoughError
            if tag != AperioTarget.root:
                what = OTHERS.get(tag.rpartition("}")[2], "XML of another kind")
                raise PipelineError(
                    f"{self._name}: {what} (the root element is <{tag[:SHOWN_MAX]}>); {READ}"
                )
        elif tag == "V" or (tag == "Region" and attributes.get("Type") in HaloTarget.shapes):
            self.kind = HALO_XML
            raise outlines_xml.EnoughError
        elif tag == "Vertex":
            raise outlines_xml.EnoughError

    def end(self, tag: str) -> None:
        """Nothing can be told from an element's end."""


def read_regions(path: Path, kind: Annotation) -> list[Region]:
    """Read all regions of an annotation of outlines, in the file's order.

    Raises:
        PipelineError: see the reader of its kind.
    """
    program = "QuPath" if kind == GEOJSON else TARGETS[kind].program
    size = path.stat().st_size
    require_at_most(size, limits.BYTES_MAX, "bytes", place=str(path), program=program)
    content = path.read_bytes()
    if kind == GEOJSON:
        return geojson.read(content, name=str(path))
    return outlines_xml.read(content, TARGETS[kind], name=str(path))


def stated_resolution(content: bytes, kind: Annotation) -> float | None:
    """Micrometres per pixel that an annotation states, or `None`; only Aperio's has a place."""
    return aperio.stated_resolution(content) if kind == APERIO_XML else None
