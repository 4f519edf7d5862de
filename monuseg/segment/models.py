"""Which networks find the nuclei, and by which settings: those that come along, or a run's own."""

import hashlib
import importlib.util
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import lcm
from pathlib import Path
from statistics import mean
from typing import Any, Self

import numpy as np

from monuseg.core.errors import PipelineError
from monuseg.core.params import shown
from monuseg.core.settings import Settings
from monuseg.formats.files import read_json
from monuseg.formats.rows import ENSEMBLE
from monuseg.formats.scale import scale_of
from monuseg.inference.forward import load_forwards
from monuseg.inference.params import PredictParams
from monuseg.inference.sliding_window import Floats, Forward, Pixels
from monuseg.inference.views import augmented
from monuseg.models.shared.registry import architecture
from monuseg.nuclei.chosen import read_chosen
from monuseg.nuclei.watershed import NucleiSettings
from monuseg.segment import folds
from monuseg.segment.options import BACKENDS, FEW_PIXELS, PRETRAINED, SETTINGS, VIEWS, pretrained

WEIGHTS, CARD = ".weights.h5", ".json"
NOTICE = (
    "its weights are CC BY-NC-SA 4.0, not for commercial use: monuseg/segment/pretrained/LICENSE"
)
# At half this side, 1.8 times as many pixels go through a network as the image has.
WINDOW, OVERLAP = 1008, 128  # pixels


@dataclass(frozen=True)
class ModelChoice:
    """What `--model` stands for.

    Attributes:
        name: as messages call it.
        members: folder and name of each network; the probabilities of several are averaged.
        settings: how nuclei are told apart.
        identity: SHA-256 of the weights of each.
        notice: of the terms that they come under, or None.
    """

    name: str
    members: Sequence[tuple[Path, str]]
    settings: NucleiSettings
    identity: Sequence[str]
    notice: str | None = None


@dataclass(frozen=True)
class Network:
    """Loaded networks as one.

    Attributes:
        forward: from (windows, height, width, 3) pixels to probabilities, mean over networks.
        classes: of the probabilities.
        divisor: must divide height and width of a window.
        um_per_pixel: micrometres per pixel of what they were trained on.
        stain_normalisation: of whole images; see `monuseg.inference.stain`.
        params: windows.
    """

    forward: Forward
    classes: list[str]
    divisor: int
    um_per_pixel: float
    stain_normalisation: str
    params: PredictParams

    def with_views(self, views: int) -> Self:
        """The same with the mean over as many views; a key of `VIEWS`."""
        flips, rotations = VIEWS[views]
        params = self.params.model_copy(update={"flips": flips, "rotations": rotations})
        return replace(self, forward=augmented(self.forward, params), params=params)


def views_for(pixels: int) -> int:
    """How many views an image of as many pixels is worth."""
    return 4 if pixels <= FEW_PIXELS else 1


def find(model: str) -> ModelChoice:
    """Look up what `--model` says.

    Args:
        model: a name from `pretrained`; or a trained model's card or weights, such as
            `data/models/unet.json`; or the folder of several, or of a cross-validation, whose mean
            is taken.

    Raises:
        PipelineError: there is none, its files are damaged, or it was not evaluated.
    """
    if model in pretrained():
        return _pretrained(model)
    path = Path(model)
    if root := folds.root_of(path):
        return _folds(root, path)
    if path.is_dir():
        names = sorted(card.stem for card in path.glob(f"[!.]*{CARD}"))
        if not names:
            raise PipelineError(f"{path}: no model in it; name a folder such as data/models")
        row = names[0] if len(names) == 1 else ENSEMBLE
        return _own(path, names, row)
    name = path.name.removesuffix(WEIGHTS).removesuffix(CARD)
    if (path.parent / f"{name}{CARD}").is_file():
        return _own(path.parent, [name], name)
    raise PipelineError(
        f"model {model}: neither a model that comes along ({', '.join(pretrained())}) nor a "
        "trained one; name one of these, or a card such as data/models/unet.json"
    )


def _own(folder: Path, names: Sequence[str], row: str) -> ModelChoice:
    settings, _ = read_chosen(folder.parent / "predictions", row)
    return _trained(folder, names, row, settings)


def _folds(root: Path, path: Path) -> ModelChoice:
    if path not in (root, networks := root / folds.NETWORKS):
        raise PipelineError(f"{path}: the settings are those of the mean of all folds; name {root}")
    names, settings = folds.read_folds(root)
    return _trained(networks, names, ENSEMBLE, settings)


def _trained(folder: Path, names: Sequence[str], row: str, settings: NucleiSettings) -> ModelChoice:
    members = [(folder, name) for name in names]
    return ModelChoice(row, members, settings, [_sha256(*member) for member in members])


def _pretrained(name: str) -> ModelChoice:
    content = read_json(PRETRAINED / f"{name}{SETTINGS}")
    members = [(PRETRAINED, member) for member in content["sha256"]]
    found = [_sha256(*member) for member in members]
    for (_, member), sha256 in zip(members, found, strict=True):
        if sha256 != content["sha256"][member]:
            raise PipelineError(
                f"{PRETRAINED / member}{WEIGHTS}: not the weights that its settings were chosen "
                "for; install the package again"
            )
    return ModelChoice(name, members, NucleiSettings(**content["settings"]), found, NOTICE)


def _sha256(folder: Path, name: str) -> str:
    path = folder / f"{name}{WEIGHTS}"
    if not path.is_file():
        raise PipelineError(f"{path} is missing; restore it, or name another model")
    return hashlib.sha256(path.read_bytes()).hexdigest()


def predict_params(backend: str) -> PredictParams:
    """Windows and what computes, without a params.yaml.

    Args:
        backend: of Keras, or "auto": what KERAS_BACKEND says, else the first that is installed.

    Raises:
        PipelineError: no backend is installed, or not this one; or KERAS_BACKEND names another.
    """
    named = os.environ.get("KERAS_BACKEND")
    if named and named not in BACKENDS:
        raise PipelineError(
            f"KERAS_BACKEND={shown(named)}: none of {', '.join(BACKENDS)}; unset the variable"
        )
    if named and backend not in ("auto", named):
        raise PipelineError(
            f"KERAS_BACKEND={named} contradicts {backend}, which is to compute; unset the variable"
        )
    if backend == "auto":
        installed = [one for one in [named, *BACKENDS] if one and importlib.util.find_spec(one)]
        if not installed:
            raise PipelineError("no backend is installed; run `pip install openvino`")
        backend = installed[0]
    elif not importlib.util.find_spec(backend):
        raise PipelineError(f"--backend {backend}: not installed; run `pip install {backend}`")
    return PredictParams.model_validate(
        {
            "backend": backend,
            "device": "auto",
            "precision": "auto",
            "xla": "auto",
            "deterministic": True,
            "threads": Settings.from_environment().workers,
            "window": WINDOW,
            "overlap": OVERLAP,
            "batch_size": 1,
            "flips": False,
            "rotations": False,
            "scales": [1.0],
        }
    )


def load(named: ModelChoice, params: PredictParams) -> Network:
    """Load the networks.

    Raises:
        PipelineError: as `load_forwards`; or they do not go together.
    """
    loaded, runtime = load_forwards(named.members, params)
    cards = [card for _, card in loaded]
    first = cards[0]
    for (_, name), card in zip(named.members, cards, strict=True):
        differing = [
            key
            for key in ("classes", "stain_normalisation")
            if getattr(card, key) != getattr(first, key)
        ]
        # Each card has the mean of its training images, which are others in each fold.
        if scale_of(card.um_per_pixel, first.um_per_pixel) != 1:
            differing.append("um_per_pixel")
        if differing:
            raise PipelineError(
                f"{named.name}: {named.members[0][1]} and {name} differ in {differing[0]}; train "
                "both alike, or name one of them"
            )
    return Network(
        _mean([forward for forward, _ in loaded]),
        first.classes,
        lcm(*(architecture(card.model).divisor for card in cards)),
        # Exact: that of equal ones is the same to the last bit.
        mean(card.um_per_pixel for card in cards),
        first.stain_normalisation,
        # What `auto` came to: what another machine computes is not to be mixed with it.
        params.model_copy(update={"precision": runtime.precision}),
    )


def _mean(forwards: Sequence[Forward]) -> Forward:
    if len(forwards) == 1:
        return forwards[0]

    def together(windows: Pixels) -> Floats:
        total: Floats = np.mean([forward(windows) for forward in forwards], axis=0)
        return total

    return together


def describe(network: Network) -> dict[str, Any]:
    """What of the network decides on the nuclei, for JSON."""
    kept = ("backend", "precision", "window", "overlap", "flips", "rotations", "scales")
    return {
        "um_per_pixel": network.um_per_pixel,
        "stain_normalisation": network.stain_normalisation,
        **{key: getattr(network.params, key) for key in kept},
    }
