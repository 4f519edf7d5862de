"""Graphs of OpenVINO without the transposes that Keras puts around each operation."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from openvino import opset16

# Operations of each value alone, of one tensor or of two.
_ELEMENTWISE = frozenset(
    {"Add", "Clamp", "Convert", "Greater", "Maximum", "Multiply", "Relu", "Sigmoid", "Subtract"}
)


def sink_transposes(graph: Any) -> None:
    """Move transposes of a graph past operations that do not need them, until they cancel out.

    Keras keeps channels last and OpenVINO convolves with channels first, so that Keras's back end
    transposes before and after every layer; OpenVINO itself cancels few of them. In a U-Net of
    width 16 they took half of the time. The values stay the same.

    Args:
        graph: of `openvino.Model`; it is changed in place.
    """
    # Of outputs in a transposed layout: the output in the other layout, and the order of its axes.
    known: dict[tuple[str, int], tuple[Any, list[int]]] = {}
    for node in graph.get_ordered_ops():
        sources = [one.get_source_output() for one in node.inputs()]
        found = [known.get(_key(source)) for source in sources]
        kind = node.get_type_name()
        if kind == "Transpose":
            _cancel(node, found[0] or (sources[0], [*range(_rank(sources[0]))]), known)
        elif kind in _ELEMENTWISE and any(found):
            _swap(node, sources, found, known)
        elif kind == "BatchNormInference" and found[0] and found[0][1][1] == 1:
            # Keras hands it the image's columns first, which is the same to it.
            node.input(0).replace_source_output(found[0][0])
            _transposed(node, found[0][1], known, node.output(0))
        elif kind == "Concat" and all(found):
            _swap_concat(node, found, known)
    graph.validate_nodes_and_infer_types()


def _cancel(node: Any, source: tuple[Any, list[int]], known: dict[Any, Any]) -> None:
    """A transpose of what is transposed already is one transpose, or none."""
    inner, order = source
    axes = node.input_value(1).get_node()
    if axes.get_type_name() != "Constant" or len(axes.get_vector()) != len(order):
        return  # computed; or empty, which turns all axes round
    order = [order[axis] for axis in axes.get_vector().astype(int).tolist()]
    if order == sorted(order):
        _replace(node.output(0), inner)
        return
    node.input(0).replace_source_output(inner)
    node.input(1).replace_source_output(opset16.constant(np.array(order)).output(0))
    known[_key(node.output(0))] = inner, order


def _swap(node: Any, sources: Sequence[Any], found: Sequence[Any], known: dict[Any, Any]) -> None:
    """Transpose the result in place of the operands."""
    order = next(one[1] for one in found if one)
    inner = []
    for source, one in zip(sources, found, strict=True):
        if one and one[1] == order:
            inner.append(one[0])
        elif not one and _is_vector(source, len(order)):
            inner.append(_vector(source, order))
        else:
            return  # an operand in another layout
    for place, output in enumerate(inner):
        node.input(place).replace_source_output(output)
    _transposed(node, order, known, node.output(0))


def _swap_concat(node: Any, found: Sequence[Any], known: dict[Any, Any]) -> None:
    order = found[0][1]
    if any(one[1] != order for one in found):
        return
    axis = order[node.get_attributes()["axis"]]
    made = opset16.concat([inner for inner, _ in found], axis)
    _transposed(made, order, known, node.output(0))


def _transposed(made: Any, order: list[int], known: dict[Any, Any], before: Any) -> None:
    """Who had an output gets the transpose of another."""
    users = before.get_target_inputs()
    made.validate_and_infer_types()
    transpose = opset16.transpose(made, opset16.constant(np.array(order)))
    for user in users:
        user.replace_source_output(transpose.output(0))
    known[_key(transpose.output(0))] = made.output(0), order


def _is_vector(source: Any, rank: int) -> bool:
    """Whether at most one axis is longer than 1, and the axes are no more than `rank`."""
    if source.get_partial_shape().is_dynamic:
        return False
    shape = _shape(source)
    return len(shape) <= rank and sum(length != 1 for length in shape) <= 1


def _vector(source: Any, order: list[int]) -> Any:
    """A scalar or vector, which counts along the last axis or has all axes, in the other layout."""
    shape = _shape(source)
    whole = np.array([1] * (len(order) - len(shape)) + shape)
    inner = whole[np.argsort(order)]
    return opset16.reshape(source, opset16.constant(inner), special_zero=False).output(0)


def _replace(output: Any, by: Any) -> None:
    for user in output.get_target_inputs():
        user.replace_source_output(by)


def _key(output: Any) -> tuple[str, int]:
    return output.get_node().get_name(), output.get_index()


def _rank(output: Any) -> int:
    return int(output.get_partial_shape().rank.get_length())


def _shape(output: Any) -> list[int]:
    return [int(length) for length in output.get_shape()]
