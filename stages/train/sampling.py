"""Where training crops are cut: from which image, and around which point of it."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from monuseg.formats.images import Labels
from monuseg.formats.tiles import OnDemand, TiledImage
from stages.train.params import SamplingParams
from stages.train.stored import Stored

Point = tuple[float, float]


# A nucleus of an image: its label, the rows and columns of its box, and its chance.
NUCLEUS = np.dtype([("label", np.uint16), ("box", np.int32, (2, 2)), ("probability", np.float64)])


class Sampler:
    """Draws centres of crops.

    First an image is drawn, then a point in it. With `organs: area`, all pixels of all images are
    equally likely, so that larger images, and organs with more images, count for more. With
    `organs: equal`, all organs are equally likely, then all images of the organ, so that rare
    organs are learned too, then all pixels of the image. Tiles are not drawn: the last one of a row
    is moved back to end where the image does, so pixels that lie in two would count twice.

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
        scratch: folder on a disk with space for tables of the nuclei.
    """

    def __init__(self, images: Sequence[TiledImage], params: SamplingParams, scratch: Path) -> None:
        self._params = params
        self._images = images
        organs: dict[str, list[int]] = {}
        areas = []
        nuclei = Stored(scratch)
        for number, image in enumerate(images):
            organs.setdefault(image.organ, []).append(number)
            areas.append(image.height * image.width)
            if params.nuclei:
                nuclei.append(_nuclei_of(image))
        self._organs = list(organs.values())
        self._ends = np.cumsum(areas)
        self._nuclei = OnDemand(nuclei.__getitem__, len(images))

    def draw(self, generator: np.random.Generator) -> tuple[int, Point]:
        """An image's number, and the (y, x) of a point in it in pixels from its upper left."""
        if self._params.organs == "equal":
            organ = self._organs[generator.integers(len(self._organs))]
            number = organ[generator.integers(len(organ))]
        else:
            pixel = generator.integers(self._ends[-1])
            number = int(np.searchsorted(self._ends, pixel, side="right"))
        image = self._images[number]
        # No number is drawn where nothing is to be decided: it would change the rest of the crop.
        if self._params.nuclei and generator.random() < self._params.nuclei:
            nuclei = self._nuclei[number]
            if len(nuclei):
                return number, _point_in_a_nucleus(image.labels, nuclei, generator)
        return number, (generator.uniform(0, image.height), generator.uniform(0, image.width))


def _nuclei_of(image: TiledImage) -> npt.NDArray[np.void]:
    labels = np.asarray(image.labels[: image.height, : image.width])
    areas = np.bincount(labels.ravel())
    areas[0] = 0
    numbers = np.flatnonzero(areas)
    rarity = 1 / np.sqrt(areas[numbers])
    found = np.zeros(len(numbers), NUCLEUS)
    found["label"] = numbers
    found["probability"] = rarity / rarity.sum()
    boxes = [box for box in ndimage.find_objects(labels) if box is not None]
    for place, box in enumerate(boxes):
        found["box"][place] = [(along.start, along.stop) for along in box]
    return found


def _point_in_a_nucleus(
    labels: Labels, nuclei: npt.NDArray[np.void], generator: np.random.Generator
) -> Point:
    nucleus = nuclei[generator.choice(len(nuclei), p=nuclei["probability"])]
    (top, bottom), (left, right) = nucleus["box"].tolist()
    ys, xs = np.nonzero(labels[top:bottom, left:right] == nucleus["label"])
    pixel = generator.integers(len(ys))
    y, x = top + int(ys[pixel]), left + int(xs[pixel])
    return generator.uniform(y, y + 1), generator.uniform(x, x + 1)
