"""Which training images are held out to make choices on: always whole images, never tiles."""

import numpy as np

from monuseg.core.errors import PipelineError
from stages.tile.params import ValidationParams


def validation_images(organs: dict[str, str], params: ValidationParams) -> set[str]:
    """The ids to hold out.

    "fraction" and "fold" take images at even distances from a list sorted by organ (in random order
    within an organ), so that every organ is held out in proportion.

    Args:
        organs: organ of each training image, by id.
        params: the method and its settings.

    Raises:
        PipelineError: a named id is not a training image, no training image shows a named organ, or
            no image would be left on one side.
    """
    if params.method == "none":
        return set()
    if not organs:
        raise PipelineError(
            "params.yaml: tile.validation: there is no training image to hold any out of; "
            "add an archive with training images, or set the method to `none`"
        )
    if params.method == "named":
        held_out = set(params.images)
        unknown = sorted(held_out - organs.keys())
        if unknown:
            raise PipelineError(
                f"params.yaml: tile.validation.images: {unknown[0]} is not a training image of "
                "the protocol; name ids that data/raw/manifest.csv has in its training part"
            )
    elif params.method == "organs":
        held_out = {image for image, organ in organs.items() if organ in params.organs}
        absent = sorted(set(params.organs) - set(organs.values()))
        if absent:
            raise PipelineError(
                f"params.yaml: tile.validation.organs: no training image of the protocol shows "
                f"{absent[0]}; name some of {', '.join(sorted(set(organs.values())))}"
            )
    else:
        ordered = _by_organ(organs, params.seed)
        if params.method == "fold":
            held_out = set(ordered[params.fold :: params.folds])
        else:
            number = max(1, round(params.fraction * len(ordered)))
            distance = len(ordered) / number
            held_out = {ordered[int((k + 0.5) * distance)] for k in range(number)}
    if not held_out or len(held_out) == len(organs):
        raise PipelineError(
            f"params.yaml: tile.validation: method `{params.method}` holds out {len(held_out)} of "
            f"{len(organs)} training images; at least one must be held out and one be left"
        )
    return held_out


def _by_organ(organs: dict[str, str], seed: int) -> list[str]:
    generator = np.random.default_rng(seed)
    shuffled = [str(image) for image in generator.permutation(sorted(organs))]
    return sorted(shuffled, key=lambda image: organs[image])  # stable: keeps the shuffled order
