"""A trained model on disk: weights, and a card with all that is needed to rebuild and apply it."""

import io
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from monuseg.core.errors import PipelineError
from monuseg.core.files import replacing_all
from monuseg.formats.files import read_json, write_json
from monuseg.models.shared.registry import architecture


@dataclass(frozen=True)
class Card:
    """The content of `data/models/<name>.json`.

    Attributes:
        model: name of the architecture.
        params: its block of params.yaml, which has its name.
        classes: what each output channel is, the first one "nucleus"; the outputs are logits.
        scaling: how pixels become inputs; see `monuseg.models.shared.scaling`.
        um_per_pixel: mean resolution of the training images.
        epoch: the epoch, from 1, that the weights come from.
        seed: of the training.
        versions: of Keras and the backend that trained it.
        stain_normalisation: of whole images before anything else; see `monuseg.inference.stain`.
        precision: Keras's dtype policy in training; the weights are float32 in any case. None in
            cards of versions that did not record it.
    """

    model: str
    params: dict[str, Any]
    classes: list[str]
    scaling: str
    um_per_pixel: float
    epoch: int
    seed: int
    versions: dict[str, str]
    stain_normalisation: str = "none"
    precision: str | None = None


class _InMemory(io.BytesIO):
    """A file in memory that Keras takes for a path, since its name has the ending that it requires.

    HDF5 itself must not write to a disk: on a full one it ends the process with a segmentation
    fault (h5py 3, HDF5 1.14), and it does not report errors in closing a file.
    """

    def __str__(self) -> str:
        return "memory.weights.h5"


def save(folder: Path, card: Card, weights: list[Any]) -> None:
    """Write `<name>.weights.h5` and `<name>.json`, both or neither.

    The weights go through a newly built, uncompiled model: a compiled one would store its
    optimizer too.

    Args:
        folder: to write to.
        card: of the model.
        weights: what `Model.get_weights` returned.
    """
    model = build(card)
    model.set_weights(weights)
    content = _InMemory()
    model.save_weights(content)
    files = folder / f"{card.model}.weights.h5", folder / f"{card.model}.json"
    with replacing_all(*files) as [weights_file, card_file]:
        weights_file.write_bytes(content.getbuffer())
        write_json(card_file, asdict(card))


def build(card: Card) -> Any:
    """The card's architecture, uncompiled, with fresh weights."""
    found = architecture(card.model)
    return found.build(found.params.model_validate(card.params), len(card.classes))


def load(folder: Path, name: str) -> tuple[Any, Card]:
    """Load the Keras model with its trained weights, and its card.

    Raises:
        PipelineError: a file is missing or damaged, or the two do not fit together.
    """
    card_file = folder / f"{name}.json"
    weights = folder / f"{name}.weights.h5"
    for file in (card_file, weights):
        if not file.is_file():
            raise PipelineError(f"{file} is missing; run `dvc repro train@{name}`")
    remedy = f"delete both and run `dvc repro train@{name}`"
    try:
        card = Card(**read_json(card_file))
        model = build(card)
    except (ValueError, TypeError) as error:  # ValueError: also of what is no JSON
        raise PipelineError(
            f"{card_file}: not as stage train writes it ({error}); {remedy}"
        ) from error
    try:
        with warnings.catch_warnings():
            # Keras only warns if it finds no weights for a layer, which then stays untrained.
            warnings.simplefilter("error", UserWarning)
            model.load_weights(weights)
    except (ValueError, OSError, UserWarning) as error:
        raise PipelineError(f"{weights} does not fit {card_file}: {error}; {remedy}") from error
    return model, card
