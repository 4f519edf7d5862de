"""Batches as a pure function of (seed, global step), made ahead in the background."""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import cv2
import numpy as np
import numpy.typing as npt

from monuseg.formats.tiles import TiledImage
from monuseg.models.shared.scaling import SCALINGS
from stages.train.augmentation import jitter_colour, random_crop
from stages.train.params import TrainParams
from stages.train.sampling import Sampler
from stages.train.targets import maps_of, target_of

Batch = tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]

BATCHES_AHEAD = 4  # with one worker; one more for each further worker


class Batches:
    """Random crops of the training images.

    Args:
        images: of the training split.
        params: `seed`, `batch_size`, `crop`, `outputs`, `boundary_width`, `sampling` and
            `augmentation` are used.
        scaling: the model's, see `monuseg.models.shared.scaling`.
        workers: threads that prepare batches, one each; no batch depends on their number.
    """

    def __init__(
        self, images: list[TiledImage], params: TrainParams, scaling: str, *, workers: int = 1
    ) -> None:
        self._params = params
        self._workers = workers
        self._scale = SCALINGS[scaling]
        # Each image is read many times; a memory map would go to the disk each time.
        held = [
            replace(
                image,
                image=np.ascontiguousarray(image.image),
                labels=np.ascontiguousarray(image.labels),
            )
            for image in images
        ]
        self._sampler = Sampler(held, params.sampling)
        self._maps = {
            image.id: maps_of(image.labels, params.outputs, params.boundary_width) for image in held
        }

    def __getitem__(self, step: int) -> Batch:
        """The batch of a global step, counted from 0 over all epochs.

        Returns:
            (batch, crop, crop, 3) inputs and (batch, crop, crop, outputs) targets.
        """
        crops = [self._crop(step, place) for place in range(self._params.batch_size)]
        inputs, targets = zip(*crops, strict=True)
        return np.stack(inputs), np.stack(targets)

    def _crop(
        self, step: int, place: int
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        generator = np.random.default_rng([self._params.seed, step, place])
        image, centre = self._sampler.draw(generator)
        augmentation = self._params.augmentation
        pixels, labels, maps = random_crop(
            image.image,
            image.labels,
            self._maps[image.id],
            centre,
            self._params.crop,
            augmentation,
            generator,
        )
        pixels = jitter_colour(pixels, augmentation, generator)
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
