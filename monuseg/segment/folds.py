"""The folder that `tools.cross_validate` writes: its folds' networks, and their mean's settings."""

from pathlib import Path

from monuseg.core.errors import PipelineError
from monuseg.formats.files import read_json
from monuseg.formats.rows import ENSEMBLE
from monuseg.nuclei.chosen import read_chosen
from monuseg.nuclei.watershed import NucleiSettings

# What was run; its `folds` is their number.
NOTE = "cross-validation.json"
# As in data/: beside the folder of several networks are the settings of their mean.
NETWORKS, PREDICTED = "models", "predictions"


def network(root: Path, fold: int) -> tuple[Path, Path]:
    """Where a fold's card and weights are.

    Args:
        root: folder of the cross-validation.
        fold: from 0.
    """
    folder = root / NETWORKS
    return folder / f"fold-{fold}.json", folder / f"fold-{fold}.weights.h5"


def settings_of(root: Path) -> Path:
    """Where the settings of the mean are, of a cross-validation that ended."""
    return root / PREDICTED / f"{ENSEMBLE}.json"


def root_of(path: Path) -> Path | None:
    """The folder of the cross-validation that a path is, or has a network or all networks of."""
    places = [path]
    places += [place.parent for place in (path, path.parent) if place.name == NETWORKS]
    return next((place for place in places if (place / NOTE).is_file()), None)


def read_folds(root: Path) -> tuple[list[str], NucleiSettings]:
    """The names of the networks, in the folder `NETWORKS`, and their mean's settings.

    Args:
        root: folder of the cross-validation.

    Raises:
        PipelineError: it has not ended, or a file is missing or damaged.
    """
    note = root / NOTE
    try:
        count = int(dict(read_json(note))["folds"])
    except (ValueError, TypeError, KeyError) as error:  # ValueError: also of what is no JSON
        raise PipelineError(
            f"{note}: not as tools.cross_validate writes it ({error!r}); make {root} anew"
        ) from error
    files = [network(root, fold) for fold in range(count)]
    for file in (*(file for pair in files for file in pair), settings_of(root)):
        if not file.is_file():
            raise PipelineError(
                f"{file} is missing: {root} is unfinished; run the same "
                "`python -m tools.cross_validate` again"
            )
    settings, _ = read_chosen(root / PREDICTED, ENSEMBLE)
    return [card.stem for card, _ in files], settings
