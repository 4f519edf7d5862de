"""Where training crops are cut: from which image, and around which point of it."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from monuseg.formats.images import Labels
from monuseg.formats.tiles import TiledImage
from stages.train.params import SamplingParams

Point = tuple[float, float]


@dataclass(frozen=True)
class _Nuclei:
    """The nuclei of an image.

    Attributes:
        labels: (height, width) of the image, without padding.
        numbers: (nuclei,) their labels.
        boxes: the rows and columns of each.
        probabilities: (nuclei,) of each, with a sum of 1.
    """

    labels: Labels
    numbers: npt.NDArray[np.intp]
    boxes: list[tuple[slice, slice]]
    probabilities: npt.NDArray[np.float64]


class Sampler:
    """Draws centres of crops.

    First an image is drawn, then a point in it. With `organs: area`, all tiles are equally likely,
    so that larger images, and organs with more images, count for more. With `organs: equal`, all
    organs are equally likely, then all images of the organ, so that rare organs are learned too.

    A share `nuclei` of the points lie in nuclei. Points drawn anywhere meet nuclei in proportion to
    their areas; if nuclei are drawn with equal chances, all are met equally often. Here a nucleus's
    chance is proportional to 1 / sqrt(area), so that small ones are met more often than large ones.
    The square root is a compromise between no correction for area and the full one, which would see
    little but specks (Gupta et al., "LVIS", 2019, https://arxiv.org/abs/1908.03195, and Mahajan et
    al., 2018, https://arxiv.org/abs/1805.00932, both for rare classes). Nuclei are drawn within an
    image: over all images at once, most crops would come from the few slides whose nuclei are small
    and crowded (measured on 24 training images of MoNuSeg: 55 % from 4). The point may be any pixel
    of the nucleus, as in nnU-Net (Isensee et al., 2021,
    https://doi.org/10.1038/s41592-020-01008-z), since the centre of a bent or torn one may lie
    outside it. In an image without nuclei, any point is taken.

    Args:
        images: of the training split.
        params: how to draw.
    """

    def __init__(self, images: list[TiledImage], params: SamplingParams) -> None:
        self._params = params
        self._tiles = [(image, tile) for image in images for tile in image.windows]
        organs: dict[str, list[TiledImage]] = {}
        for image in images:
            organs.setdefault(image.organ, []).append(image)
        self._organs = list(organs.values())
        self._nuclei = {image.id: _nuclei_of(image) for image in images if params.nuclei}

    def draw(self, generator: np.random.Generator) -> tuple[TiledImage, Point]:
        """An image and the (y, x) of a point in it, in pixels from its upper left corner."""
        if self._params.organs == "equal":
            organ = self._organs[generator.integers(len(self._organs))]
            image = organ[generator.integers(len(organ))]
            y, x, height, width = image.windows[generator.integers(len(image.windows))]
        else:
            image, (y, x, height, width) = self._tiles[generator.integers(len(self._tiles))]
        # No number is drawn where nothing is to be decided: it would change the rest of the crop.
        if self._params.nuclei and generator.random() < self._params.nuclei:
            nuclei = self._nuclei[image.id]
            if nuclei.boxes:
                return image, _point_in_a_nucleus(nuclei, generator)
        return image, (generator.uniform(y, y + height), generator.uniform(x, x + width))


def _nuclei_of(image: TiledImage) -> _Nuclei:
    labels = np.asarray(image.labels[: image.height, : image.width])
    areas = np.bincount(labels.ravel())
    areas[0] = 0
    numbers = np.flatnonzero(areas)
    rarity = 1 / np.sqrt(areas[numbers])
    boxes = [box for box in ndimage.find_objects(labels) if box is not None]
    return _Nuclei(labels, numbers, boxes, rarity / rarity.sum())


def _point_in_a_nucleus(nuclei: _Nuclei, generator: np.random.Generator) -> Point:
    place = generator.choice(len(nuclei.boxes), p=nuclei.probabilities)
    rows, columns = nuclei.boxes[place]
    ys, xs = np.nonzero(nuclei.labels[rows, columns] == nuclei.numbers[place])
    pixel = generator.integers(len(ys))
    y, x = rows.start + int(ys[pixel]), columns.start + int(xs[pixel])
    return generator.uniform(y, y + 1), generator.uniform(x, x + 1)
