"""Tests of stage `masks`."""

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from monuseg.core.errors import PipelineError
from monuseg.formats.images import Labels, read_labels, read_rgb, write_labels, write_rgb
from monuseg.formats.manifest import Annotation, ImageRecord, Part, write_records
from stages.extract.raw import write_raw
from stages.masks import __main__ as masks
from stages.masks.label_maps import Count, Remark, Written
from stages.masks.report import lines

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
    return ImageRecord(image_id, "kidney", image_id, part, 0.25, "default", annotation, HASH, HASH)


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
        "id,layer,layer_name,region,vertices,remark\n"
        "TCGA-A,1,,2,2,dropped: fewer than 3 vertices\n"
        "TCGA-A,1,,3,4,clipped at the image's border\n"
        'TCGA-A,2,,1,4,"dropped: no pixel of its own (no area, outside the image, or covered)"\n'
        'TCGA-A,2,,2,3,"dropped: no pixel of its own (no area, outside the image, or covered)"\n'
        "TCGA-A,2,,3,4,clipped at the image's border\n"
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
    said = capsys.readouterr()
    assert said.err.splitlines() == [
        "TCGA-A: layer 1, region 2: dropped: fewer than 3 vertices",
        "TCGA-A: layer 2, region 1 and 1 more: "
        "dropped: no pixel of its own (no area, outside the image, or covered)",
    ]
    assert said.out == "5 nuclei from 8 regions\n"


@pytest.mark.usefixtures("project")
def test_an_annotation_without_a_region_is_an_image_without_nuclei(
    capsys: pytest.CaptureFixture[str],
) -> None:
    run(add_outlined("a"), add_outlined("b", [SQUARE]))
    assert labels("a").max() == 0
    assert len(pd.read_csv("data/masks/regions.csv")) == 0
    said = "1 image(s) without a nucleus in their annotation: 'a'\n"
    assert capsys.readouterr().err == said
    run(add_outlined("b", [SQUARE]))
    # The first run's image is gone with it.
    assert not Path("data/masks/a.png").exists()


@pytest.mark.usefixtures("project")
def test_an_annotation_whose_regions_were_all_dropped_is_an_error() -> None:
    said = (
        r"a\.xml: none of its 3 regions is a nucleus \(2 fewer than 3 vertices; 1 no pixel of its"
    )
    with pytest.raises(PipelineError, match=said):
        run(add_outlined("a", [LINE], [FLAT, LINE]))


@pytest.mark.usefixtures("project")
def test_a_label_map_is_taken_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    drawn = np.zeros((HEIGHT, WIDTH), np.uint16)
    drawn[2:6, 2:6] = 2
    drawn[2:6, 6:9] = 1  # touches the other
    drawn[9, 9] = drawn[11, 3] = 3  # in two parts
    record = add("a", "label-map")
    path = Path("data/raw/a.labels.png")
    write_labels(path, drawn)
    run(record)
    assert np.array_equal(labels("a"), drawn)
    counts = pd.read_csv("data/masks/counts.csv").to_dict("records")
    assert counts == [{"id": "a", "regions": 3, "nuclei": 3, "dropped": 0, "clipped": 0}]
    assert capsys.readouterr().err == ""

    write_labels(path, np.where(drawn == 1, 0, drawn).astype(np.uint16))
    with pytest.raises(PipelineError, match=r"a\.labels\.png: no pixel of label 1 of 3; run `dvc"):
        run(record)
    write_labels(path, drawn[:, 1:])
    with pytest.raises(
        PipelineError, match=r"a\.labels\.png: 15 x 12 pixels, but its image has 16"
    ):
        run(record)
    write_labels(path, np.zeros_like(drawn))
    run(record)
    assert labels("a").max() == 0


@pytest.mark.usefixtures("project")
def test_geojson_and_halo_go_by_pixel_edges(
    set_params: Callable[[dict[str, object]], None],
) -> None:
    ring = [[2.4, 2.4], [4.6, 2.4], [4.6, 4.6], [2.4, 4.6], [2.4, 2.4]]
    polygon = {"type": "Polygon", "coordinates": [ring]}
    quarter = [add("g", "geojson"), add("h", "halo-xml"), add_outlined("a", [ring])]
    Path("data/raw/g.geojson").write_text(json.dumps(polygon), encoding="utf-8")
    vertices = "".join(f'<V X="{x}" Y="{y}"/>' for x, y in ring)
    Path("data/raw/h.xml").write_text(
        '<Annotations><Annotation Name="n"><Regions><Region Type="Polygon" NegativeROA="0">'
        f"<Vertices>{vertices}</Vertices></Region></Regions></Annotation></Annotations>",
        encoding="utf-8",
    )
    for rule, of_aperio in (("official", 4), ("center", 9)):
        set_params({"masks.rasterisation": rule})
        run(*quarter)
        sizes = [np.count_nonzero(labels(image_id)) for image_id in "gha"]
        assert sizes == [9, 9, of_aperio]


def named(image_id: str, **layers: Regions) -> ImageRecord:
    """An outlined image with layers of these names."""
    record = add_outlined(image_id)
    text = "".join(
        xml(regions)
        .removeprefix("<Annotations>")
        .removesuffix("</Annotations>")
        .replace("<Annotation>", f'<Annotation Name="{name}">')
        for name, regions in layers.items()
    )
    path = Path(f"data/raw/{image_id}.xml")
    path.write_text(f"<Annotations>{text}</Annotations>", encoding="utf-8")
    return record


def test_layers_are_listed_and_chosen_by_name(
    set_params: Callable[[dict[str, object]], None], capsys: pytest.CaptureFixture[str]
) -> None:
    records = [
        named("a", Epithelial=[SQUARE, CORNER], Ambiguous=[RIGHT]),
        named("b", Ambiguous=[RIGHT]),
        add_outlined("c", [SQUARE]),
    ]
    run(*records)
    assert [labels(image_id).max() for image_id in "abc"] == [3, 1, 1]
    assert capsys.readouterr().err.splitlines() == [
        "layers of the annotations (regions): 'Epithelial' (2), 'Ambiguous' (2), "
        "without a name (1); all count, see masks.layers"
    ]

    set_params({"masks.layers": ["Epithelial"]})
    run(*records)
    assert [labels(image_id).max() for image_id in "abc"] == [2, 0, 0]
    assert not labels("a")[4:8, 12:16].any()
    table = pd.read_csv("data/masks/regions.csv", keep_default_na=False)
    dropped = table[table["remark"] == "dropped: its layer is not among masks.layers"]
    assert dropped[["id", "layer", "layer_name"]].to_numpy().tolist() == [
        ["a", 2, "Ambiguous"],
        ["b", 1, "Ambiguous"],
        ["c", 1, ""],
    ]
    assert pd.read_csv("data/masks/counts.csv")["dropped"].tolist() == [1, 1, 1]
    err = capsys.readouterr().err
    assert "without a name (1); only 'Epithelial' count\n" in err
    assert "2 image(s) without a nucleus in their annotation: 'b', 'c'\n" in err

    set_params({"masks.layers": ["Epithelial", "epithelial"]})
    before = {p.name: p.read_bytes() for p in Path("data/masks").iterdir()}
    with pytest.raises(PipelineError) as caught:
        run(*records)
    assert str(caught.value) == (
        "params.yaml: masks.layers: no annotation has a layer 'epithelial'; "
        "there are 'Ambiguous', 'Epithelial'"
    )
    assert {p.name: p.read_bytes() for p in Path("data/masks").iterdir()} == before


def test_what_is_said_is_bounded_however_many_regions_there_are() -> None:
    count = Count("a", 4000, 0, 4000, 0)
    remarks = [Remark("a", 1, "", n, 2, "dropped: no nucleus (arrow)") for n in range(1, 4001)]
    layers = {f"layer {'x' * 99} {n}": 1 for n in range(4000)}
    one = Written(count, remarks, layers)
    first, on_layers, empty = lines([one], [])
    assert first == "a: layer 1, region 1 and 3999 more: dropped: no nucleus (arrow)"
    assert len(on_layers) < 1500
    assert on_layers.endswith(" and 3980 more; all count, see masks.layers")
    assert empty.startswith("1 image(s)")

    others = [
        Written(Count(f"i{n}", 1, 0, 1, 0), [Remark(f"i{n}", 1, "", 1, 2, "dropped: x")], {"": 1})
        for n in range(500)
    ]
    said = lines(others, [])
    assert len(said) == 22
    assert said[20] == "and 480 more lines like these; data/masks/regions.csv has all"
    assert said[21].endswith("'i19' and 480 more")


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
