"""Small valid files to start from, all drawn here, and words of each format."""

import io
import stat
import zipfile
from pathlib import Path

import cv2
import numpy as np
import yaml

PARAMS = Path(__file__).resolve().parents[2] / "params.yaml"

XML_WORDS = [
    *("<Annotations>", "</Annotations>", "<Annotation>", "<Regions>", "<Region>", "</Region>"),
    *("<Vertices>", "</Vertices>", '<Vertex X="1" Y="2"/>', "<Vertex", 'X="', 'Y="', "/>"),
    *('MicronsPerPixel="0.25"', "NaN", "-inf", "1e308", "-0.0", "99999.9", "1_0", "٣"),
    *('<?xml version="1.0" encoding="utf-8"?>', 'encoding="utf-16"', 'encoding="idna"'),
    *("<!DOCTYPE a [", "<!ENTITY a ", "SYSTEM", "]>", "&a;", "&#0;", "<![CDATA[", "]]>", "<!--"),
]
ZIP_WORDS = [
    *("PK\x01\x02", "PK\x03\x04", "PK\x05\x06", "PK\x06\x06", "PK\x06\x07", "PK\x07\x08"),
    *("../", "..\\", "/", "C:\\", "__MACOSX/._", ".tif", ".png", ".xml", "_bin_mask.png"),
    *("organs.csv", "id,organ\n", "train", "test", "GroundTruth/", "Annotations/", "TCGA-"),
    *("II*\x00", "MM\x00*", "\x89PNG\r\n\x1a\n", "IHDR", "IDAT", "\xff\xd8\xff", "BM", "P6\n"),
]
ASAP = (
    b'<ASAP_Annotations><Annotations><Annotation Name="1" Type="Polygon" PartOfGroup="nuclei">'
    b'<Coordinates><Coordinate Order="0" X="2" Y="2"/><Coordinate Order="1" X="9" Y="2"/>'
    b'<Coordinate Order="2" X="9" Y="9"/></Coordinates></Annotation></Annotations>'
    b"</ASAP_Annotations>"
)
GEOJSON = (
    b'{"type": "FeatureCollection", "features": [{"type": "Feature", "geometry": {"type": '
    b'"Polygon", "coordinates": [[[2, 2], [9, 2], [9, 9], [2, 2]]]}, "properties": '
    b'{"objectType": "detection", "classification": {"name": "Tumor"}}}]}'
)
YAML_WORDS = [
    *(": ", "- ", "[", "]", "{", "}", "&a ", "*a", "<<: *a", "!!int ", "!!float ", "!!binary "),
    *("!!python/object/apply:os.system ", "!!set ", "!!omap ", "!!timestamp ", "? ", "| ", "---\n"),
    *("%YAML 1.1\n", "null", "~", ".nan", ".inf", "1e400", "0x1F", "2001-99-99", "0o9", "#", '"'),
]


def annotations() -> list[bytes]:
    """Files of Aperio, HALO, ASAP and QuPath."""
    square = _region([(2, 2), (9, 2), (9, 9), (2, 9)])
    beyond = _region([(-5.5, 3.25), (60.1, -7), (30, 70)])
    bow_tie = _region([(1, 1), (9, 9), (9, 1), (1, 9), (1, 1)])
    few = _region([(3, 3), (7, 5)]) + _region([(4, 4)]) + _region([])
    return [
        _document(),
        _document(square),
        _document(square + beyond, bow_tie),
        _document(few, "", square + square),
        b'<?xml version="1.0" encoding="utf-8"?>\n' + _document(bow_tie + few),
        b'\xef\xbb\xbf<?xml version="1.0"?><!-- drawn -->' + _document(beyond),
        _document(square).decode().encode("utf-16"),
        _document(square.replace('Type="0"', 'Type="2" NegativeROA="1"') + beyond),
        _document(square).replace(b"Vertex ", b"V "),
        ASAP,
        GEOJSON,
    ]


def archives() -> list[bytes]:
    """Zip archives of each known layout, and some of what tools and systems leave in them."""
    image, grey, mask = _image(".tif"), _image(".tif", channels=1), _image(".png", channels=1)
    xml = annotations()[2]
    official = {"a/Tissue Images/TCGA-A.tif": image, "a/Annotations/TCGA-A.xml": xml}
    instances = {
        "train/qu [x=0,y=0,w=7,h=6].tif": image,
        "train/labels/qu [x=0,y=0,w=7,h=6].npy": _npy(),
    }
    masks = {
        "Test/TissueImages/b.png": _image(".png", level=180),
        "Test/GroundTruth/b_bin_mask.png": mask,
        "Training/TissueImages/c.tif": image,
        "Training/GroundTruth/c_bin_mask.png": _image(".png", channels=4, level=255),
    }
    table = {"organs.csv": b"\xef\xbb\xbfid,organ\nTCGA-A,lung\n"}
    litter = {"__MACOSX/a/._TCGA-A.xml": b"\0", ".DS_Store": b"\0", "notes.txt": b"none"}
    return [
        pack({}),
        pack({"TCGA-A.tif": image, "TCGA-A.xml": xml}),
        pack(official | table | litter),
        pack(masks),
        pack({"train/e.tif": image, "train/e.geojson": GEOJSON}),
        pack(instances),
        pack({"a\\": b"", "a\\b.tif": image, "a\\b.xml": annotations()[0]}, zipfile.ZIP_STORED),
        pack({"b.tiff": grey, "b.xml": xml, "c.zip": pack({"d.tif": image})}, zipfile.ZIP_BZIP2),
        pack(official, zipfile.ZIP_LZMA),
    ]


def params() -> list[bytes]:
    """Every block of params.yaml alone, the whole of it, and YAML's rarer features."""
    text = PARAMS.read_text(encoding="utf-8")
    content = yaml.safe_load(text)
    alone = [yaml.safe_dump({key: block}, sort_keys=False) for key, block in content.items()]
    rare = [
        "a: &a [1, 2]\nb: *a\nc: {<<: {d: 1}}\n",
        "? [x, y]\n: |\n  text\nz: !!set {a, b}\n",
        "%YAML 1.1\n---\nmodels: [yes, 0o17, 1_000, 2001-12-14t21:59:43.10-05:00]\n...\n",
        'extract: {max_bytes: "8"}\nreport: {overlays: 1e3}\n',
    ]
    return [one.encode() for one in (text, *alone, *rare)]


def pack(
    members: dict[str, bytes],
    compression: int = zipfile.ZIP_DEFLATED,
    mode: int = stat.S_IFREG | 0o644,
) -> bytes:
    """A zip archive of the members, in their order."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as file:
        for name, content in members.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = mode << 16
            info.compress_type = compression
            file.writestr(info, content)
    return stream.getvalue()


def _image(suffix: str, *, channels: int = 3, level: int = 200) -> bytes:
    pixels = np.full((6, 7, channels), level, np.uint8)
    pixels[2:4, 2:5] = 0
    encoded, content = cv2.imencode(suffix, pixels)
    assert encoded
    return content.tobytes()


def _npy() -> bytes:
    """An array of two instances."""
    stream = io.BytesIO()
    np.save(stream, np.repeat(np.arange(6, dtype=np.int32) // 2, 7).reshape(6, 7))
    return stream.getvalue()


def _region(vertices: list[tuple[float, float]]) -> str:
    inner = "".join(f'<Vertex X="{x}" Y="{y}" Z="0"/>' for x, y in vertices)
    return f'<Region Id="1" Type="0"><Vertices>{inner}</Vertices></Region>'


def _document(*layers: str) -> bytes:
    inner = "".join(f"<Annotation><Regions>{layer}</Regions></Annotation>" for layer in layers)
    return f'<Annotations MicronsPerPixel="0.25">{inner}</Annotations>'.encode()
