"""Tests of `monuseg.readers.slides`: whole slides and plain images behind one interface."""

import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from monuseg.core.errors import PipelineError
from monuseg.readers import slide_tif
from monuseg.readers.raster import decode_rgb
from monuseg.readers.slide import Slide
from monuseg.readers.slide_whole import WholeSlide
from monuseg.readers.slides import DamagedRegionError, open_slide
from tests.monuseg.readers.slides_made import RGB, aperio, damage, leica, reduced, tissue

openslide = pytest.importorskip("openslide", reason="OpenSlide is not installed")

WHITE = 255
HEIGHT, WIDTH = 1200, 1536
IMAGE = tissue(HEIGHT, WIDTH)


@pytest.fixture
def svs(tmp_path: Path) -> Path:
    return aperio(tmp_path / "a.svs", IMAGE)


@pytest.fixture
def all_large(monkeypatch: pytest.MonkeyPatch) -> None:
    """TIFs count as too large to be decoded whole from a million pixels on."""
    monkeypatch.setattr(slide_tif, "PIXELS_MAX", 1_000_000)


def mean_of(image: RGB, scale: float) -> RGB:
    """An overview by the definition: each pixel is the mean of what it covers, outside white."""
    edges = [
        np.rint(np.arange(np.ceil(size / scale) + 1) * scale).astype(int)
        for size in image.shape[:2]
    ]
    padded = np.full((edges[0][-1], edges[1][-1], 3), WHITE, float)
    padded[: image.shape[0], : image.shape[1]] = image
    for axis in (0, 1):
        lengths = np.diff(edges[axis]).reshape((-1, 1, 1) if axis == 0 else (1, -1, 1))
        padded = np.add.reduceat(padded, edges[axis][:-1], axis) / lengths
    return np.rint(padded).astype(np.uint8)


def test_a_pyramid_of_aperio(svs: Path) -> None:
    with open_slide(svs) as slide:
        assert (slide.height, slide.width, slide.origin) == (HEIGHT, WIDTH, (0, 0))
        assert (slide.um_per_pixel, slide.source, slide.remark) == (0.25, "openslide", None)
        np.testing.assert_array_equal(slide.read(0, 0, HEIGHT, WIDTH), IMAGE)
        np.testing.assert_array_equal(slide.read(700, 1000, 90, 80), IMAGE[700:790, 1000:1080])


def test_outside_is_white(svs: Path) -> None:
    with open_slide(svs) as slide:
        corner = slide.read(-20, WIDTH - 10, 50, 40)
        assert np.all(corner[:20] == WHITE)
        assert np.all(corner[:, 10:] == WHITE)
        np.testing.assert_array_equal(corner[20:, :10], IMAGE[:30, -10:])
        assert np.all(slide.read(5000, -300, 8, 9) == np.full((8, 9, 3), WHITE))


# Where it is no multiple of a level, pixels are placed to half a pixel of that level.
@pytest.mark.parametrize(
    ("scale", "tolerance"), [(3, 1), (4, 1), (16, 1), (7.3, 4), (33.7, 10), (48, 2)]
)
def test_an_overview_is_the_mean_of_what_it_covers(svs: Path, scale: float, tolerance: int) -> None:
    with open_slide(svs) as slide:
        overview, used = slide.overview(0.25 * scale)
    assert used == scale
    expected = mean_of(IMAGE, scale)
    assert overview.shape == expected.shape
    # Of the last row and column, levels and this mean weigh the part outside in other ways.
    assert np.abs(overview.astype(int) - expected)[:-1, :-1].max() <= tolerance


def test_an_overview_by_its_longer_side(svs: Path) -> None:
    with open_slide(svs) as slide:
        overview, scale = slide.overview(side=100)
        assert (overview.shape, scale) == ((79, 100, 3), 15.36)
        enlarged, scale = slide.overview(side=10_000)
        assert scale == 1
        np.testing.assert_array_equal(enlarged, IMAGE)


def test_an_overview_decodes_small_blocks_of_the_right_level(
    svs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[tuple[int, tuple[int, int]]] = []
    real = openslide.OpenSlide.read_region

    def watched(self: Any, location: Any, level: int, size: tuple[int, int]) -> Image.Image:
        read.append((level, size))
        return real(self, location, level, size)

    monkeypatch.setattr(openslide.OpenSlide, "read_region", watched)
    monkeypatch.setattr("monuseg.readers.slide.BLOCK_MAX", 128)
    with open_slide(svs) as slide:
        overview, _ = slide.overview(0.25 * 7)
    assert {level for level, _ in read} == {1}
    assert max(max(size) for _, size in read) <= 130
    assert np.abs(overview[:-1, :-1].astype(int) - mean_of(IMAGE, 7)[:-1, :-1]).max() <= 4


def test_areas_of_leica_on_empty_glass(tmp_path: Path) -> None:
    first, second = tissue(512, 768, 1), tissue(300, 256, 2)
    path = leica(tmp_path / "a.scn", [(256, 512, first), (640, 1400, second)], (2048, 2048))
    glass = np.full((2048, 2048, 3), WHITE, np.uint8)
    glass[256:768, 512:1280], glass[640:940, 1400:1656] = first, second
    with open_slide(path) as slide:
        assert (slide.origin, slide.height, slide.width) == ((256, 512), 684, 1144)
        assert slide.um_per_pixel == 0.25
        np.testing.assert_array_equal(slide.read(0, 0, 684, 1144), glass[256:940, 512:1656])
        overview, scale = slide.overview(2)
        expected = mean_of(glass[256:940, 512:1656], scale)
        assert np.abs(overview.astype(int) - expected).max() <= 12
        cropped = slide.identity
    with open_slide(path, crop_to_bounds=False) as slide:
        assert (slide.origin, slide.height, slide.width) == ((0, 0), 2048, 2048)
        np.testing.assert_array_equal(slide.read(0, 0, 2048, 2048), glass)
        assert slide.identity != cropped
    with open_slide(path, scene=2) as slide:
        assert slide.origin == (640, 1400)
        np.testing.assert_array_equal(slide.read(0, 0, 300, 256), second)
    with pytest.raises(PipelineError, match="no scene 3; it has 2"):
        open_slide(path, scene=3)


@pytest.mark.parametrize("page", [0, 1])
def test_a_damaged_tile_costs_its_region_only(svs: Path, page: int) -> None:
    damage(svs, page=page, tile=0)
    with open_slide(svs) as slide:
        if page == 0:
            with pytest.raises(
                DamagedRegionError, match=r"a\.svs: rows 0 to 64, columns 0 to 64 of"
            ):
                slide.read(0, 0, 64, 64)
        np.testing.assert_array_equal(slide.read(256, 256, 300, 300), IMAGE[256:556, 256:556])
        # Finer levels stand in for the damaged one; of the full resolution its tile is missing.
        overview, scale = slide.overview(1)
        expected = mean_of(IMAGE, scale)
        assert np.abs(overview[64:, 64:].astype(int) - expected[64:, 64:]).max() <= 4
        assert np.abs(overview[:64, :64].astype(int) - expected[:64, :64]).max() <= 4


def test_a_slide_is_opened_again_only_after_damage(
    svs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    damage(svs, page=0, tile=0)
    opened: list[Path] = []
    real = openslide.OpenSlide.__init__

    def counted(self: Any, path: Path) -> None:
        opened.append(path)
        real(self, path)

    monkeypatch.setattr(openslide.OpenSlide, "__init__", counted)
    with open_slide(svs) as slide:
        with pytest.raises(DamagedRegionError):
            slide.read(0, 0, 64, 64)
        after = len(opened)
        for place in range(300, 800, 100):
            slide.read(place, place, 64, 64)
    assert len(opened) == after == 3  # to begin with, to make sure, to go on


def test_damage_is_told_by_the_thread_that_meets_it(svs: Path) -> None:
    damage(svs, page=0, tile=7)
    places = [(y, x) for y in range(0, 1024, 128) for x in range(0, 1280, 128)] * 3
    damaged = {(y, x) for y, x in places if y // 256 * 6 + x // 256 == 7}
    begin = threading.Barrier(4)
    pool = ThreadPoolExecutor(4, initializer=begin.wait)
    with open_slide(svs) as slide, pool:

        def right(place: tuple[int, int]) -> bool:
            y, x = place
            try:
                return np.array_equal(slide.read(y, x, 128, 128), IMAGE[y : y + 128, x : x + 128])
            except DamagedRegionError:
                return False

        results = list(pool.map(right, places))
    assert {place for place, fine in zip(places, results, strict=True) if not fine} == damaged


def test_cut_short(svs: Path) -> None:
    svs.write_bytes(svs.read_bytes()[: svs.stat().st_size // 2])
    try:
        slide = open_slide(svs)
    except PipelineError as error:
        assert str(error).startswith(f"{svs}: ")
        return
    with slide:
        assert np.array_equal(slide.read(0, 0, 100, 100), IMAGE[:100, :100])
        with pytest.raises(DamagedRegionError):
            slide.read(HEIGHT - 50, WIDTH - 50, 50, 50)


@pytest.mark.parametrize("name", ["a.svs", "a.png", "a.mrxs", "a.dcm"])
def test_an_empty_file(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    with pytest.raises(PipelineError, match="an empty file"):
        open_slide(tmp_path / name)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match="no such file"):
        open_slide(tmp_path / "a.svs")


@pytest.mark.parametrize("name", ["a.mrxs", "a.czi", "a.dcm"])
def test_no_slide(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"nothing " * 100)
    with pytest.raises(PipelineError, match="no slide that OpenSlide reads"):
        open_slide(tmp_path / name)


def test_one_pixel(tmp_path: Path) -> None:
    Image.fromarray(IMAGE[:1, :1]).save(tmp_path / "a.png")
    for path in (tmp_path / "a.png", aperio(tmp_path / "a.svs", IMAGE[:1, :1], ())):
        with open_slide(path, um_per_pixel=0.25) as slide:
            assert (slide.height, slide.width) == (1, 1)
            np.testing.assert_array_equal(slide.read(0, 0, 1, 1), IMAGE[:1, :1])
            assert slide.overview(8)[0].shape == (1, 1, 3)


def saved(save: Callable[[Path], object]) -> Callable[[Path], Path]:
    def made(path: Path) -> Path:
        save(path)
        return path

    return made


SMALL = IMAGE[:300, :400]
PLAIN: dict[str, Callable[[Path], object]] = {
    "a.png": lambda path: Image.fromarray(SMALL).save(path),
    "b.jpg": lambda path: Image.fromarray(SMALL).save(path, quality=90),
    "lzw.tif": lambda path: Image.fromarray(SMALL).save(path, compression="tiff_lzw"),
    "jpeg.tif": lambda path: Image.fromarray(SMALL).save(path, compression="jpeg"),
    "tiles.tif": lambda path: tifffile.imwrite(path, SMALL, tile=(64, 64), photometric="rgb"),
    "planes.tif": lambda path: tifffile.imwrite(
        path,
        np.ascontiguousarray(SMALL.transpose(2, 0, 1)),
        photometric="rgb",
        planarconfig="separate",
    ),
    "one.svs": lambda path: tifffile.imwrite(path, SMALL, photometric="rgb"),
}


@pytest.mark.parametrize("name", PLAIN)
def test_plain_images_have_the_pixels_that_they_had(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    PLAIN[name](path)
    before = decode_rgb(path.read_bytes(), name=name)
    with open_slide(path) as slide:
        np.testing.assert_array_equal(slide.read(0, 0, slide.height, slide.width), before)
        assert (slide.um_per_pixel, slide.source) == (None, "default")
        with pytest.raises(ValueError, match="resolution"):
            slide.overview(8)
    with pytest.raises(PipelineError, match="no scene 2; it has 1"):
        open_slide(path, scene=2)


def ome(path: Path, image: RGB = IMAGE, **metadata: object) -> Path:
    """Full resolution and, as bfconvert and QuPath write it, a sub-image of it."""
    micrometre = {"PhysicalSizeXUnit": "µm", "PhysicalSizeYUnit": "µm"}
    sizes = {"axes": "YXS", "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5, **micrometre, **metadata}
    with tifffile.TiffWriter(path, ome=True) as file:
        options: dict[str, Any] = {"photometric": "rgb", "tile": (256, 256)}
        file.write(image, subifds=1, metadata=sizes, **options)
        file.write(reduced(image, 4), subfiletype=1, **options)
    return path


@pytest.mark.parametrize("large", [False, True])
def test_ome_tif(tmp_path: Path, large: bool, request: pytest.FixtureRequest) -> None:
    if large:
        request.getfixturevalue("all_large")
    with open_slide(ome(tmp_path / "a.ome.tif")) as slide:
        assert isinstance(slide, WholeSlide) == large
        assert (slide.um_per_pixel, slide.source, slide.remark) == (0.5, "ome-xml", None)
        np.testing.assert_array_equal(slide.read(0, 0, HEIGHT, WIDTH), IMAGE)
        assert np.abs(slide.overview(4)[0].astype(int) - mean_of(IMAGE, 8)).max() <= 1


@pytest.mark.usefixtures("all_large")
def test_a_large_pyramid_of_no_scanner(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    options: dict[str, Any] = {"photometric": "rgb", "tile": (256, 256), "metadata": None}
    with tifffile.TiffWriter(path) as file:
        file.write(IMAGE, resolution=(20_000, 20_000), resolutionunit="CENTIMETER", **options)
        file.write(reduced(IMAGE, 4), subfiletype=1, **options)
        file.write(reduced(IMAGE, 16), **options)
    with open_slide(path) as slide:
        assert (slide.um_per_pixel, slide.source) == (0.5, "openslide")
        assert slide.remark == "its further pages (1) are not read"
        np.testing.assert_array_equal(slide.read(0, 0, HEIGHT, WIDTH), IMAGE)


@pytest.mark.usefixtures("all_large")
@pytest.mark.parametrize(
    ("image", "options", "said"),
    [
        (IMAGE.astype(np.uint16), {"photometric": "rgb"}, "found 3 channels of 16 bits"),
        (IMAGE[..., 0], {}, "found 1 channels of 8 bits"),
        (np.stack([IMAGE, IMAGE]), {"photometric": "rgb"}, "holds several pages of one size"),
        (IMAGE, {"photometric": "rgb", "tile": None}, "does not read; save it in tiles"),
        (IMAGE, {"photometric": "rgb"}, "no resolution stated; give --um-per-pixel"),
        (IMAGE, {"photometric": "rgb", "extratags": [(274, 3, 1, 6, True)]}, "stored rotated"),
    ],
)  # fmt: skip
def test_large_tifs_that_are_refused(
    tmp_path: Path, image: Any, options: dict[str, Any], said: str
) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.ascontiguousarray(image), **{"tile": (256, 256), **options})
    with pytest.raises(PipelineError, match=said):
        open_slide(path)


def test_a_slide_of_unknown_resolution(tmp_path: Path) -> None:
    path = aperio(tmp_path / "a.svs", IMAGE, stated="")
    with pytest.raises(PipelineError, match=r"a\.svs: no resolution stated; give --um-per-pixel"):
        open_slide(path)
    with open_slide(path, um_per_pixel=0.5) as slide:
        assert (slide.um_per_pixel, slide.source) == (0.5, "given")


def test_an_identity_follows_the_pixels(svs: Path, tmp_path: Path) -> None:
    def identity(path: Path) -> str:
        with open_slide(path, um_per_pixel=0.25) as slide:
            return slide.identity

    first = identity(svs)
    assert identity(svs) == first
    assert identity(aperio(tmp_path / "b.svs", IMAGE)) == first
    assert identity(aperio(tmp_path / "b.svs", IMAGE[:, ::-1])) != first
    assert identity(aperio(tmp_path / "b.svs", IMAGE, stated="|MPP = 0.5")) != first


def test_without_openslide(svs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openslide", None)
    (tmp_path / "a.mrxs").write_bytes(b"slide")
    for path in (tmp_path / "a.mrxs", leica(tmp_path / "a.scn", [(0, 0, IMAGE)], (2048, 2048))):
        with pytest.raises(PipelineError, match="pip install openslide-python openslide-bin"):
            open_slide(path)
    # So small a slide of Aperio's is read as a plain image is.
    with open_slide(svs) as slide:
        np.testing.assert_array_equal(slide.read(0, 0, HEIGHT, WIDTH), IMAGE)
    for name in ("tiles.tif", "one.svs"):
        PLAIN[name](tmp_path / name)
        with open_slide(tmp_path / name) as slide:
            np.testing.assert_array_equal(slide.read(0, 0, 300, 400), SMALL)


class OddSlide(openslide.AbstractSlide):  # type: ignore[misc]
    """Levels of odd ratios, a transparent half and bounds, as OpenSlide tells them."""

    def __init__(self, image: RGB, properties: dict[str, str]) -> None:
        super().__init__()
        self.rgba = np.dstack([image, np.full(image.shape[:2], 255, np.uint8)])
        self.properties = {"openslide.mpp-x": "0.25", "openslide.mpp-y": "0.25", **properties}
        height, width = image.shape[:2]
        self.level_dimensions = ((width, height), (width * 10 // 37, height * 10 // 37))
        self.level_downsamples = (1.0, 3.7)
        self.closed = False

    level_dimensions: Any = None
    level_downsamples: Any = None
    properties: Any = None
    level_count = 2

    @property
    def associated_images(self) -> Any:
        """Nobody asks for these."""
        raise AssertionError("the label has the patient's name")

    @classmethod
    def detect_format(cls, filename: Any) -> None:
        """No file's."""

    def get_best_level_for_downsample(self, downsample: float) -> int:
        """Not this class's choice."""
        raise NotImplementedError

    def read_region(self, location: tuple[int, int], level: int, size: tuple[int, int]) -> Any:
        """As RGBA."""
        image = Image.fromarray(self.rgba)
        if level:
            image = image.resize(self.level_dimensions[level], Image.Resampling.BOX)
        x, y = (round(place / self.level_downsamples[level]) for place in location)
        return image.crop((x, y, x + size[0], y + size[1]))

    def close(self) -> None:
        """Note it."""
        self.closed = True


def opened_odd(tmp_path: Path, handle: OddSlide) -> Slide:
    path = tmp_path / "odd.bif"
    path.write_bytes(b"odd")
    options: dict[str, Any] = {"um_per_pixel": None, "crop_to_bounds": True, "scene": None}
    return WholeSlide(path, lambda: handle, **options)


def test_levels_of_odd_ratios(tmp_path: Path) -> None:
    bounds = {"x": 113, "y": 57, "width": 1301, "height": 1001}
    handle = OddSlide(IMAGE, {f"openslide.bounds-{key}": str(v) for key, v in bounds.items()})
    with opened_odd(tmp_path, handle) as slide:
        assert slide.origin == (57, 113)
        corner = slide.read(991, 1291, 20, 20)
        np.testing.assert_array_equal(corner[:10, :10], IMAGE[1048:1058, 1404:1414])
        assert np.all(corner[10:] == WHITE)
        assert np.all(corner[:, 10:] == WHITE)
        overview, scale = slide.overview(1.5)
    expected = mean_of(IMAGE[57 : 57 + 1001, 113 : 113 + 1301], scale)
    assert overview.shape == expected.shape
    assert np.abs(overview[:-1, :-1].astype(int) - expected[:-1, :-1]).max() <= 5
    assert handle.closed


def test_transparent_is_white_and_half_transparent_is_mixed(tmp_path: Path) -> None:
    handle = OddSlide(IMAGE, {})
    handle.rgba[:100] = 0
    handle.rgba[100:200, :, 3] = 128
    with opened_odd(tmp_path, handle) as slide:
        read = slide.read(0, 0, 300, WIDTH)
    assert np.all(read[:100] == WHITE)
    mixed = IMAGE[100:200] * (128 / 255) + 255 * (127 / 255)
    assert np.abs(read[100:200] - mixed).max() <= 0.51
    np.testing.assert_array_equal(read[200:], IMAGE[200:300])


def test_bounds_outside_the_slide_do_not_count(tmp_path: Path) -> None:
    bounds = {"x": 9999, "y": 9999, "width": 10, "height": 10}
    handle = OddSlide(IMAGE, {f"openslide.bounds-{key}": str(v) for key, v in bounds.items()})
    with opened_odd(tmp_path, handle) as slide:
        assert (slide.origin, slide.height, slide.width) == ((0, 0), HEIGHT, WIDTH)


def test_fluorescence_is_refused(tmp_path: Path) -> None:
    handle = OddSlide(IMAGE, {"mirax.GENERAL.SLIDE_TYPE": "SLIDE_TYPE_FLUORESCENCE"})
    with pytest.raises(PipelineError, match="a fluorescence slide"):
        opened_odd(tmp_path, handle)


@pytest.fixture
def real() -> Path:
    folder = os.environ.get("MONUSEG_SLIDES")
    if not folder:
        pytest.skip("MONUSEG_SLIDES does not name the folder of real slides")
    return Path(folder) / "cmu-1-small-region.svs"


def test_a_real_slide(real: Path) -> None:
    whole = openslide.OpenSlide(real)
    expected = np.asarray(whole.read_region((0, 0), 0, whole.dimensions))[..., :3]
    with open_slide(real) as slide:
        assert (slide.width, slide.height, slide.um_per_pixel) == (2220, 2967, 0.499)
        np.testing.assert_array_equal(slide.read(0, 0, 2967, 2220), expected)
        overview, scale = slide.overview(4)
    assert scale == 4 / 0.499
    assert np.abs(overview.astype(int) - mean_of(expected, scale)).mean() < 2


def test_a_real_slide_with_a_damaged_tile(real: Path, tmp_path: Path) -> None:
    path = tmp_path / "damaged.svs"
    path.write_bytes(real.read_bytes())
    damage(path, page=0, tile=23)  # of 10 in a row
    whole = openslide.OpenSlide(real)
    expected = np.asarray(whole.read_region((0, 0), 0, whole.dimensions))[..., :3]
    with open_slide(path) as slide:
        with pytest.raises(DamagedRegionError):
            slide.read(500, 740, 100, 100)
        np.testing.assert_array_equal(slide.read(0, 0, 480, 2220), expected[:480])
        # Around it the overview is as it was.
        overview, scale = slide.overview(4)
        with open_slide(real) as undamaged:
            differs = np.any(overview != undamaged.overview(4)[0], axis=2)
    rows, columns = np.nonzero(differs)
    assert 240 * 240 <= differs.sum() * scale**2 <= 4 * (240 + 256) ** 2
    assert rows.min() * scale >= 480 - 256
    assert columns.max() * scale <= 960 + 256
