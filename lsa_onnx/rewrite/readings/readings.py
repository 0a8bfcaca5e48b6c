"""Which tensors of a model can be read as numbers, and how."""

from __future__ import annotations

import re
from typing import Any

import onnx
from onnx import helper

from lsa_onnx.rewrite.graph import unused_suffix
from lsa_onnx.rewrite.readings.accumulators import Sum, Sums
from lsa_onnx.rewrite.readings.containers import Containers
from lsa_onnx.rewrite.readings.facts import MICROSOFT, PLAIN_FLOATS, Facts, Types, is_known
from lsa_onnx.rewrite.readings.reading import Reading
from lsa_onnx.rewrite.readings.scales import Scale, trace_scales

_SMALL_FLOAT = re.compile(r"bfloat16|float8.*")
# The first opset whose DequantizeLinear takes the type, whatever the scale.
_DEQUANTISED_SINCE = {
    **dict.fromkeys(("int8", "uint8"), 10),
    **dict.fromkeys(("float8e4m3fn", "float8e4m3fnuz", "float8e5m2", "float8e5m2fnuz"), 19),
    **dict.fromkeys(("int16", "uint16", "int4", "uint4"), 21),
    **dict.fromkeys(("int2", "uint2"), 25),
}
_DEQUANTISED_BY_MICROSOFT = frozenset({"int8", "uint8", "int16", "uint16", "int4", "uint4"})
_AXIS_SINCE = 13
_BLOCKS_SINCE = 21
_SINGLE = "float32"


class Readings:
    """Answers for every tensor of one model."""

    def __init__(self, model: onnx.ModelProto, types: Types) -> None:
        """Index ``model``. Linear in nodes.

        Args:
            model: The model.
            types: Type and shape of the tensors that nodes of the main graph make, as ONNX Runtime
                infers them: ``int8``, ``bfloat16``, ``seq(tensor(float))``.
        """
        self._facts = Facts(model, types)
        self._suffix = unused_suffix(model.graph, "__read")
        self._scales = trace_scales(self._facts)
        self._zeros = {scale.zero: tensor for tensor, scale in reversed(self._scales.items())}
        self._sums = Sums(self._facts, self._scales)
        self._containers = Containers(self._facts)
        self._dequantised = {
            node.input[0]: node.output[0]
            for node in reversed(model.graph.node)
            if node.op_type == "DequantizeLinear" and is_known(node)
        }

    def of(self, tensor: str) -> Reading | str:
        """How ``tensor`` is read, or the reason why it cannot be read as numbers.

        A quantised tensor that the model itself turns into floats is not read again: the reason
        names the floats.
        """
        if self._containers.kind(tensor):
            return self._containers.reason(tensor)
        other = self.stand_in(tensor)
        if other is not None:
            is_sum = self._sums.of(tensor) is not None
            where = "through its scale" if is_sum else "after DequantizeLinear"
            return (
                f"{'integer accumulator' if is_sum else 'quantised'}: scored as {other!r} {where}"
            )
        dtype, found = self._facts.dtype(tensor), self._sums.of(tensor)
        if found is not None:
            return self._scaled_sum(tensor, dtype, found)
        if tensor in self._scales and dtype not in PLAIN_FLOATS:
            return self._through_scale(tensor, dtype, self._scales[tensor])
        if dtype in PLAIN_FLOATS:
            return Reading(tensor, tensor, dtype)
        if _SMALL_FLOAT.fullmatch(dtype):
            return self._cast(tensor)
        if tensor in self._zeros:
            return f"zero point: {self._zeros[tensor]!r} is read with it"
        return f"not floating point ({dtype})"

    def stand_in(self, tensor: str) -> str | None:
        """The float tensor of the model that has the same content as a quantised one, if there is one."""
        found = self._sums.of(tensor)
        if found is None:
            return self._dequantised.get(tensor)
        is_bare = self._facts.dtype(tensor) not in PLAIN_FLOATS
        return self._sums.scaled(tensor) if is_bare or found.drawn else None

    def _cast(self, tensor: str) -> Reading:
        result = self._name(tensor)
        cast = _node("Cast", [tensor], result, to=onnx.TensorProto.FLOAT)
        return Reading(tensor, result, _SINGLE, "cast to float32", (cast,))

    def _through_scale(self, tensor: str, dtype: str, scale: Scale) -> Reading | str:
        domain = self._dequantising_domain(dtype, scale)
        if domain is None:
            return f"quantised: no DequantizeLinear of opset {self._facts.version} takes {dtype}"
        result = self._name(tensor)
        nodes, steps = self._single_precision(scale.scale, result)
        options = {} if scale.single else {"axis": scale.axis, "block_size": scale.block}
        options = {name: value for name, value in options.items() if value or name == "axis"}
        operands = [tensor, steps, *filter(None, [scale.zero])]
        nodes.append(_node("DequantizeLinear", operands, result, domain=domain, **options))
        return Reading(tensor, result, _SINGLE, f"through its scale {scale.scale!r}", tuple(nodes))

    def _dequantising_domain(self, dtype: str, scale: Scale) -> str | None:
        """Whose DequantizeLinear takes the type and the layout of the scale."""
        since = _DEQUANTISED_SINCE.get(dtype)
        if since is not None:
            layout = 0 if scale.single else _BLOCKS_SINCE if scale.block else _AXIS_SINCE
            if self._facts.version >= max(since, layout):
                return ""
        return MICROSOFT if dtype in _DEQUANTISED_BY_MICROSOFT else None

    def _scaled_sum(self, tensor: str, dtype: str, found: Sum) -> Reading | str:
        """A sum that the model does not scale itself."""
        if found.unknown:
            return f"integer accumulator: the scale of {found.unknown!r} is not known"
        if dtype in PLAIN_FLOATS and not found.drawn:
            return Reading(tensor, tensor, dtype)
        result = self._name(tensor)
        current = f"{result}_steps" if found.scales else result
        nodes = [_node("Cast", [tensor], current, to=onnx.TensorProto.FLOAT)]
        for index, scale in enumerate(found.scales):
            added, steps = self._single_precision(scale, f"{result}_{index}")
            last = index == len(found.scales) - 1
            product = result if last else f"{result}_product"
            nodes += [*added, _node("Mul", [current, steps], product)]
            current = product
        return Reading(tensor, result, _SINGLE, _in_steps(found), tuple(nodes))

    def _single_precision(self, scale: str, prefix: str) -> tuple[list[onnx.NodeProto], str]:
        """A scale as float32, and the node that it takes; halves would overflow with large steps."""
        if self._facts.dtype(scale) == _SINGLE:
            return [], scale
        result = f"{prefix}_scale"
        return [_node("Cast", [scale], result, to=onnx.TensorProto.FLOAT)], result

    def _name(self, tensor: str) -> str:
        return f"{tensor}{self._suffix}"


def _in_steps(found: Sum) -> str:
    """How a sum is read, in words."""
    scales = " and ".join(f"its scale {name!r}" for name in found.scales)
    if len(found.scales) > 1:
        return f"cast to float32, times {scales}"
    rest = "a fixed unit, which cancels in a relative error"
    return (
        f"cast to float32, times {scales}, in {rest}" if scales else f"cast to float32, in {rest}"
    )


def _node(op: str, inputs: list[str], output: str, **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(op, inputs, [output], name=output, **attributes)
