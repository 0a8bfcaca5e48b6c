"""Compute, once sizes are known, what a model computes from shapes.

Exporters write sizes as arithmetic on shapes: a padding, the scale of an attention, the target of a
reshape. ONNX's inference follows little of it, and what lies behind has no shape then. With numbers
in place of all free dimensions every such value is a constant: it is computed here, node by node,
together with the shapes that it needs. Linear in nodes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper, shape_inference
from onnx.reference import ReferenceEvaluator

from lsa_onnx.rewrite.graph import (
    add_initializer,
    copy_model,
    dimensions,
    is_standard,
    opset,
    replace_nodes,
    subgraphs,
)

Array = NDArray[Any]

# Operators in which exporters write arithmetic on shapes.
_ARITHMETIC = frozenset(
    {
        "Abs",
        "Add",
        "And",
        "Cast",
        "Ceil",
        "Concat",
        "ConstantOfShape",
        "Div",
        "Equal",
        "Expand",
        "Floor",
        "Gather",
        "Greater",
        "GreaterOrEqual",
        "Identity",
        "Less",
        "LessOrEqual",
        "Max",
        "Min",
        "Mod",
        "Mul",
        "Neg",
        "NonZero",
        "Not",
        "Or",
        "Pow",
        "Range",
        "Reciprocal",
        "ReduceMax",
        "ReduceMin",
        "ReduceProd",
        "ReduceSum",
        "Reshape",
        "ScatterElements",
        "ScatterND",
        "Slice",
        "Split",
        "Sqrt",
        "Squeeze",
        "Sub",
        "Tile",
        "Transpose",
        "Unsqueeze",
        "Where",
    }
)
_MOST_ELEMENTS = 1024


def fold_shape_arithmetic(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of ``model`` in which values that follow from shapes alone are initializers.

    Args:
        model: A model whose inputs have no free dimension; it is not changed.
    """
    walk = _Walk(model)
    kept = [node for node in model.graph.node if not walk.computed(node)]
    folded = copy_model(model)
    replace_nodes(folded.graph, kept)
    for name, value in walk.found.items():
        add_initializer(folded, numpy_helper.from_array(value, name))
    return folded


class _Walk:
    """Types and small constants, node by node."""

    def __init__(self, model: onnx.ModelProto) -> None:
        graph = model.graph
        self._imports = list(model.opset_import)
        self._ir_version = model.ir_version
        self._opset = opset(model)
        self._tensors = {tensor.name: tensor for tensor in graph.initializer}
        self._types: dict[str, onnx.TypeProto] = {value.name: value.type for value in graph.input}
        for tensor in graph.initializer:
            self._types[tensor.name] = helper.make_tensor_type_proto(tensor.data_type, tensor.dims)
        self.found: dict[str, Array] = {}

    def computed(self, node: onnx.NodeProto) -> bool:
        """Take in ``node``; whether it was computed, so that ``found`` holds its outputs."""
        values = self._computed(node)
        if values is None:
            self._types.update(self._inferred(node))
            return False
        for name, value in values.items():
            self.found[name] = value
            element = helper.np_dtype_to_tensor_dtype(value.dtype)
            self._types[name] = helper.make_tensor_type_proto(element, value.shape)
        return True

    def _computed(self, node: onnx.NodeProto) -> Mapping[str, Array] | None:
        if is_standard(node, ("Shape", "Size")):
            shape = self._shape(node.input[0])
            if shape is None:
                return None
            return self._evaluated(node, {node.input[0]: np.empty(shape, np.bool_)})
        if not is_standard(node, _ARITHMETIC):
            return None
        given = {name: self._value(name) for name in node.input if name}
        known = {name: value for name, value in given.items() if value is not None}
        return self._evaluated(node, known) if len(known) == len(given) else None

    def _evaluated(
        self, node: onnx.NodeProto, given: Mapping[str, Array]
    ) -> Mapping[str, Array] | None:
        names = [name for name in node.output if name]
        try:
            run = ReferenceEvaluator(node, opsets={"": self._opset}).run(names, dict(given))
        except Exception:  # noqa: BLE001 - evaluators raise whatever numpy does; the node stays then
            return None
        arrays = {name: np.asarray(value) for name, value in zip(names, run, strict=True)}
        return arrays if all(a.size <= _MOST_ELEMENTS for a in arrays.values()) else None

    def _value(self, name: str) -> Array | None:
        if name in self.found:
            return self.found[name]
        tensor = self._tensors.get(name)
        if tensor is None or tensor.data_location == onnx.TensorProto.EXTERNAL:
            return None
        return numpy_helper.to_array(tensor) if np.prod(tensor.dims) <= _MOST_ELEMENTS else None

    def _shape(self, name: str) -> tuple[int, ...] | None:
        if name not in self._types:
            return None
        dims = dimensions(onnx.ValueInfoProto(type=self._types[name]))
        numbers = tuple(d for d in dims or () if isinstance(d, int))
        return numbers if dims is not None and len(numbers) == len(dims) else None

    def _inferred(self, node: onnx.NodeProto) -> Mapping[str, onnx.TypeProto]:
        names = [name for name in node.input if name]
        if any(name not in self._types for name in names) or any(True for _ in subgraphs(node)):
            return {}
        data = {name: value for name in names if (value := self._value(name)) is not None}
        try:
            schema = onnx.defs.get_schema(node.op_type, self._opset, node.domain)
            inferred: Mapping[str, onnx.TypeProto] = shape_inference.infer_node_outputs(
                schema,
                node,
                {name: self._types[name] for name in names},
                {name: numpy_helper.from_array(value, name) for name, value in data.items()},
                opset_imports=self._imports,
                ir_version=self._ir_version,
            )
        except (
            RuntimeError,
            ValueError,
            # The form of GroupNormalization in opset 18 is deprecated.
            onnx.checker.ValidationError,
            onnx.defs.SchemaError,
            shape_inference.InferenceError,
        ):
            return {}
        return inferred
