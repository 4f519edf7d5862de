"""Tests of stage `extract` and of `stages.extract.raw`."""

import argparse
import io
import tempfile
import zipfile
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from monuseg.core.errors import PipelineError
from monuseg.core.files import sha256_of
from monuseg.formats.images import read_labels, read_rgb
from monuseg.formats.manifest import ImageRecord, read_records, write_records
from monuseg.readers.raster import decode_rgb
from stages.extract import __main__ as extract
from stages.extract.raw import write_raw

LIMIT = 50_000_000
XML = b'<Annotations MicronsPerPixel="0.252">\n\t<Annotation/>\n</Annotations>\n'


def pixels(seed: int, height: int = 12, width: int = 16) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def encoded(array: npt.NDArray[np.generic], suffix: str) -> bytes:
    return bytes(cv2.imencode(suffix, array)[1].tobytes())


def tif(seed: int) -> bytes:
    return encoded(pixels(seed), ".tif")


def write_zip(path: Path, files: Mapping[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as file:
        for name, content in files.items():
            file.writestr(name, content)
    return path


Raw = Callable[..., tuple[Path, list[ImageRecord]]]


@pytest.fixture
def raw(tmp_path: Path) -> Raw:
    """Pack archives given as keyword `name={member: content}` and unpack them to a new folder."""

    def unpack(
        um_per_pixel: float | None = None, **archives: Mapping[str, bytes]
    ) -> tuple[Path, list[ImageRecord]]:
        folder = tmp_path / "raw"
        folder.mkdir()
        paths = [write_zip(tmp_path / f"{name}.zip", files) for name, files in archives.items()]
        return folder, write_raw(paths, folder, max_bytes=LIMIT, um_per_pixel=um_per_pixel)

    return unpack


def test_tif_and_xml_are_kept_byte_for_byte_and_recorded(raw: Raw) -> None:
    image = tif(1)
    folder, (record,) = raw(
        train={"Tissue Images/TCGA-HE-7129-01Z.tif": image, "Annotations/TCGA-HE-7129-01Z.xml": XML}
    )
    assert (folder / "TCGA-HE-7129-01Z.tif").read_bytes() == image
    assert (folder / "TCGA-HE-7129-01Z.xml").read_bytes() == XML
    assert record == ImageRecord(
        id="TCGA-HE-7129-01Z",
        organ="kidney",
        patient="TCGA-HE-7129",
        part="train",
        um_per_pixel=0.252,
        um_per_pixel_source="annotation",
        annotation="aperio-xml",
        sha256=sha256_of(folder / "TCGA-HE-7129-01Z.tif"),
        annotation_sha256=sha256_of(folder / "TCGA-HE-7129-01Z.xml"),
    )
    assert len(list(folder.iterdir())) == 2


def test_png_image_becomes_a_tif_of_the_same_pixels(raw: Raw) -> None:
    mask = np.zeros((12, 16), np.uint8)
    folder, (record,) = raw(
        x={
            "MonuSeg/Test/TissueImages/a.png": encoded(pixels(1), ".png"),
            "MonuSeg/Test/GroundTruth/a_bin_mask.png": encoded(mask, ".png"),
        }
    )
    assert np.array_equal(read_rgb(folder / "a.tif")[..., ::-1], pixels(1))
    assert sorted(path.name for path in folder.iterdir()) == ["a.mask.png", "a.tif"]
    assert (record.part, record.annotation, record.um_per_pixel) == ("test", "binary-mask", 0.25)


@pytest.mark.parametrize(
    "mask",
    [
        np.eye(12, 16, dtype=np.uint8),
        np.eye(12, 16, dtype=np.uint8) * 255,
        np.eye(12, 16, dtype=np.uint16) * 65535,
        np.repeat(np.eye(12, 16, dtype=np.uint8)[..., None] * 255, 3, axis=2),
        np.dstack([np.eye(12, 16, dtype=np.uint8)] * 3 + [np.full((12, 16), 255, np.uint8)]),
    ],
    ids=["0/1", "0/255", "16 bit", "three equal channels", "with opacity"],
)
def test_masks_are_brought_to_0_and_255(
    raw: Raw, mask: npt.NDArray[np.generic], capsys: pytest.CaptureFixture[str]
) -> None:
    folder, _ = raw(train={"a.tif": tif(1), "a_bin_mask.png": encoded(mask, ".png")})
    written = cv2.imread(str(folder / "a.mask.png"), cv2.IMREAD_UNCHANGED)
    assert written is not None
    assert written.dtype == np.uint8
    assert np.array_equal(written, np.eye(12, 16, dtype=np.uint8) * 255)
    assert "connected components" in capsys.readouterr().err


def test_a_mask_of_another_size_names_both_files(raw: Raw) -> None:
    mask = encoded(np.zeros((12, 15), np.uint8), ".png")
    with pytest.raises(PipelineError, match=r"a_bin_mask\.png: 15 x 12.*a\.tif has 16 x 12"):
        raw(train={"a.tif": tif(1), "a_bin_mask.png": mask})


@pytest.mark.parametrize(
    "image",
    [
        encoded(np.zeros((12, 16), np.uint8), ".tif"),
        encoded(np.zeros((12, 16, 3), np.uint16), ".tif"),
        encoded(np.zeros((12, 16, 4), np.uint8), ".png"),
        b"not an image",
        b"",
    ],
    ids=["grey", "16 bit", "four channels", "no image", "empty"],
)
def test_what_is_no_8_bit_rgb_is_named_by_its_archive_and_member(raw: Raw, image: bytes) -> None:
    with pytest.raises(PipelineError, match=r"^train\.zip: deep/a\.tif: "):
        raw(train={"deep/a.tif": image, "deep/a.xml": XML})


@pytest.mark.parametrize("content", [b"", b"not an image"])
def test_an_unreadable_mask_is_named(raw: Raw, content: bytes) -> None:
    with pytest.raises(PipelineError, match=r"^train\.zip: a_bin_mask\.png: "):
        raw(train={"a.tif": tif(1), "a_bin_mask.png": content})


def with_resolution(um_per_pixel: float) -> bytes:
    """A TIF whose tags state a resolution."""
    content = io.BytesIO()
    dpi = 25_400 / um_per_pixel
    Image.fromarray(pixels(1)).save(content, "TIFF", dpi=(dpi, dpi))
    return content.getvalue()


PLAIN_XML = b"<Annotations/>"


@pytest.mark.parametrize(
    ("image", "xml", "table", "given", "expected"),
    [
        (tif(1), PLAIN_XML, "", None, (0.25, "default")),
        (with_resolution(0.5), PLAIN_XML, "", None, (0.5, "tiff-tags")),
        (with_resolution(0.5), XML, "", None, (0.252, "annotation")),
        (with_resolution(0.5), XML, "", 0.4, (0.4, "given")),
        (with_resolution(0.5), XML, "a,0.3\n", 0.4, (0.3, "given")),
        (with_resolution(0.5), XML, "b,0.3\na,\n", None, (0.252, "annotation")),
    ],
)
def test_resolution_is_the_tables_then_the_params_then_what_the_files_state(
    raw: Raw,
    image: bytes,
    xml: bytes,
    table: str,
    given: float | None,
    expected: tuple[float, str],
) -> None:
    files = {"a.tif": image, "a.xml": xml, "organs.csv": f"id,um_per_pixel\n{table}".encode()}
    _, (record,) = raw(train=files, um_per_pixel=given)
    assert record.um_per_pixel == pytest.approx(expected[0])
    assert record.um_per_pixel_source == expected[1]


def test_an_assumed_resolution_and_a_disagreement_are_told(
    raw: Raw, capsys: pytest.CaptureFixture[str]
) -> None:
    raw(
        train={
            **{"a.tif": with_resolution(0.5), "a.xml": XML, "b.tif": tif(2), "b.xml": PLAIN_XML},
            **{"c.tif": tif(3), "c.xml": PLAIN_XML, "d.tif": tif(4), "d.xml": XML},
        }
    )
    assumed, disagreement = capsys.readouterr().err.splitlines()
    assert assumed.startswith("2 image(s) do not state their resolution; 0.25 um per pixel")
    assert assumed.endswith(": b, c")
    assert disagreement.startswith("a: ")
    assert "0.252" in disagreement
    assert "0.5" in disagreement


@pytest.mark.parametrize("value", ["40", "0", "-1", "nan", "inf", '"0,25"', "fine"])
def test_a_resolution_that_is_none_is_refused_in_the_table_and_the_params(
    raw: Raw, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    table = f"id,um_per_pixel\na,{value}\n".encode()
    with pytest.raises(PipelineError, match=r"organs\.csv: a: um_per_pixel.*; "):
        raw(train={"a.tif": tif(1), "a.xml": XML, "organs.csv": table})
    prepare_stage(tmp_path, monkeypatch, um_per_pixel=f".{value}" if "n" in value else value)
    with pytest.raises(PipelineError, match=r"params\.yaml: extract\.um_per_pixel"):
        extract.main(argparse.Namespace())


def test_organ_is_the_tables_then_the_challenges_then_unknown(raw: Raw) -> None:
    ids = ["TCGA-HT-8564-01Z", "TCGA-FG-A4MU-01Z", "slide_1", "slide_2", "slide_3"]
    files = {f"{i}.{suffix}": content for i in ids for suffix, content in (("xml", XML),)}
    files |= {f"{i}.tif": tif(n) for n, i in enumerate(ids)}
    table = "\ufeffid,organ\r\nTCGA-HT-8564-01Z,liver\r\nSLIDE_1, Lung \r\nslide_3,\r\n"
    _, records = raw(train=files, test_tables={"deep/organs.csv": table.encode()})
    assert {r.id: r.organ for r in records} == {
        "TCGA-HT-8564-01Z": "liver",
        "TCGA-FG-A4MU-01Z": "brain",
        "slide_1": "lung",
        "slide_2": "unknown",
        "slide_3": "unknown",
    }


def test_patient_is_the_tables_then_the_barcodes_then_the_slides_then_the_id(raw: Raw) -> None:
    ids = [
        *("TCGA-5P-A9K0-01Z-00-DX1_1", "TCGA-5P-A9K0-01Z-00-DX2", "tcga-g9-6336-01z"),
        *(
            "cmu [x=1,y=2,w=3,h=4]",
            "cmu [x=5,y=2,w=3,h=4]",
            "b",
            "Me\u0301lanome [x=0,y=0]",
        ),
    ]
    files = {f"{one}.tif": tif(number) for number, one in enumerate(ids)}
    files |= {f"{one}.xml": XML for one in ids}
    table = 'id,patient\nB, p 7 \nTCGA-G9-6336-01Z,x\n"M\u00e9lanome [x=0,y=0]",nfd\n'
    _, records = raw(train=files, tables={"organs.csv": table.encode()})
    assert {record.id: record.patient for record in records} == {
        "TCGA-5P-A9K0-01Z-00-DX1_1": "TCGA-5P-A9K0",
        "TCGA-5P-A9K0-01Z-00-DX2": "TCGA-5P-A9K0",
        "tcga-g9-6336-01z": "X",
        "cmu (x1_y2_w3_h4)": "CMU",
        "cmu (x5_y2_w3_h4)": "CMU",
        "b": "P 7",
        "M\u00e9lanome (x0_y0)": "NFD",
    }


def test_a_patient_whose_name_is_written_in_two_ways_is_one(raw: Raw) -> None:
    table = "id,patient\na,M\u00fcller\nb,Mu\u0308ller\n".encode()
    files = {"a.tif": tif(1), "a.xml": XML, "b.tif": tif(2), "b.xml": XML, "organs.csv": table}
    _, (first, second) = raw(train=files)
    assert first.patient == second.patient


def test_an_image_left_out_where_others_of_its_patient_are_renamed_is_told(
    raw: Raw, capsys: pytest.CaptureFixture[str]
) -> None:
    slides = ("TCGA-5P-A9K0-DX1", "TCGA-5P-A9K0-DX2", "c [x=0]", "c [x=9]", "d [x=0]")
    files = {f"{one}.tif": tif(number) for number, one in enumerate(slides)}
    files |= {f"{one}.xml": XML for one in slides}
    table = b"id,patient\nTCGA-5P-A9K0-DX1,p1\nc [x=9],C\n"
    raw(train=files | {"organs.csv": table})
    told, _ = capsys.readouterr().err.splitlines()
    assert told.startswith("1 image(s) count as another patient's")
    assert told.endswith(": TCGA-5P-A9K0-DX2")


def test_ids_are_matched_however_their_accents_are_written_and_strangers_are_told(
    raw: Raw, capsys: pytest.CaptureFixture[str]
) -> None:
    table = "id,organ\nme\u0301lanome,skin\nb,lung\nc,\n".encode()
    _, (record,) = raw(
        train={"m\u00e9lanome.tif": tif(1), "m\u00e9lanome.xml": XML, "organs.csv": table}
    )
    assert (record.id, record.organ) == ("m\u00e9lanome", "skin")
    assert capsys.readouterr().err == "organs.csv names 2 id(s) of no image: b, c\n"


def test_columns_of_no_use_are_told(raw: Raw, capsys: pytest.CaptureFixture[str]) -> None:
    table = b"id,organ,um_per_px,\na,lung,0.5,\n"
    _, (record,) = raw(train={"a.tif": tif(1), "a.xml": XML, "organs.csv": table})
    assert (record.organ, record.um_per_pixel) == ("lung", 0.252)
    assert capsys.readouterr().err == "organs.csv has 2 column(s) of no use: 'um_per_px', ''\n"


@pytest.mark.parametrize(
    ("cell", "organ"),
    [
        ('"lu\rng"', "lu ng"),
        ('" lymph\r\nnode "', "lymph node"),
        ("\u00a0lung\u00a0", "lung"),
        ("NA", "na"),
        ('"a, ""b"""', 'a, "b"'),
    ],
)
def test_white_space_of_an_organ_becomes_single_spaces(
    raw: Raw, tmp_path: Path, cell: str, organ: str
) -> None:
    files = {"a.tif": tif(1), "a.xml": XML, "organs.csv": f"id,organ\na,{cell}\n".encode()}
    _, records = raw(train=files)
    assert [record.organ for record in records] == [organ]
    write_records(tmp_path / "manifest.csv", records)
    assert read_records(tmp_path / "manifest.csv", ImageRecord) == records


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"id,organ\na,l\x1b[2Jung\n", r"'l\\x1b\[2Jung' has characters that do not print"),
        (b"id,organ\na,lu\xe2\x80\x8bng\n", "characters that do not print"),
        (b"id,organ\na,lung, upper\n", "row of 'a' has more cells"),
        (b"id,patient\na,p\nA,q\n", "A is q here and p before"),
        (b"id,organ,organ\na,lung,liver\n", "has the column 'organ' twice; "),
        (b"id,id,organ\na,b,lung\n", "has the column 'id' twice; "),
        (b"id,organ\n ,lung\na,\n", "a row says {'organ': 'lung'} of no id; "),
        (b"id\na\n", "columns id,organ"),
        (b"name,organ\na,lung\n", "columns id,organ"),
        (b"", "columns id,organ"),
        (b"id,organ\n\xff,lung\n", "UTF-8"),
        (b"id,organ\na,lung\nA,liver\n", "A is liver here and lung before"),
    ],
)
def test_a_bad_table_of_organs_is_named(raw: Raw, content: bytes, message: str) -> None:
    with pytest.raises(PipelineError, match=rf"train\.zip: organs\.csv.*{message}"):
        raw(train={"a.tif": tif(1), "a.xml": XML, "organs.csv": content})


def test_ignored_files_are_logged_and_litter_is_not(
    raw: Raw, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, _ = raw(
        train={"a.tif": tif(1), "a.xml": XML, "in.zip": b"PK", "__MACOSX/._a.xml": b"x"},
        more={".b, c/\x1b.tif": b""},
    )
    assert capsys.readouterr().err == (
        "ignored 2 file(s): more.zip: .b, c/\\x1b.tif, train.zip: in.zip; "
        "data/raw/ignored.csv says why\n"
    )
    assert sorted(path.name for path in folder.iterdir()) == ["a.tif", "a.xml", "ignored.csv"]
    assert (folder / "ignored.csv").read_text() == (
        "archive,path,reason\n"
        'more.zip,".b, c/\\x1b.tif","hidden, its name or its folder\'s begins with a dot"\n'
        "train.zip,in.zip,an archive in an archive\n"
    )


LABELS = np.zeros((12, 16), np.uint16)
LABELS[1:4, 1:4], LABELS[1:4, 4:8], LABELS[6:9, 2:5] = 7, 700, 3


def npy(array: npt.NDArray[np.generic]) -> bytes:
    content = io.BytesIO()
    np.save(content, array)
    return content.getvalue()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("labels/a.png", encoded(LABELS, ".png")),
        ("a-labelled.tif", encoded(LABELS, ".tif")),
        ("a.npy", npy(LABELS.astype(np.int32))),
        ("a_labels.npy", npy(LABELS)),
    ],
)
def test_a_label_map_keeps_its_nuclei_apart(
    raw: Raw, name: str, content: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, (record,) = raw(train={"a.tif": with_resolution(0.5), name: content})
    assert record.annotation == "label-map"
    labels = read_labels(folder / "a.labels.png")
    # Renumbered without gaps, the two that touch among them.
    assert np.array_equal(labels > 0, LABELS > 0)
    pairs = {(int(old), int(new)) for old, new in zip(LABELS.flat, labels.flat, strict=True)}
    assert len(pairs) == 4
    assert {new for _, new in pairs} == {0, 1, 2, 3}
    assert record.annotation_sha256 == sha256_of(folder / "a.labels.png")
    assert capsys.readouterr().err == ""


def test_a_jpeg_becomes_a_tif_of_its_pixels(raw: Raw) -> None:
    content = encoded(pixels(1, 64, 48), ".jpg")
    folder, (record,) = raw(train={"a.jpg": content, "a.xml": XML})
    image = read_rgb(folder / "a.tif")
    assert np.array_equal(image, decode_rgb(content, name="a.jpg"))
    assert image.shape == (64, 48, 3)
    assert (folder / "a.tif").read_bytes()[:2] in (b"II", b"MM")
    assert record.sha256 == sha256_of(folder / "a.tif")


@pytest.mark.parametrize(
    ("name", "content", "kind", "suffix"),
    [
        (
            "a.geojson",
            b'{"type":"FeatureCollection","features":[]}',
            "geojson",
            ".geojson",
        ),
        (
            "a.json",
            b'[{"type":"Feature","geometry":null,"properties":{}}]',
            "geojson",
            ".geojson",
        ),
        (
            "a.annotations",
            b'<Annotations><Annotation><Regions><Region><Vertices><V X="1" Y="2"/></Vertices>'
            b"</Region></Regions></Annotation></Annotations>",
            "halo-xml",
            ".xml",
        ),
        ("a.xml", b"<ASAP_Annotations><Annotations/></ASAP_Annotations>", "asap-xml", ".xml"),
    ],
)
def test_outlines_of_other_programs_are_kept_byte_for_byte(
    raw: Raw, name: str, content: bytes, kind: str, suffix: str
) -> None:
    folder, (record,) = raw(train={"a.tif": tif(1), name: content})
    assert record.annotation == kind
    assert (folder / f"a{suffix}").read_bytes() == content
    assert len(list(folder.iterdir())) == 2


def test_of_two_images_for_one_id_the_mask_is_named(raw: Raw) -> None:
    mask = encoded(np.eye(12, 16, dtype=np.uint8) * 255, ".png")
    with pytest.raises(
        PipelineError, match=r"two images for id a: .*; reference/a\.png looks like a mask.*a_mask"
    ):
        raw(train={"pictures/a.tif": tif(1), "reference/a.png": mask})


def test_two_images_of_the_same_pixels_are_named(raw: Raw) -> None:
    png = encoded(pixels(1), ".png")
    with pytest.raises(
        PipelineError, match=r"^test\.zip: a\.png and train\.zip: b\.tif have the same pixels; "
    ):
        raw(test={"a.png": png, "a.xml": XML}, train={"b.tif": tif(1), "b.xml": XML})


def test_other_shapes_of_the_same_bytes_and_empty_glass_are_no_copies(raw: Raw) -> None:
    glass = encoded(np.full((12, 16, 3), 240, np.uint8), ".png")
    turned = encoded(pixels(1).reshape(16, 12, 3), ".png")
    images = {"a.png": glass, "b.png": glass, "c.tif": tif(1), "d.png": turned}
    _, records = raw(train=images | {f"{one}.xml": XML for one in "abcd"})
    assert [record.id for record in records] == ["a", "b", "c", "d"]


def prepare_stage(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    max_bytes: int = LIMIT,
    um_per_pixel: str = "null",
) -> Path:
    monkeypatch.chdir(folder)
    (folder / "params.yaml").write_text(
        f"extract: {{max_bytes: {max_bytes}, annotations: null, um_per_pixel: {um_per_pixel}}}\n"
    )
    archives = folder / "data" / "archives"
    archives.mkdir(parents=True)
    return archives


def test_stage_writes_the_same_bytes_from_differently_packed_archives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archives = prepare_stage(tmp_path, monkeypatch)
    files = {"a.tif": tif(1), "a.xml": XML, "b.tif": tif(2), "b.xml": XML}
    manifests = []
    for name, order in (("one train.zip", sorted(files)), ("two Train.zip", sorted(files)[::-1])):
        path = write_zip(archives / name, {f"{name}/{member}": files[member] for member in order})
        extract.main(argparse.Namespace())
        manifests.append({p.name: p.read_bytes() for p in Path("data/raw").iterdir()})
        path.unlink()
    assert manifests[0] == manifests[1]
    assert b"\r" not in manifests[0]["manifest.csv"]
    assert [r.id for r in read_records(Path("data/raw/manifest.csv"), ImageRecord)] == ["a", "b"]


def test_a_failed_stage_leaves_the_earlier_output_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archives = prepare_stage(tmp_path, monkeypatch, max_bytes=10)
    write_zip(archives / "train.zip", {"a.tif": tif(1), "a.xml": XML})
    earlier = tmp_path / "data" / "raw" / "earlier.tif"
    earlier.parent.mkdir()
    earlier.write_bytes(b"whole")
    with pytest.raises(PipelineError, match=r"extract\.max_bytes"):
        extract.main(argparse.Namespace())
    assert [p.name for p in earlier.parent.iterdir()] == ["earlier.tif"]
    assert sorted(p.name for p in (tmp_path / "data").iterdir()) == ["archives", "raw"]


HOSTILE = st.lists(
    st.sampled_from(["..", ".", "", "/", "a", "C:", "\\", "test", "a.tif", "a.xml", "ä_mask.png"])
    | st.text(max_size=8),
    min_size=1,
    max_size=5,
).map("/".join)


@settings(max_examples=40, deadline=None)
@given(names=st.lists(HOSTILE, min_size=1, max_size=6))
def test_no_member_name_ever_writes_outside_the_folder(names: list[str]) -> None:
    content = tif(1)
    with tempfile.TemporaryDirectory() as outer:
        folder = Path(outer) / "inner" / "raw"
        folder.mkdir(parents=True)
        path = Path(outer) / "train.zip"
        with zipfile.ZipFile(path, "w") as file:
            # ZipInfo cuts a name at a NUL, so names are compared after it.
            infos = [zipfile.ZipInfo(name) for name in ["good.tif", "good.xml", *names]]
            for info in {info.filename: info for info in infos}.values():
                file.writestr(info, content)
        written = []
        try:
            written = write_raw([path], folder, max_bytes=LIMIT)
        except PipelineError as error:
            assert "train.zip" in str(error)
        outside = [p for p in Path(outer).rglob("*") if folder not in (p, *p.parents)]
        assert sorted(p.name for p in outside) == ["inner", "train.zip"]
        assert {p.parent for p in folder.rglob("*")} <= {folder}
        assert len(list(folder.iterdir())) >= 2 * len(written)


@pytest.mark.real
def test_real_archives_give_44_images_with_organ_and_part(
    archives: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    linked = prepare_stage(tmp_path, monkeypatch, max_bytes=8_000_000_000)
    for path in archives.glob("*.zip"):
        (linked / path.name).symlink_to(path)
    extract.main(argparse.Namespace())
    raw_folder = tmp_path / "data" / "raw"
    records = read_records(raw_folder / "manifest.csv", ImageRecord)
    assert Counter(r.part for r in records) == {"train": 30, "test": 14}
    assert Counter(r.organ for r in records if r.part == "test") == {
        "breast": 2,
        "kidney": 3,
        "lung": 2,
        "prostate": 2,
        "bladder": 2,
        "colon": 1,
        "brain": 2,
    }
    assert all(r.organ != "unknown" and r.annotation == "aperio-xml" for r in records)
    assert all(0.24 < r.um_per_pixel < 0.26 for r in records)
    # One of the XML files states nothing.
    assert Counter(r.um_per_pixel_source for r in records) == {"annotation": 43, "default": 1}
    assert {r.patient for r in records} == {r.id[:12] for r in records}
    expected = {f"{r.id}.{suffix}" for r in records for suffix in ("tif", "xml")}
    assert {p.name for p in raw_folder.iterdir()} == expected | {"manifest.csv"}
