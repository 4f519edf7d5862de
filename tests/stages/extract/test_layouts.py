"""Tests of `stages.extract.layouts`."""

import io
import zipfile
from pathlib import Path, PurePosixPath

import pytest

from monuseg.core.errors import PipelineError
from stages.extract.archives import Member
from stages.extract.layouts import Layout, recognise, shown

NOT_READ = zipfile.ZipFile(io.BytesIO(), "w")


def members(archive: str, *paths: str) -> list[Member]:
    return [
        Member(Path(archive), PurePosixPath(path), NOT_READ, zipfile.ZipInfo(path))
        for path in paths
    ]


def table(layout: Layout) -> list[tuple[str, str, str, str]]:
    return [(f.id, f.part, f.kind, str(f.annotation.path)) for f in layout.images]


def test_official_layout_with_litter() -> None:
    root = "MoNuSeg 2018 Training Data"
    layout = recognise(
        members(
            "whatever.zip",
            f"{root}/Tissue Images/b.tif",
            f"{root}/Annotations/b.xml",
            f"{root}/Tissue Images/a.tif",
            f"{root}/Annotations/a.xml",
            f"__MACOSX/{root}/Annotations/._a.xml",
            f"{root}/._a.tif",
            f"{root}/.DS_Store",
            f"{root}/Tissue Images/Thumbs.db",
        )
    )
    assert table(layout) == [
        ("a", "train", "aperio-xml", f"{root}/Annotations/a.xml"),
        ("b", "train", "aperio-xml", f"{root}/Annotations/b.xml"),
    ]
    assert layout.ignored == []


def test_flat_test_layout() -> None:
    layout = recognise(members("x.zip", "MoNuSegTestData/a.tif", "MoNuSegTestData/a.xml"))
    assert table(layout) == [("a", "test", "aperio-xml", "MoNuSegTestData/a.xml")]


@pytest.mark.parametrize("suffix", ["tif", "png", "TIFF"])
def test_layout_with_ready_masks(suffix: str) -> None:
    layout = recognise(
        members(
            "MonuSeg.zip",
            f"MonuSeg/Training/TissueImages/a.{suffix}",
            "MonuSeg/Training/GroundTruth/a_bin_mask.png",
            f"MonuSeg/Test/TissueImages/b.{suffix}",
            "MonuSeg/Test/GroundTruth/b_bin_mask.png",
        )
    )
    assert table(layout) == [
        ("a", "train", "binary-mask", "MonuSeg/Training/GroundTruth/a_bin_mask.png"),
        ("b", "test", "binary-mask", "MonuSeg/Test/GroundTruth/b_bin_mask.png"),
    ]


@pytest.mark.parametrize(
    ("image", "annotation"),
    [
        ("train/images/a.tif", "train/ground_truth/a.png"),
        ("train/images/a.tif", "train/Masks/a.PNG"),
        ("train/a.TIF", "train/a.XML"),
        ("train/a.tif", "train/a-binary-mask.tif"),
        ("train/a.tif", "train/a_Mask.png"),
        ("train/A.tif", "train/a.xml"),
    ],
)
def test_small_differences_of_the_layouts_pass(image: str, annotation: str) -> None:
    (files,) = recognise(members("x.zip", image, annotation)).images
    assert (files.id.lower(), str(files.annotation.path)) == ("a", annotation)


def test_suffixes_are_cut_whole() -> None:
    # `rstrip(".tif")` and `rstrip("_bin_mask.png")` would eat letters of these ids.
    layout = recognise(
        members("train.zip", "fit.tif", "fit.xml", "big_man.tif", "gt/big_man_bin_mask.png")
    )
    assert [files.id for files in layout.images] == ["big_man", "fit"]


@pytest.mark.parametrize(
    ("archive", "path", "part"),
    [
        ("Training Data.zip", "images/a.tif", "train"),
        ("MONUSEGTESTDATA.ZIP", "a.tif", "test"),
        ("train.zip", "Test/a.tif", "test"),
        ("train.zip", "Train/test/images/a.tif", "test"),
        ("test.zip", "Train and test/a.tif", "test"),
        ("x.zip", "Train/train and test/a.tif", "train"),
        ("x.zip", "TCGA-HT-8564-01Z.tif", "test"),
        ("x.zip", "TCGA-A7-A13E-01Z.tif", "train"),
        ("test.zip", "TCGA-A7-A13E-01Z.tif", "test"),
    ],
)
def test_part_comes_from_the_innermost_folder_then_archive_then_protocol(
    archive: str, path: str, part: str
) -> None:
    (files,) = recognise(members(archive, path, path.replace(".tif", ".xml"))).images
    assert files.part == part


def test_an_image_whose_part_nothing_tells_is_named() -> None:
    with pytest.raises(PipelineError, match=r"x\.zip: images/a\.tif.*name the archive"):
        recognise(members("x.zip", "images/a.tif", "images/a.xml"))


def test_a_file_name_does_not_tell_the_part() -> None:
    with pytest.raises(PipelineError, match="nothing tells"):
        recognise(members("x.zip", "train_1.tif", "train_1.xml"))


def test_an_image_without_annotation_is_named() -> None:
    with pytest.raises(PipelineError, match=r"image without annotation: train\.zip: b\.tif"):
        recognise(members("train.zip", "a.tif", "a.xml", "b.tif"))


def test_an_annotation_without_image_is_named() -> None:
    with pytest.raises(PipelineError, match=r"annotation without image: train\.zip: b\.xml"):
        recognise(members("train.zip", "a.tif", "a.xml", "b.xml"))


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("one/a.tif", "two/a.tif"),
        ("a.tif", "a.png"),
        ("a.tif", "A.tif"),
        ("a.tif", "a.tif"),
    ],
)
def test_two_images_for_one_id_are_named(first: str, second: str) -> None:
    with pytest.raises(PipelineError, match="two images for id") as raised:
        recognise(members("train.zip", "a.xml", first, second))
    assert first in str(raised.value)
    assert second in str(raised.value)


def test_two_annotations_for_one_id_are_named() -> None:
    with pytest.raises(PipelineError, match=r"two annotations.*a\.xml.*a_bin_mask\.png"):
        recognise(members("train.zip", "a.tif", "a.xml", "a_bin_mask.png"))


def test_one_id_in_two_archives_names_both() -> None:
    both = members("train.zip", "a.tif", "a.xml") + members("test.zip", "A.tif", "A.xml")
    with pytest.raises(PipelineError, match=r"train\.zip: a\.tif and test\.zip: A\.tif"):
        recognise(both)


@pytest.mark.parametrize("paths", [[], ["readme.txt", "model.h5"], ["__MACOSX/._a.tif"]])
def test_an_unknown_layout_says_what_is_expected(paths: list[str]) -> None:
    with pytest.raises(PipelineError, match=r"no image in .*expected <id>\.tif"):
        recognise(members("train.zip", *paths))


def test_unknown_files_and_nested_zips_are_ignored() -> None:
    layout = recognise(members("train.zip", "a.tif", "a.xml", "inner.zip", "notes.txt"))
    assert len(layout.images) == 1
    assert shown(layout.ignored) == "train.zip: inner.zip, train.zip: notes.txt"


def test_of_many_files_the_first_three_are_shown() -> None:
    assert shown(members("x.zip", *"abcde")) == "x.zip: a, x.zip: b, x.zip: c (and 2 more)"


def test_organ_tables_are_found_anywhere() -> None:
    layout = recognise(members("train.zip", "a.tif", "a.xml", "deep/folder/Organs.csv"))
    assert [str(member.path) for member in layout.organ_tables] == ["deep/folder/Organs.csv"]


@pytest.mark.parametrize("name", ["a:b", "a\nb", "-a", "a" * 250, "ä" * 120, "a*"])
def test_an_id_that_makes_no_good_file_name_is_refused(name: str) -> None:
    with pytest.raises(PipelineError, match="rename the file"):
        recognise(members("train.zip", f"{name}.tif", f"{name}.xml"))


def test_the_order_of_the_members_does_not_matter() -> None:
    paths = ["b.tif", "a.xml", "a.tif", "b.xml"]
    expected = [f.id for f in recognise(members("train.zip", *paths)).images]
    assert [f.id for f in recognise(members("train.zip", *reversed(paths))).images] == expected
