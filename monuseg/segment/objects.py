"""The nuclei of one part of an image, as cropped masks: what every output is made from."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Objects:
    """Nuclei, in the order of their ids.

    Attributes:
        boxes: (n, 4) int64 `y0, x0, y1, x1`, half open, in pixels of the whole image, whose upper
            left pixel is (0, 0).
        masks: n arrays, (y1 - y0, x1 - x0); true where the nucleus is. Each is one connected part
            (by edges) that touches all four sides of its box.
        probability: (n,) float32 mean P(nucleus) over the nucleus.
        haematoxylin: (n,) float32 mean optical density of haematoxylin over the nucleus.
    """

    boxes: npt.NDArray[np.int64]
    masks: Sequence[Mask]
    probability: npt.NDArray[np.float32]
    haematoxylin: npt.NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.boxes)

    @classmethod
    def none(cls) -> Self:
        """No nuclei."""
        nothing = np.zeros(0, np.float32)
        return cls(np.zeros((0, 4), np.int64), [], nothing, nothing)
