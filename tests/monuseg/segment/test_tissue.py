"""Tissue: glass is left out, and no nucleus with it."""

import os
import zipfile
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
import pytest
from defusedxml.ElementTree import fromstring
from PIL import Image

from monuseg.segment.tissue import MARGIN, tissue_mask
from stages.download.synthetic.slide import draw_slide

UM = 8.0


def glass(height: int = 200, width: int = 300, colour: tuple[int, ...] = (243, 242, 244)):
    noise = np.random.default_rng(0).normal(0, 2, (height, width, 3))
    return np.clip(np.array(colour) + noise, 0, 255).astype(np.uint8)


@pytest.mark.parametrize(
    "colour", [(255, 255, 255), (243, 242, 244), (226, 226, 224), (235, 230, 222)]
)
def test_glass_of_any_lamp_is_no_tissue(colour: tuple[int, ...]) -> None:
    assert not tissue_mask(glass(colour=colour), UM).any()


def test_uneven_light_is_no_tissue() -> None:
    shade = np.linspace(0, 5, 300)[np.newaxis, :, np.newaxis]
    assert not tissue_mask((glass() - shade).astype(np.uint8), UM).any()


@pytest.mark.parametrize(
    ("colour", "kind"),
    [
        ((170, 110, 170), "stained"),
        ((232, 222, 232), "pale"),
        ((238, 228, 232), "paler"),
        ((60, 90, 180), "ink"),
    ],
)
def test_what_is_darker_or_of_another_hue_is_tissue(colour: tuple[int, ...], kind: str) -> None:
    overview = glass()
    overview[80:120, 100:150] = colour
    found = tissue_mask(overview, UM)
    assert found[80:120, 100:150].all(), kind
    margin = int(MARGIN / UM)
    assert found[80 - margin + 2 : 120, 120].all()
    assert not found[: 80 - margin - 3].any()
    assert not found[:, 150 + margin + 3 :].any()


def test_blurred_tissue_is_tissue_as_far_as_it_can_be_seen() -> None:
    overview = glass()
    overview[80:120, 100:150] = (190, 140, 190)
    blurred = cv2.GaussianBlur(overview, (0, 0), 12)
    assert tissue_mask(blurred, UM)[78:122, 98:152].all()


def test_fat_is_tissue_though_its_cells_are_as_clear_as_glass() -> None:
    overview = glass()
    # Walls of one pixel, of cells of 90 um.
    overview[60:140:11, 80:200] = (225, 205, 220)
    overview[60:140, 80:200:11] = (225, 205, 220)
    assert tissue_mask(overview, UM)[60:140, 80:200].all()


def test_one_lonely_nucleus_is_tissue() -> None:
    overview = glass()
    overview[100, 100] = (150, 110, 170)
    assert tissue_mask(overview, UM)[100, 100]


def test_where_all_is_tissue_all_is() -> None:
    noise = np.random.default_rng(0).normal(0, 12, (200, 300, 3))
    for colour in [(180, 120, 170), (225, 200, 220)]:
        overview = np.clip(np.array(colour) + noise, 0, 255).astype(np.uint8)
        assert tissue_mask(overview, UM).all()


def test_pure_white_beside_the_scanned_area_does_not_make_glass_tissue() -> None:
    overview = glass(colour=(232, 232, 232))
    overview[:, :150] = 255
    assert not tissue_mask(overview, UM).any()


@pytest.mark.parametrize("organ", ["breast", "brain", "colon", "lung"])
def test_no_nucleus_of_a_synthetic_slide_is_lost(organ: str) -> None:
    slide = draw_slide(organ, 768, 768, 1.0, np.random.default_rng(3))
    overview = np.full((60, 60, 3), 242, np.uint8)
    overview[18:42, 18:42] = cv2.resize(slide.image, (24, 24), interpolation=cv2.INTER_AREA)
    found = tissue_mask(overview, UM)
    centres = np.array([outline.mean(axis=0) for outline in slide.outlines])
    x, y = (np.clip(centres, 0, 767) // 32).astype(int).T + 18
    assert found[y, x].all()
    assert not found[:5].any()


@pytest.mark.real
def test_every_nucleus_of_the_real_images_is_in_tissue() -> None:
    if "MONUSEG_ARCHIVES" not in os.environ:
        pytest.skip("needs the real archives: set MONUSEG_ARCHIVES to their folder")
    covered = nuclei = 0
    for archive in Path(os.environ["MONUSEG_ARCHIVES"]).glob("*.zip"):
        with zipfile.ZipFile(archive) as file:
            names = {Path(name).name: name for name in file.namelist() if "__MACOSX" not in name}
            for name in (name for name in names if name.endswith(".xml")):
                with Image.open(BytesIO(file.read(names[name.replace(".xml", ".tif")]))) as opened:
                    image = opened.convert("RGB")
                size = [round(side * 0.25 / UM) for side in image.size]
                found = tissue_mask(np.asarray(image.resize(size, Image.Resampling.BOX)), UM)
                for region in fromstring(file.read(names[name])).iter("Region"):
                    at = [(float(v.get("X")), float(v.get("Y"))) for v in region.iter("Vertex")]
                    x, y = np.mean(at, axis=0) * 0.25 / UM
                    covered += found[min(int(y), size[1] - 1), min(int(x), size[0] - 1)]
                    nuclei += 1
    assert nuclei > 20_000
    assert covered >= 0.999 * nuclei
