"""Writes nodes: what adjoint rules have at hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import ArrayLike, DTypeLike, NDArray
from onnx import helper, numpy_helper

from lsa_onnx.rewrite.shapes import Dims, KnownShapes
from lsa_onnx.rewrite.vjp.naming import Names
from lsa_onnx.rewrite.vjp.registry import RuleRefused

Array = NDArray[Any]

_FLOATS = frozenset(
    {
        onnx.TensorProto.FLOAT,
        onnx.TensorProto.FLOAT16,
        onnx.TensorProto.BFLOAT16,
        onnx.TensorProto.DOUBLE,
    }
)


class Tape:
    """The adjoint nodes of one graph, in the order in which they are written.

    Attributes:
        nodes: What has been written.
        known: Types and shapes of the forward tensors, and of adjoints under way.
        straight_through: Whether Sign, Round, Floor and Ceil pass adjoints on unchanged.
        opset: Of the default domain, at least 18.
    """

    def __init__(
        self,
        known: KnownShapes,
        names: Names,
        constants: dict[str, onnx.TensorProto],
        *,
        opset: int,
        straight_through: bool = False,
    ) -> None:
        """Start with no node.

        Args:
            known: Types and shapes of the model's tensors.
            names: Shared by all tapes of a model.
            constants: Initializer name → tensor, whose data may lie outside of the proto.
            opset: Of the default domain.
            straight_through: See the class.
        """
        self.nodes: list[onnx.NodeProto] = []
        self.known = known
        self.names = names
        self.constants = constants
        self.opset = opset
        self.straight_through = straight_through
        self._shapes: dict[str, str] = {}
        self._active: set[str] = set()
        self._guarded: set[str] = set()
        self._makers: dict[str, onnx.NodeProto] = {}
        self._readers: dict[str, list[onnx.NodeProto]] = {}

    def child(self) -> Tape:
        """A tape for the body of a control-flow node: nodes of its own, all else shared."""
        return Tape(
            self.known,
            self.names,
            self.constants,
            opset=self.opset,
            straight_through=self.straight_through,
        )

    # Writing

    def op(self, kind: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        """Write a node with one output and return the name of that output.

        Attributes that are ``None`` are left out.
        """
        return self.ops(kind, *inputs, outputs=1, domain=domain, **attributes)[0]

    def ops(
        self, kind: str, *inputs: str, outputs: int, domain: str = "", **attributes: Any
    ) -> list[str]:
        """Write a node with several outputs and return their names."""
        results = [self.names.fresh(kind) for _ in range(outputs)]
        given = {name: value for name, value in attributes.items() if value is not None}
        try:
            node = helper.make_node(
                kind, list(inputs), results, name=results[0], domain=domain or None, **given
            )
        except ValueError as error:
            raise RuleRefused(f"{kind} of its adjoint takes no such attribute: {error}") from None
        self.nodes.append(node)
        return results

    def constant(self, value: ArrayLike, dtype: DTypeLike | None = None) -> str:
        """The name of a constant; equal ones are shared."""
        return self.names.constant(np.asarray(value, dtype))

    def ints(self, *values: int) -> str:
        """A constant int64 vector."""
        return self.constant(values, np.int64)

    def scalar(self, value: float, like: str) -> str:
        """A constant scalar of the element type of the tensor ``like``."""
        return self.constant(value, self.dtype(like))

    # Knowing

    def element(self, name: str) -> int:
        """The ONNX element type in which the adjoint of ``name`` is computed.

        That of the tensor; float32 for integers (whose adjoints come from straight-through
        quantisation) and where it is not known.
        """
        element = self.known.element(name)
        return element if element in _FLOATS else int(onnx.TensorProto.FLOAT)

    def dtype(self, name: str) -> np.dtype[Any]:
        """``element`` as numpy has it."""
        return np.dtype(helper.tensor_dtype_to_np_dtype(self.element(name)))

    def dims(self, name: str) -> Dims | None:
        """The shape, ``None`` for a dimension that follows the batch; ``None`` if unknown."""
        return self.known.dims(name)

    def rank(self, name: str) -> int:
        """The number of dimensions.

        Raises:
            RuleRefused: It is not known.
        """
        rank = self.known.rank(name)
        if rank is None:
            raise RuleRefused(f"the rank of {name!r} is not known")
        return rank

    def fixed_dims(self, name: str, start: int = 0) -> tuple[int, ...]:
        """The dimensions from ``start`` on, which must not follow the batch.

        Raises:
            RuleRefused: They are not known, or do follow it.
        """
        found = (self.dims(name) or (None,))[start:]
        numbers = tuple(d for d in found if d is not None)
        if self.known.rank(name) is None or len(numbers) != len(found):
            raise RuleRefused(f"the shape of {name!r} is not known")
        return numbers

    def axis(self, value: int, name: str) -> int:
        """An axis of ``name``, counted from 0 where it is given from the end."""
        return value if value >= 0 else value + self.rank(name)

    def value(self, name: str | None) -> Array | None:
        """The value of a small constant; ``None`` for anything else, also for ``None``."""
        tensor = self.constants.get(name) if name else None
        if tensor is None or tensor.data_location == onnx.TensorProto.EXTERNAL:
            return None
        return numpy_helper.to_array(tensor)

    def active(self, name: str | None) -> bool:
        """Whether an adjoint of ``name`` is wanted."""
        return name in self._active

    def activate(self, names: set[str]) -> None:
        """Set the tensors whose adjoints are wanted."""
        self._active = names

    def survey(self, nodes: Sequence[onnx.NodeProto]) -> None:
        """Take in the forward nodes, for rules that look at what is beside their own."""
        self._makers = {name: node for node in nodes for name in node.output}
        self._readers = {}
        for node in nodes:
            for name in dict.fromkeys(node.input):
                self._readers.setdefault(name, []).append(node)

    def maker(self, name: str) -> onnx.NodeProto | None:
        """The forward node that makes ``name``, ``None`` for what comes from outside."""
        return self._makers.get(name)

    def readers(self, name: str) -> list[onnx.NodeProto]:
        """The forward nodes that have ``name`` as an input and whose adjoints are wanted."""
        nodes = self._readers.get(name, [])
        return [node for node in nodes if any(self.active(output) for output in node.output)]

    def guard(self, names: set[str]) -> None:
        """Set the tensors of which the model leaves some elements out, maybe for being NaN."""
        self._guarded = names

    def without_nan(self, name: str) -> str:
        """``name``, with 0 for NaN where the model itself may leave NaN out further on.

        Adjoints of 0 arrive at what is left out, and 0 times NaN is NaN: an attention row that is
        masked in full would spoil all gradients of its model.
        """
        if name not in self._guarded:
            return name
        return self.op("Where", self.op("IsNaN", name), self.scalar(0, name), name)

    # Shapes at run time

    def shape_of(self, name: str) -> str:
        """An int64 vector with the shape of ``name``: a constant where it is known."""
        if name not in self._shapes:
            dims = self.dims(name)
            numbers = [d for d in dims or () if d is not None]
            known = dims is not None and len(numbers) == len(dims)
            self._shapes[name] = self.ints(*numbers) if known else self.op("Shape", name)
        return self._shapes[name]

    def reshape_like(self, adjoint: str, like: str) -> str:
        """``adjoint`` with the shape of ``like``, which has as many elements."""
        dims = self.dims(like)
        free = [d for d in dims or (None, None) if d is None]
        if dims is not None and len(free) <= 1 and 0 not in dims:
            target = self.ints(*(-1 if d is None else d for d in dims))
            return self.op("Reshape", adjoint, target)
        return self.op("Reshape", adjoint, self.shape_of(like), allowzero=1)

    def expand_like(self, adjoint: str, like: str) -> str:
        """``adjoint`` broadcast to the shape of ``like``."""
        return self.op("Expand", adjoint, self.shape_of(like))

    def zeros_like(self, name: str) -> str:
        """Zeros of the shape of ``name`` and of its adjoint's type."""
        return self.op("ConstantOfShape", self.shape_of(name), value=self.zero_tensor(name))

    def zero_tensor(self, like: str) -> onnx.TensorProto:
        """What ``ConstantOfShape`` takes to make zeros of the type of the adjoint of ``like``."""
        return numpy_helper.from_array(np.zeros(1, self.dtype(like)))

    def unbroadcast(self, adjoint: str, operand: str, result: str) -> str:
        """Sum ``adjoint``, which has the shape of ``result``, to that of a broadcast ``operand``.

        Axes that are known to be equal are left alone; where shapes are not known, the axes to sum
        over are found at run time.
        """
        if self.known.same_shape(operand, result):
            return adjoint
        axes = self._broadcast_axes(operand, result)
        if axes is None:
            return self._unbroadcast_at_run_time(adjoint, operand)
        if not axes:
            return adjoint
        leading = self.rank(result) - self.rank(operand)
        keep = axes[-1] >= leading
        total = self.op("ReduceSum", adjoint, self.ints(*axes), keepdims=int(keep))
        return self.reshape_like(total, operand) if keep and leading else total

    def _broadcast_axes(self, operand: str, result: str) -> list[int] | None:
        """The axes of ``result`` along which ``operand`` was repeated; ``None`` if not known."""
        small, large = self.dims(operand), self.dims(result)
        if small is None or large is None:
            return None
        lead = len(large) - len(small)
        axes = list(range(lead))
        for axis, size in enumerate(small):
            if self.known.same_dim(operand, axis, result, lead + axis):
                continue
            if size != 1:
                return None
            axes.append(lead + axis)
        return axes

    def _unbroadcast_at_run_time(self, adjoint: str, operand: str) -> str:
        shape = self.op("Shape", operand)
        rank = self.op("Shape", self.op("Shape", adjoint))
        missing = self.op("Sub", rank, self.op("Shape", shape))
        ones = numpy_helper.from_array(np.ones(1, np.int64))
        padded = self.op("Concat", self.op("ConstantOfShape", missing, value=ones), shape, axis=0)
        repeated = self.op("NonZero", self.op("Equal", padded, self.ints(1)))
        axes = self.op("Reshape", repeated, self.ints(-1))
        # Summing an axis of length 1 that was not repeated changes nothing.
        total = self.op("ReduceSum", adjoint, axes, keepdims=1, noop_with_empty_axes=1)
        return self.op("Reshape", total, shape, allowzero=1)

    def sum(self, adjoints: Sequence[str]) -> str:
        """The sum of adjoints of one tensor."""
        total = adjoints[0]
        for other in adjoints[1:]:
            total = self.op("Add", total, other)
        return total
