"""Tests of stage `masks`."""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from monuseg.core.errors import PipelineError
from monuseg.formats.images import Labels, read_labels, read_rgb, write_rgb
from monuseg.formats.manifest import Annotation, ImageRecord, Part, write_records
from stages.extract.raw import write_raw
from stages.masks import __main__ as masks

HEIGHT, WIDTH = 12, 16
HASH = "0" * 64

SQUARE = [(2, 2), (5, 2), (5, 5), (2, 5)]
RIGHT = [(12, 4), (20, 4), (20, 8), (12, 8)]  # reaches over the right border
CORNER = [(-3, -3), (2, -3), (2, 2), (-3, 2)]
OUTSIDE = [(30, 30), (34, 30), (34, 34)]
LINE = [(7, 9), (11, 9)]
FLAT = [(7, 9), (11, 9), (9, 9)]

Regions = Sequence[Sequence[tuple[float, float]]]


def xml(*layers: Regions) -> str:
    text = "".join(
        "<Annotation><Regions>"
        + "".join(
            "<Region><Vertices>"
            + "".join(f'<Vertex X="{x}" Y="{y}"/>' for x, y in vertices)
            + "</Vertices></Region>"
            for vertices in regions
        )
        + "</Regions></Annotation>"
        for regions in layers
    )
    return f"<Annotations>{text}</Annotations>"


def add(image_id: str, annotation: Annotation, part: Part = "train") -> ImageRecord:
    """Write an image to data/raw; its annotation is the caller's."""
    raw = Path("data/raw")
    raw.mkdir(parents=True, exist_ok=True)
    write_rgb(raw / f"{image_id}.tif", np.full((HEIGHT, WIDTH, 3), 200, np.uint8))
    return ImageRecord(image_id, "kidney", part, 0.25, annotation, HASH, HASH)


def add_outlined(image_id: str, *layers: Regions) -> ImageRecord:
    record = add(image_id, "aperio-xml")
    Path(f"data/raw/{image_id}.xml").write_text(xml(*layers), encoding="utf-8")
    return record


def run(*records: ImageRecord) -> None:
    write_records(Path("data/raw/manifest.csv"), list(records))
    masks.main(argparse.Namespace())


def labels(image_id: str) -> Labels:
    return read_labels(Path(f"data/masks/{image_id}.png"))


@pytest.mark.usefixtures("project")
def test_outlines_and_ready_masks_become_label_maps(capsys: pytest.CaptureFixture[str]) -> None:
    outlined = add_outlined("TCGA-A", [SQUARE, LINE, RIGHT], [SQUARE, OUTSIDE, CORNER])
    ready = add("b.1", "binary-mask", "test")
    drawn = np.zeros((HEIGHT, WIDTH), np.uint8)
    drawn[1:4, 1:4] = 255
    drawn[4, 4] = 255  # touches the square by its corner
    drawn[8:10, 8:15] = 255
    cv2.imwrite("data/raw/b.1.mask.png", drawn)
    run(outlined, ready)

    expected = np.zeros((HEIGHT, WIDTH), np.uint16)
    expected[2:5, 2:5] = 1
    expected[4:8, 12:16] = 2
    expected[0:2, 0:2] = 3
    assert np.array_equal(labels("TCGA-A"), expected)
    found = labels("b.1")
    assert np.array_equal(found > 0, drawn > 0)
    assert sorted(np.unique(found).tolist()) == [0, 1, 2]
    assert found[1, 1] == found[4, 4] != found[8, 8]

    assert Path("data/masks/regions.csv").read_text(encoding="utf-8") == (
        "id,layer,region,vertices,remark\n"
        "TCGA-A,1,2,2,dropped: fewer than 3 vertices\n"
        "TCGA-A,1,3,4,clipped at the image's border\n"
        'TCGA-A,2,1,4,"dropped: no pixel of its own (no area, outside the image, or covered)"\n'
        'TCGA-A,2,2,3,"dropped: no pixel of its own (no area, outside the image, or covered)"\n'
        "TCGA-A,2,3,4,clipped at the image's border\n"
    )
    assert Path("data/masks/counts.csv").read_text(encoding="utf-8") == (
        "id,regions,nuclei,dropped,clipped\nTCGA-A,6,3,3,2\nb.1,2,2,0,0\n"
    )
    assert sorted(path.name for path in Path("data/masks").iterdir()) == [
        "TCGA-A.png",
        "b.1.png",
        "counts.csv",
        "regions.csv",
    ]
    assert capsys.readouterr().out.splitlines() == [
        "TCGA-A: layer 1, region 2: dropped: fewer than 3 vertices",
        "TCGA-A: layer 2, region 1: "
        "dropped: no pixel of its own (no area, outside the image, or covered)",
        "TCGA-A: layer 2, region 2: "
        "dropped: no pixel of its own (no area, outside the image, or covered)",
        "5 nuclei from 8 regions",
    ]


@pytest.mark.usefixtures("project")
def test_no_remark_and_no_nucleus_still_give_every_file() -> None:
    run(add_outlined("a"), add_outlined("b", [FLAT]))
    assert labels("a").max() == labels("b").max() == 0
    assert len(pd.read_csv("data/masks/regions.csv")) == 1
    run(add_outlined("a", [SQUARE]))
    assert len(pd.read_csv("data/masks/regions.csv")) == 0
    # The first run's image is gone with it.
    assert not Path("data/masks/b.png").exists()


def test_the_rasterisation_is_the_parameters(
    set_params: Callable[[dict[str, object]], None],
) -> None:
    slanted = [(2.4, 2.4), (4.6, 2.4), (4.6, 4.6), (2.4, 4.6)]
    record = add_outlined("a", [slanted])
    run(record)
    assert np.count_nonzero(labels("a")) == 4
    set_params({"masks.rasterisation": "center"})
    run(record)
    assert np.count_nonzero(labels("a")) == 9


@pytest.mark.usefixtures("project")
def test_the_same_inputs_give_the_same_bytes() -> None:
    records = [add_outlined("a", [SQUARE, LINE]), add_outlined("b", [RIGHT])]
    contents = []
    for _ in range(2):
        run(*records)
        contents.append({p.name: p.read_bytes() for p in Path("data/masks").iterdir()})
    assert contents[0] == contents[1]


@pytest.mark.usefixtures("project")
def test_a_broken_annotation_leaves_the_old_masks_as_they_were() -> None:
    run(add_outlined("a", [SQUARE]))
    before = {p.name: p.read_bytes() for p in Path("data/masks").iterdir()}
    broken = add_outlined("b")
    Path("data/raw/b.xml").write_text("<Annotations>", encoding="utf-8")
    with pytest.raises(PipelineError, match=r"data/raw/b\.xml: malformed XML"):
        run(add_outlined("a", [RIGHT]), broken)
    assert {p.name: p.read_bytes() for p in Path("data/masks").iterdir()} == before
    assert sorted(p.name for p in Path("data").iterdir()) == ["masks", "raw"]


@pytest.mark.usefixtures("project")
def test_too_many_nuclei_name_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stages.masks.rasterise.LABELS_MAX", 1)
    monkeypatch.setattr("stages.masks.label_maps.LABELS_MAX", 1)
    with pytest.raises(PipelineError, match=r"data/raw/a\.xml: more than 1 nuclei"):
        run(add_outlined("a", [SQUARE, RIGHT]))
    ready = add("b", "binary-mask")
    cv2.imwrite("data/raw/b.mask.png", np.eye(HEIGHT, WIDTH, 8, dtype=np.uint8)[::-1] * 255)
    run(ready)
    assert labels("b").max() == 1
    dots = np.zeros((HEIGHT, WIDTH), np.uint8)
    dots[::4, ::4] = 255
    cv2.imwrite("data/raw/b.mask.png", dots)
    with pytest.raises(PipelineError, match=r"data/raw/b\.mask\.png: more than 1 nuclei"):
        run(ready)


@pytest.mark.real
def test_real_images_have_the_published_numbers_of_nuclei(archives: Path, project: Path) -> None:
    raw = project / "data" / "raw"
    raw.mkdir(parents=True)
    records = write_raw(sorted(archives.glob("*.zip")), raw, max_bytes=8_000_000_000)
    run(*records)
    counts = pd.read_csv("data/masks/counts.csv").set_index("id")
    part = pd.Series({record.id: record.part for record in records})
    by_part = counts.groupby(part).sum()
    columns = ["regions", "nuclei", "dropped"]
    assert by_part.loc["test", columns].tolist() == [6697, 6697, 0]
    assert by_part.loc["train", columns].tolist() == [16961, 16958, 3]
    remarks = pd.read_csv("data/masks/regions.csv")
    dropped = remarks[remarks["remark"].str.startswith("dropped")]
    assert sorted(dropped["id"].str[:12]) == ["TCGA-50-5931", "TCGA-AR-A1AK", "TCGA-E2-A1B5"]
    two_vertices = dropped[dropped["remark"] == "dropped: fewer than 3 vertices"]
    assert two_vertices["vertices"].tolist() == [2, 2]
    assert sorted(two_vertices["id"].str[:12]) == ["TCGA-50-5931", "TCGA-E2-A1B5"]
    for record in records:
        found = labels(record.id)
        assert found.shape == read_rgb(raw / f"{record.id}.tif").shape[:2]
        # No gaps: as many labels as the table says, the largest one its number.
        assert np.count_nonzero(np.unique(found)) == counts.loc[record.id, "nuclei"] == found.max()
