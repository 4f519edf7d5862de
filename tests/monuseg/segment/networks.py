"""Networks whose answer is known, in place of trained ones."""

from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from monuseg.formats.files import write_json
from monuseg.inference.sliding_window import Forward
from monuseg.nuclei.watershed import NucleiSettings
from monuseg.segment import search, slide
from monuseg.segment.blocks import Blocks
from monuseg.segment.models import ModelChoice, Network, predict_params

UM = 0.25  # micrometres per pixel
SETTINGS = NucleiSettings(threshold=0.5, smoothing=1.0, min_distance=3, min_area=10)
PARAMS = predict_params("openvino").model_copy(update={"window": 64, "overlap": 16})
NAMED = ModelChoice("darkness", [], SETTINGS, ["of no weights"])


def darkness(pixels: np.ndarray) -> np.ndarray:
    return (1 - pixels[..., :1] / np.float32(255)).astype(np.float32)


def network(forward: Forward = darkness) -> Network:
    return Network(forward, ["nucleus"], 16, UM, "none", PARAMS)


def two_discs() -> np.ndarray:
    """Two dark discs of radius 10 and 14 on white."""
    rows, columns = np.mgrid[:90, :120]
    dark = ((rows - 30) ** 2 + (columns - 30) ** 2 <= 10**2) | (
        (rows - 60) ** 2 + (columns - 85) ** 2 <= 14**2
    )
    return np.repeat(np.where(dark, 20, 250).astype(np.uint8)[..., np.newaxis], 3, axis=2)


def small_blocks(patch: pytest.MonkeyPatch) -> None:
    """An image of few pixels is done as a slide is: in blocks, and where it has tissue."""
    patch.setattr(slide, "Blocks", partial(Blocks, side=256, halo=64))
    patch.setattr(search, "FEW_PIXELS", 0)


def files(folder: Path) -> list[str]:
    """All files under a folder, in order."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def contents(folder: Path) -> dict[str, bytes]:
    """All files under a folder and what is in them."""
    return {name: (folder / name).read_bytes() for name in files(folder)}


def save_unet(models: Path, um_per_pixel: float = UM, stains: str = "none") -> None:
    """Store a real network that finds what is dark, as stage train does.

    Its first and last convolutions hand on how dark a pixel is; all else is 0.
    """
    _save(models, "unet", {"width": 2}, um_per_pixel, stains, dark=True)


def save_undecided(models: Path, um_per_pixel: float = UM, stains: str = "none") -> None:
    """Store a real network whose probabilities are 0.5 everywhere."""
    _save(models, "segnet", {"width": 2, "levels": 2}, um_per_pixel, stains, dark=False)


def _save(
    models: Path, name: str, params: dict[str, object], um: float, stains: str, *, dark: bool
) -> None:
    from monuseg.models.shared import store

    card = store.Card(
        name, {"learning_rate": 0.1, **params}, ["nucleus"], "symmetric", um, 1, 1, {}, stains
    )
    model = store.build(card)
    for layer in model.layers:
        if "convolution" in layer.name or layer.name == "logits":
            layer.set_weights([np.zeros_like(one) for one in layer.get_weights()])
    if dark:
        for block in ("down1", "up1"):
            for number, sign in ((1, -1 if block == "down1" else 1), (2, 1)):
                layer = model.get_layer(f"{block}_convolution{number}")
                kernel = np.zeros_like(layer.get_weights()[0])
                kernel[1, 1, 0, 0] = sign
                layer.set_weights([kernel])
        logits = model.get_layer("logits")
        kernel, bias = logits.get_weights()
        kernel[0, 0, 0, 0] = 10
        logits.set_weights([kernel, bias - 4])
    store.save(models, card, model.get_weights())


def save_settings(predictions: Path, row: str) -> None:
    """Write `<row>.json`, as stage evaluate does."""
    write_json(predictions / f"{row}.json", {**asdict(SETTINGS), "chosen_on": {}})
