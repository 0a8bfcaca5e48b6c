"""What an expansion writes with: nodes and constants that stand for one composite node."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from lsa_onnx.rewrite.expand.scope import Scope

Operand = str | float | Sequence[int] | NDArray[Any]
Names = str | Sequence[str]
Expansion = Callable[["Builder"], Names]
T = TypeVar("T")

MICROSOFT = "com.microsoft"
HALVES = frozenset({onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16})


class NotExpandable(Exception):
    """This form of the operator has no expansion: the node stays as it is, for the caller to report."""


class Supplies:
    """What the expansions of one model share: new names, and one initializer for each constant value."""

    def __init__(self, suffix: str, opset: int, scope: Scope) -> None:
        """Start without constants.

        Args:
            suffix: A text that no name of the model contains; it stands in every new name.
            opset: The model's version of ONNX's own operators.
            scope: The scope of the main graph, which learns of each constant.
        """
        self.opset = opset
        self._scope = scope
        self.constants: list[onnx.TensorProto] = []
        self._suffix = suffix
        self._numbers = itertools.count()
        self._known: dict[tuple[int, tuple[int, ...], bytes], str] = {}

    def name(self, base: str) -> str:
        """A new name that starts like ``base``."""
        return f"{base.partition(self._suffix)[0]}{self._suffix}_{next(self._numbers)}"

    def constant(self, value: onnx.TensorProto) -> str:
        """The initializer that holds this value; a new one if it is the first of its kind."""
        key = (value.data_type, tuple(value.dims), numpy_helper.to_array(value).tobytes())
        if key not in self._known:
            self._known[key] = self.name("constant")
            tensor = onnx.TensorProto()
            tensor.CopyFrom(value)
            tensor.name = self._known[key]
            self.constants.append(tensor)
            self._scope.hold(tensor)
        return self._known[key]


class Builder:
    """Collects the nodes that replace ``node``.

    Calling it appends one node and returns the name of its output, so that expansions read as
    formulas: ``b("Mul", x, b("Sigmoid", x))``. Operands are tensor names; numbers, which become
    constants of the element type ``dtype``; or lists of integers and arrays, which become constants
    as they are.
    """

    def __init__(self, node: onnx.NodeProto, scope: Scope, supplies: Supplies) -> None:
        """Prepare.

        Args:
            node: The node to replace.
            scope: What is known about the tensors that it reads.
            supplies: Names and constants.
        """
        self.node = node
        self.scope = scope
        self.opset = supplies.opset
        self.nodes: list[onnx.NodeProto] = []
        self._supplies = supplies
        self._base = next((name for name in node.output if name), node.name)
        self._dtype: int | None = None

    def __call__(self, op: str, /, *operands: Operand, **attributes: Any) -> str:
        """Append a node with one output; returns the output's name."""
        return self.several(op, 1, *operands, **attributes)[0]

    def several(self, op: str, outputs: int, /, *operands: Operand, **attributes: Any) -> list[str]:
        """Append a node with this many outputs; returns their names."""
        made = [self.fresh() for _ in range(outputs)]
        inputs = [self.operand(operand) for operand in operands]
        self.add(helper.make_node(op, inputs, made, made[0], **attributes))
        return made

    def add(self, node: onnx.NodeProto) -> None:
        """Append a finished node."""
        self.nodes.append(node)

    def inner(self) -> Builder:
        """A builder for the body of a control-flow node, which reads this one's tensors."""
        other = Builder(self.node, self.scope, self._supplies)
        other._dtype = self._dtype
        return other

    def fresh(self) -> str:
        """A name that nothing has."""
        return self._supplies.name(self._base)

    def operand(self, value: Operand) -> str:
        """The tensor of that name, or the constant of that value."""
        if isinstance(value, str):
            return value
        if isinstance(value, int | float):
            return self.scalar(value)
        array = value if isinstance(value, np.ndarray) else np.asarray(value, np.int64)
        return self.constant(numpy_helper.from_array(array))

    def scalar(self, value: float, dtype: int | None = None) -> str:
        """A constant of rank 0, of ``self.dtype`` unless another element type is named.

        Where the element type is not known before the model runs, it is that of the first input.
        """
        element = dtype or self._dtype or self.scope.first_float(self.node.input)
        kind = helper.tensor_dtype_to_np_dtype(element or onnx.TensorProto.FLOAT)
        name = self.constant(numpy_helper.from_array(np.asarray(value).astype(kind)))
        return name if element else self("CastLike", name, self.node.input[0])

    def constant(self, tensor: onnx.TensorProto) -> str:
        """The name of an initializer of this value."""
        return self._supplies.constant(tensor)

    @property
    def dtype(self) -> int:
        """The element type of numbers: that of the first float input, unless it was set."""
        if self._dtype is None:
            self._dtype = self.scope.first_float(self.node.input)
        if self._dtype is None:
            raise NotExpandable(f"no float element type is known for {self.node.op_type}")
        return self._dtype

    @dtype.setter
    def dtype(self, element: int) -> None:
        self._dtype = element

    def has(self, index: int) -> bool:
        """Whether the node has its optional input ``index``."""
        return index < len(self.node.input) and bool(self.node.input[index])

    def input(self, index: int) -> str:
        """The tensor that the node reads there, ``""`` where it reads none."""
        return self.node.input[index] if self.has(index) else ""

    def wants(self, index: int) -> bool:
        """Whether the node has its optional output ``index``."""
        return index < len(self.node.output) and bool(self.node.output[index])

    def attribute(self, name: str, default: T) -> T:
        """An attribute of the node, strings decoded; ``default`` where it is not set."""
        for attribute in self.node.attribute:
            if attribute.name == name:
                value = helper.get_attribute_value(attribute)
                if isinstance(value, bytes):
                    value = value.decode()
                elif isinstance(value, list) and value and isinstance(value[0], bytes):
                    value = [item.decode() for item in value]
                return cast("T", value)
        return default

    def attributes(self, *names: str) -> dict[str, Any]:
        """Those of these attributes that the node sets."""
        return {
            a.name: helper.get_attribute_value(a) for a in self.node.attribute if a.name in names
        }

    def element(self, name: str) -> int:
        """The element type of a tensor that the node reads."""
        found = self.scope.element(name)
        if found is None:
            raise NotExpandable(f"the element type of {name!r} is not known")
        return found

    def rank(self, name: str) -> int:
        """The number of dimensions of a tensor that the node reads."""
        found = self.scope.rank(name)
        if found is None:
            raise NotExpandable(f"the rank of {name!r} is not known")
        return found

    def dims(self, name: str, first: int, last: int | None = None) -> str:
        """The dimensions ``first`` to ``last`` (exclusive) of a tensor as an integer vector."""
        ends = {} if last is None else {"end": last}
        return self("Shape", name, start=first, **ends)

    def concat_dims(self, *parts: Operand) -> str:
        """A shape made of constants and of pieces of other shapes."""
        return self("Concat", *parts, axis=0)

    def cast(self, name: str, element: int) -> str:
        """The tensor in another element type."""
        return self("Cast", name, to=element)
