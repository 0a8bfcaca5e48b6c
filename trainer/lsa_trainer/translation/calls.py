"""How a node becomes a call: its inputs in the forms that the operator table asks for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from onnx import TensorProto

from lsa_onnx.layers.operators import RANDOM
from lsa_onnx.rewrite.graph import is_standard
from lsa_onnx.structure import first_output
from lsa_trainer.ops.registry import Entry, Op, attributes_for
from lsa_trainer.ops.table import entry_of
from lsa_trainer.translation import host
from lsa_trainer.translation.control import CONTROL
from lsa_trainer.translation.runtime import beside, host_numbers, size
from lsa_trainer.translation.values import Host, Static, Value, plain

if TYPE_CHECKING:
    import onnx

    from lsa_trainer.translation.scope import Scope

_SHAPE_READERS = ("Shape", "Size")
# Their results are whole numbers for ONNX, and floats in torch.
QUANTISING = frozenset({"DynamicQuantizeLinear", "QuantizeLinear"})
# A constant that a few numbers describe (a mask of a million zeros) is made anew, not stored.
_LARGEST_FOLDED = 1 << 20
_HALF_TYPES = (TensorProto.FLOAT16, TensorProto.BFLOAT16)
# Attributes that name an element type.
_NAMING = ("dtype", "output_dtype", "precision", "softmax_precision", "to")
_TYPES: dict[int, torch.dtype] = {
    TensorProto.INT64: torch.int64,
    TensorProto.INT32: torch.int32,
    TensorProto.BOOL: torch.bool,
}


def translate_node(scope: Scope, node: onnx.NodeProto) -> None:
    """Define the outputs of ``node`` in ``scope``."""
    if is_standard(node, CONTROL):
        CONTROL[node.op_type](scope, node)
        return
    names = [
        scope.common.untied.get((first_output(node), index), name)
        for index, name in enumerate(node.input)
    ]
    inputs = [scope.find(name) if name else None for name in names]
    _Call(scope, Op(node, scope.common.opset), inputs).write()


@dataclass(frozen=True)
class _Call:
    """One node on its way into a graph."""

    scope: Scope
    op: Op
    inputs: Sequence[Value | None]

    def write(self) -> None:
        """Compute the node now where that can be, else write a call."""
        known = self._known()
        if known is not None:
            self.scope.define(self.op.node.output[0], known)
        elif not (self._is_foldable() and self._folded()):
            self._write_call()

    @cached_property
    def _entry(self) -> Entry:
        return entry_of(self.op.node, self.op.opset)

    @cached_property
    def _forms(self) -> list[str]:
        rest = self._entry.rest or "Tensor"
        return [*self._entry.forms, *[rest] * len(self.inputs)][: len(self.inputs)]

    @cached_property
    def _keywords(self) -> dict[str, Any]:
        given = dict(attributes_for(self._entry, self.op))
        if self.scope.common.float_type:
            given = {name: self._widened(name, value) for name, value in given.items()}
        if is_standard(self.op.node, QUANTISING) and "output_dtype" in self._entry.keywords:
            # A zero point of fewer than 8 bits comes in a wider type.
            element = self.scope.common.known.element(self.op.node.output[0])
            given["output_dtype"] = given.get("output_dtype") or element or 0
        return given

    def _widened(self, name: str, value: Any) -> Any:
        """An attribute that names a type or holds a tensor, where half precision counts as single."""
        if isinstance(value, torch.Tensor):
            return self.scope.common.widened(value)
        return TensorProto.FLOAT if name in _NAMING and value in _HALF_TYPES else value

    def _known(self) -> Value | None:
        """The result of shape arithmetic, ``None`` for what is none."""
        if is_standard(self.op.node, _SHAPE_READERS):
            return self._shape()
        if not any(isinstance(value, Host) for value in self.inputs):
            return None
        if any(isinstance(value, torch.fx.Node) for value in self.inputs):
            return None
        try:
            return self._settled(host.evaluate(self.op, [_numbers(value) for value in self.inputs]))
        except host.NotOnHost:
            return None

    def _shape(self) -> Value | None:
        value = self.inputs[0]
        dims = self.scope.common.known.dims(self.op.node.input[0])
        if isinstance(value, Static):
            dims = tuple(value.value.shape)
        if dims is None or (None in dims and not isinstance(value, torch.fx.Node)):
            return None
        sizes = [self._size(value, axis) if d is None else d for axis, d in enumerate(dims)]
        if self.op.node.op_type == "Size":
            return self._settled(host.as_numbers([host.product(sizes)], ()))
        cut = sizes[slice(self.op.attributes.get("start", 0), self.op.attributes.get("end"))]
        return self._settled(host.as_numbers(cut, (len(cut),)))

    def _size(self, value: Any, axis: int) -> torch.fx.Proxy:
        graph = self.scope.graph
        made = graph.call_function(size, (value, axis))
        return torch.fx.Proxy(made, torch.fx.proxy.GraphAppendingTracer(graph))

    def _settled(self, numbers: host.Numbers) -> Value:
        """A constant where every number is known."""
        flat = list(numbers.ravel())
        if any(isinstance(number, torch.fx.Proxy) for number in flat):
            return Host(numbers)
        element = self.scope.common.known.element(self.op.node.output[0])
        kind = _TYPES.get(element or TensorProto.INT64, torch.int64)
        return Static(torch.tensor(flat, dtype=kind).reshape(numbers.shape))

    def _is_foldable(self) -> bool:
        # What draws numbers draws anew in each run.
        fixed = all(value is None or isinstance(value, Static) for value in self.inputs)
        return fixed and not self._entry.is_module and self.op.node.op_type not in RANDOM

    def _folded(self) -> bool:
        """Compute a node of constants; whether that was worth it."""
        pairs = zip(self._forms, self.inputs, strict=True)
        given = [_static_form(form, value) for form, value in pairs]
        with torch.no_grad():
            result = self._entry.function(*given, **self._keywords)
        results = result if isinstance(result, tuple) else (result,)
        if sum(each.numel() for each in results if each is not None) > _LARGEST_FOLDED:
            return False
        self.scope.define_outputs(self.op.node, [Static(each) for each in results], several=True)
        return True

    def _write_call(self) -> None:
        scope = self.scope
        pairs = zip(self._forms, self.inputs, strict=True)
        arguments = self._on_one_device([self._form(form, value) for form, value in pairs])
        if self._entry.is_module:
            module = self._entry.function(**self._keywords)
            result = scope.call_module(self.op.node.op_type, module, arguments)
        else:
            keywords = {name: self._attribute(value) for name, value in self._keywords.items()}
            result = scope.graph.call_function(self._entry.function, tuple(arguments), keywords)
        tensors = [a for a in arguments if isinstance(a, torch.fx.Node)]
        if tensors and all(each in scope.on_host for each in tensors):
            scope.on_host.add(result)
        scope.define_outputs(self.op.node, result, several=self._entry.returns_tuple(self.op))

    def _attribute(self, value: Any) -> Any:
        """What ``torch.fx`` can write down: tensors are held by the module."""
        return self.scope.tensor(Static(value)) if isinstance(value, torch.Tensor) else value

    def _form(self, form: str, value: Value | None) -> Any:
        """``value`` as the function wants it."""
        if value is None:
            return None
        if form == "Scalar":
            return self._scalar(value)
        if form not in ("Ints", "Floats"):
            return self.scope.tensor(value)
        if isinstance(value, Static):
            return value.value.reshape(-1).tolist()
        if isinstance(value, Host):
            return [plain(number) for number in value.numbers.ravel()]
        return self.scope.graph.call_function(host_numbers, (value,))

    def _scalar(self, value: Value) -> Any:
        if isinstance(value, Static) and value.value.numel() == 1:
            return value.value.item()
        if isinstance(value, Host) and value.numbers.size == 1:
            return plain(value.numbers.ravel()[0])
        return self.scope.tensor(value)

    def _on_one_device(self, arguments: list[Any]) -> list[Any]:
        """Tensors made of shapes follow the others to their device."""
        scope = self.scope
        nodes = [a for a in arguments if isinstance(a, torch.fx.Node)]
        guide = next((a for a in nodes if a not in scope.on_host and a.op != "get_attr"), None)
        if guide is None or all(a not in scope.on_host for a in nodes):
            return arguments
        return [
            scope.graph.call_function(beside, (a, guide))
            if isinstance(a, torch.fx.Node) and a in scope.on_host
            else a
            for a in arguments
        ]


def _numbers(value: Value | None) -> host.Numbers | None:
    """As shape arithmetic reads it."""
    if isinstance(value, Host):
        return value.numbers
    if not isinstance(value, Static):
        return None
    if value.value.is_floating_point():
        raise host.NotOnHost("whole numbers")
    return host.as_numbers(value.value.reshape(-1).tolist(), tuple(value.value.shape))


def _static_form(form: str, value: Value | None) -> Any:
    if not isinstance(value, Static):
        return None
    if form in ("Ints", "Floats"):
        return value.value.reshape(-1).tolist()
    if form == "Scalar" and value.value.numel() == 1:
        return value.value.item()
    return value.value
