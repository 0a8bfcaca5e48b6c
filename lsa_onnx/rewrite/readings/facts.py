"""What the readings of one model ask of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from lsa_onnx.rewrite.graph import (
    constant_value,
    dependents,
    dimensions,
    opset,
    producers,
    true_inputs,
)

# Tensor → (element type such as "float32" or a container such as "seq(tensor(float))", shape or
# None).
Types = Mapping[str, "tuple[str, list[int | str | None] | None]"]

PLAIN_FLOATS = frozenset({"float16", "float32", "float64"})
MICROSOFT = "com.microsoft"
UNKNOWN = "unknown type"
# ONNX Runtime's own operators are named like those of ONNX that they stand for.
_KNOWN_DOMAINS = frozenset({"", "ai.onnx", MICROSOFT})


class Facts:
    """Types, constants and dependence on the inputs, indexed once."""

    def __init__(self, model: onnx.ModelProto, types: Types) -> None:
        """Index ``model``; ``types`` are those of the tensors that its nodes make."""
        self.graph = model.graph
        self.version = opset(model)
        self.made = producers(model.graph)
        self._types = types
        self._stored = {tensor.name: tensor for tensor in model.graph.initializer}
        self.inputs = true_inputs(model.graph)
        self._fed = {value.name: value for value in self.inputs}
        self.varying = dependents(model.graph, self._fed, by_value=True)

    def dtype(self, name: str) -> str:
        """The type of a tensor, in the words of ``types``."""
        if name in self._stored:
            return _element_name(self._stored[name].data_type)
        if name in self._fed:
            return _element_name(self._fed[name].type.tensor_type.elem_type)
        return self._types.get(name, (UNKNOWN, None))[0]

    def is_single(self, name: str) -> bool:
        """Whether a tensor is known to hold one number."""
        shape = self._shape(name)
        return shape is not None and all(d == 1 for d in shape)

    def same(self, a: str, b: str) -> bool:
        """Whether two tensors are known to be equal: the same, or constants of one value."""
        if a == b:
            return True
        first, second = self._value(a), self._value(b)
        return first is not None and second is not None and np.array_equal(first, second)

    def _shape(self, name: str) -> list[int | str | None] | None:
        if name in self._stored:
            return list(self._stored[name].dims)
        if name in self._fed:
            return dimensions(self._fed[name])
        return self._types.get(name, (UNKNOWN, None))[1]

    def _value(self, name: str) -> NDArray[Any] | None:
        return constant_value(name, self.made, self._stored)


def is_known(node: onnx.NodeProto) -> bool:
    """Whether the operator's name means what ONNX or ONNX Runtime mean by it."""
    return node.domain in _KNOWN_DOMAINS


def _element_name(element: int) -> str:
    """``float32`` for 1, and so on, as ONNX Runtime's types are written here."""
    name = onnx.TensorProto.DataType.Name(element).lower() if element else UNKNOWN
    return {"float": "float32", "double": "float64"}.get(name, name)
