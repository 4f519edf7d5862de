"""Transposes of OpenVINO graphs: fewer of them, and the same values."""

from collections.abc import Callable
from typing import Any

import numpy as np
import openvino
import pytest
from openvino import opset16 as op

from monuseg.models.shared.transposes import sink_transposes

SHAPE = (2, 5, 7, 3)  # batch, height, width, channels: no two alike
FIRST, LAST = [0, 3, 1, 2], [0, 2, 3, 1]  # to channels first, and back to channels last


def turned(node: Any, order: list[int]) -> Any:
    return op.transpose(node, op.constant(np.array(order)))


def normal(*shape: int) -> Any:
    return op.constant(np.random.default_rng(1).normal(size=shape).astype(np.float32))


def convolved(node: Any, filters: int = 3) -> Any:
    """As Keras's back end does it."""
    channels = node.get_output_shape(0)[3]
    pads = [1, 1]
    made = op.convolution(
        turned(node, FIRST), normal(filters, channels, 3, 3), [1, 1], pads, pads, [1, 1]
    )
    return turned(made, LAST)


def normalised(node: Any) -> Any:
    """As Keras's back end does it: with columns before rows."""
    channels = node.get_output_shape(0)[3]
    vectors = [normal(channels), normal(channels), normal(channels)]
    variance = op.constant(np.full(channels, 0.5, np.float32))
    swapped = turned(op.convert(node, "f32"), [0, 3, 2, 1])
    return turned(op.batch_norm_inference(swapped, *vectors, variance, 1e-3), [0, 3, 2, 1])


def pooled(node: Any) -> Any:
    made = op.max_pool(turned(node, FIRST), [2, 2], [1, 1], [0, 0], [0, 0], [2, 2])
    return turned(made.output(0), LAST)


def block(node: Any) -> Any:
    return op.relu(normalised(convolved(node)))


GRAPHS: dict[str, tuple[Callable[[Any], Any], int]] = {
    # How it is made, and how many transposes it needs.
    "a layer": (block, 2),
    "layers": (lambda x: block(pooled(block(x))), 2),
    "a bias of channels": (lambda x: block(op.add(convolved(x), normal(3))), 2),
    "a scalar before it": (lambda x: block(op.multiply(normal(), convolved(x))), 2),
    "a vector of four axes": (lambda x: block(op.add(convolved(x), normal(1, 1, 1, 3))), 2),
    "a vector along the rows": (lambda x: block(op.add(convolved(x), normal(5, 1, 1))), 2),
    "a sum of two branches": (lambda x: block(op.add(convolved(x), block(x))), 3),
    "branches side by side": (lambda x: block(op.concat([convolved(x), block(x)], -1)), 3),
    "branches one below the other": (lambda x: block(op.concat([convolved(x), block(x)], 1)), 3),
    # One in each layout: then the other has to be transposed.
    "a sum with the input": (lambda x: block(op.add(convolved(x), x)), 4),
    "the input beside": (lambda x: block(op.concat([convolved(x), x], -1)), 4),
    "a matrix": (lambda x: block(op.add(convolved(x), normal(7, 3))), 4),
    "no more than the axes' order": (lambda x: turned(turned(x, FIRST), LAST), 0),
    "all axes turned round": (
        lambda x: op.transpose(convolved(x), op.constant(np.empty(0, np.int64))),
        3,
    ),
    "a vector of more axes": (lambda x: op.relu(op.add(convolved(x), normal(1, 1, 1, 1, 3))), 2),
    "two transposes that are one": (lambda x: turned(turned(x, FIRST), FIRST), 1),
    "a split, which is left alone": (
        lambda x: block(op.concat([*op.split(convolved(x), -1, 3).outputs()][::-1], -1)),
        4,
    ),
}


@pytest.mark.parametrize("name", GRAPHS)
def test_values_stay_the_same_with_fewer_transposes(name: str) -> None:
    make, needed = GRAPHS[name]
    values = np.random.default_rng(2).normal(size=SHAPE).astype(np.float32)
    settings = {"INFERENCE_PRECISION_HINT": "f32"}

    def outputs(*, sunk: bool) -> tuple[Any, int]:
        image = op.parameter(SHAPE, np.float32)
        graph = openvino.Model([op.result(make(image))], [image])
        if sunk:
            sink_transposes(graph)
        kinds = [node.get_type_name() for node in graph.get_ordered_ops()]
        [found] = openvino.compile_model(graph, "CPU", settings)([values]).to_tuple()
        return found, kinds.count("Transpose")

    (before, all_of_them), (after, left) = outputs(sunk=False), outputs(sunk=True)
    assert after.shape == before.shape
    np.testing.assert_allclose(after, before, rtol=1e-5, atol=1e-5)
    assert left == needed <= all_of_them
