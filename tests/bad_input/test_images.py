"""Images that are damaged, of another kind or of another size, through the stages."""

import argparse
import csv
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from PIL import Image

from monuseg.core.command import parser, run
from monuseg.formats.images import PIXELS_MAX, read_labels, read_rgb
from monuseg.formats.predictions import read_probabilities
from monuseg.readers.raster import is_plain_tif
from stages.baseline import __main__ as baseline
from stages.evaluate import __main__ as evaluate
from stages.extract import __main__ as extract
from stages.masks import __main__ as masks
from stages.tile import __main__ as tile
from tests.bad_input.conftest import Refused
from tests.bad_input.making import (
    HEIGHT,
    SQUARE,
    WIDTH,
    encoded,
    packed,
    pair,
    pixels,
    png_that_declares,
    put_archive,
    tif_with,
    xml,
)

SetParams = Callable[[dict[str, object]], None]
Content = Callable[[], bytes]

ROOT = Path(__file__).resolve().parents[2]
PLAIN = pixels()
PICTURE = Image.fromarray(PLAIN)
PHOTOMETRIC, ORIENTATION, SAMPLES = 262, 274, 277  # tags of TIF


def opacity(value: int) -> Image.Image:
    picture = PICTURE.copy()
    picture.putalpha(value)
    return picture


def half(content: bytes) -> bytes:
    return content[: len(content) // 2]


def spoilt_tif(compression: str) -> bytes:
    """A TIF whose pixels are damaged and whose header is whole."""
    content = bytearray(encoded(PLAIN, compression=compression))
    middle = len(content) // 2
    content[middle : middle + 40] = bytes([255]) * 40
    return bytes(content)


def spoilt_png() -> bytes:
    content = bytearray(encoded(PLAIN, "PNG"))
    content[len(content) // 2] ^= 1
    return bytes(content)


def sixteen_bit(kind: str) -> bytes:
    return bytes(cv2.imencode(kind, PLAIN.astype(np.uint16) * 257)[1].tobytes())


def pages() -> bytes:
    return encoded(PICTURE, save_all=True, append_images=[PICTURE])


def with_orientation() -> bytes:
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    return encoded(PICTURE, exif=exif)


NOT_WHOLE = "not a complete and readable image"
REFUSED: dict[str, tuple[str, Content, str]] = {
    "truncated TIF": ("tif", lambda: half(encoded(PLAIN)), NOT_WHOLE),
    "truncated TIF of LZW": (
        "tif",
        lambda: half(encoded(PLAIN, compression="tiff_lzw")),
        NOT_WHOLE,
    ),
    "truncated TIF of OpenCV": (
        "tif",
        lambda: half(bytes(cv2.imencode(".tif", PLAIN)[1].tobytes())),
        NOT_WHOLE,
    ),
    "damaged pixels of LZW": ("tif", lambda: spoilt_tif("tiff_lzw"), NOT_WHOLE),
    "damaged pixels of Deflate": ("tif", lambda: spoilt_tif("tiff_deflate"), NOT_WHOLE),
    "truncated PNG": ("png", lambda: half(encoded(PLAIN, "PNG")), NOT_WHOLE),
    "damaged pixels of a PNG": ("png", spoilt_png, NOT_WHOLE),
    "header only": ("tif", lambda: b"II*\0\x08\0\0\0", NOT_WHOLE),
    "no image": ("tif", lambda: b"pixels" * 99, NOT_WHOLE),
    "zero bytes": ("tif", lambda: b"", "an empty file"),
    "truncated JPEG": ("jpg", lambda: half(encoded(PICTURE, "JPEG")), NOT_WHOLE),
    "JPEG of inks": (
        "jpg",
        lambda: encoded(PICTURE.convert("CMYK"), "JPEG"),
        "found 8-bit CMYK",
    ),
    "16 bits, TIF": ("tif", lambda: sixteen_bit(".tif"), "found 16-bit RGB"),
    "16 bits, PNG": ("png", lambda: sixteen_bit(".png"), "found 16-bit RGB"),
    "16-bit greyscale": (
        "tif",
        lambda: encoded(PLAIN[..., 0].astype(np.uint16)),
        "found 16-bit greyscale",
    ),
    "greyscale": ("tif", lambda: encoded(PLAIN[..., 0]), "found 8-bit greyscale"),
    "black and white": ("tif", lambda: encoded(PICTURE.convert("1")), "found 1-bit black"),
    "CMYK": ("tif", lambda: encoded(PICTURE.convert("CMYK")), "found 8-bit CMYK"),
    "CIE Lab": ("tif", lambda: encoded(PICTURE.convert("LAB")), "found 8-bit CIE Lab"),
    "floating point": (
        "tif",
        lambda: encoded(PLAIN[..., 0].astype(np.float32)),
        "found 32-bit floating-point",
    ),
    "RGBA with transparent pixels": (
        "png",
        lambda: encoded(opacity(254), "PNG"),
        "transparent pixels; flatten it",
    ),
    "palette with a transparent colour": (
        "png",
        lambda: encoded(
            PICTURE.convert("P"), "PNG", transparency=PICTURE.convert("P").getpixel((0, 0))
        ),
        "transparent pixels; flatten it",
    ),
    "several pages": ("tif", pages, "holds 2 pages"),
    "stored rotated": ("tif", with_orientation, "stored rotated (orientation 6)"),
    "of 10^10 declared pixels": (
        "png",
        lambda: png_that_declares(100_000, 100_000),
        "declares an enormous size",
    ),
    "of a few declared pixels too many": (
        "png",
        lambda: png_that_declares(PIXELS_MAX // 1000, 1001),
        f"{PIXELS_MAX // 1000} x 1001 pixels, but at most {PIXELS_MAX} pixels are allowed",
    ),
    "TIF that declares a billion rows": (
        "tif",
        lambda: tif_with(encoded(PLAIN), 257, 1_000_000_000),
        "pixels are allowed",
    ),
    "of no pixel": ("png", lambda: png_that_declares(0, 5), NOT_WHOLE),
}


@pytest.mark.parametrize(("suffix", "make", "said"), REFUSED.values(), ids=REFUSED)
def test_an_image_is_refused_by_its_archive_and_member(
    suffix: str, make: Content, said: str, refused: Refused
) -> None:
    put_archive(packed({f"deep/a.{suffix}": make(), "deep/a.xml": xml(SQUARE)}))
    line = refused(extract.main, said)
    assert line.startswith(f"error: train.zip: deep/a.{suffix}: ")


def test_an_image_spoilt_after_extraction_is_named_where_it_lies(
    refused: Refused, project: Path
) -> None:
    put_archive(packed(pair()))
    run(extract.main, parser("").parse_args([]))
    Path("data/raw/a.tif").write_bytes(half(encoded(PLAIN)))
    said = "not a readable image; run `dvc repro extract`"
    assert refused(masks.main, said).startswith("error: data/raw/a.tif: ")
    ended = subprocess.run(
        [sys.executable, "-m", "stages.masks"], capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stderr.count("\n")) == (1, 1)
    assert ended.stderr.startswith(f"error: data/raw/a.tif: {said}")


ACCEPTED: dict[str, tuple[str, Content, npt.NDArray[np.uint8]]] = {
    "palette, PNG": (
        "png",
        lambda: encoded(PICTURE.convert("P"), "PNG"),
        np.asarray(PICTURE.convert("P").convert("RGB")),
    ),
    "palette, TIF": (
        "tif",
        lambda: encoded(PICTURE.convert("P")),
        np.asarray(PICTURE.convert("P").convert("RGB")),
    ),
    "opaque RGBA, PNG": ("png", lambda: encoded(opacity(255), "PNG"), PLAIN),
    "opaque RGBA, TIF": ("tif", lambda: encoded(opacity(255)), PLAIN),
    "LZW": ("tif", lambda: encoded(PLAIN, compression="tiff_lzw"), PLAIN),
    "Deflate": ("tif", lambda: encoded(PLAIN, compression="tiff_deflate"), PLAIN),
    "PackBits": ("tif", lambda: encoded(PLAIN, compression="packbits"), PLAIN),
    "JPEG within": (
        "tif",
        lambda: encoded(np.full((HEIGHT, WIDTH, 3), 200, np.uint8), compression="jpeg"),
        np.full((HEIGHT, WIDTH, 3), 200, np.uint8),
    ),
    "JPEG in place of TIF": (
        "tif",
        lambda: encoded(np.full((HEIGHT, WIDTH, 3), 200, np.uint8), "JPEG"),
        np.full((HEIGHT, WIDTH, 3), 200, np.uint8),
    ),
    "bytes after its end": ("tif", lambda: encoded(PLAIN) + b"more", PLAIN),
}


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize(("suffix", "make", "expected"), ACCEPTED.values(), ids=ACCEPTED)
def test_an_image_of_another_kind_that_loses_nothing_is_taken(
    suffix: str, make: Content, expected: npt.NDArray[np.uint8]
) -> None:
    content = make()
    put_archive(packed({f"a.{suffix}": content, "a.xml": xml(SQUARE)}))
    run(extract.main, parser("").parse_args([]))
    assert np.array_equal(read_rgb(Path("data/raw/a.tif")), expected)
    if is_plain_tif(content):
        assert Path("data/raw/a.tif").read_bytes() == content


def drawn(height: int = HEIGHT, width: int = WIDTH) -> npt.NDArray[np.uint8]:
    mask = np.zeros((height, width), np.uint8)
    mask[2:6, 2:6] = 255
    return mask


def classes() -> npt.NDArray[np.uint8]:
    """Two areas each of two classes."""
    mask = drawn()
    mask[2:6, 2:6], mask[2:6, 10:14], mask[10:14, 2:6], mask[10:14, 10:14] = 1, 2, 2, 1
    return mask


MASKS_REFUSED: dict[str, tuple[Content, str]] = {
    "of another size": (
        lambda: encoded(drawn(HEIGHT, WIDTH - 1), "PNG"),
        f"{WIDTH - 1} x {HEIGHT} pixels, but its image train.zip: a.tif has {WIDTH} x {HEIGHT}",
    ),
    "turned": (lambda: encoded(drawn(WIDTH, HEIGHT), "PNG"), f"{HEIGHT} x {WIDTH} pixels, but"),
    "in colours": (lambda: encoded(PLAIN, "PNG"), "a mask in colours"),
    "of 16 bits in colours": (lambda: sixteen_bit(".png"), "a mask of 16-bit RGB"),
    "of inks": (lambda: encoded(PICTURE.convert("CMYK")), "a mask of 8-bit CMYK"),
    "truncated": (lambda: half(encoded(drawn(), "PNG")), NOT_WHOLE),
    "zero bytes": (lambda: b"", "an empty file"),
    "of an enormous size": (lambda: png_that_declares(90_000, 90_000, 1, 0), "enormous size"),
    "of JPEG": (lambda: encoded(drawn(), "JPEG"), "a mask stored as JPEG, which changes"),
    "with soft edges": (
        lambda: encoded(cv2.GaussianBlur(drawn(), (3, 3), 0), "PNG"),
        "neither instances nor two",
    ),
    "of classes": (lambda: encoded(classes(), "PNG"), "mark several areas each, as classes do"),
}


@pytest.mark.parametrize(("make", "said"), MASKS_REFUSED.values(), ids=MASKS_REFUSED)
def test_a_mask_is_refused_by_its_archive_and_member(
    make: Content, said: str, refused: Refused
) -> None:
    put_archive(packed({"a.tif": encoded(PLAIN), "a_mask.tif": make()}))
    assert refused(extract.main, said).startswith("error: train.zip: a_mask.tif: ")


MASKS_ACCEPTED: dict[str, Content] = {
    "black and white": lambda: encoded(Image.fromarray(drawn()).convert("1"), "PNG"),
    "of 16 bits": lambda: encoded(drawn().astype(np.uint16) * 200, "PNG"),
    "a palette of greys": lambda: encoded(Image.fromarray(drawn()).convert("P"), "PNG"),
    "three channels": lambda: encoded(np.dstack([drawn()] * 3), "PNG"),
    "grey with opacity": lambda: encoded(Image.fromarray(drawn()).convert("LA"), "PNG"),
}


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize("make", MASKS_ACCEPTED.values(), ids=MASKS_ACCEPTED)
def test_a_mask_of_another_kind_marks_the_same_pixels(make: Content) -> None:
    put_archive(packed({"a.tif": encoded(PLAIN), "a_mask.tif": make()}))
    for stage in (extract, masks):
        run(stage.main, parser("").parse_args([]))
    assert np.array_equal(read_labels(Path("data/masks/a.png")), drawn() > 0)


MASKS_IN_RAW: dict[str, tuple[Content, str]] = {
    "in colours": (lambda: encoded(PLAIN, "PNG"), "data/raw/a.mask.png: a mask in colours"),
    "of another size": (
        lambda: encoded(drawn(HEIGHT + 1), "PNG"),
        f"data/raw/a.mask.png: {WIDTH} x {HEIGHT + 1} pixels, but its image has",
    ),
    "truncated": (lambda: half(encoded(drawn(), "PNG")), f"data/raw/a.mask.png: {NOT_WHOLE}"),
}


@pytest.mark.parametrize(("make", "said"), MASKS_IN_RAW.values(), ids=MASKS_IN_RAW)
def test_a_mask_changed_in_the_raw_folder_is_named_there(
    make: Content, said: str, refused: Refused
) -> None:
    put_archive(packed({"a.tif": encoded(PLAIN), "a_mask.png": encoded(drawn(), "PNG")}))
    run(extract.main, parser("").parse_args([]))
    Path("data/raw/a.mask.png").write_bytes(make())
    refused(masks.main, said)


def test_a_mask_of_more_nuclei_than_16_bits_number_is_refused(refused: Refused) -> None:
    dots = np.zeros((514, 514), np.uint8)
    dots[::2, ::2] = 255  # 66,049 of them
    picture = np.zeros((514, 514, 3), np.uint8)
    put_archive(packed({"a.tif": encoded(picture), "a_mask.png": encoded(dots, "PNG")}))
    run(extract.main, parser("").parse_args([]))
    refused(masks.main, "data/raw/a.mask.png: more than 65535 nuclei; cut it into smaller images")


# From here on: images of any size, and without a nucleus, through the whole graph.

SHAPES = {
    "t1": (96, 64),
    "t2": (64, 64),  # no nucleus
    "v1": (96, 64),
    "v2": (64, 64),  # no nucleus
    "x1": (150, 90),
    "x2": (20, 30),  # smaller than a tile
    "x3": (64, 1),  # a pixel wide, no nucleus
    "x4": (50, 60),  # white, no nucleus
}
EMPTY = ("t2", "v2", "x3", "x4")
TILE = 64


def slide(image_id: str) -> tuple[bytes, bytes]:
    """A pink slide, with dark squares as nuclei where it has any, and its annotation."""
    height, width = SHAPES[image_id]
    generator = np.random.default_rng(list(image_id.encode()))
    picture = np.array([225, 170, 200]) + generator.integers(-8, 9, (height, width, 3))
    outlines = []
    if image_id not in EMPTY:
        for y in range(3, height - 10, 20):
            for x in range(3, width - 10, 20):
                picture[y : y + 9, x : x + 9] = (70, 40, 120)
                corners = [(x, y), (x + 9, y), (x + 9, y + 9), (x, y + 9)]
                outlines.append([(a + 0.5, b + 0.5) for a, b in corners])
    if image_id == "x4":
        picture[:] = 255
    return encoded(picture.astype(np.uint8)), xml(*outlines)


def stage(main: Callable[[argparse.Namespace], None], **words: str) -> None:
    main(argparse.Namespace(debug=True, **words))


@pytest.fixture
def scored(set_params: SetParams) -> Path:
    """Slides of all sizes, tiled, and the baseline's row of metrics."""
    set_params(
        {
            "tile.size": TILE,
            "tile.stride": TILE,
            "tile.validation.method": "named",
            "tile.validation.images": ["v1", "v2"],
            "evaluate.nuclei.smoothing": [1.0],
            "evaluate.nuclei.min_distance": [3],
            "evaluate.nuclei.min_area": [10],
            "train.epochs": 1,
            "train.steps_per_epoch": 2,
            "train.batch_size": 2,
            "train.crop": 32,
            "unet.width": 4,
            "predict.window": 96,
            "predict.overlap": 16,
            "predict.flips": False,
        }
    )
    for part, initials in (("train", "tv"), ("test", "x")):
        ids = [image_id for image_id in SHAPES if image_id[0] in initials]
        files = {f"{i}.{kind}": slide(i)[n] for i in ids for n, kind in enumerate(("tif", "xml"))}
        put_archive(packed(files), f"{part}.zip")
    for module in (extract, masks, tile, baseline):
        stage(module.main)
    stage(evaluate.main, row="otsu")
    return Path("metrics")


def strict(path: Path) -> Any:
    return json.loads(path.read_text(), parse_constant=lambda name: pytest.fail(name))


def per_image(row: str) -> dict[str, dict[str, str]]:
    with Path(f"metrics/per_image/{row}.csv").open(newline="") as file:
        return {line["id"]: line for line in csv.DictReader(file)}


def test_images_of_any_size_are_padded_and_scored_only_where_real(scored: Path) -> None:
    for split, ids in (("train", ["t1", "t2"]), ("test", ["x1", "x2", "x3", "x4"])):
        index = pd.read_csv(f"data/tiles/{split}/index.csv")
        covered = {i: np.zeros(SHAPES[i], bool) for i in ids}
        for row in index.itertuples():
            covered[row.image][row.y : row.y + row.height, row.x : row.x + row.width] = True
        assert all(of_image.all() for of_image in covered.values())
        for i in ids:
            padded = np.load(f"data/tiles/{split}/{i}.image.npy", allow_pickle=False)
            assert padded.shape == (*(max(TILE, length) for length in SHAPES[i]), 3)
            height, width = SHAPES[i]
            assert np.array_equal(padded[:height, :width], read_rgb(Path(f"data/raw/{i}.tif")))
    detail = strict(scored / "detail/otsu.json")
    pixels_of_test = sum(height * width for i, (height, width) in SHAPES.items() if i[0] == "x")
    counts = detail["test"]["pixels"]
    assert sum(counts.values()) == pixels_of_test


def test_what_is_undefined_without_nuclei_is_left_out(scored: Path) -> None:
    rows = per_image("otsu")
    found_or_missed = ("nucleus_true_positives", "nucleus_false_negatives")
    true = {i: sum(int(rows[i][name]) for name in found_or_missed) for i in SHAPES}
    assert [i for i in SHAPES if true[i] == 0] == list(EMPTY)
    # Nothing there and nothing found: no score is defined but accuracy.
    assert float(rows["x4"]["accuracy"]) == 1
    assert {rows["x4"][name] for name in ("dice", "iou", "aji", "pq")} == {""}
    metrics = strict(scored / "otsu.json")
    defined = [float(row["dice"]) for i, row in rows.items() if i[0] == "x" and row["dice"]]
    assert metrics["test"]["dice"] == pytest.approx(np.mean(defined), abs=1e-4)
    # Otsu's threshold rounds the squares' corners off.
    assert float(rows["x1"]["dice"]) > 0.85
    dark = read_rgb(Path("data/raw/x1.tif"))[..., 0] < 100
    assert np.array_equal(read_labels(Path("data/masks/x1.png")) > 0, dark)


def test_a_model_trains_on_and_predicts_images_of_any_size_and_without_nuclei(
    scored: Path,
) -> None:
    # It says under which libraries a training may be resumed.
    shutil.copy(ROOT / "requirements-compute.txt", ".")
    for name in ("train", "predict"):
        done = subprocess.run(
            [sys.executable, "-m", f"stages.{name}", "unet"],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    for i, shape in SHAPES.items():
        assert read_probabilities(Path("data/predictions/unet"), i).shape[:2] == shape
    stage(evaluate.main, row="unet")
    metrics = strict(scored / "unet.json")
    assert metrics["test"]["loss"] >= 0
    assert list(per_image("unet")) == list(SHAPES)
