"""The upsampling that is the same on all backends."""

import keras
from keras import layers, ops


class BilinearUpsampling(layers.Layer):
    """Bilinear interpolation to a multiple of a map's size; beyond the edge its pixels go on.

    Sums of shifted maps: the same on all backends, where Keras's own layer refuses maps whose size
    is not known beforehand (3.15, TensorFlow), and gradients of resizing on GPUs are not all
    deterministic.

    Args:
        factor: the multiple.
        options: of a layer.
    """

    def __init__(self, factor: int, **options: str) -> None:
        super().__init__(**options)
        self.factor = factor

    def call(self, x: keras.KerasTensor) -> keras.KerasTensor:
        """(batch, height, width, channels) to (batch, factor height, factor width, channels)."""
        batch, height, width, channels = ops.shape(x)
        rows = self._interpolated(x, axis=1)
        rows = ops.reshape(rows, (batch, height * self.factor, width, channels))
        columns = self._interpolated(rows, axis=2)
        return ops.reshape(columns, (batch, height * self.factor, width * self.factor, channels))

    def _interpolated(self, x: keras.KerasTensor, axis: int) -> keras.KerasTensor:
        """Each pixel's successors along an axis, on a new axis behind it."""
        first, last = ((slice(None),) * axis + (end,) for end in (slice(0, 1), slice(-1, None)))
        but_last, but_first = (
            (slice(None),) * axis + (end,) for end in (slice(0, -1), slice(1, None))
        )
        before = ops.concatenate([x[first], x[but_last]], axis=axis)
        after = ops.concatenate([x[but_first], x[last]], axis=axis)
        parts = []
        for part in range(self.factor):
            # Of the new pixel's centre from the old one's, in old pixels.
            offset = (part + 0.5) / self.factor - 0.5
            parts.append((1 - abs(offset)) * x + abs(offset) * (before if offset < 0 else after))
        return ops.stack(parts, axis=axis + 1)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Shape of what `call` returns."""
        batch, *size, channels = input_shape
        height, width = (None if pixels is None else self.factor * pixels for pixels in size)
        return batch, height, width, channels
