"""Crops with the stains of training images drawn at random, so that no stain is always the same."""

from collections.abc import Iterable, Sequence

import numpy as np

from monuseg.formats.images import RGB
from monuseg.inference.stain import REFERENCE, Appearance, Normalisation, appearance


class RandomStains:
    """Gives a crop, at times, the stains of an image drawn among the training images.

    As in Mahbod et al., "Improving generalization capability of deep learning-based nuclei instance
    segmentation by non-deterministic train time and deterministic test time stain normalization",
    2023, https://arxiv.org/abs/2309.06143.

    Args:
        appearances: of the training images, as they came; None where it cannot be told.
        share: of the crops; the others stay as they are.
        normalised: whether the images that crops are cut from have the reference's stains by now.
    """

    def __init__(
        self, appearances: Sequence[Appearance | None], share: float, *, normalised: bool
    ) -> None:
        self._share = share
        self._targets = [each for each in appearances if each is not None]
        self._own = [REFERENCE if each and normalised else each for each in appearances]

    def __call__(self, crop: RGB, image: int, generator: np.random.Generator) -> RGB:
        """A crop in its own stains or in others.

        Args:
            crop: (height, width, 3).
            image: number of the image that it was cut from.
            generator: gives whether, and whose stains; with a share of 0 no numbers are drawn.
        """
        own = self._own[image]
        if not self._share or generator.random() >= self._share or own is None:
            return crop
        target = self._targets[int(generator.integers(len(self._targets)))]
        return Normalisation.between(own, target)(crop)


def random_stains(images: Iterable[RGB], share: float, *, normalised: bool) -> RandomStains:
    """The training images' stains, to be drawn from; they are looked for only if `share` asks."""
    seen = [appearance(image) if share else None for image in images]
    return RandomStains(seen, share, normalised=normalised)
