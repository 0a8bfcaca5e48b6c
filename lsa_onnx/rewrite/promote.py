"""``promote``: an inner tensor becomes an input; ``front``: what computes that tensor.

A model of token ids has nothing that a small perturbation could move, but behind its embedding it has.
``promote(front(x))`` is the model again, cut at the tensor.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from lsa_onnx.errors import ModelError
from lsa_onnx.rewrite.graph import (
    add_initializer,
    copy_model,
    dependents,
    node_inputs,
    producers,
    replace_nodes,
    true_inputs,
    unused_suffix,
)

# What a runtime can be fed by numpy, and attacks can move.
PERTURBABLE = (onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE, onnx.TensorProto.FLOAT16)

Shape = Sequence["int | str | None"]


def promote(
    model: onnx.ModelProto, tensor: str, element: int, shape: Shape | None
) -> onnx.ModelProto:
    """A copy of ``model`` whose first input is ``tensor``, which its own nodes make no more.

    What only ``tensor`` needed is gone, inputs among it. Inputs that are read elsewhere stay (an
    attention mask that is made of token ids keeps the ids), and so do the order of nodes, all other
    names, and the outputs.

    Args:
        model: Any ONNX model; it is not changed.
        tensor: A float tensor that a node of the main graph makes.
        element: Its ONNX element type.
        shape: Its shape as far as it is known, as ``graph.dimensions`` gives it.

    Raises:
        ModelError: There is no such tensor, it is not of floats, it does not depend on an input, or no
            output depends on it.
    """
    require_inner(model, tensor)
    if element not in PERTURBABLE:
        kind = onnx.TensorProto.DataType.Name(element).lower()
        raise ModelError(
            f"cannot perturb {tensor!r}: it holds {kind} values; accepted are tensors of float, double "
            "and float16, give another one"
        )
    promoted = copy_model(model)
    graph = promoted.graph
    roots = _ends(graph, but=tensor)
    # Where its maker stays for another output, that one must not define the name a second time.
    _rename_output(graph, tensor, tensor + unused_suffix(graph, "__replaced"))
    _keep(graph, roots)
    graph.input.insert(0, helper.make_tensor_value_info(tensor, element, shape))
    return promoted


def front(model: onnx.ModelProto, tensor: str) -> onnx.ModelProto:
    """The part of ``model`` that computes ``tensor``, its only output, of the inputs that takes.

    Args:
        model: Any ONNX model; it is not changed.
        tensor: A tensor that a node of the main graph makes.

    Raises:
        ModelError: There is no such tensor, it does not depend on an input, or no output depends on it.
    """
    require_inner(model, tensor)
    part = copy_model(model)
    graph = part.graph
    values = (*graph.output, *graph.value_info)
    declared = next((v for v in values if v.name == tensor), onnx.ValueInfoProto(name=tensor))
    output = onnx.ValueInfoProto()
    output.CopyFrom(declared)
    del graph.output[:]
    graph.output.append(output)
    _keep(graph, [tensor])
    return part


def require_inner(model: onnx.ModelProto, tensor: str) -> None:
    """Hold ``tensor`` to lie between the inputs and the outputs.

    Raises:
        ModelError: There is no such tensor, it does not depend on an input, or no output depends on it.
    """
    graph = model.graph
    inputs = [value.name for value in true_inputs(graph)]
    what = f"cannot perturb {tensor!r}"
    if tensor in inputs:
        raise ModelError(f"{what} as an inner tensor: it is an input; use --perturb {tensor}")
    if tensor not in producers(graph):
        raise ModelError(
            f"{what}: no node of the main graph makes a tensor of this name; `lsa-onnx layers MODEL` "
            "lists the tensors"
        )
    if tensor not in dependents(graph, inputs):
        raise ModelError(f"{what}: it does not depend on any input; give a tensor that does")
    reached = dependents(graph, [tensor], by_value=True) - {tensor}
    if not any(value.name in reached for value in graph.output):
        raise ModelError(f"{what}: no output depends on it; give a tensor that comes before one")


def with_constants(model: onnx.ModelProto, values: Mapping[str, NDArray[Any]]) -> onnx.ModelProto:
    """A copy of ``model`` in which the inputs named in ``values`` are constants.

    Args:
        model: Any ONNX model; it is not changed.
        values: Input name → its value, in the input's type and shape.

    Raises:
        ModelError: There is no such input.
    """
    changed = copy_model(model)
    known = {value.name: value for value in true_inputs(changed.graph)}
    for name, array in values.items():
        if name not in known:
            raise ModelError(
                f"the model has no input {name!r} to fix; accepted are {', '.join(known)}"
            )
        changed.graph.input.remove(known[name])
        add_initializer(changed, numpy_helper.from_array(np.asarray(array), name))
    return changed


def _ends(graph: onnx.GraphProto, but: str) -> list[str]:
    """What must still be made: the outputs, and what nodes make that nobody reads (``but`` aside)."""
    read = {name for node in graph.node for name in node_inputs(node)}
    loose = [
        name
        for node in graph.node
        if not read.intersection(node.output)
        for name in node.output
        if name and name != but
    ]
    return [*(value.name for value in graph.output), *loose]


def _rename_output(graph: onnx.GraphProto, old: str, new: str) -> None:
    node = producers(graph)[old]
    for index, name in enumerate(node.output):
        if name == old:
            node.output[index] = new


def _keep(graph: onnx.GraphProto, roots: Iterable[str]) -> None:
    """Drop from ``graph`` (changed) what ``roots`` do not need, but what nobody ever read."""
    read_before = {name for node in graph.node for name in node_inputs(node)}
    needed, kept = set(roots), []
    for node in reversed(graph.node):
        if needed.intersection(filter(None, node.output)):
            needed.update(node_inputs(node))
            kept.append(node)
    replace_nodes(graph, kept[::-1])
    gone = read_before - needed
    made = {name for node in graph.node for name in node.output}
    _retain(graph.input, lambda value: value.name not in gone)
    _retain(graph.initializer, lambda value: value.name not in gone)
    _retain(graph.sparse_initializer, lambda value: value.values.name not in gone)
    _retain(graph.value_info, lambda value: value.name in made)


def _retain(values: Any, wanted: Callable[[Any], bool]) -> None:
    """Of a repeated field."""
    kept = [type(value).FromString(value.SerializeToString()) for value in values if wanted(value)]
    if len(kept) < len(values):
        del values[:]
        values.extend(kept)
