"""Smooth random fields, the raw material of every texture."""

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

Field = npt.NDArray[np.float32]

# Additional points of a grid, so that bicubic interpolation never reaches its edge.
GRID_MARGIN = 5
# Below this scale a grid is as dense as the pixels: white noise is blurred instead.
FINE_SCALE = 2.5


def smooth_noise(generator: np.random.Generator, height: int, width: int, scale: float) -> Field:
    """A field of mean 0 and standard deviation about 1, smooth below `scale` pixels.

    Args:
        generator: the slide's.
        height: rows.
        width: columns.
        scale: distance in pixels over which values become independent.

    Returns:
        (height, width) float32.
    """
    if scale < FINE_SCALE:
        fine = generator.standard_normal((height, width), np.float32)
        blurred = cv2.GaussianBlur(fine, (0, 0), max(scale / 2, 0.3))
        return _standardised(blurred)
    rows = int(height / scale) + 2 * GRID_MARGIN
    columns = int(width / scale) + 2 * GRID_MARGIN
    grid = generator.standard_normal((rows, columns), np.float32)
    y = (np.arange(height, dtype=np.float32) / scale + GRID_MARGIN / 2 + generator.random()).astype(
        np.float32
    )
    x = (np.arange(width, dtype=np.float32) / scale + GRID_MARGIN / 2 + generator.random()).astype(
        np.float32
    )
    map_x = np.broadcast_to(x, (height, width))
    map_y = np.broadcast_to(y[:, None], (height, width))
    field = cv2.remap(
        grid, np.ascontiguousarray(map_x), np.ascontiguousarray(map_y), cv2.INTER_CUBIC
    )
    # Interpolation between independent values lowers the spread by about this factor.
    return np.asarray(field * np.float32(1.25))


def fractal(
    generator: np.random.Generator,
    height: int,
    width: int,
    scales: Sequence[float],
    persistence: float = 1.0,
) -> Field:
    """A sum of `smooth_noise` at several scales, with standard deviation about 1.

    Args:
        generator: the slide's.
        height: rows.
        width: columns.
        scales: in pixels.
        persistence: weight of each scale relative to the one before it.

    Returns:
        (height, width) float32.
    """
    weights = [persistence**place for place in range(len(scales))]
    total = np.zeros((height, width), np.float32)
    for weight, scale in zip(weights, scales, strict=True):
        total += np.float32(weight) * smooth_noise(generator, height, width, scale)
    return np.asarray(total / np.float32(np.sqrt(np.sum(np.square(weights)))))


def ridges(field: Field, sharpness: float) -> Field:
    """A web of thin lines where a field crosses 0: 1 on the lines, 0 in the meshes."""
    return np.asarray(np.exp(-np.abs(field) * np.float32(sharpness)))


def soft_step(field: Field, threshold: float, softness: float) -> Field:
    """0 below the threshold and 1 above it, going from one to the other over `softness`."""
    return np.asarray(np.clip((field - np.float32(threshold)) / np.float32(softness) + 0.5, 0, 1))


def _standardised(field: Field) -> Field:
    return np.asarray(field / max(float(field.std()), 1e-6), dtype=np.float32)
