"""Tests of stage `extract` and of `stages.extract.raw`."""

import argparse
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

from monuseg.core.errors import PipelineError
from monuseg.core.files import sha256_of
from monuseg.formats.images import read_rgb
from monuseg.formats.manifest import ImageRecord, read_records
from monuseg.readers.raster import decode_mask
from stages.extract import __main__ as extract
from stages.extract.raw import microns_per_pixel, write_raw

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

    def unpack(**archives: Mapping[str, bytes]) -> tuple[Path, list[ImageRecord]]:
        folder = tmp_path / "raw"
        folder.mkdir()
        paths = [write_zip(tmp_path / f"{name}.zip", files) for name, files in archives.items()]
        return folder, write_raw(paths, folder, max_bytes=LIMIT)

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
        part="train",
        um_per_pixel=0.252,
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
        np.eye(12, 16, dtype=np.uint16) * 700,
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


def test_a_mask_in_colours_is_refused() -> None:
    with pytest.raises(PipelineError, match=r"a\.png: a mask in colours"):
        decode_mask(encoded(pixels(1), ".png"), name="a.png")


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


@pytest.mark.parametrize(
    ("xml", "expected"),
    [
        (b'<Annotations MicronsPerPixel="0.5"/>', 0.5),
        (b'<Annotations MicronsPerPixel="0.5"><unclosed>', 0.5),
        (b"<Annotations/>", 0.25),
        (b'<Annotations MicronsPerPixel="0"/>', 0.25),
        (b'<Annotations MicronsPerPixel="nan"/>', 0.25),
        (b'<Annotations MicronsPerPixel="fine"/>', 0.25),
        (b"no xml", 0.25),
        (b"", 0.25),
        (
            b'<!DOCTYPE a [<!ENTITY e "0.5">]><Annotations MicronsPerPixel="&e;"/>',
            0.25,
        ),
    ],
)
def test_resolution_is_read_from_the_root_or_taken_as_40x(
    tmp_path: Path, xml: bytes, expected: float
) -> None:
    path = tmp_path / "a.xml"
    path.write_bytes(xml)
    assert microns_per_pixel(path) == expected


def test_organ_is_the_challenges_then_the_tables_then_unknown(raw: Raw) -> None:
    ids = ["TCGA-HT-8564-01Z", "slide_1", "slide_2", "slide_3"]
    files = {f"{i}.{suffix}": content for i in ids for suffix, content in (("xml", XML),)}
    files |= {f"{i}.tif": tif(n) for n, i in enumerate(ids)}
    table = "\ufeffid,organ\r\nTCGA-HT-8564-01Z,liver\r\nSLIDE_1, Lung \r\nslide_3,\r\n"
    _, records = raw(train=files, test_tables={"deep/organs.csv": table.encode()})
    assert {r.id: r.organ for r in records} == {
        "TCGA-HT-8564-01Z": "brain",
        "slide_1": "lung",
        "slide_2": "unknown",
        "slide_3": "unknown",
    }


@pytest.mark.parametrize(
    ("content", "message"),
    [
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
        train={"a.tif": tif(1), "a.xml": XML, "in.zip": b"PK", "__MACOSX/._a.xml": b"x"}
    )
    assert capsys.readouterr().err == ("ignored 1 file(s) of no known kind: train.zip: in.zip\n")
    assert sorted(path.name for path in folder.iterdir()) == ["a.tif", "a.xml"]


def prepare_stage(folder: Path, monkeypatch: pytest.MonkeyPatch, max_bytes: int = LIMIT) -> Path:
    monkeypatch.chdir(folder)
    (folder / "params.yaml").write_text(f"extract:\n  max_bytes: {max_bytes}\n")
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
    expected = {f"{r.id}.{suffix}" for r in records for suffix in ("tif", "xml")}
    assert {p.name for p in raw_folder.iterdir()} == expected | {"manifest.csv"}
