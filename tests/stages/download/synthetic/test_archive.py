"""Archives of synthetic slides: layout, annotations, and bytes that only params decide."""

import zipfile
from pathlib import Path

import cv2
import defusedxml.ElementTree as ElementTree
import numpy as np
import pytest

from monuseg.core.errors import PipelineError
from monuseg.core.files import sha256_of
from stages.download.params import SyntheticParams
from stages.download.synthetic.archive import aperio_xml, write_archives
from stages.download.synthetic.slide import draw_slide

PARAMS = SyntheticParams(
    seed=7,
    train_images=3,
    test_images=2,
    height=96,
    width=128,
    density=1.0,
    organs=["breast", "colon"],
)
TRAINING_IDS = ["SYN-breast-0001", "SYN-colon-0003", "SYN-breast-0005"]
TEST_IDS = ["SYN-breast-0002", "SYN-colon-0004"]


def contents(archive: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(archive) as opened:
        return {name: opened.read(name) for name in opened.namelist()}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return write_archives(PARAMS, tmp_path_factory.mktemp("archives"))


def test_layout_is_the_official_one(written: list[Path]) -> None:
    training, test = map(contents, written)
    assert [archive.name for archive in written] == ["synthetic-training.zip", "synthetic-test.zip"]
    assert set(training) == {
        "Synthetic Training Data/organs.csv",
        *(f"Synthetic Training Data/Tissue Images/{id_}.tif" for id_ in TRAINING_IDS),
        *(f"Synthetic Training Data/Annotations/{id_}.xml" for id_ in TRAINING_IDS),
    }
    assert set(test) == {
        "SyntheticTestData/organs.csv",
        *(f"SyntheticTestData/{id_}{end}" for id_ in TEST_IDS for end in (".tif", ".xml")),
    }
    assert test["SyntheticTestData/organs.csv"].decode() == (
        "id,organ\nSYN-breast-0002,breast\nSYN-colon-0004,colon\n"
    )


def test_nothing_else_is_left_in_the_folder(written: list[Path]) -> None:
    assert sorted(written[0].parent.iterdir()) == sorted(written)


def test_image_and_annotation_are_those_of_the_drawn_slide(written: list[Path]) -> None:
    test = contents(written[1])
    # The second test slide: index 3 of all.
    slide = draw_slide("colon", 96, 128, 1.0, np.random.default_rng([7, 3]))
    stored = np.frombuffer(test["SyntheticTestData/SYN-colon-0004.tif"], np.uint8)
    decoded = cv2.imdecode(stored, cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(decoded[..., ::-1], slide.image)

    root = ElementTree.fromstring(test["SyntheticTestData/SYN-colon-0004.xml"])
    assert root.tag == "Annotations"
    assert float(root.get("MicronsPerPixel")) == 0.25
    regions = root.findall("Annotation/Regions/Region")
    assert len(regions) == len(slide.outlines) > 0
    for region, outline in zip(regions, slide.outlines, strict=True):
        vertices = [
            (float(vertex.get("X")), float(vertex.get("Y")))
            for vertex in region.findall("Vertices/Vertex")
        ]
        # Written without loss: outlines are drawn at the decimals that the file holds.
        np.testing.assert_allclose(vertices, outline, atol=1e-9)


def test_same_params_give_the_same_bytes_with_any_number_of_workers(
    written: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MONUSEG_WORKERS", "1")
    again = write_archives(PARAMS, tmp_path / "one")
    monkeypatch.setenv("MONUSEG_WORKERS", "2")
    two = write_archives(PARAMS, tmp_path / "two")
    assert (
        [sha256_of(path) for path in written]
        == [sha256_of(path) for path in again]
        == [sha256_of(path) for path in two]
    )


def test_more_slides_change_none_of_the_others(
    written: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MONUSEG_WORKERS", "1")
    more = PARAMS.model_copy(update={"train_images": 4, "test_images": 3})
    for few, many in zip(written, write_archives(more, tmp_path), strict=True):
        before, after = contents(few), contents(many)
        assert len(after) == len(before) + 2
        assert all(
            after[name] == content
            for name, content in before.items()
            if not name.endswith("organs.csv")
        )


@pytest.mark.parametrize("changed", [{"seed": 8}, {"density": 2.0}, {"organs": ["lung"]}])
def test_every_param_counts(
    changed: dict[str, object],
    written: list[Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MONUSEG_WORKERS", "1")
    others = write_archives(PARAMS.model_copy(update=changed), tmp_path)
    assert [sha256_of(path) for path in others] != [sha256_of(path) for path in written]


def test_an_organ_named_twice_gives_ids_that_differ(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MONUSEG_WORKERS", "1")
    params = PARAMS.model_copy(update={"organs": ["brain", "brain"], "height": 32, "width": 32})
    names = [name for path in write_archives(params, tmp_path) for name in contents(path)]
    assert sum(name.endswith(".tif") for name in names) == 5
    assert len({Path(name).name for name in names if name.endswith(".tif")}) == 5


def test_an_unknown_organ_is_refused_before_anything_is_drawn(tmp_path: Path) -> None:
    params = PARAMS.model_copy(update={"organs": ["breast", "spleen"]})
    with pytest.raises(PipelineError, match="'spleen'"):
        write_archives(params, tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_a_slide_without_nuclei_is_an_annotation_without_regions() -> None:
    assert ElementTree.fromstring(aperio_xml([])).findall(".//Region") == []
