"""What is known about the tensors that a graph can read: element types, ranks and constants."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping

import onnx
from onnx import helper

from lsa_onnx.rewrite.graph import attribute, inferred, opset, subgraphs

FLOATS = frozenset(
    {
        onnx.TensorProto.FLOAT,
        onnx.TensorProto.FLOAT16,
        onnx.TensorProto.BFLOAT16,
        onnx.TensorProto.DOUBLE,
    }
)
# Small enough to be a shape, axes or pads; inference reads nothing larger.
_READABLE_ELEMENTS = 64


def is_type(kind: onnx.TypeProto) -> bool:
    """Whether it says anything: sequences and the like do, tensors without element type do not."""
    return bool(kind.WhichOneof("value")) and (
        not kind.HasField("tensor_type") or bool(kind.tensor_type.elem_type)
    )


class Scope:
    """Types by tensor name; a body sees its own tensors and those of the graphs around it."""

    def __init__(self, version: int, ir_version: int, outer: Scope | None = None) -> None:
        """A scope that knows nothing yet, inside ``outer``."""
        self._version = version
        self._ir_version = ir_version
        self._outer = outer
        self._types: dict[str, onnx.TypeProto] = {}
        self._constants: dict[str, onnx.TensorProto] = {}

    @classmethod
    def of(cls, model: onnx.ModelProto) -> Scope:
        """The scope of the main graph, with all that ONNX's own inference knows of it."""
        scope = cls(opset(model), model.ir_version)
        scope.declare(inferred(model).graph)
        return scope

    def body(self, graph: onnx.GraphProto, node: onnx.NodeProto) -> Scope:
        """The scope of a body of ``node``, a node of this scope."""
        inner = Scope(self._version, self._ir_version, self)
        inner.declare(graph)
        for value, name in _carried(graph, node):
            known = self.type(name)
            if known is not None and inner.type(value.name) is None:
                inner._types[value.name] = _element_only(known)
        return inner

    def declare(self, graph: onnx.GraphProto) -> None:
        """Take over what a graph says about its tensors."""
        for value in (*graph.input, *graph.value_info, *graph.output):
            if is_type(value.type):
                self._types[value.name] = value.type
        for tensor in graph.initializer:
            self.hold(tensor)

    def hold(self, tensor: onnx.TensorProto) -> None:
        """Take over the type of a constant, and its value if that can be a shape."""
        self._types[tensor.name] = helper.make_tensor_type_proto(tensor.data_type, tensor.dims)
        external = tensor.data_location == onnx.TensorProto.EXTERNAL
        if not external and math.prod(tensor.dims) <= _READABLE_ELEMENTS:
            self._constants[tensor.name] = tensor

    def type(self, name: str) -> onnx.TypeProto | None:
        """The type of a tensor, ``None`` where nothing is known."""
        scope: Scope | None = self
        while scope is not None:
            if name in scope._types:
                return scope._types[name]
            scope = scope._outer
        return None

    def element(self, name: str) -> int | None:
        """The element type of a tensor, ``None`` where it is not known."""
        found = self.type(name)
        return None if found is None else found.tensor_type.elem_type or None

    def rank(self, name: str) -> int | None:
        """The number of dimensions, ``None`` where it is not known."""
        found = self.type(name)
        if found is None or not found.tensor_type.HasField("shape"):
            return None
        return len(found.tensor_type.shape.dim)

    def constant(self, name: str) -> onnx.TensorProto | None:
        """A small constant, ``None`` where the tensor is not one."""
        scope: Scope | None = self
        while scope is not None:
            if name in scope._types:
                return scope._constants.get(name)
            scope = scope._outer
        return None

    def first_float(self, names: Iterable[str]) -> int | None:
        """The element type of the first of these tensors that is a float."""
        return next((e for e in map(self.element, names) if e in FLOATS), None)

    def record(self, node: onnx.NodeProto) -> None:
        """Infer what is not known yet of the types that ``node`` makes.

        The inference of the whole graph may have lost a rank behind a foreign operator.
        """
        vague = [name for name in node.output if name and self._vague(name)]
        if not vague:
            return
        found = self._inferred(node) or self._guessed(node)
        self._types.update({n: found[n] for n in vague if n in found and is_type(found[n])})

    def _vague(self, name: str) -> bool:
        """Whether there may be more to know about a tensor."""
        known = self.type(name)
        return known is None or (
            known.HasField("tensor_type") and not known.tensor_type.HasField("shape")
        )

    def _inferred(self, node: onnx.NodeProto) -> Mapping[str, onnx.TypeProto]:
        """What the operator's own rule says; nothing for control flow and for foreign operators."""
        if node.domain not in ("", "ai.onnx") or any(True for _ in subgraphs(node)):
            return {}
        types = {name: found for name in node.input if name and (found := self.type(name))}
        if any(name and name not in types for name in node.input):
            return {}
        data = {name: tensor for name in types if (tensor := self.constant(name))}
        try:
            return onnx.shape_inference.infer_node_outputs(
                onnx.defs.get_schema(node.op_type, self._version, ""),
                node,
                types,
                input_data=data,
                opset_imports=[helper.make_opsetid("", self._version)],
                ir_version=self._ir_version,
            )
        except (
            RuntimeError,
            ValueError,
            onnx.checker.ValidationError,
            onnx.defs.SchemaError,
            onnx.shape_inference.InferenceError,
        ):
            # The types are a help, not a check: a node that they do not fit is the runtime's to refuse.
            return {}

    def _guessed(self, node: onnx.NodeProto) -> Mapping[str, onnx.TypeProto]:
        """The types of a body's results, or else the element type of the first input."""
        for graph in subgraphs(node):
            return dict(zip(node.output, _results(graph, node), strict=False))
        known = [found for name in node.input if (found := self.type(name))]
        return {name: _element_only(known[0]) for name in node.output[:1] if known}


def _carried(
    graph: onnx.GraphProto, node: onnx.NodeProto
) -> Iterator[tuple[onnx.ValueInfoProto, str]]:
    """The inputs of a body beside what the node feeds to them."""
    values = list(graph.input)[2:] if node.op_type == "Loop" else list(graph.input)
    names = list(node.input)[2:] if node.op_type == "Loop" else list(node.input)
    if node.op_type in ("Loop", "Scan"):
        yield from zip(values, names, strict=False)


def _results(graph: onnx.GraphProto, node: onnx.NodeProto) -> Iterator[onnx.TypeProto]:
    """The types of what a control-flow node makes of its body's results."""
    if node.op_type == "Scan":
        states = len(graph.input) - attribute(node, "num_scan_inputs", 0)
        for index, value in enumerate(graph.output):
            yield value.type if index < states else _stacked(value.type)
    else:
        for value in list(graph.output)[1 if node.op_type == "Loop" else 0 :]:
            yield _element_only(value.type)


def _stacked(kind: onnx.TypeProto) -> onnx.TypeProto:
    """The type of many such tensors along a new first dimension."""
    stacked = _element_only(kind)
    if kind.tensor_type.HasField("shape"):
        stacked.tensor_type.shape.dim.add()
        stacked.tensor_type.shape.dim.extend(kind.tensor_type.shape.dim)
    return stacked


def _element_only(kind: onnx.TypeProto) -> onnx.TypeProto:
    reduced = onnx.TypeProto()
    reduced.tensor_type.elem_type = kind.tensor_type.elem_type
    return reduced
