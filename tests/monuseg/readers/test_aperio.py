"""Tests of `monuseg.readers.aperio`."""

import time
import tracemalloc
from pathlib import Path

import pytest

from monuseg.core.errors import PipelineError
from monuseg.formats.manifest import APERIO_XML
from monuseg.readers import annotations, outlines_xml
from monuseg.readers.aperio import stated_resolution
from monuseg.readers.regions import COORDINATE_LIMIT, Region

REGION = '<Region Id="7" Type="0"><Attributes/><Vertices>{vertices}</Vertices></Region>'
LAYER = (
    '<Annotation Id="1"><Attributes/><Regions><RegionAttributeHeaders/>{regions}</Regions>'
    "</Annotation>"
)


def vertex(x: object, y: object) -> str:
    return f'<Vertex X="{x}" Y="{y}" Z="0"/>'


def region(*vertices: tuple[object, object]) -> str:
    return REGION.format(vertices="".join(vertex(x, y) for x, y in vertices))


def layer(*regions: str) -> str:
    return LAYER.format(regions="".join(regions))


def document(*layers: str) -> str:
    return f'<Annotations MicronsPerPixel="0.25">{"".join(layers)}</Annotations>'


def write(folder: Path, content: str | bytes) -> Path:
    path = folder / "TCGA-X.xml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
    return path


def read_regions(path: Path) -> list[Region]:
    return annotations.read_regions(path, APERIO_XML)


def error_of(path: Path) -> str:
    with pytest.raises(PipelineError) as caught:
        read_regions(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message


def test_all_regions_of_all_layers_come_in_the_files_order(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        document(
            layer(region((1, 2), (3.5, 4), (5, -6.25)), region((7, 8))),
            layer(),
            layer(region((1e3, 0), (2, 2), (3, 3))),
        ),
    )
    regions = read_regions(path)
    assert [(r.layer, r.number) for r in regions] == [(1, 1), (1, 2), (3, 1)]
    assert [r.outline.tolist() for r in regions] == [
        [[1, 2], [3.5, 4], [5, -6.25]],
        [[7, 8]],
        [[1000, 0], [2, 2], [3, 3]],
    ]
    assert {str(r.outline.dtype) for r in regions} == {"float64"}


@pytest.mark.parametrize(
    "content",
    ["<Annotations/>", "<Annotations><Annotation><Regions/></Annotation></Annotations>"],
    ids=["no layer", "no region"],
)
def test_a_file_without_regions_is_no_error(tmp_path: Path, content: str) -> None:
    assert read_regions(write(tmp_path, content)) == []


def test_regions_without_vertices_stay_in_the_count(tmp_path: Path) -> None:
    first, second = read_regions(write(tmp_path, document(layer(region(), "<Region/>"))))
    assert first.outline.shape == second.outline.shape == (0, 2)
    assert second.number == 2


@pytest.mark.parametrize("text", ["60,5", " -1,25", "75,000"])
def test_a_decimal_comma_is_named(tmp_path: Path, text: str) -> None:
    for bad in (vertex(text, 1), vertex(1, text)):
        message = error_of(write(tmp_path, document(layer(REGION.format(vertices=bad)))))
        assert "layer 1, region 1: a vertex has X=" in message
        assert "; a decimal comma: " in message


def typed(kind: str, *vertices: tuple[object, object], negative: object = 0) -> str:
    attributes = f'Type="{kind}" NegativeROA="{negative}"'
    return region(*vertices).replace('Type="0"', attributes)


def test_types_and_negative_regions_are_told_apart(tmp_path: Path) -> None:
    ends = ((1, 2), (5, 8))
    kinds = [typed(str(kind), *ends) for kind in range(7)]
    kinds += [region(*ends).replace(' Type="0"', ""), typed("2", *ends, negative=1)]
    kinds += [typed("0", *ends, negative="True")]
    found = read_regions(write(tmp_path, document(layer(*kinds))))
    assert [(one.shape, one.negative) for one in found] == [
        ("polygon", False),
        ("rectangle", False),
        ("ellipse", False),
        ("arrow", False),
        ("ruler", False),
        ("text", False),
        ("of unknown type '6'", False),
        ("polygon", False),
        ("ellipse", True),
        ("polygon", True),
    ]
    assert [one.encloses for one in found[:3]] == [False, True, True]


def test_a_layer_has_its_own_name_or_that_of_its_first_attribute(tmp_path: Path) -> None:
    one = region((1, 2))
    inner = one.replace("<Attributes/>", '<Attributes><Attribute Name="inner"/></Attributes>')
    layers = [
        ('Name=" Epithelial\tcells"', '<Attribute Name="other" Value=""/>'),
        ('Name=""', '<Attribute Name="Ambiguous" Value=""/><Attribute Name="second"/>'),
        ("", '<Attribute Name="Description" Value="Lymphocyte"/>'),
        ('Name=""', '<Attribute Name="Description" Value=""/>'),
    ]
    text = [
        f"<Annotation {name}><Attributes>{attribute}</Attributes><Regions>{inner}</Regions>"
        "</Annotation>"
        for name, attribute in layers
    ]
    found = read_regions(write(tmp_path, document(*text)))
    names = ["Epithelial cells", "Ambiguous", "Lymphocyte", ""]
    assert [region.layer_name for region in found] == names


def test_a_vertex_outside_every_region_is_refused(tmp_path: Path) -> None:
    lost = region((1, 2)).replace("Region", "Shape")
    assert "a vertex outside every <Region>" in error_of(write(tmp_path, document(layer(lost))))


def test_one_long_attribute_takes_no_quadratic_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = document(layer(region((1, 2)))).replace("Id=", f'Text="{"x" * (20 << 20)}" Id=', 1)
    path = write(tmp_path, content)
    started = time.process_time()
    assert len(read_regions(path)) == 1
    assert stated_resolution(path.read_bytes()) == 0.25
    # Measured: 2 s; in the parser's own blocks of 16 to 64 kB 20 s.
    assert time.process_time() - started < 8
    monkeypatch.setattr(outlines_xml, "SILENCE_MAX", 10)
    assert "attribute of more than 10 MiB" in error_of(path)


@pytest.mark.parametrize(
    ("root", "expected"),
    [
        ('MicronsPerPixel="0.2520"', 0.252),
        ('MicronsPerPixel=" 1 "', 1),
        ('MicronsPerPixel="inf"', None),
        ('MicronsPerPixel="0,25"', 0.25),
        ('MicronsPerPixel=""', None),
        ("", None),
        ('MicronsPerPixel="0.25', None),
    ],
)
def test_the_root_states_the_resolution(root: str, expected: float | None) -> None:
    assert stated_resolution(f"<Annotations {root}><Annotation><".encode()) == expected


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "latin-1"])
def test_declared_encodings_are_read(tmp_path: Path, encoding: str) -> None:
    declared = "utf-8" if encoding == "utf-8-sig" else encoding
    text = f'<?xml version="1.0" encoding="{declared}"?><!-- Zellkern, größer -->'
    path = write(tmp_path, (text + document(layer(region((1, 2))))).encode(encoding))
    assert read_regions(path)[0].outline.tolist() == [[1, 2]]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "malformed XML"),
        (b"\x00\x01\x02 no text", "malformed XML"),
        (document(layer(region((1, 2)))).encode()[:-30], "malformed XML"),
        (b"<Annotations><Annotation></Annotations>", "malformed XML"),
        (b"<Annotations/>\n<Annotations/>", "malformed XML"),
        (
            "<Annotations>\n\ngrößer</Annotations>".encode("latin-1"),
            "line 3: the byte 0xf6 is not UTF-8, and no other encoding is declared",
        ),
        (
            '<?xml version="1.0" encoding="utf-8"?><Annotations>ö</Annotations>'.encode("latin-1"),
            "line 1: the byte 0xf6 is none of the declared encoding utf-8; save the file as UTF-8",
        ),
        ("<Annotations>ö".encode()[:-1], "malformed XML"),
        (b"<Annotations><a></b>\n\xf6</Annotations>", "malformed XML"),
        (
            b'<?xml version="1.0" encoding="utf-16"?><Annotations/>',
            "declares the encoding utf-16 but is in another; save it as UTF-8",
        ),
        (b'<?xml version="1.0" encoding="no-such"?><Annotations/>', "encoding"),
        (b"<html><Annotations/></html>", "root element is <html>"),
        (b"<Annotation><Regions/></Annotation>", "root element is <Annotation>"),
        (b"<!DOCTYPE Annotations><Annotations/>", "document type or entities"),
    ],
    ids=[
        "empty",
        "no text",
        "truncated",
        "misnested",
        "two roots",
        "undeclared latin-1",
        "latin-1 declared as UTF-8",
        "cut within a character",
        "damage before the encoding",
        "declared utf-16, but is not",
        "unknown encoding",
        "a page of a web server",
        "root one too deep",
        "DTD",
    ],
)
def test_what_is_no_annotation_file_is_one_line_that_names_it(
    tmp_path: Path, content: bytes, said: str
) -> None:
    assert said in error_of(write(tmp_path, content))


def test_entities_are_refused_before_they_are_resolved(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("3")
    for declaration in (
        '<!ENTITY x "12">',
        f'<!ENTITY x SYSTEM "{secret.as_uri()}">',
        '<!ENTITY a "aaaaaaaaaa"><!ENTITY x "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">',
    ):
        body = document(layer(region(("1", "2"))) + "&x;")
        path = write(tmp_path, f"<!DOCTYPE Annotations [{declaration}]>{body}")
        assert "document type or entities" in error_of(path)


@pytest.mark.parametrize(
    "bad",
    [
        vertex("nan", 1),
        vertex(1, "inf"),
        vertex("-inf", 1),
        vertex("1e400", 1),
        vertex(1, COORDINATE_LIMIT + 1),
        vertex(-COORDINATE_LIMIT - 1, 1),
        vertex("", 1),
        '<Vertex X="1"/>',
        '<Vertex Y="1"/>',
        "<Vertex/>",
    ],
)
def test_a_bad_vertex_is_named_by_its_layer_and_region(tmp_path: Path, bad: str) -> None:
    broken = REGION.format(vertices=vertex(1, 2) + bad)
    path = write(tmp_path, document(layer(), layer(region((1, 2)), broken)))
    message = error_of(path)
    assert "layer 2, region 2: a vertex has X=" in message
    assert message.endswith("correct or remove that region")


def test_coordinates_up_to_the_limit_pass(tmp_path: Path) -> None:
    path = write(tmp_path, document(layer(region((COORDINATE_LIMIT, -COORDINATE_LIMIT)))))
    assert read_regions(path)[0].outline.tolist() == [[COORDINATE_LIMIT, -COORDINATE_LIMIT]]


def test_what_was_read_is_let_go(tmp_path: Path) -> None:
    vertices = "".join(vertex(n % 1000, n % 997) for n in range(200))
    regions = [REGION.format(vertices=vertices)] * 100
    path = write(tmp_path, document(layer(*regions)))
    tracemalloc.start()
    try:
        found = read_regions(path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(found) == 100
    # Measured: 2.0 MB, of which the file is 0.7 and the outlines 0.3; the whole tree of 20,000
    # vertices would be over 5 MB.
    assert peak < 3_000_000


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"TCGA-X\.xml"):
        read_regions(tmp_path / "TCGA-X.xml")
