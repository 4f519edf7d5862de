"""Tests of `stages.extract.layouts`."""

import io
import time
import zipfile
from pathlib import Path, PurePosixPath

import pytest

from monuseg.core.errors import PipelineError
from stages.extract.archives import Member
from stages.extract.layouts import Layout, recognise, shown

NOT_READ = zipfile.ZipFile(io.BytesIO(), "w")
NOT_READ.close()


def members(archive: str, *paths: str) -> list[Member]:
    return [
        Member(Path(archive), PurePosixPath(path), NOT_READ, zipfile.ZipInfo(path))
        for path in paths
    ]


def table(layout: Layout) -> list[tuple[str, str, str]]:
    return [(f.id, f.part, str(f.annotation.path)) for f in layout.images]


def annotation(*paths: str, pattern: str | None = None) -> str:
    """The annotation of the only image in an archive."""
    (files,) = recognise(members("train.zip", *paths), pattern).images
    return str(files.annotation.path)


def ignored(layout: Layout) -> dict[str, str]:
    return {str(one.member.path): one.reason for one in layout.ignored}


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
        ("a", "train", f"{root}/Annotations/a.xml"),
        ("b", "train", f"{root}/Annotations/b.xml"),
    ]
    assert layout.ignored == []


def test_flat_test_layout() -> None:
    layout = recognise(members("x.zip", "MoNuSegTestData/a.tif", "MoNuSegTestData/a.xml"))
    assert table(layout) == [("a", "test", "MoNuSegTestData/a.xml")]


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
        ("a", "train", "MonuSeg/Training/GroundTruth/a_bin_mask.png"),
        ("b", "test", "MonuSeg/Test/GroundTruth/b_bin_mask.png"),
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
        ("train/a.tif", "train/a.annotations"),
        ("train/a.tif", "train/a.geojson"),
        ("train/a.tif", "train/a.json"),
        ("train/a.svs", "train/a.svs.geojson"),
        ("train/a.tif", "train/a.npy"),
        ("train/a.tif", "train/a_labels.npy"),
        ("train/a.jpg", "train/a-labelled.png"),
        ("train/a.JPEG", "train/labels/a.tif"),
        ("train/images/a.png", "train/Instance_maps/a.png"),
        ("train/a.tif", "train/a_instances.tif"),
        ("train/a.tif", "train/a_gt.tif"),
        ("train/images_and_masks/a.tif", "train/images_and_masks/a_mask.tif"),
        ("Training Data and Annotations/a.tif", "Training Data and Annotations/a.xml"),
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
        ("x.zip", "train/intestine/a.tif", "train"),
        ("x.zip", "train/testis/a.tif", "train"),
        ("x.zip", "test/constrained/a.tif", "test"),
        ("train.zip", "latest/contest/a.tif", "train"),
        ("x.zip", "TrainingData2/a.tif", "train"),
        ("x.zip", "MyXMLTestFolder/a.tif", "test"),
        ("x.zip", "test_set/a.tif", "test"),
        ("x.zip", "TESTING/a.tif", "test"),
        ("x.zip", "trainset/a.tif", "train"),
        ("x.zip", "fold1test/a.tif", "test"),
        ("x.zip", "MoNuSAC_images_and_annotations/P/a.tif", "train"),
        ("x.zip", "MoNuSAC Testing Data and Annotations/P/a.tif", "test"),
    ],
)
def test_part_comes_from_the_innermost_folder_then_archive_then_protocol(
    archive: str, path: str, part: str
) -> None:
    (files,) = recognise(members(archive, path, path.replace(".tif", ".xml"))).images
    assert files.part == part


@pytest.mark.parametrize("archive", ["x.zip", "latest export.zip", "Testament.zip", "strain.zip"])
def test_an_image_whose_part_nothing_tells_is_named(archive: str) -> None:
    with pytest.raises(PipelineError, match=rf"{archive}: images/a\.tif.*name the archive"):
        recognise(members(archive, "images/a.tif", "images/a.xml"))


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
    with pytest.raises(PipelineError, match=r"two annotations.*a\.xml.*a_bin_mask\.png.*'\*\.xml'"):
        recognise(members("train.zip", "a.tif", "a.xml", "a_bin_mask.png"))


def test_annotations_that_differ_in_the_case_of_their_suffix_get_no_pattern() -> None:
    with pytest.raises(PipelineError, match=r"two annotations for id a: .*; remove one, or the ar"):
        recognise(members("train.zip", "a.tif", "a.xml", "A.XML"))
    with pytest.raises(PipelineError, match="two annotations for id a: "):
        recognise(members("train.zip", "a.tif", "a_mask.png", "a_labels.png"))


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
    assert ignored(layout) == {
        "inner.zip": "an archive in an archive",
        "notes.txt": "no known kind",
    }


def test_of_many_files_the_first_three_are_shown() -> None:
    assert shown(members("x.zip", *"abcde")) == "x.zip: a, x.zip: b, x.zip: c (and 2 more)"


def test_organ_tables_are_found_anywhere() -> None:
    layout = recognise(members("train.zip", "a.tif", "a.xml", "deep/folder/Organs.csv"))
    assert [str(member.path) for member in layout.organ_tables] == ["deep/folder/Organs.csv"]


@pytest.mark.parametrize("name", ["a:b", "a\nb", "-a", "a" * 250, "ä" * 120, "a*"])
def test_an_id_that_makes_no_good_file_name_is_refused(name: str) -> None:
    with pytest.raises(PipelineError, match="rename the file"):
        recognise(members("train.zip", f"{name}.tif", f"{name}.xml"))


def test_tnbc_has_masks_in_gt_and_a_patient_a_folder() -> None:
    layout = recognise(
        members(
            "TNBC_train.zip",
            *("Slide_01/01_1.png", "GT_01/01_1.png", "Slide_01/01_2.png", "GT_01/01_2.png"),
            *("Slide_02/02_1.png", "GT_02/02_1.png", "slide_3/a.png", "slide_3/a_mask.png"),
        )
    )
    assert [(f.id, str(f.annotation.path), f.slide) for f in layout.images] == [
        ("01_1", "GT_01/01_1.png", "Slide_01"),
        ("01_2", "GT_01/01_2.png", "Slide_01"),
        ("02_1", "GT_02/02_1.png", "Slide_02"),
        ("a", "slide_3/a_mask.png", None),
    ]


CRYONUSEG = "CryoNuSeg_train"
FIRST = f"{CRYONUSEG}/Annotator 1 (biologist)/Annotator 1 (biologist)"
AGAIN = f"{CRYONUSEG}/Annotator 1 (biologist second round of manual marks up)"
SECOND = f"{CRYONUSEG}/Annotator 2 (bioinformatician)/Annotator 2 (bioinformatician)"


def cryonuseg(*annotators: str) -> list[str]:
    names = ["label masks", "label masks modify"]
    maps = [f"{one}/{name}/a.tif" for one in annotators for name in names]
    names = [
        *("mask binary", "mask binary without border", "mask binary without border erode"),
        *("distance maps", "weighted_maps", "weighted_maps_erode"),
    ]
    drawn = [f"{one}/{name}/a.png" for one in annotators for name in names]
    drawn += [f"{one}/overlay_save_path/a.tif" for one in annotators]
    return [f"{CRYONUSEG}/tissue images/a.tif", *maps, *drawn]


def test_cryonuseg_of_one_annotator_gives_the_label_masks_to_evaluate_with() -> None:
    layout = recognise(members("x.zip", *cryonuseg(FIRST), f"{FIRST}/Imagj_zips/a.zip"))
    assert table(layout) == [("a", "train", f"{FIRST}/label masks modify/a.tif")]
    reasons = {path.split("/")[-2]: reason for path, reason in ignored(layout).items()}
    beside = "label masks modify beside it counts"
    derived = "in a folder of derived or partial maps"
    assert reasons == {
        "label masks": beside,
        "mask binary": beside,
        "mask binary without border": beside,
        "mask binary without border erode": beside,
        "distance maps": derived,
        "weighted_maps": derived,
        "weighted_maps_erode": derived,
        "overlay_save_path": derived,
        "Imagj_zips": "an archive in an archive",
    }


def test_of_three_annotators_one_is_to_be_chosen() -> None:
    paths = cryonuseg(FIRST, AGAIN, SECOND)
    with pytest.raises(PipelineError, match="two annotations for id a: ") as raised:
        recognise(members("x.zip", *paths))
    assert "set extract.annotations in params.yaml" in str(raised.value)
    assert "'*/Annotator 1 (biologist)/*'" in str(raised.value)
    for pattern, annotator in [
        ("*/Annotator 1 (biologist)/*", FIRST),
        ("*second ROUND*", AGAIN),
        ("*/annotator 2 (bio*", SECOND),
    ]:
        expected = f"{annotator}/label masks modify/a.tif"
        assert annotation(*paths, pattern=pattern) == expected
    assert (
        annotation(*paths, pattern="*Annotator 2*/mask binary/*") == f"{SECOND}/mask binary/a.png"
    )


@pytest.mark.parametrize("pattern", ["*/Annotator 3/*", "*Annotator*"])
def test_a_pattern_that_does_not_choose_is_named(pattern: str) -> None:
    with pytest.raises(PipelineError, match=r"two annotations.*\(now ") as raised:
        recognise(members("x.zip", *cryonuseg(FIRST, SECOND)), pattern)
    assert pattern in str(raised.value)


def test_an_only_annotation_counts_whatever_the_pattern_and_is_listed() -> None:
    layout = recognise(members("train.zip", "a.tif", "a.xml", "b.tif", "b.geojson"), "*.xml")
    assert [str(one.path) for one in layout.unmatched] == ["b.geojson"]


def test_nuinsseg_gives_each_organs_label_masks_and_no_vague_areas() -> None:
    organ = "NuInsSeg train/human bladder"
    layout = recognise(
        members(
            "x.zip",
            *(f"{organ}/tissue images/a.png", f"{organ}/label masks modify/a.tif"),
            *(f"{organ}/label masks/a.tif", f"{organ}/mask binary/a.png"),
            *(f"{organ}/vague areas/mask binary/a.png", f"{organ}/stacked mask/a.mat"),
        )
    )
    assert table(layout) == [("a", "train", f"{organ}/label masks modify/a.tif")]
    assert len(layout.ignored) == 4


def test_monusac_has_each_image_twice() -> None:
    folder = "MoNuSAC_images_and_annotations/TCGA-5P-A9K0-01Z-00-DX1"
    names = [f"{folder}/TCGA-5P-A9K0-01Z-00-DX1_1.{suffix}" for suffix in ("svs", "tif", "xml")]
    layout = recognise(members("x.zip", *names))
    assert [str(files.image.path) for files in layout.images] == [names[1]]
    assert ignored(layout) == {
        names[0]: "TCGA-5P-A9K0-01Z-00-DX1_1.tif beside it is the same image"
    }
    (files,) = recognise(members("x.zip", names[0], names[2])).images
    assert (str(files.image.path), files.part) == (names[0], "train")


@pytest.mark.parametrize(
    ("name", "image_id", "slide"),
    [
        ("A [x=1024,y=2048,w=256,h=256]", "A (x1024_y2048_w256_h256)", "A"),
        (
            "A b.svs [d=2.5,x=-1,y=0,w=5,h=5,z=1,t=0]",
            "A b.svs (d2.5_x-1_y0_w5_h5_z1_t0)",
            "A b.svs",
        ),
        ("A (x=1)", None, None),
        ("A [1]", None, None),
        ("A,b", None, None),
    ],
)
@pytest.mark.parametrize("mask", ["labels/{}.png", "{}-labelled.tif", "{}.geojson"])
def test_tiles_of_qupath_get_ids_of_plain_characters(
    name: str, image_id: str | None, slide: str | None, mask: str
) -> None:
    paths = members("train.zip", f"{name}.tif", mask.format(name))
    if image_id is None:
        with pytest.raises(PipelineError, match="rename the file"):
            recognise(paths)
        return
    (files,) = recognise(paths).images
    assert (files.id, files.slide) == (image_id, slide)


def test_json_of_other_programs_does_not_matter() -> None:
    layout = recognise(members("train.zip", "a.tif", "a.xml", "a.json", "package.json"))
    assert table(layout) == [("a", "train", "a.xml")]
    assert ignored(layout) == {
        "a.json": "an image has another annotation",
        "package.json": "no image of this name",
    }


def test_many_files_of_no_use_take_no_time() -> None:
    many = [f"{number}.json" for number in range(20_000)]  # 3 minutes where each is compared
    began = time.process_time()
    layout = recognise(members("train.zip", "a.tif", "a.xml", *many))
    assert time.process_time() - began < 30
    assert len(layout.ignored) == len(many)


def test_an_annotation_of_the_other_part_is_refused() -> None:
    with pytest.raises(PipelineError, match=r"a\.tif is for train.*test\.zip: a\.xml for test; "):
        recognise([*members("train.zip", "a.tif"), *members("test.zip", "a.xml")])
    with pytest.raises(
        PipelineError, match=r"A13E\.tif is for train, its annotation .* for test; "
    ):
        recognise([*members("x.zip", "TCGA-A7-A13E.tif"), *members("test.zip", "TCGA-A7-A13E.xml")])
    (files,) = recognise([*members("train.zip", "a.tif"), *members("outlines.zip", "a.xml")]).images
    assert files.part == "train"


def test_hidden_files_are_listed_and_litter_is_not() -> None:
    layout = recognise(
        members("train.zip", "a.tif", "a.xml", ".cache/b.tif", ".c.tif", "x/.DS_Store", "._a.tif")
    )
    assert set(ignored(layout)) == {".cache/b.tif", ".c.tif"}


@pytest.mark.parametrize(
    ("paths", "said"),
    [
        (["Images/a.png", "Labels/a.mat", "Overlay/a.png"], "Labels/a.mat is not read: MATLAB"),
        (["a.tif", "rois/a.roi"], "rois/a.roi is not read: ImageJ"),
        (["a/images/a.png", "a/masks/1.png", "a/masks/2.png"], "mask of each nucleus; join"),
        (["a.tif"], "add its annotation (a.xml, .geojson, _mask.png or labels/a.png)"),
        (["a.tif", "a_seg.npy"], "or rename a_seg.npy, which fits no image"),
        (["images.npy", "masks.npy", "types.npy"], "PanNuke"),
        ([".data/a.tif", ".data/a.xml"], ".data/a.tif is not read: hidden"),
    ],
)
def test_a_layout_that_is_not_read_is_named(paths: list[str], said: str) -> None:
    with pytest.raises(PipelineError) as raised:
        recognise(members("train.zip", *paths))
    assert said in str(raised.value)
    assert "; " in str(raised.value)


def test_the_order_of_the_members_does_not_matter() -> None:
    paths = ["b.tif", "a.xml", "a.tif", "b.xml"]
    expected = [f.id for f in recognise(members("train.zip", *paths)).images]
    assert [f.id for f in recognise(members("train.zip", *reversed(paths))).images] == expected
