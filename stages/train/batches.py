"""Batches as a pure function of (seed, global step), made ahead in the background."""

import tempfile
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from monuseg.formats.tiles import OnDemand, TiledImage
from monuseg.models.shared.scaling import SCALINGS
from stages.train.augmentation import jitter_colour, lower_resolution, random_crop
from stages.train.params import TrainParams
from stages.train.sampling import Sampler
from stages.train.stains import RandomStains
from stages.train.stored import Stored
from stages.train.targets import maps_of, target_of

Batch = tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]

BATCHES_AHEAD = 4  # with one worker; one more for each further worker


class Batches:
    """Random crops of the training images.

    Maps are made once and kept on disk, so that memory does not grow with
    the number of images.

    Args:
        images: of the training split.
        params: `seed`, `batch_size`, `crop`, `outputs`, `boundary_width`, `sampling` and
            `augmentation` are used.
        scaling: the model's, see `monuseg.models.shared.scaling`.
        workers: threads that prepare batches, one each; no batch depends on their number.
        part: which of how many equal parts of each batch is made here; of 1 by default.
        scratch: folder on a disk with space for a byte per pixel and output.
        stains: that crops get at random; None: each keeps its own.

    Raises:
        OSError: the disk is full.
    """

    def __init__(
        self,
        images: Sequence[TiledImage],
        params: TrainParams,
        scaling: str,
        *,
        workers: int = 1,
        part: tuple[int, int] = (0, 1),
        scratch: Path | None = None,
        stains: RandomStains | None = None,
    ) -> None:
        scratch = scratch or Path(tempfile.gettempdir())
        self._params = params
        index, parts = part
        size = params.batch_size // parts
        self._places = range(index * size, (index + 1) * size)
        self._workers = workers
        self._scale = SCALINGS[scaling]
        self._images = images
        self._stains = stains
        self._sampler = Sampler(images, params.sampling, scratch)
        maps = Stored(scratch)
        for image in images:
            maps.append(maps_of(image.labels, params.outputs, params.boundary_width))
        self._maps = OnDemand(maps.__getitem__, len(images))

    def __getitem__(self, step: int) -> Batch:
        """The batch of a global step, counted from 0 over all epochs, or this process's part of it.

        Returns:
            (batch, crop, crop, 3) inputs and (batch, crop, crop, outputs) targets.
        """
        crops = [self._crop(step, place) for place in self._places]
        inputs, targets = zip(*crops, strict=True)
        return np.stack(inputs), np.stack(targets)

    def _crop(
        self, step: int, place: int
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        generator = np.random.default_rng([self._params.seed, step, place])
        number, centre = self._sampler.draw(generator)
        image = self._images[number]
        augmentation = self._params.augmentation
        pixels, labels, maps = random_crop(
            image.image,
            image.labels,
            self._maps[number],
            centre,
            self._params.crop,
            augmentation,
            generator,
        )
        if self._stains:
            pixels = self._stains(pixels, number, generator)
        pixels = jitter_colour(pixels, augmentation, generator)
        pixels = lower_resolution(pixels, augmentation, generator)
        return self._scale(pixels), target_of(labels, maps)

    def ahead(self, start: int, stop: int) -> Iterator[Batch]:
        """The batches of steps `start` to `stop` (exclusive), in order, prepared in threads."""
        # One thread per call: OpenCV's own would only compete with the backend's.
        cv2.setNumThreads(1)
        ahead = BATCHES_AHEAD + self._workers - 1
        with ThreadPoolExecutor(self._workers) as pool:
            pending = deque(
                pool.submit(self.__getitem__, step)
                for step in range(start, min(start + ahead, stop))
            )
            for step in range(start, stop):
                batch = pending.popleft().result()
                if step + ahead < stop:
                    pending.append(pool.submit(self.__getitem__, step + ahead))
                yield batch
