"""What people have: archives in other layouts and annotations of other programs, to label maps.

Each case follows a public report of someone who segments nuclei. The right numbers of pixels are
those of the circles and boxes themselves.
"""

import argparse
import io
import json
from collections.abc import Callable, Iterable, Mapping

import numpy as np
import numpy.typing as npt
import pytest
import tifffile
from PIL import Image

from monuseg.core.errors import PipelineError
from monuseg.formats.images import Labels, read_labels
from monuseg.formats.manifest import ImageRecord, read_records
from monuseg.formats.paths import MASKS, RAW
from stages.extract import __main__ as extract
from stages.masks import __main__ as masks
from tests.bad_input.making import packed, put_archive

SIDE = 256
FIRST, SECOND, THIRD = (60, 60, 15), (130, 90, 12), (180, 180, 25)

pytestmark = pytest.mark.usefixtures("project")


def tissue(seed: int = 0) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(90, 220, (SIDE, SIDE, 3), dtype=np.uint8)


def tif(array: npt.NDArray[np.generic], **options: object) -> bytes:
    content = io.BytesIO()
    tifffile.imwrite(content, array, **options)
    return content.getvalue()


def png(array: npt.NDArray[np.generic]) -> bytes:
    content = io.BytesIO()
    Image.fromarray(array).save(content, "PNG")
    return content.getvalue()


def circle(x: float, y: float, radius: float) -> list[tuple[float, float]]:
    angles = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    return [(x + radius * float(np.cos(a)), y + radius * float(np.sin(a))) for a in angles]


def discs(*circles: tuple[int, int, int], first: int = 1) -> npt.NDArray[np.uint16]:
    y, x = np.mgrid[:SIDE, :SIDE] + 0.5
    labels = np.zeros((SIDE, SIDE), np.uint16)
    for number, (column, row, radius) in enumerate(circles, first):
        labels[(x - column) ** 2 + (y - row) ** 2 < radius**2] = number
    return labels


def region(
    outline: Iterable[tuple[object, object]], tag: str = "Vertex", **attributes: object
) -> str:
    said = "".join(f' {name}="{value}"' for name, value in attributes.items())
    vertices = "".join(f'<{tag} X="{x}" Y="{y}"/>' for x, y in outline)
    return f"<Region{said}><Vertices>{vertices}</Vertices></Region>"


def layer(*regions: str, name: str = "") -> str:
    return f'<Annotation Name="{name}"><Regions>{"".join(regions)}</Regions></Annotation>'


def document(*layers: str) -> bytes:
    return f'<Annotations MicronsPerPixel="0.252">{"".join(layers)}</Annotations>'.encode()


def own(annotation: bytes, suffix: str = ".xml") -> dict[str, bytes]:
    """An image `S1` with an annotation beside it."""
    return {"own/train/S1.tif": tif(tissue()), f"own/train/S1{suffix}": annotation}


def converted(files: Mapping[str, bytes]) -> tuple[list[ImageRecord], dict[str, Labels]]:
    """What stages extract and masks make of an archive."""
    put_archive(packed(files), "own.zip")
    extract.main(argparse.Namespace())
    masks.main(argparse.Namespace())
    records = read_records(RAW / "manifest.csv", ImageRecord)
    return records, {one.id: read_labels(MASKS / f"{one.id}.png") for one in records}


def areas(labels: Labels) -> list[int]:
    return [int(n) for n in np.bincount(labels.ravel())[1:]]


def nuclei_of(annotation: bytes, suffix: str = ".xml") -> Labels:
    """The label map of an image with one annotation."""
    _, labels = converted(own(annotation, suffix))
    return labels["S1"]


def test_ellipses_of_two_corners_are_nuclei() -> None:
    labels = nuclei_of(
        document(
            layer(
                region([(45, 45), (75, 75)], Type=2),
                region([(115, 45), (145, 75)], Type=2),
                region(circle(180, 180, 20), Type=0),
            )
        )
    )
    assert areas(labels) == pytest.approx([np.pi * 15**2, np.pi * 15**2, np.pi * 20**2], rel=0.01)


@pytest.mark.parametrize("negative_first", [False, True])
def test_a_negative_region_is_cut_out_of_its_nucleus_whatever_the_order(
    negative_first: bool,
) -> None:
    nucleus, hole = region(circle(180, 180, 25)), region(circle(180, 180, 10), NegativeROA=1)
    pair = (hole, nucleus) if negative_first else (nucleus, hole)
    labels = nuclei_of(document(layer(*pair, region(circle(60, 60, 15)))))
    assert areas(labels) == pytest.approx([np.pi * (25**2 - 10**2), np.pi * 15**2], rel=0.03)
    assert labels[180, 180] == 0


def test_a_rectangle_round_nuclei_is_no_nucleus() -> None:
    frame = region([(5, 5), (250, 5), (250, 250), (5, 250)], Type=1)
    labels = nuclei_of(document(layer(frame, *(region(circle(*one)) for one in (FIRST, SECOND)))))
    assert areas(labels) == pytest.approx([np.pi * 15**2, np.pi * 12**2], rel=0.03)


def test_the_vertices_of_halo_are_read() -> None:
    annotation = document(
        layer(*(region(circle(*one), tag="V", Type="Polygon") for one in (FIRST, SECOND)))
    )
    assert areas(nuclei_of(annotation)) == pytest.approx([np.pi * 15**2, np.pi * 12**2], rel=0.03)


def test_a_layer_counts_or_not_by_choice(
    set_params: Callable[[dict[str, object]], None], capsys: pytest.CaptureFixture[str]
) -> None:
    annotation = document(
        layer(region(circle(*FIRST)), name="Epithelial"),
        layer(region(circle(180, 180, 50)), name="Ambiguous"),
    )
    assert len(areas(nuclei_of(annotation))) == 2
    said = "".join(capsys.readouterr())
    assert "Epithelial" in said
    assert "Ambiguous" in said
    set_params({"masks.layers": ["Epithelial"]})
    assert areas(nuclei_of(annotation)) == pytest.approx([np.pi * 15**2], rel=0.03)


def test_geojson_beside_the_image_is_read_with_its_holes() -> None:
    def ring(low: int, high: int) -> list[list[int]]:
        return [[low, low], [high, low], [high, high], [low, high], [low, low]]

    geometry = {"type": "Polygon", "coordinates": [ring(45, 75), ring(55, 65)]}
    feature = {"type": "Feature", "geometry": geometry, "properties": {"objectType": "annotation"}}
    collection = {"type": "FeatureCollection", "features": [feature]}
    labels = nuclei_of(json.dumps(collection).encode(), ".geojson")
    expected = np.zeros((SIDE, SIDE), np.uint16)
    expected[45:75, 45:75] = 1
    expected[55:65, 55:65] = 0
    np.testing.assert_array_equal(labels, expected)


def test_a_label_map_keeps_touching_nuclei_apart() -> None:
    drawn = discs((60, 60, 15), (90, 60, 15), (130, 180, 12), (200, 200, 9))
    files = {"own/train/S1.tif": tif(tissue()), "own/train/labels/S1.png": png(drawn * 100)}
    (record,), labels = converted(files)
    assert record.annotation == "label-map"
    np.testing.assert_array_equal(labels["S1"], drawn)


@pytest.mark.parametrize("labelled", ["S1-labelled.tif", "S1-labelled.png"])
def test_the_label_map_of_qupaths_tile_exporter_is_an_annotation(labelled: str) -> None:
    drawn = discs(FIRST, SECOND).astype(np.uint8)
    content = tif(drawn) if labelled.endswith("tif") else png(drawn)
    _, labels = converted({"own/train/S1.tif": tif(tissue()), f"own/train/{labelled}": content})
    np.testing.assert_array_equal(labels["S1"], drawn)


def test_the_names_of_qupaths_tile_exporter_are_read() -> None:
    name = "CMU-1 [x=1024,y=2048,w=256,h=256]"
    drawn = discs(FIRST, SECOND).astype(np.uint8)
    files = {f"own/train/{name}.tif": tif(tissue()), f"own/train/labels/{name}.png": png(drawn)}
    (record,), labels = converted(files)
    assert record.id.startswith("CMU-1")
    np.testing.assert_array_equal(labels[record.id], drawn)


def test_the_layout_of_tnbc_is_read() -> None:
    mask = (discs(FIRST, SECOND) > 0).astype(np.uint8) * 255
    files = {
        "TNBC_train/Slide_01/01_1.png": png(tissue()),
        "TNBC_train/GT_01/01_1.png": png(mask),
    }
    (record,), labels = converted(files)
    assert (record.id, record.annotation) == ("01_1", "binary-mask")
    np.testing.assert_array_equal(labels["01_1"], discs(FIRST, SECOND))


def test_the_layout_of_monusac_is_read() -> None:
    folder = "MoNuSAC_images_and_annotations_train/TCGA-5P-A9K0-01Z-00-DX1"
    name = f"{folder}/TCGA-5P-A9K0-01Z-00-DX1_1"
    files = {f"{name}.svs": tif(tissue()), f"{name}.xml": document(layer(region(circle(*FIRST))))}
    (record,), labels = converted(files)
    assert record.patient == "TCGA-5P-A9K0"
    assert areas(labels[record.id]) == pytest.approx([np.pi * 15**2], rel=0.03)


def test_the_resolution_of_a_description_counts_and_is_named() -> None:
    description = "Aperio Image Library v8.2.43\r\n256x256|AppMag = 20|MPP = 0.4970|Left = 1"
    files = {
        "own/train/S1.tif": tif(tissue(), description=description, metadata=None),
        "own/train/S1_bin_mask.png": png((discs(FIRST) > 0).astype(np.uint8) * 255),
    }
    (record,), _ = converted(files)
    assert (record.um_per_pixel, record.um_per_pixel_source) == (0.497, "aperio-description")


@pytest.mark.parametrize(
    ("annotation", "words"),
    [
        (
            document(layer(region(circle(*FIRST)), name="Zellkerne groß"))
            .decode()
            .encode("latin-1"),
            "Latin-1",
        ),
        (
            document(layer(region([("60,5", "60,5"), ("70,5", "60,5"), ("70,5", "70,5")]))),
            "decimal comma",
        ),
    ],
)
def test_what_is_wrong_with_an_annotation_is_named(annotation: bytes, words: str) -> None:
    with pytest.raises(PipelineError, match=words):
        nuclei_of(annotation)


def test_an_inverted_mask_is_refused() -> None:
    inverted = (discs(FIRST, SECOND) == 0).astype(np.uint8) * 255
    files = {"own/train/S1.tif": tif(tissue()), "own/train/S1_bin_mask.png": png(inverted)}
    with pytest.raises(PipelineError, match="inverted"):
        converted(files)
