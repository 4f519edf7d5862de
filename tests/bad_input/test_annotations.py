"""Annotations that are damaged, hostile or odd, through stage `masks`."""

import math
import resource
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from monuseg.core.command import parser, run
from monuseg.formats.images import Labels, read_labels
from monuseg.formats.manifest import ImageRecord, write_records
from monuseg.readers import outlines_xml, regions
from monuseg.readers.outlines_xml import DEPTH_MAX
from monuseg.readers.regions import COORDINATE_LIMIT
from stages.masks import __main__ as masks
from tests.bad_input.conftest import Refused
from tests.bad_input.making import (
    HEIGHT,
    SQUARE,
    WIDTH,
    Outline,
    document,
    encoded,
    layer,
    pixels,
    region,
    xml,
)

Content = Callable[[], bytes]

HERE = "data/raw/a.xml"
# 5 x 5 pixels from row and column 4 on by the official rule.
PAINTED = np.s_[4:9, 4:9]


def extracted(annotation: bytes, height: int = HEIGHT, width: int = WIDTH) -> None:
    """Write what stage `extract` does of an image with an Aperio XML."""
    raw = Path("data/raw")
    raw.mkdir(parents=True, exist_ok=True)
    (raw / "a.tif").write_bytes(encoded(pixels(0, height, width)))
    (raw / "a.xml").write_bytes(annotation)
    record = ImageRecord("a", "unknown", "A", "train", 0.25, "default", "aperio-xml", "", "")
    write_records(raw / "manifest.csv", [record])


def painted() -> Labels:
    run(masks.main, parser("").parse_args([]))
    return read_labels(Path("data/masks/a.png"))


def remarks() -> list[str]:
    return [str(remark) for remark in pd.read_csv("data/masks/regions.csv")["remark"]]


def vertex(attributes: str) -> bytes:
    """An annotation whose second region has a vertex of these attributes."""
    spoilt = f"<Region><Vertices><Vertex {attributes}/></Vertices></Region>"
    return document(f"<Annotation><Regions>{region(SQUARE)}{spoilt}</Regions></Annotation>")


def with_entity(declaration: str) -> bytes:
    body = document(layer(SQUARE)).decode().replace('X="4"', 'X="&x;"', 1)
    return f"<!DOCTYPE Annotations [{declaration}]>{body}".encode()


LAUGHS = '<!ENTITY l0 "9">' + "".join(f'<!ENTITY l{n + 1} "{f"&l{n};" * 10}">' for n in range(9))
AT = "layer 1, region 2: a vertex has X="
WILD = [(-50_000 if n % 2 else 50_000, n) for n in range(600)]

REFUSED: dict[str, tuple[Content, str]] = {
    "empty file": (lambda: b"", "malformed XML"),
    "malformed": (lambda: b"<Annotations><Annotation></Annotations>", "malformed XML"),
    "truncated": (lambda: xml(SQUARE)[:-40], "malformed XML"),
    "truncated within a vertex": (lambda: xml(SQUARE)[:120], "malformed XML"),
    "two roots": (lambda: xml(SQUARE) * 2, "malformed XML"),
    "binary": (lambda: bytes(range(256)), "malformed XML"),
    "a web page": (lambda: b"<html><body/></html>", "the root element is <html>"),
    "another program's": (
        lambda: b"<ASAP_Annotations><Annotations/></ASAP_Annotations>",
        "the root element is <ASAP_Annotations>",
    ),
    "encoding other than declared": (
        lambda: b'<?xml version="1.0" encoding="utf-16"?>' + xml(SQUARE),
        "declares the encoding utf-16 but is in another",
    ),
    "unknown encoding": (
        lambda: b'<?xml version="1.0" encoding="klingon"?>' + xml(SQUARE),
        "unreadable text encoding",
    ),
    "undeclared Latin-1": (
        lambda: document("gr\u00f6\u00dfer").decode().encode("latin-1"),
        "line 1: the byte 0xf6 is not UTF-8, and no other encoding is declared",
    ),
    "document type": (lambda: b"<!DOCTYPE Annotations>" + xml(SQUARE), "declares a document type"),
    "entity expansion": (
        lambda: with_entity(LAUGHS + '<!ENTITY x "&l9;">'),
        "declares a document type or entities",
    ),
    "quadratic expansion": (
        lambda: with_entity(f'<!ENTITY x "{"9" * 100_000}">'),
        "declares a document type or entities",
    ),
    "external entity": (
        lambda: with_entity('<!ENTITY x SYSTEM "file:///etc/hostname">'),
        "declares a document type or entities",
    ),
    "external document type": (
        lambda: b'<!DOCTYPE Annotations SYSTEM "http://127.0.0.1:9/a.dtd">' + xml(SQUARE),
        "declares a document type or entities",
    ),
    "NaN": (lambda: vertex('X="nan" Y="3"'), AT + "'nan'"),
    "infinite": (lambda: vertex('X="3" Y="-inf"'), AT + "'3' Y='-inf'"),
    "overflowing": (lambda: vertex('X="1e999" Y="3"'), AT + "'1e999'"),
    "huge": (lambda: vertex(f'X="{COORDINATE_LIMIT * 2}" Y="3"'), AT + "'200000.0'"),
    "hugely negative": (lambda: vertex(f'X="-{COORDINATE_LIMIT * 2}" Y="3"'), AT),
    "not a number": (lambda: vertex('X="left" Y="3"'), AT + "'left'"),
    "decimal comma": (lambda: vertex('X="3,5" Y="3"'), "'3,5' Y='3'; a decimal comma"),
    "underscore": (lambda: vertex('X="1_0" Y="3"'), AT + "'1_0'"),
    "no text": (lambda: vertex('X="" Y="3"'), AT + "''"),
    "a page of text": (lambda: vertex(f'X="{"9" * 99_999}" Y="3"'), AT + "'9999"),
    "terminal codes": (lambda: vertex('X="&#x9b;2J" Y="3"'), AT + "'\\x9b2J'"),
    "X missing": (lambda: vertex('Y="3"'), AT + "None"),
    "both missing": (lambda: vertex('Z="0"'), AT + "None Y=None"),
    "lower-case names": (lambda: vertex('x="3" y="3"'), AT + "None Y=None"),
    "of another, larger image": (
        lambda: xml(*([(x + 500, y + 300) for x, y in SQUARE] for _ in range(9)), SQUARE),
        f"9 of 10 regions lie outside the image of {WIDTH} x {HEIGHT} pixels",
    ),
    "wild outline": (lambda: xml(WILD), "outlines of more than"),
    "regions of another name": (
        lambda: xml(SQUARE).replace(b"Region>", b"Shape>").replace(b"<Region ", b"<Shape "),
        "a vertex outside every <Region>",
    ),
    "vertices of another name": (
        lambda: xml(SQUARE, SQUARE).replace(b"<Vertex ", b"<Point "),
        "none of its 2 regions is a nucleus (2 fewer than 3 vertices)",
    ),
    "arrows alone": (
        lambda: xml(SQUARE).replace(b"<Region ", b'<Region Type="3" '),
        "none of its 1 regions is a nucleus (1 no nucleus (arrow))",
    ),
    "elements without end": (
        lambda: b"<Annotations>" + b"<Annotation>" * DEPTH_MAX,
        f"more than {DEPTH_MAX} levels",
    ),
}


@pytest.mark.parametrize(("make", "said"), REFUSED.values(), ids=REFUSED)
def test_an_annotation_is_refused_where_it_lies(make: Content, said: str, refused: Refused) -> None:
    extracted(make())
    assert refused(masks.main, said).startswith(f"error: {HERE}: ")


def test_regions_that_cover_the_image_hundreds_of_times_are_refused(refused: Refused) -> None:
    frame = [(0, 0), (1000, 0), (1000, 1000), (0, 1000)]
    extracted(xml(*[frame] * 101), 1000, 1000)
    refused(masks.main, f"{HERE}: regions that cover the image more than 100 times")


def test_a_region_of_most_of_the_image_is_refused(refused: Refused) -> None:
    extracted(xml(SQUARE, [(1, 1), (110, 1), (110, 110), (1, 110)]), 120, 120)
    refused(masks.main, f"{HERE}: layer 1, region 2 takes more than half of the image (82.5%)")


def test_a_hundred_thousand_arrows_are_said_in_a_line(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arrow = '<Region Type="3"><Vertices><Vertex X="1" Y="1"/></Vertices></Region>'
    regions = f"<Regions>{region(SQUARE)}{arrow * 100_000}</Regions>"
    extracted(document(f"<Annotation>{regions}</Annotation>"))
    assert painted().max() == 1
    assert capsys.readouterr().err.splitlines() == [
        "a: layer 1, region 2 and 99999 more: dropped: no nucleus (arrow)"
    ]
    assert len(remarks()) == 100_000


def test_a_million_regions_and_more_are_refused(
    monkeypatch: pytest.MonkeyPatch, refused: Refused
) -> None:
    monkeypatch.setattr(regions, "REGIONS_MAX", 1000)
    extracted(document("<Annotation><Regions>" + "<Region/>" * 1001 + "</Regions></Annotation>"))
    refused(masks.main, f"{HERE}: layer 1, region 1001: more than 1000 regions")


def test_an_annotation_too_large_to_be_one_is_refused_unread(
    monkeypatch: pytest.MonkeyPatch, refused: Refused
) -> None:
    extracted(xml(SQUARE))
    monkeypatch.setattr(regions, "BYTES_MAX", 100)
    monkeypatch.setattr(outlines_xml, "read", lambda *words, **options: pytest.fail("read"))
    refused(masks.main, f"{HERE}: more than 100 bytes")


def test_more_nuclei_than_16_bits_number_are_refused(
    monkeypatch: pytest.MonkeyPatch, refused: Refused
) -> None:
    # 65,536 regions take ten seconds to paint, so the limit comes down instead.
    monkeypatch.setattr("stages.masks.rasterise.LABELS_MAX", 2)
    squares = [[(x + shift, y) for x, y in SQUARE] for shift in (0, 8, 16)]
    extracted(xml(*squares))
    refused(masks.main, f"{HERE}: more than 2 nuclei in one image; cut the image into smaller ones")


def test_an_annotation_of_as_many_regions_as_labels_is_painted(
    monkeypatch: pytest.MonkeyPatch,
    project: Path,
) -> None:
    # Regions without a pixel need no label, so only what is painted counts.
    monkeypatch.setattr("stages.masks.rasterise.LABELS_MAX", 2)
    extracted(xml(SQUARE, SQUARE, SQUARE, [(x + 8, y) for x, y in SQUARE]))
    assert painted().max() == 2


TURNED = SQUARE[::-1]
# A pentagram about (12, 12), which winds twice about its middle.
STAR = [
    (12 + 10 * math.cos(a), 12 + 10 * math.sin(a)) for a in (0.8 * math.pi * n for n in range(5))
]
TWICE = [point for point in SQUARE for _ in range(3)]
SAME: dict[str, Content] = {
    "clockwise": lambda: xml(SQUARE),
    "counter-clockwise": lambda: xml(TURNED),
    "from another vertex on": lambda: xml(SQUARE[2:] + SQUARE[:2]),
    "closed by its first vertex": lambda: xml([*SQUARE, SQUARE[0]]),
    "repeated vertices": lambda: xml(TWICE),
    "there and back again": lambda: xml([*SQUARE, SQUARE[0], (20, 20), SQUARE[0]]),
    "vertices along the edges": lambda: xml([(4, 4), (6, 4), (9, 4), (9, 7), (9, 9), (4, 9)]),
    "a byte-order mark": lambda: b"\xef\xbb\xbf" + xml(SQUARE),
    "UTF-16": lambda: ('<?xml version="1.0" encoding="utf-16"?>' + xml(SQUARE).decode()).encode(
        "utf-16"
    ),
    "Latin-1, declared": lambda: (
        b'<?xml version="1.0" encoding="latin-1"?><!-- gr\xf6\xdfer -->' + xml(SQUARE)
    ),
    "spaces about the numbers": lambda: xml([(f" {x} ", f"\t{y}.00e0") for x, y in SQUARE]),
    "attributes and elements of others": lambda: xml(SQUARE).replace(
        b"<Vertices>", b'<Attributes><Attribute Name="x"/></Attributes><Vertices>'
    ),
}


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize("make", SAME.values(), ids=SAME)
def test_one_square_is_painted_however_it_is_written(make: Content) -> None:
    extracted(make())
    expected = np.zeros((HEIGHT, WIDTH), np.uint16)
    expected[PAINTED] = 1
    assert np.array_equal(painted(), expected)


NOTHING: dict[str, tuple[Sequence[Outline], list[str]]] = {
    "zero area": ([[(4, 4), (9, 4), (6, 4)]], ["dropped: no pixel of its own"]),
    "all vertices one": ([[(4, 4)] * 5], ["dropped: no pixel of its own"]),
    "one vertex": ([[(4, 4)]], ["dropped: fewer than 3 vertices"]),
    "two vertices": ([[(4, 4), (9, 9)]], ["dropped: fewer than 3 vertices"]),
    "no vertices": ([[]], ["dropped: fewer than 3 vertices"]),
    "between the pixels": ([[(4.1, 4.1), (4.2, 4.1), (4.2, 4.2)]], ["dropped: no pixel"]),
    "the same twice": ([SQUARE, SQUARE], ["dropped: no pixel of its own"]),
    "one outside": ([SQUARE, [(x + 99, y) for x, y in SQUARE]], ["dropped: no pixel of its own"]),
    "over the border": ([[(x - 6, y - 6) for x, y in SQUARE]], ["clipped at the image's border"]),
    "far over the border": ([[(-9999, -9), (6, -9), (6, 5)]], ["clipped at the image's border"]),
}


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize(("outlines", "expected"), NOTHING.values(), ids=NOTHING)
def test_a_region_that_is_not_painted_as_outlined_is_listed(
    outlines: Sequence[Outline], expected: list[str]
) -> None:
    # Beside a whole nucleus: an annotation of which nothing is left is refused.
    extracted(xml([(x + 16, y + 10) for x, y in SQUARE], *outlines))
    labels = painted()
    dropped = sum(words.startswith("dropped") for words in expected)
    assert len(np.unique(labels[labels > 0])) == labels.max() == 1 + len(outlines) - dropped
    assert len(remarks()) == len(expected)
    assert all(found.startswith(words) for found, words in zip(remarks(), expected, strict=True))


EMPTY: dict[str, Content] = {
    "empty Regions": lambda: document("<Annotation><Regions/></Annotation>"),
    "no Regions": lambda: document("<Annotation/>"),
    "no layer": lambda: document(""),
}


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize("make", EMPTY.values(), ids=EMPTY)
def test_an_annotation_without_regions_is_an_image_without_nuclei(make: Content) -> None:
    extracted(make())
    assert not painted().any()
    (count,) = pd.read_csv("data/masks/counts.csv").to_dict("records")
    assert count == {"id": "a", "regions": 0, "nuclei": 0, "dropped": 0, "clipped": 0}


@pytest.mark.usefixtures("project")
def test_a_self_crossing_outline_is_painted_by_the_even_odd_rule() -> None:
    extracted(xml(STAR))
    labels = painted()
    # Pixels have 1-based centres, so (12, 12) is row and column 11.
    assert labels[11, 18] == 1
    assert not labels[9:14, 9:14].any()
    assert labels[11, 5] == 0
    assert 60 < np.count_nonzero(labels) < 85
    assert remarks() == []


@pytest.mark.usefixtures("project")
def test_all_layers_are_painted_and_the_first_region_wins() -> None:
    moved = [(x + 3, y) for x, y in SQUARE]
    extracted(document(layer(SQUARE) + layer() + layer(moved)))
    labels = painted()
    assert (labels[PAINTED] == 1).all()
    assert (labels[4:9, 9:12] == 2).all()
    assert labels.max() == 2


def test_a_million_vertices_are_read_in_bounded_memory(project: Path) -> None:
    """Measured: 130 MB are what the imports take, and 5 s on an idle core."""
    turns = np.linspace(0, 2 * np.pi, 1_000_000, endpoint=False)
    x, y = 250 + 180 * np.cos(turns), 250 + 180 * np.sin(turns)
    text = "".join(f'<Vertex X="{a:.3f}" Y="{b:.3f}"/>' for a, b in zip(x, y, strict=True))
    outlined = f"<Region><Vertices>{text}</Vertices></Region>"
    extracted(document(f"<Annotation><Regions>{outlined}</Regions></Annotation>"), 500, 500)
    limit = 2 << 30

    def bounded() -> None:
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))

    done = subprocess.run(
        [sys.executable, "-m", "stages.masks"],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=bounded,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    area = np.count_nonzero(read_labels(Path("data/masks/a.png")))
    assert abs(area - np.pi * 180**2) < 0.01 * area
