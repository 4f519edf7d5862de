"""Tests of `monuseg.readers.aperio`."""

import tracemalloc
from pathlib import Path

import pytest

from monuseg.core.errors import PipelineError
from monuseg.readers.aperio import COORDINATE_LIMIT, read_regions

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
        ("<Annotations>größer</Annotations>".encode("latin-1"), "malformed XML"),
        (b'<?xml version="1.0" encoding="utf-16"?><Annotations/>', "malformed XML"),
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
        vertex("12,5", 1),
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
    # Measured: the outlines are 0.3 MB; the whole tree of 20,000 vertices would be over 5 MB.
    assert peak < 2_000_000


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"TCGA-X\.xml"):
        read_regions(tmp_path / "TCGA-X.xml")
