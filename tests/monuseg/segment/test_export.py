"""`monuseg export`: what other programs compute from a file is what the network does."""

import importlib.util
import itertools
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import get_args

import keras
import numpy as np
import pytest
from scipy.special import expit

from monuseg.core.errors import PipelineError
from monuseg.formats.images import Labels
from monuseg.formats.predictions import NUCLEUS
from monuseg.models.deeplabv3plus.head import BilinearUpsampling, Spread
from monuseg.models.segnet.network import MaxPoolingWithIndices, MaxUnpooling
from monuseg.models.shared import store
from monuseg.models.shared.scaling import SCALINGS
from monuseg.nuclei.watershed import NucleiSettings, nuclei_from_predictions
from monuseg.segment import export, models
from monuseg.segment.options import BACKENDS, PRETRAINED, ExportFormat
from stages.download.synthetic.slide import draw_slide
from tests.monuseg.segment.networks import save_undecided, save_unet
from tests.repository import REPOSITORY, environment_of

THRESHOLD = 0.5
MOST_DIFFERING = 0.001  # share of pixels
# Share of pixels, and of nuclei that are not the same pixel for pixel, over all seeds. Measured as
# ONNX: SegNet 5 of 1,024,000 pixels and 4 of 11,406 nuclei; the others none.
MOST_PIXELS, MOST_NUCLEI = 1e-4, 1e-3
SEEDS = 20
SIZES = ((96, 160), (160, 64))  # wider than high, and higher than wide
SMALL = {
    "unet": {"width": 4},
    "segnet": {"width": 4, "levels": 2},
    "deeplabv3plus": {
        "encoder": "light", "width": 8, "output_stride": 16, "rates": [1, 2, 3], "aspp_filters": 8,
        "low_level_filters": 4, "decoder_filters": 8, "weights": "none",
    },
}  # fmt: skip
# As docs/segment.md has it.
OWN_LAYERS = {
    layer.__name__: layer
    for layer in (MaxPoolingWithIndices, MaxUnpooling, Spread, BilinearUpsampling)
}

Compute = Callable[[np.ndarray], np.ndarray]


def crops(height: int, width: int, seed: int = 3) -> np.ndarray:
    """Two crops of a synthetic slide, (2, height, width, 3) uint8."""
    image = draw_slide("colon", 2 * height, width, 1.0, np.random.default_rng(seed)).image
    return np.stack([image[:height], image[height:]])


def need(form: str) -> None:
    for package in export.NEEDED[form]:
        pytest.importorskip(package, reason=f"{package} is not installed")
    if export.NEEDED[form] and keras.backend.backend() != "tensorflow":
        pytest.skip("Keras does not run on TensorFlow here")


def opened(path: Path, form: str) -> Compute:
    """What another program computes from the file."""
    if form == "onnx":
        session = pytest.importorskip("onnxruntime").InferenceSession(path)
        return lambda pixels: session.run(None, {"pixels": pixels})[0]
    if form == "savedmodel":
        import tensorflow as tf

        served = tf.saved_model.load(str(path))
        return lambda pixels: served.serve(pixels).numpy()
    return keras.saving.load_model(path, custom_objects=OWN_LAYERS).predict_on_batch


def agree(compute: Compute, model: keras.Model, scaling: str) -> None:
    """On two images, wider than high and higher than wide."""
    for height, width in ((64, 96), (96, 32)):
        images = crops(height, width)
        expected = expit(model.predict_on_batch(SCALINGS[scaling](images)))
        found = compute(images.astype(np.float32))
        assert found.shape == expected.shape == (2, height, width, expected.shape[-1])
        assert np.mean((found >= THRESHOLD) != (expected >= THRESHOLD)) <= MOST_DIFFERING
        assert np.median(np.abs(found - expected)) < 1e-4
        assert np.ptp(expected) > 0.01  # else all would agree


@pytest.mark.parametrize("form", get_args(ExportFormat))
def test_the_shipped_network_in_each_format(form: ExportFormat, tmp_path: Path) -> None:
    need(form)
    [member] = models.find("unet").members
    model, card = store.load(*member)
    path = tmp_path / f"unet{export.ENDINGS.get(form, '')}"
    for _ in range(2):  # in place of an earlier one
        export.require_place(path, form)
        export.write(model, card.scaling, path, form)
    agree(opened(path, form), model, card.scaling)
    assert [one.name for one in tmp_path.iterdir()] == [path.name]


@pytest.mark.long
@pytest.mark.parametrize("form", get_args(ExportFormat))
@pytest.mark.parametrize("name", SMALL)
def test_pixels_and_nuclei_of_many_images(name: str, form: ExportFormat, tmp_path: Path) -> None:
    """By share: where two candidates of SegNet's pooling tie, float error moves a maximum.

    The weights are as drawn, and the threshold is the median, where most pixels are undecided.
    """
    need(form)
    params = {"learning_rate": 0.1, **SMALL[name]}
    keras.utils.set_random_seed(1)
    model = store.build(store.Card(name, params, [NUCLEUS, "other"], "symmetric", 0.25, 1, 1, {}))
    generator = np.random.default_rng(1)
    # Statistics of normalisation that are not those of a new layer, so that they count. Kernels
    # stay: with all of them positive, logits are so large that float error is, too.
    model.set_weights(
        [
            weight + abs(generator.normal(0, 0.02, weight.shape)) * (weight.ndim == 1)
            for weight in model.get_weights()
        ]
    )
    path = tmp_path / f"exported{export.ENDINGS.get(form, '')}"
    export.write(model, "symmetric", path, form)
    compute = opened(path, form)
    pixels, nuclei = np.zeros(2, int), np.zeros(2, int)  # differing, and all
    largest = 0.0
    for seed, (height, width) in itertools.product(range(SEEDS), SIZES):
        images = crops(height, width, seed)
        expected = expit(model.predict_on_batch(SCALINGS["symmetric"](images)))
        found = compute(images.astype(np.float32))
        assert found.shape == expected.shape == (2, height, width, 2)
        assert np.ptp(expected) > 0.01  # else all would agree
        largest = max(largest, float(np.abs(found - expected).max()))
        threshold = np.median(expected[..., 0])
        differ = (found[..., 0] >= threshold) != (expected[..., 0] >= threshold)
        pixels += differ.sum(), differ.size
        for pair in zip(found, expected, strict=True):
            nuclei += differing_nuclei(*(labels_at(threshold, one) for one in pair))
    print(
        f"\n{name} as {form}: {pixels[0]} of {pixels[1]} pixels and {nuclei[0]} of {nuclei[1]} "
        f"nuclei differ, probabilities by {largest:.1g} at most"
    )
    assert nuclei[1] > 1000
    assert pixels[0] <= MOST_PIXELS * pixels[1]
    assert nuclei[0] <= MOST_NUCLEI * nuclei[1]


def labels_at(threshold: float, probabilities: np.ndarray) -> Labels:
    settings = NucleiSettings(threshold, smoothing=1.0, min_distance=3, min_area=10)
    return nuclei_from_predictions(probabilities, [NUCLEUS, "other"], settings)


def differing_nuclei(found: Labels, expected: Labels) -> tuple[int, int]:
    """Nuclei of either that are not in the other pixel for pixel; and how many both have."""
    own, others = (set(_outlined(labels)) for labels in (found, expected))
    return len(own ^ others), len(own) + len(others)


def _outlined(labels: Labels) -> Iterator[bytes]:
    """Each nucleus by the pixels that it has."""
    flat = labels.ravel()
    order = np.argsort(flat, kind="stable")
    starts = np.flatnonzero(np.diff(flat[order], prepend=0))
    return (pixels.tobytes() for pixels in np.split(order, starts)[1:])


def test_one_pixel_makes_a_nucleus_another() -> None:
    labels = np.kron(np.arange(6, dtype=np.uint16).reshape(2, 3), np.ones((5, 5), np.uint16))
    assert differing_nuclei(labels, labels) == (0, 10)
    assert differing_nuclei(np.where(labels, 6 - labels, 0), labels) == (0, 10)
    moved = labels.copy()
    moved[0, 5] = 0
    assert differing_nuclei(moved, labels) == (2, 10)
    moved[9, 14] = 4
    assert differing_nuclei(moved, labels) == (6, 10)


@pytest.mark.parametrize("scaling", SCALINGS)
def test_each_scaling_is_in_the_graph(scaling: str) -> None:
    inputs = keras.Input((None, None, 3))
    model = export.with_scaling(keras.Model(inputs, inputs), scaling)
    pixels = crops(32, 48)
    found = model.predict_on_batch(pixels.astype(np.float32))
    np.testing.assert_allclose(found, expit(SCALINGS[scaling](pixels)), atol=1e-6)


def test_a_file_of_unet_opens_with_keras_alone(tmp_path: Path) -> None:
    [member] = models.find("unet").members
    model, card = store.load(*member)
    export.write(model, card.scaling, tmp_path / "unet.keras", "keras")
    code = (
        "import keras, sys; keras.saving.load_model('unet.keras'); print('monuseg' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["False"]


def test_every_backend_can_be_asked_for() -> None:
    from monuseg.models.shared.runtime import Backend

    assert sorted(BACKENDS) == sorted(get_args(Backend))


# === The command ===


def called(*words: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "monuseg", "export", *words],
        cwd=folder, env=environment_of(folder) | {"PYTHONPATH": str(REPOSITORY)},
        capture_output=True, text=True,
    )  # fmt: skip


def test_what_it_says_and_leaves(tmp_path: Path) -> None:
    done = called("unet", "--format", "keras", "--output", "out/a.keras", folder=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    notice, shapes, missing = done.stdout.splitlines()
    assert "CC BY-NC-SA 4.0" in notice
    assert shapes.startswith(
        "out/a.keras: from RGB of 0 to 255, float32 (images, height, width, 3)"
    )
    assert "multiples of 16, to probabilities of nucleus, boundary, distance" in shapes
    assert "not in it: images have 0.251 um per pixel, stain normalisation macenko" in missing
    assert [path.name for path in tmp_path.rglob("*.keras")] == ["a.keras"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["unett", "--format", "keras", "--output", "a.keras"], "model unett: neither a model"),
        (["unet", "--format", "keras", "--output", "a.h5"], "--output a.h5: name a file that ends"),
    ],
)
def test_what_cannot_begin_is_one_line(words: list[str], said: str, tmp_path: Path) -> None:
    done = called(*words, folder=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    [line] = done.stderr.splitlines()
    assert line.startswith(f"error: {said}")
    assert list(tmp_path.iterdir()) == []


def test_a_missing_package_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    for form in ("onnx", "savedmodel"):
        with pytest.raises(PipelineError, match=f"{form}: needs .*; run `pip install tensorflow"):
            export.require_packages(f"--format {form}", export.NEEDED[form])
    export.require_packages("--format keras", export.NEEDED["keras"])


def test_a_folder_of_other_files_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").touch()
    with pytest.raises(PipelineError, match="exists and is no SavedModel; name a new folder"):
        export.require_place(tmp_path, "savedmodel")


# === Which network ===


@pytest.mark.parametrize("name", ["unet.json", "unet.weights.h5", "unet", ""])
def test_a_trained_network_needs_no_evaluation(name: str, tmp_path: Path) -> None:
    save_unet(tmp_path / "models")
    found = export.network_of(str(tmp_path / "models" / name))
    assert found == (tmp_path / "models", "unet", None)


def test_one_that_comes_along_has_its_notice() -> None:
    folder, name, notice = export.network_of("unet")
    assert (folder, name) == (PRETRAINED, "unet")
    assert "not for commercial use" in str(notice)


def test_several_networks_are_refused(tmp_path: Path) -> None:
    save_unet(tmp_path / "models")
    save_undecided(tmp_path / "models")
    for name in (str(tmp_path / "models"), "ensemble"):
        with pytest.raises(PipelineError, match=rf"{name}: \d networks; name one of them"):
            export.network_of(name)


def test_what_is_no_network_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match="no model in it; name a folder such as data/models"):
        export.network_of(str(tmp_path))
    with pytest.raises(PipelineError, match="neither a model that comes along"):
        export.network_of(str(tmp_path / "unet.json"))
