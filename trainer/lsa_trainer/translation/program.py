"""``translate``: an ONNX graph in the dialect as one ``torch.fx`` graph with all of its tensors."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from onnx import TensorProto

from lsa_onnx.rewrite.graph import dimensions, is_standard, opset, subgraphs, true_inputs
from lsa_onnx.rewrite.shapes import Hints, KnownShapes
from lsa_trainer.ops.element_types import TORCH_TYPES
from lsa_trainer.translation.calls import QUANTISING
from lsa_trainer.translation.paths import attribute_path, hold
from lsa_trainer.translation.runtime import in_type
from lsa_trainer.translation.scope import Common, Scope
from lsa_trainer.translation.values import Static, Value

if TYPE_CHECKING:
    import onnx

_FLOATS = (TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.BFLOAT16)
# Element type of a quantised output → that of the tensor which is handed out.
_QUANTISED: dict[int, torch.dtype] = {
    **{element: dtype for element, dtype in TORCH_TYPES.items() if element not in _FLOATS},
    TensorProto.INT4: torch.int8,
    TensorProto.INT2: torch.int8,
    TensorProto.UINT4: torch.uint8,
    TensorProto.UINT2: torch.uint8,
}


@dataclass(frozen=True)
class Program:
    """A translated model, before anybody says what to read of it.

    Attributes:
        root: Holds parameters, buffers and the modules of nodes that are modules.
        graph: Every node, without an output.
        inputs: Names of the inputs in order.
        outputs: Names of the outputs in order.
        values: Name of a tensor of the main graph → what stands for it in ``graph``.
        paths: Name of an initializer or an untied copy that is held as such → its path in ``root``.
        free_batch: Whether the leading dimension of every input is free.
    """

    root: torch.nn.Module
    graph: torch.fx.Graph
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    values: Mapping[str, torch.fx.Node]
    paths: Mapping[str, str]
    free_batch: bool


def translate(
    model: onnx.ModelProto,
    folder: Path | None,
    *,
    parameters: Mapping[str, torch.nn.Parameter],
    kept: Mapping[str, torch.Tensor] | None = None,
    untied: Mapping[tuple[str, int], str] | None = None,
    hints: Hints | None = None,
    float_type: torch.dtype | None = None,
    reserved: Collection[str] = (),
) -> Program:
    """Translate a model.

    Args:
        model: In the dialect, see ``in_dialect``.
        folder: Of the weights that are outside the proto.
        parameters: Name of an initializer (or of an untied copy) → what stands for it.
        kept: What is no parameter but belongs to the state dict (running statistics), likewise by name.
        untied: (first output of a node, place of an input) → the copy that stands for the initializer
            there.
        hints: Shapes of inputs that the model leaves open.
        float_type: The type of all floats of half precision; ``None`` for what the file says.
        reserved: Attributes of the module that will be made of the result: no tensor is held as such.
    """
    root = torch.nn.Module()
    known = KnownShapes(model, hints)
    version, copies = opset(model), dict(untied or {})
    common = Common(root, known, version, folder, copies, float_type, reserved)
    scope = Scope(common, torch.fx.Graph())
    inputs = [value.name for value in true_inputs(model.graph)]
    for index, name in enumerate(inputs):
        scope.define(name, scope.graph.placeholder(_argument(index, len(inputs))))
    paths = {}
    for name, held in {**parameters, **(kept or {})}.items():
        paths[name] = _held(scope, name, held)
    for tensor in model.graph.initializer:
        if tensor.name not in paths:
            scope.define(tensor.name, Static(common.constant(tensor)))
    scope.run(model.graph)
    outputs = [value.name for value in model.graph.output]
    values = _as_nodes(scope, {**scope.values}, outputs)
    if any(is_standard(node, QUANTISING) for node in _every_node(model.graph)):
        values |= {name: _handed_out(scope, name, values[name]) for name in outputs}
    return Program(
        root,
        scope.graph,
        tuple(inputs),
        tuple(outputs),
        values,
        paths,
        _is_free(model),
    )


def _is_free(model: onnx.ModelProto) -> bool:
    shapes = [dimensions(value) for value in true_inputs(model.graph)]
    return all(shape is None or (shape and not isinstance(shape[0], int)) for shape in shapes)


def _argument(index: int, count: int) -> str:
    return "x" if count == 1 else f"x{index}"


def _held(scope: Scope, name: str, tensor: torch.Tensor) -> str:
    path = attribute_path(scope.common.root, name, scope.common.reserved)
    hold(scope.common.root, path, tensor)
    scope.define(name, scope.graph.get_attr(path))
    return path


def _every_node(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    for node in graph.node:
        yield node
        for body in subgraphs(node):
            yield from _every_node(body)


def _handed_out(scope: Scope, name: str, node: torch.fx.Node) -> torch.fx.Node:
    """An output as ONNX has it: numbers that were quantised are floats on their way through torch."""
    dtype = _QUANTISED.get(scope.common.known.element(name) or 0)
    return scope.graph.call_function(in_type, (node, dtype)) if dtype else node


def _as_nodes(
    scope: Scope, values: Mapping[str, Value], outputs: Sequence[str]
) -> dict[str, torch.fx.Node]:
    """Every tensor that is made while the module runs, and the outputs whatever they are."""
    made = {
        name: value
        for name, value in values.items()
        if isinstance(value, torch.fx.Node) and value.op != "get_attr"
    }
    return {**made, **{name: scope.tensor(values[name]) for name in outputs}}
