"""``expose``: intermediate tensors become graph outputs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import onnx

from lsa_onnx.errors import ModelError
from lsa_onnx.rewrite.graph import copy_model, initializer_names, producers

# What is declared of an exposed tensor: its ONNX element type and its shape (None: unknown).
TensorTypes = Mapping[str, tuple[int, "list[int | str | None] | None"]]


def expose(
    model: onnx.ModelProto, tensors: Iterable[str], types: TensorTypes | None = None
) -> onnx.ModelProto:
    """A copy of ``model`` that also returns ``tensors``.

    The original outputs come first and keep their order; the new ones follow in the order given. A
    tensor that is an output already is not added again. Nothing else changes, so the original
    outputs keep their values.

    Args:
        model: Any ONNX model; it is not changed.
        tensors: Names of tensors made by nodes of the main graph.
        types: Element type and shape per tensor. ONNX Runtime needs none of them; ``onnx.checker``
            wants a type on every output, so give them for a model that is to be saved.

    Raises:
        ModelError: A name is not made by any node of the main graph.
    """
    made = producers(model.graph)
    constants = initializer_names(model.graph)
    declared = {value.name for value in model.graph.output}
    exposed = copy_model(model)
    known = {value.name: value for value in model.graph.value_info}
    for name in dict.fromkeys(tensors):
        if name in declared:
            continue
        if name not in made or name in constants:
            raise ModelError(
                f"cannot expose {name!r}: no node of the main graph makes a tensor of this name; "
                "`lsa-onnx layers MODEL` lists those that can be exposed"
            )
        exposed.graph.output.append(_value(name, known, types or {}))
    return exposed


def _value(
    name: str, known: Mapping[str, onnx.ValueInfoProto], types: TensorTypes
) -> onnx.ValueInfoProto:
    if name in types:
        element, shape = types[name]
        return onnx.helper.make_tensor_value_info(name, element, shape)
    return known.get(name, onnx.ValueInfoProto(name=name))
