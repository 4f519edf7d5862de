"""Where on a slide nuclei are looked for."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from monuseg.core.errors import PipelineError
from monuseg.formats.images import write_rgb
from monuseg.inference.sliding_window import Region
from monuseg.readers.slides import open_slide
from monuseg.segment import search
from monuseg.segment.search import SearchArea, identity_of, search_area

HEIGHT, WIDTH = 300, 420
UM = 0.5


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """Tissue on the left of glass."""
    pixels = np.full((HEIGHT, WIDTH, 3), 240, np.uint8)
    pixels[:, :40] = (190, 120, 180)
    write_rgb(tmp_path / "a.png", pixels)
    return tmp_path / "a.png"


def drawn(path: Path, *polygons: list[list[list[float]]]) -> str:
    features = [
        {"type": "Feature", "properties": {}, "geometry": {"type": "Polygon", "coordinates": one}}
        for one in polygons
    ]
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return str(path)


def box(top: int, bottom: int, left: int, right: int) -> list[list[float]]:
    return [[left, top], [right, top], [right, bottom], [left, bottom], [left, top]]


def searched(image: Path, choice: str) -> SearchArea:
    with open_slide(image) as slide:
        return search_area(slide, UM, choice)


def pixels_of(area: SearchArea) -> np.ndarray:
    """Which pixels of the image are searched, each asked for by itself."""
    return np.array(
        [[area.touches(Region(y, y + 1, x, x + 1)) for x in range(WIDTH)] for y in range(HEIGHT)]
    )


@pytest.mark.parametrize("choice", ["none", "auto"])
def test_a_small_image_is_searched_as_a_whole(choice: str, image: Path) -> None:
    area = searched(image, choice)
    assert area.touches(Region(HEIGHT - 1, HEIGHT, WIDTH - 1, WIDTH))
    assert area.share(Region(0, 10, 300, 310)) == 1


def test_glass_is_not_searched(image: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "FEW_PIXELS", 0)
    area = searched(image, "auto")
    assert area.touches(Region(100, 110, 0, 10))
    assert area.touches(Region(100, 110, 60, 70))  # within a margin
    assert not area.touches(Region(0, HEIGHT, 300, WIDTH))
    assert area.share(Region(0, HEIGHT, 0, 40)) == 1
    assert 0 < area.share(Region(0, HEIGHT, 0, WIDTH)) < 0.8
    assert searched(image, "none").touches(Region(0, HEIGHT, 300, WIDTH))


def test_given_regions_are_searched_with_the_pixels_that_they_touch(
    image: Path, tmp_path: Path
) -> None:
    hole = box(30, 60, 120, 150)
    choice = drawn(tmp_path / "r.geojson", [box(20, 80, 100, 200), hole], [box(250, 400, 0, 30)])
    found = pixels_of(searched(image, choice))
    expected = np.zeros((HEIGHT, WIDTH), bool)
    expected[20:80, 100:200] = True
    expected[250:, :30] = True
    inner = expected.copy()
    inner[30:60, 120:150] = False
    assert found[inner].all()
    grown = np.zeros_like(expected)
    grown[18:82, 98:202] = grown[248:, :32] = True
    grown[33:57, 123:147] = False
    assert not found[~grown].any()


def test_the_grid_of_drawn_regions_ends_with_the_slide(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the quotient of its width and the scale is rounded up."""
    width, cells = next(
        (width, cells)
        for width in range(300, 600)
        for cells in range(20, 60)
        if math.ceil(width / (width / cells)) > cells
    )
    write_rgb(tmp_path / "a.png", np.full((20, width, 3), 250, np.uint8))
    monkeypatch.setattr(search, "GRID_SIDE", cells)
    monkeypatch.setattr(search, "OVERVIEW", 1e6)
    whole = drawn(tmp_path / "r.geojson", [box(0, 20, 0, width)])
    assert searched(tmp_path / "a.png", whole).mask.shape[1] == cells
    with pytest.raises(PipelineError, match="no region on the slide"):
        searched(tmp_path / "a.png", drawn(tmp_path / "off.geojson", [box(0, 9, width, width + 2)]))


def test_a_region_of_less_than_a_pixel_is_searched(image: Path, tmp_path: Path) -> None:
    choice = drawn(tmp_path / "r.geojson", [[[7.2, 5.1], [7.6, 5.1], [7.6, 5.4], [7.2, 5.1]]])
    assert pixels_of(searched(image, choice)).sum() >= 1


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "not a readable file; correct the path"),
        ("{", "malformed JSON"),
        ('{"type": "FeatureCollection", "features": []}', "no region in it; draw one"),
        ('{"type": "Point", "coordinates": [1, 2]}', "region 1: 'Point', which encloses nothing"),
        ("outside", "no region on the slide"),
    ],
)
def test_a_file_without_a_region_on_the_slide_is_refused(
    content: str | None, said: str, image: Path, tmp_path: Path
) -> None:
    file = tmp_path / "r.geojson"
    if content == "outside":
        drawn(file, [box(1000, 1100, 1000, 1100)])
    elif content is not None:
        file.write_text(content)
    with pytest.raises(PipelineError, match=rf"r\.geojson.*{said}"):
        searched(image, str(file))


def test_a_file_is_told_from_others_by_its_content(tmp_path: Path) -> None:
    one, same = (drawn(tmp_path / name, [box(0, 9, 0, 9)]) for name in ("a", "b"))
    other = drawn(tmp_path / "c", [box(0, 9, 0, 8)])
    assert identity_of(one) == identity_of(same) != identity_of(other)
    assert identity_of("auto") != identity_of("none")
    with pytest.raises(PipelineError, match=r"--tissue .*gone: not a readable file"):
        identity_of(str(tmp_path / "gone"))


def test_regions_touch_tissue_where_any_pixel_of_them_has_some() -> None:
    tissue = np.zeros((10, 20), bool)
    tissue[4, 7] = True
    touches = SearchArea(tissue, (100.0, 100.0)).touches
    assert touches(Region(400, 401, 700, 701))
    assert touches(Region(499, 520, 799, 900))
    assert touches(Region(0, 1000, 0, 2000))
    assert not touches(Region(500, 600, 700, 800))
    assert not touches(Region(400, 500, 800, 900))
    assert not touches(Region(0, 400, 0, 2000))
