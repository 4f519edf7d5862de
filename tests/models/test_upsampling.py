"""Upsampling against Keras's own."""

import keras
import numpy as np
import pytest

from stages.models.upsampling import BilinearUpsampling


@pytest.mark.parametrize("factor", [2, 4])
def test_upsampling_is_bilinear_interpolation(factor: int) -> None:
    features = np.random.default_rng(8).normal(size=(2, 5, 3, 4)).astype(np.float32)
    expected = keras.ops.image.resize(features, (5 * factor, 3 * factor), "bilinear")
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(BilinearUpsampling(factor)(features)),
        keras.ops.convert_to_numpy(expected),
        atol=1e-5,
    )
