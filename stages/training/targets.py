"""What a network learns to predict from a label map."""

import numpy as np
import numpy.typing as npt

from stages.dataset.images import Labels

CLASSES = ["nucleus"]


def target_of(labels: Labels) -> npt.NDArray[np.float32]:
    """(height, width) labels as (height, width, classes) of 0 and 1, in the order of `CLASSES`."""
    return (labels > 0).astype(np.float32)[..., np.newaxis]
