"""Nodes that reduce a clean and a perturbed tensor to sums of squares, one per sample."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

# A sum of squares is a dot product of a row with itself, in pieces of about this many elements, and
# then a sum over the pieces. ReduceSumSquare would be the obvious operator, but ONNX Runtime's adds
# one element after the other: 5 times slower than a matrix product and, over a million elements,
# wrong by 3e-4 (measured; in pieces, 2e-7).
_PIECE = 8192
_LONGEST_PIECE = 2 * _PIECE
_SHORTEST_PIECE = _PIECE // 8
FUSED_DOMAIN = "com.microsoft"


@dataclass(frozen=True)
class Scored:
    """A tensor to score.

    ``batch_axis`` is the axis that counts samples, ``None`` where the whole tensor belongs to one
    sample. ``elements`` is the number of elements per sample, ``None`` if it is not known; it is
    needed where several consecutive entries of axis 0 belong to a sample (heads merged into the
    batch, say), and makes long sums faster and more accurate. ``element`` is the ONNX element type;
    anything but float and double is cast to float before it is reduced.

    ``interleaved`` entries of ``batch_axis`` belong to a sample, the first of all samples before the
    second ones (tokens in front of a batch, both merged for a matrix product); 0 where a sample's
    entries are consecutive. ``elements`` must then be known.

    ``executions`` says that axis 0 counts how often the body ran that makes the tensor (the samples
    are on another axis, or there is one sample per run). ``elements`` is then per sample and
    execution, and must be known. ``uneven`` says that the two branches may differ in how many there
    are, which takes opset 10.
    """

    tensor: str
    batch_axis: int | None = 0
    elements: int | None = None
    element: int = onnx.TensorProto.FLOAT
    executions: bool = False
    uneven: bool = False
    interleaved: int = 0


@dataclass(frozen=True)
class SumNames:
    """Output names of the sums of squares of one tensor, each of shape (samples,).

    ``difference`` is ‖a − b‖², ``clean`` ‖a‖² and ``perturbed`` ‖b‖², with a the clean tensor and b
    the perturbed one. For a tensor of executions there is a sum for each of them, shape
    (samples · executions,); with one sample per run, the branches may differ in how many there are,
    and ``difference`` is of those that both have.
    """

    difference: str
    clean: str
    perturbed: str


class Reductions:
    """Makes the nodes that reduce a clean and a perturbed tensor to sums of squares per sample."""

    def __init__(self, version: int, suffix: str) -> None:
        self._version = version
        self.suffix = suffix
        self.initializers: dict[str, onnx.TensorProto] = {}

    def sums(self, item: Scored, name: str) -> tuple[list[onnx.NodeProto], SumNames]:
        """Nodes for ‖a − b‖², ‖a‖², ‖b‖² of the tensor ``name``, and the names of the results."""
        prefix = f"{item.tensor}{self.suffix}_"
        nodes: list[onnx.NodeProto] = []
        clean, perturbed = (
            self._pieces(item, source, f"{prefix}{part}", nodes)
            for part, source in (("a", name), ("b", name + self.suffix))
        )
        pair = [clean, perturbed]
        if item.uneven:
            pair = self._in_common(pair, prefix, nodes)
        nodes.append(helper.make_node("Sub", pair, [f"{prefix}d"]))
        names = SumNames(f"{prefix}dd", f"{prefix}aa", f"{prefix}bb")
        for source, result in (
            (f"{prefix}d", names.difference),
            (clean, names.clean),
            (perturbed, names.perturbed),
        ):
            nodes += self._sum_of_squares(item, source, result)
        return nodes, names

    def _pieces(self, item: Scored, source: str, prefix: str, nodes: list[onnx.NodeProto]) -> str:
        """``source`` as floats of shape (samples, pieces, 1, length of a piece)."""

        def add(op: str, inputs: list[str], step: str, **attributes: Any) -> str:
            result = f"{prefix}_{step}"
            nodes.append(helper.make_node(op, inputs, [result], **attributes))
            return result

        current = source
        if item.element not in (onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE):
            current = add("Cast", [current], "float", to=onnx.TensorProto.FLOAT)
        if item.batch_axis:
            axis = item.batch_axis
            flat = self._constant([0] * (axis + 1) + [-1])
            current = add("Reshape", [current, flat], "flat")
            order = [axis, *(a for a in range(axis + 2) if a != axis)]
            current = add("Transpose", [current], "first", perm=order)
        if item.interleaved and item.elements:
            apart = [item.interleaved, -1, item.elements // item.interleaved]
            current = add("Reshape", [current, self._constant(apart)], "entries")
            current = add("Transpose", [current], "samples", perm=[1, 0, 2])
        if item.elements:
            length = piece_length(item.elements)
            shape = [-1, item.elements // length, 1, length]
        else:
            current = add("Flatten", [current], "rows", axis=0 if item.batch_axis is None else 1)
            shape = [0, 1, 1, -1]
        return add("Reshape", [current, self._constant(shape)], "pieces")

    def _in_common(
        self, pair: Sequence[str], prefix: str, nodes: list[onnx.NodeProto]
    ) -> list[str]:
        """Both tensors of pieces, cut to the executions that both have."""
        shapes = [f"{prefix}{part}_shape" for part in "ab"]
        less, shortest, start = f"{prefix}less", f"{prefix}shortest", self._constant([0] * 4)
        nodes += [helper.make_node("Shape", [n], [s]) for n, s in zip(pair, shapes, strict=True)]
        nodes.append(helper.make_node("Less", shapes, [less]))
        nodes.append(helper.make_node("Where", [less, *shapes], [shortest]))
        cut = [f"{name}_common" for name in pair]
        nodes += [
            helper.make_node("Slice", [name, start, shortest], [result])
            for name, result in zip(pair, cut, strict=True)
        ]
        return cut

    def _sum_of_squares(self, item: Scored, source: str, result: str) -> list[onnx.NodeProto]:
        if item.element == onnx.TensorProto.DOUBLE:
            # The fused product has no float64 kernel, and float64 needs no care with its sums.
            return [self._reduce("ReduceSumSquare", source, result, axes_are_input_since=18)]
        dots = f"{result}_dots"
        product = helper.make_node(
            "FusedMatMul", [source, source], [dots], domain=FUSED_DOMAIN, transB=1
        )
        return [product, self._reduce("ReduceSum", dots, result, axes_are_input_since=13)]

    def _reduce(
        self, op: str, source: str, result: str, axes_are_input_since: int
    ) -> onnx.NodeProto:
        axes = [1, 2, 3]
        if self._version >= axes_are_input_since:
            return helper.make_node(op, [source, self._constant(axes)], [result], keepdims=0)
        return helper.make_node(op, [source], [result], axes=axes, keepdims=0)

    def _constant(self, values: list[int]) -> str:
        name = f"shape_{'_'.join(str(v) for v in values)}{self.suffix}"
        if name not in self.initializers:
            self.initializers[name] = numpy_helper.from_array(np.asarray(values, np.int64), name)
        return name


def piece_length(elements: int) -> int:
    """A divisor of ``elements`` near ``_PIECE``; all of them where there is none."""
    if elements <= _LONGEST_PIECE:
        return elements
    divisors = (n for n in range(_SHORTEST_PIECE, _LONGEST_PIECE + 1) if elements % n == 0)
    return min(divisors, key=lambda n: abs(n - _PIECE), default=elements)
