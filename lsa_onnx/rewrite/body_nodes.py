"""The nodes that take tensors out of one If, Loop or Scan."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from lsa_onnx.rewrite.bodies import Place
from lsa_onnx.rewrite.graph import is_standard, names_in_use, opset
from lsa_onnx.rewrite.repeats import Dim, Repeats

# Since then, Unsqueeze takes its axes as an input.
_FIRST_WITH_AXES_AS_INPUT = 13


@dataclass(frozen=True)
class Stack:
    """A tensor on its way out.

    Attributes:
        key: Path of its body and name, as the caller knows them.
        source: The tensor in its body.
        name: What stands for it in the graph it has reached.
        counted: Whether that has a first axis of executions.
        single: Whether there is exactly one execution each time.
    """

    key: tuple[str, str]
    source: str
    name: str
    counted: bool
    single: bool


class BodyNodes:
    """Changes nodes of ``model``, whose names are unique and stay so."""

    def __init__(self, model: onnx.ModelProto, repeats: Repeats) -> None:
        """Prepare; ``repeats`` knows ``model`` as it was at first."""
        self._opset = opset(model)
        self._repeats = repeats
        self._used = names_in_use(model.graph)

    def collect(
        self, node: onnx.NodeProto, body: onnx.GraphProto, stacks: Sequence[Stack], *, last: bool
    ) -> tuple[list[Stack], list[onnx.NodeProto]]:
        """Let a Loop or Scan (changed) collect ``stacks`` of its body; also what is to follow it.

        ``last``: whether they are in the main graph then.
        """
        found, merging = [], []
        self._name_all_outputs(node, body)
        for stack in stacks:
            result = self._result_name(stack, last=last)
            inner = stack.name if stack.counted else self._fresh(f"{result}/each")
            if not stack.counted:
                body.node.append(helper.make_node("Identity", [stack.name], [inner], inner))
            self._declare(body, inner, stack)
            node.output.append(self._fresh(f"{result}/by_iteration") if stack.counted else result)
            if stack.counted:
                merging += self._merge(node.output[-1], result)
            found.append(replace(stack, name=result, counted=True, single=False))
        for held in node.attribute:
            if held.name in ("scan_output_axes", "scan_output_directions"):
                held.ints.extend([0] * len(stacks))
        return found, merging

    def branch(
        self,
        node: onnx.NodeProto,
        where: Sequence[Place],
        stacks: Sequence[Sequence[Stack]],
        *,
        uneven: bool,
        last: bool,
    ) -> list[Stack]:
        """Let an If (changed) return ``stacks`` of each of its branches at ``where``.

        Args:
            node: The If.
            where: Its branches.
            stacks: What each of them returns; the other one returns nothing for it, or, if
                ``uneven``, zeros.
            uneven: Whether one branch must return as many executions as the other.
            last: Whether they are in the main graph then.
        """
        found = []
        for place, own in zip(where, stacks, strict=True):
            for stack in own:
                result = self._result_name(stack, last=last)
                for other in where:
                    if other is place:
                        inner = self._with_count(other.graph, stack, result)
                    else:
                        inner = self._nothing(other.graph, stack, result, zeros=uneven)
                    self._declare(other.graph, inner, stack)
                node.output.append(result)
                found.append(
                    replace(stack, name=result, counted=True, single=uneven and stack.single)
                )
        return found

    def can_fill(self, stack: Stack) -> bool:
        """Whether zeros of the shape of ``stack`` can be made where it is not."""
        dims = self._repeats.fixed_dims(stack.source)
        return stack.single and dims is not None

    def _with_count(self, body: onnx.GraphProto, stack: Stack, result: str) -> str:
        """What a branch returns for a tensor in it."""
        if stack.counted:
            return stack.name
        inner = self._fresh(f"{result}/taken")
        if self._opset < _FIRST_WITH_AXES_AS_INPUT:
            body.node.append(helper.make_node("Unsqueeze", [stack.name], [inner], inner, axes=[0]))
        else:
            axes = self._constant(body, np.zeros(1, np.int64), f"{result}/axes")
            body.node.append(helper.make_node("Unsqueeze", [stack.name, axes], [inner], inner))
        return inner

    def _nothing(self, body: onnx.GraphProto, stack: Stack, result: str, *, zeros: bool) -> str:
        """What the other branch returns for it: a tensor of no executions, or one of zeros."""
        element = self._repeats.known.element(stack.source) or onnx.TensorProto.UNDEFINED
        if zeros:
            dims = self._repeats.fixed_dims(stack.source) or []
            shape = self._shape(body, [1, *dims], f"{result}/shape")
            zero = self._tensor(body, element, [], f"{result}/zero")
            inner = self._fresh(f"{result}/zeros")
            body.node.append(helper.make_node("Expand", [zero, shape], [inner], inner))
            return inner
        known = self._repeats.known.dims(stack.source) or ()
        # Dimensions that are not known are 1: nothing is in the tensor anyway.
        return self._tensor(body, element, [0, *(d or 1 for d in known)], f"{result}/not_taken")

    def _shape(self, body: onnx.GraphProto, dims: Sequence[Dim], wanted: str) -> str:
        """A tensor with a shape, of which parts are those of inputs of the model."""
        parts = []
        for index, dim in enumerate(dims):
            if isinstance(dim, int):
                parts.append(self._constant(body, np.asarray([dim], np.int64), f"{wanted}_{index}"))
                continue
            name, axis = dim
            sizes, part = (self._fresh(f"{wanted}_{index}/{what}") for what in ("of", "part"))
            at = self._constant(body, np.asarray([axis], np.int64), f"{wanted}_{index}/axis")
            body.node.append(helper.make_node("Shape", [name], [sizes], sizes))
            body.node.append(helper.make_node("Gather", [sizes, at], [part], part))
            parts.append(part)
        shape = self._fresh(wanted)
        body.node.append(helper.make_node("Concat", parts, [shape], shape, axis=0))
        return shape

    def _merge(self, stacked: str, result: str) -> list[onnx.NodeProto]:
        """``result`` is ``stacked`` with its first two axes as one.

        A Reshape would read a dimension of 0 as one to copy, and could not tell ranks apart that are
        not known: the rows are picked by their two indices instead.
        """
        names = ("sizes", "from", "to", "counts", "ones", "columns", "rows")
        sizes, start, end, counts, ones, columns, rows = (
            self._fresh(f"{result}/{name}") for name in names
        )
        one = numpy_helper.from_array(np.ones(1, np.int64))
        return [
            helper.make_node("Shape", [stacked], [sizes], sizes),
            _constant_node(np.asarray([0], np.int64), start),
            _constant_node(np.asarray([2], np.int64), end),
            helper.make_node("Slice", [sizes, start, end], [counts], counts),
            helper.make_node("ConstantOfShape", [counts], [ones], ones, value=one),
            helper.make_node("NonZero", [ones], [columns], columns),
            helper.make_node("Transpose", [columns], [rows], rows, perm=[1, 0]),
            helper.make_node("GatherND", [stacked, rows], [result], result),
        ]

    def _name_all_outputs(self, node: onnx.NodeProto, body: onnx.GraphProto) -> None:
        """Let ``node`` (changed) list all that it returns, so that more can follow."""
        returned = len(body.output) - is_standard(node, ("Loop",))
        for _ in range(returned - len(node.output)):
            node.output.append(self._fresh("unread"))

    def _declare(self, body: onnx.GraphProto, name: str, stack: Stack) -> None:
        """Let ``body`` return ``name``; ONNX Runtime finds out what is not said about it."""
        element = self._repeats.known.element(stack.source)
        if element is None:
            body.output.add(name=name)
        else:
            body.output.append(helper.make_tensor_value_info(name, element, None))

    def _constant(self, body: onnx.GraphProto, value: Any, wanted: str) -> str:
        name = self._fresh(wanted)
        body.node.append(_constant_node(value, name))
        return name

    def _tensor(self, body: onnx.GraphProto, element: int, dims: Sequence[int], wanted: str) -> str:
        """A small constant of zeros; numpy may not have its type."""
        name = self._fresh(wanted)
        zeros = helper.make_tensor("", element, dims, [0] * math.prod(dims))
        body.node.append(helper.make_node("Constant", [], [name], name, value=zeros))
        return name

    def _result_name(self, stack: Stack, *, last: bool) -> str:
        """The name of a tensor in a graph that it reaches; that of the main graph reads best."""
        return self._fresh("/".join(stack.key) + ("" if last else "/on_its_way"))

    def _fresh(self, wanted: str) -> str:
        """``wanted``, with a number if the model has that name; it is taken from now on."""
        name, number = wanted, 0
        while name in self._used:
            number += 1
            name = f"{wanted}_{number}"
        self._used.add(name)
        return name


def _constant_node(value: Any, name: str) -> onnx.NodeProto:
    return helper.make_node("Constant", [], [name], name, value=numpy_helper.from_array(value))
