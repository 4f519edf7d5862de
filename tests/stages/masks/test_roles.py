"""Tests of `stages.masks.roles`, through the label maps that come of it."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from monuseg.core.errors import PipelineError
from monuseg.formats.images import Labels, read_labels, write_labels, write_rgb
from monuseg.formats.manifest import ANNOTATION_SUFFIXES, Annotation, ImageRecord
from stages.masks import roles
from stages.masks.label_maps import Count, write_mask
from stages.masks.params import MasksParams

SIDE = 256
PARAMS = MasksParams(rasterisation="center", layers=[])

Vertices = Sequence[tuple[float, float]]
Drawn = tuple[str, int, Vertices]  # type, negative, vertices


def circle(x: float, y: float, radius: float, *, negative: int = 0, count: int = 64) -> Drawn:
    turn = np.linspace(0, 2 * np.pi, count, endpoint=False)
    points = np.column_stack([x + radius * np.cos(turn), y + radius * np.sin(turn)])
    return "0", negative, [(float(a), float(b)) for a, b in points]


def box(left: float, top: float, right: float, bottom: float, kind: str = "1") -> Drawn:
    return kind, 0, [(left, top), (right, top), (right, bottom), (left, bottom)]


def disc(x: float, y: float, radius: float) -> npt.NDArray[np.bool_]:
    rows, columns = np.mgrid[:SIDE, :SIDE] + 0.5
    inside: npt.NDArray[np.bool_] = np.hypot(columns - x, rows - y) < radius
    return inside


def record(annotation: Annotation = "aperio-xml") -> ImageRecord:
    return ImageRecord("a", "lung", "A", "train", 0.25, "default", annotation, "", "")


def painted(folder: Path, *regions: Drawn) -> tuple[Labels, Count, list[tuple[int, str]]]:
    """Labels, counts and remarks of an image with these regions in one layer."""
    write_rgb(folder / "a.tif", np.full((SIDE, SIDE, 3), 200, np.uint8))
    text = "".join(
        f'<Region Type="{kind}" NegativeROA="{negative}"><Vertices>'
        + "".join(f'<Vertex X="{x}" Y="{y}"/>' for x, y in vertices)
        + "</Vertices></Region>"
        for kind, negative, vertices in regions
    )
    document = f"<Annotations><Annotation><Regions>{text}</Regions></Annotation></Annotations>"
    (folder / "a.xml").write_text(document, encoding="utf-8")
    written = write_mask(record(), raw=folder, folder=folder, params=PARAMS)
    count = written.count
    assert count.regions == len(regions) == count.nuclei + count.dropped
    labels = read_labels(folder / "a.png")
    assert np.unique(labels[labels > 0]).tolist() == list(range(1, count.nuclei + 1))
    return labels, count, [(one.region, one.remark) for one in written.remarks]


def sizes(labels: Labels) -> list[int]:
    return np.bincount(labels.ravel())[1:].tolist()


def test_ellipses_of_two_or_four_corners_are_nuclei(tmp_path: Path) -> None:
    corners = [(45.3, 45.3), (75.3, 75.3)]
    labels, _, remarks = painted(
        tmp_path, ("2", 0, corners), box(145.3, 45.3, 175.3, 75.3, "2"), circle(60, 180, 20)
    )
    assert remarks == []
    assert np.count_nonzero(labels == 1) == np.count_nonzero(labels == 2)
    assert abs(np.count_nonzero(labels == 1) - np.pi * 15**2) < 5
    assert np.array_equal(labels == 1, disc(60.3, 60.3, 15))


@pytest.mark.parametrize("kind", ["3", "4", "5", "17"])
def test_arrows_rulers_and_texts_are_no_nuclei(tmp_path: Path, kind: str) -> None:
    labels, count, remarks = painted(tmp_path, box(20, 20, 60, 60, kind), circle(30, 30, 8))
    assert count.nuclei == 1
    assert np.array_equal(labels > 0, disc(30, 30, 8))
    names = {"3": "arrow", "4": "ruler", "5": "text", "17": "of unknown type '17'"}
    assert remarks == [(1, f"dropped: no nucleus ({names[kind]})")]


def test_a_rectangle_is_no_nucleus_whatever_it_holds(tmp_path: Path) -> None:
    nuclei = [circle(60, 60, 15), circle(120, 60, 15), circle(60, 120, 20)]
    frame, corners = box(5, 5, 250, 250), ("1", 0, [(5.0, 5.0), (250.0, 250.0)])
    expected, _, _ = painted(tmp_path, *nuclei)
    for drawn in (
        [frame, *nuclei],
        [*nuclei, frame],
        [corners, *nuclei],
        [*nuclei, box(0, 0, 9, 9)],
    ):
        labels, _, remarks = painted(tmp_path, *drawn)
        assert np.array_equal(labels, expected)
        assert [remark for _, remark in remarks] == [roles.BOX]


@pytest.mark.parametrize("first", [True, False])
def test_a_polygon_round_three_others_is_a_region_of_interest(tmp_path: Path, first: bool) -> None:
    nuclei = [circle(60, 60, 15), circle(120, 60, 15), circle(60, 120, 20)]
    expected, _, _ = painted(tmp_path, *nuclei)
    for around in (circle(90, 90, 80), box(1, 1, 255, 255, "0"), box(20, 20, 200, 200, "0")):
        labels, _, remarks = painted(tmp_path, *([around, *nuclei] if first else [*nuclei, around]))
        assert np.array_equal(labels, expected)
        assert remarks == [(1 if first else 4, roles.INTEREST)]


def test_a_polygon_round_two_others_is_a_nucleus(tmp_path: Path) -> None:
    labels, _, remarks = painted(
        tmp_path, circle(60, 60, 8), circle(80, 60, 8), circle(70, 60, 40), circle(118, 60, 15)
    )
    assert labels.max() == 4
    assert remarks == []


def test_a_region_of_interest_may_have_its_middle_outside_the_image(tmp_path: Path) -> None:
    interest = box(-500, 10, 240, 100, "0")
    held = [circle(x, 50, 9) for x in (40, 100, 160)]
    _, _, remarks = painted(tmp_path, *held, interest)
    assert remarks == [(4, roles.INTEREST)]
    assert painted(tmp_path, *held[1:], interest)[1].nuclei == 3


def test_many_small_nuclei_beside_each_other_hold_none(tmp_path: Path) -> None:
    grid = [circle(x, y, 4.5) for x in range(8, 250, 6) for y in range(8, 250, 6)]
    _, count, remarks = painted(tmp_path, *grid)
    assert remarks == []
    assert count.nuclei == len(grid)


@pytest.mark.parametrize("order", [(0, 1, 2), (1, 0, 2), (2, 1, 0)])
def test_a_negative_region_is_cut_out_of_its_nucleus(
    tmp_path: Path, order: tuple[int, ...]
) -> None:
    drawn = [circle(180, 180, 25), circle(180, 180, 10, negative=1), circle(60, 60, 15)]
    labels, count, remarks = painted(tmp_path, *(drawn[index] for index in order))
    ring = disc(180, 180, 25) & ~disc(180, 180, 10)
    assert np.count_nonzero(labels == labels[180, 160]) == pytest.approx(1649, abs=25)
    assert np.count_nonzero((labels == labels[180, 160]) ^ ring) < 30  # polygons of 64 sides
    assert labels[180, 180] == 0
    assert (count.nuclei, count.dropped) == (2, 1)
    assert sorted(remarks) == sorted(
        [(order.index(0) + 1, "cut by a negative region"), (order.index(1) + 1, roles.NEGATIVE)]
    )


@pytest.mark.parametrize("radius", [5, 10])
def test_a_nucleus_in_the_hole_of_another_stays(tmp_path: Path, radius: float) -> None:
    drawn = [
        circle(180, 180, 25),
        circle(180, 180, 10, negative=1),
        circle(180, 180, radius, count=200 if radius < 10 else 64),
    ]
    for regions in (drawn, drawn[::-1]):
        labels, count, _ = painted(tmp_path, *regions)
        assert count.nuclei == 2
        assert labels[180, 180] not in (0, labels[180, 160])
        inner = np.count_nonzero(labels == labels[180, 180])
        assert inner == pytest.approx(np.pi * radius**2, rel=0.05)


def test_a_negative_region_in_no_nucleus_is_listed(tmp_path: Path) -> None:
    labels, _, remarks = painted(tmp_path, circle(60, 60, 15), circle(150, 150, 9, negative=1))
    assert np.array_equal(np.unique(labels), [0, 1])
    assert remarks == [(2, roles.NEGATIVE_ALONE)]


def test_a_negative_region_across_nuclei_is_cut_out_of_all_and_can_empty_them(
    tmp_path: Path,
) -> None:
    drawn = [
        circle(60, 60, 10),
        circle(90, 60, 10),
        circle(115, 60, 12),
        ("1", 1, [(40.0, 40.0), (115.0, 80.0)]),
    ]
    labels, _, remarks = painted(tmp_path, *drawn)
    assert (np.flatnonzero(labels.any(axis=0)).min(), labels.max()) == (115, 1)
    emptied = "dropped: no pixel of its own (cut out by a negative region, or covered)"
    assert remarks == [
        (1, emptied),
        (2, emptied),
        (3, "cut by a negative region"),
        (4, roles.NEGATIVE),
    ]
    with pytest.raises(PipelineError, match="none of its 2 regions is a nucleus"):
        painted(tmp_path, circle(60, 60, 10), circle(60, 60, 10, negative=1))


def test_negatives_without_end_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = [circle(60, 60, 10), circle(90, 60, 10), *[circle(60, 60, 5, negative=1)] * 3]
    with monkeypatch.context() as patch:
        patch.setattr(roles, "BOXES_MAX", 5)
        with pytest.raises(PipelineError, match="3 negative regions among 2 others are too many"):
            painted(tmp_path, *drawn)
    with monkeypatch.context() as patch:
        patch.setattr(roles, "area_max", lambda *_: 3 * 10 * 10)
        with pytest.raises(PipelineError, match="3 negative regions among 2 others are too many"):
            painted(tmp_path, *drawn)
    monkeypatch.setattr(roles, "OVERLAPS_MAX", 2)
    with pytest.raises(PipelineError, match=r"a\.xml: 3 negative regions among 2 others"):
        painted(tmp_path, *drawn)
    monkeypatch.setattr(roles, "OVERLAPS_MAX", 3)
    assert painted(tmp_path, *drawn)[1].nuclei == 2


def test_a_region_of_more_than_half_of_the_image_is_an_error(tmp_path: Path) -> None:
    half = box(0, 0, SIDE, SIDE / 2, "0")
    assert painted(tmp_path, half)[1].nuclei == 1
    more = box(0, 0, SIDE, SIDE / 2 + 1, "0")
    with pytest.raises(PipelineError) as caught:
        painted(tmp_path, circle(200, 200, 9), more)
    assert str(caught.value) == (
        f"{tmp_path}/a.xml: layer 1, region 2 takes more than half of the image (50.4%), "
        "so it is no nucleus; remove it, or leave its layer out by masks.layers"
    )


def test_a_mask_with_an_area_of_more_than_half_looks_inverted(tmp_path: Path) -> None:
    write_rgb(tmp_path / "a.tif", np.full((SIDE, SIDE, 3), 200, np.uint8))
    path = tmp_path / f"a{ANNOTATION_SUFFIXES['binary-mask']}"

    def of(white_rows: int) -> Count:
        mask = np.zeros((SIDE, SIDE), np.uint16)
        mask[:white_rows] = 255
        write_labels(path, mask)
        one = write_mask(record("binary-mask"), raw=tmp_path, folder=tmp_path, params=PARAMS)
        return one.count

    assert of(SIDE // 2).nuclei == 1
    with pytest.raises(PipelineError, match=r"a\.mask\.png: one area is 60% of the mask, so it"):
        of(154)


def test_a_label_of_more_than_half_of_the_image_is_an_error(tmp_path: Path) -> None:
    write_rgb(tmp_path / "a.tif", np.full((SIDE, SIDE, 3), 200, np.uint8))
    labels = np.full((SIDE, SIDE), 1, np.uint16)
    labels[:50] = 2
    write_labels(tmp_path / "a.labels.png", labels)
    with pytest.raises(PipelineError, match=r"a\.labels\.png: label 1 takes 80% of the image"):
        write_mask(record("label-map"), raw=tmp_path, folder=tmp_path, params=PARAMS)
