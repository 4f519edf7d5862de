"""From pixels to probabilities, compiled as the stage's parameters say."""

import keras
import numpy as np
import pytest
from scipy.special import expit

from monuseg.inference.forward import forward_of
from monuseg.models.shared.backend import Runtime, inference
from monuseg.models.shared.scaling import SCALINGS

scaled = SCALINGS["symmetric"]


def model() -> keras.Model:
    image = keras.Input((None, None, 3), name="image")
    return keras.Model(image, keras.layers.Conv2D(1, 3, padding="same", name="logits")(image))


@pytest.mark.parametrize("jit_compile", [True, False])
def test_xla_compiles_it_or_not_as_is_said(jit_compile: bool) -> None:
    network = model()
    pixels = np.random.default_rng(1).integers(0, 256, (2, 8, 12, 3), np.uint8)
    runtime = Runtime("tensorflow", False, "float32", jit_compile, threads=2)
    found = forward_of(inference(network, runtime), "symmetric")(pixels)
    # XLA's operations are one function in the graph that the backend runs.
    traced = network.predict_function.get_concrete_function([(scaled(pixels),)])
    compiled = [
        attribute.b
        for function in traced.graph.as_graph_def().library.function
        if (attribute := function.attr.get("_XlaMustCompile")) is not None
    ]
    assert any(compiled) is jit_compile
    expected = expit(network(scaled(pixels)).numpy())
    np.testing.assert_allclose(found, expected, rtol=1e-5)
