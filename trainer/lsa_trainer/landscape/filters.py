"""Which numbers of a weight make one filter: all that one output unit is computed with (Li et al. 2018).

The layout follows from the operator that reads the weight. Between the two, exporters put transpositions
and reshapes; the filters are found behind those, and told by the elements of the weight as it is stored.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx.reference import ReferenceEvaluator

from lsa_onnx.rewrite.graph import attribute, constant_value, consumers, opset, producers
from lsa_onnx.structure import first_output
from lsa_trainer.weights import Weight

Ids = NDArray[np.int64]
Shape = tuple[int, ...]

# Of an element that no filter holds.
OUTSIDE = -1
# They move numbers and change none.
_MOVERS = frozenset(
    {
        "Cast",
        "Flatten",
        "Identity",
        "Reshape",
        "Slice",
        "Split",
        "Squeeze",
        "Transpose",
        "Unsqueeze",
    }
)
# Which would round the numbers of elements.
_AS_IS = frozenset({"Cast", "Identity"})


def filters_of(model: onnx.ModelProto, weights: Iterable[Weight]) -> dict[str, Ids]:
    """The filters of every weight that has some: kernels, matrices and tables, but no bias, scale or norm.

    Args:
        model: In the dialect of the operator table, the one in which ``weights`` were found.
        weights: Those to look at.

    Returns:
        Name → for each element of the weight the number of its filter from 0, or ``OUTSIDE``; shape of the
        weight. Of a weight that several nodes read, the first that has filters tells them.
    """
    search = _Search(model)
    found = {weight.name: search.filters(weight) for weight in weights}
    return {name: ids for name, ids in found.items() if (ids != OUTSIDE).any()}


class _Search:
    """Follows weights to the operators that read them."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self._readers = consumers(model.graph)
        self._makers = producers(model.graph)
        self._tensors = {tensor.name: tensor for tensor in model.graph.initializer}
        self._opset = opset(model)

    def filters(self, weight: Weight) -> Ids:
        found = np.full(weight.elements, OUTSIDE, np.int64)
        elements = np.arange(weight.elements).reshape(weight.shape)
        for node, place in self._uses(weight):
            for moved, labels in self._behind(node, place, elements):
                new = found[moved] == OUTSIDE
                found[moved[new]] = labels[new] + found.max() + 1
        return found.reshape(weight.shape)

    def _uses(self, weight: Weight) -> Iterator[tuple[onnx.NodeProto, int]]:
        """The places where a weight is read: one alone, if the weight is untied from others."""
        for node in self._readers.get(weight.source, ()):
            for place, name in enumerate(node.input):
                here = (first_output(node), place)
                if name == weight.source and weight.use in (None, here):
                    yield node, place

    def _behind(self, node: onnx.NodeProto, place: int, elements: Ids) -> Iterator[tuple[Ids, Ids]]:
        """The elements that have a filter at ``node`` or behind it, and the filter of each, shape (m,)."""
        table = _LAYOUTS.get(node.op_type, {})
        labels = table[place](node, elements.shape) if place in table else None
        if labels is not None:
            yield elements.ravel(), np.broadcast_to(labels, elements.shape).ravel()
        if place or node.op_type not in _MOVERS:
            return
        for name, moved in self._moved(node, elements).items():
            for reader in self._readers.get(name, ()):
                for there, given in enumerate(reader.input):
                    if given == name:
                        yield from self._behind(reader, there, moved)

    def _moved(self, node: onnx.NodeProto, elements: Ids) -> Mapping[str, Ids]:
        """Where ``node`` puts the elements, by output; nothing if a shape is not known."""
        outputs = [name for name in node.output if name]
        if node.op_type in _AS_IS:
            return {outputs[0]: elements}
        given: dict[str, Any] = {node.input[0]: elements}
        for name in filter(None, node.input[1:]):
            value = constant_value(name, self._makers, self._tensors)
            if value is None:
                return {}
            given[name] = value
        run = ReferenceEvaluator(node, opsets={"": self._opset}).run(outputs, given)
        return dict(zip(outputs, run, strict=True))


def _by_axes(shape: Shape, axes: Collection[int]) -> Ids:
    """One number for each place along ``axes``, shaped to broadcast against ``shape``."""
    kept = {axis % len(shape) for axis in axes} if shape else set()
    sizes = [size if axis in kept else 1 for axis, size in enumerate(shape)]
    return np.arange(int(np.prod(sizes, dtype=np.int64))).reshape(sizes)


def _along(*axes: int) -> _Layout:
    return lambda _, shape: _by_axes(shape, axes)


def _summed(shape: Shape, axis: int) -> Ids:
    """Filters that differ along every axis but the one that is summed over."""
    axes = set(range(len(shape))) - {axis % len(shape)} if shape else set()
    return _by_axes(shape, axes)


def _transposed_kernel(node: onnx.NodeProto, shape: Shape) -> Ids:
    """Of (c, m / group, ...): an output of a group is made of the channels of that group alone."""
    channels, outputs = shape[:2]
    group = attribute(node, "group", 1)
    of_channel = np.repeat(np.arange(group), channels // group)[:, None]
    labels = of_channel * outputs + np.arange(outputs)
    return labels.reshape(channels, outputs, *[1] * (len(shape) - 2))


def _gemm_left(node: onnx.NodeProto, shape: Shape) -> Ids:
    return _by_axes(shape, [1 if attribute(node, "transA", 0) else 0])


def _gemm_right(node: onnx.NodeProto, shape: Shape) -> Ids:
    return _by_axes(shape, [0 if attribute(node, "transB", 0) else 1])


def _left(node: onnx.NodeProto, shape: Shape) -> Ids:
    """Of a product with the weight on the left, (..., m, k)."""
    return _summed(shape, _inner(node, "A", shape, -1))


def _right(node: onnx.NodeProto, shape: Shape) -> Ids:
    """Of one with the weight on the right, (..., k, n)."""
    return _summed(shape, _inner(node, "B", shape, -2))


def _inner(node: onnx.NodeProto, side: str, shape: Shape, plain: int) -> int:
    """The axis that a product sums over; ONNX Runtime's FusedMatMul may turn what it multiplies."""
    if len(shape) < 2:
        return -1
    inner = -3 - plain if attribute(node, f"trans{side}", 0) else plain
    # Its rows then come first, with the batch between them and the columns.
    return 0 if inner == -2 and attribute(node, f"transBatch{side}", 0) else inner


def _rows(node: onnx.NodeProto, shape: Shape) -> Ids:
    """Of a table: what one index looks up."""
    return _by_axes(shape, [attribute(node, "axis", 0)])


def _operand(place: int) -> _Layout:
    """Of an Einsum: what is left of the operand in the result tells filters apart."""

    def layout(node: onnx.NodeProto, shape: Shape) -> Ids | None:
        terms, result = _equation(node)
        before, dots, after = terms[place].partition("...")
        hidden = [""] * (len(shape) - len(before) - len(after)) if dots else []
        # The empty letter of an axis that "..." stands for is in every result.
        letters = [*before, *hidden, *after]
        kept = [axis for axis, letter in enumerate(letters) if letter in result]
        # What nothing is summed over is a scale for each number.
        return _by_axes(shape, kept) if len(kept) < len(shape) else None

    return layout


def _equation(node: onnx.NodeProto) -> tuple[list[str], str]:
    """The operands of an Einsum and its result, by their letters."""
    text = next(a.s for a in node.attribute if a.name == "equation").decode().replace(" ", "")
    operands, arrow, result = text.partition("->")
    if not arrow:
        result = "".join(letter for letter in operands if operands.count(letter) == 1)
    return operands.split(","), result


_Layout = Callable[[onnx.NodeProto, Shape], Ids | None]
_RECURRENT: Mapping[int, _Layout] = dict.fromkeys((1, 2), _along(0, 1))
# Operator → place of the weight → what tells filters apart: numbers that broadcast against it.
_LAYOUTS: Mapping[str, Mapping[int, _Layout]] = {
    "Conv": {1: _along(0)},
    "ConvTranspose": {1: _transposed_kernel},
    "DeformConv": {1: _along(0)},
    "Einsum": {place: _operand(place) for place in range(8)},
    "FusedConv": {1: _along(0)},
    "FusedGemm": {0: _gemm_left, 1: _gemm_right},
    "FusedMatMul": {0: _left, 1: _right},
    "GRU": _RECURRENT,
    "Gather": {0: _rows},
    "Gemm": {0: _gemm_left, 1: _gemm_right},
    "LSTM": _RECURRENT,
    "MatMul": {0: _left, 1: _right},
    "RNN": _RECURRENT,
}
