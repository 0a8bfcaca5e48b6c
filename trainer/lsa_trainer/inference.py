"""Whether a model gives one answer for one sample, as a deployed one does."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from lsa_onnx.errors import ModelError
from lsa_onnx.layers.operators import RANDOM
from lsa_onnx.rewrite.graph import (
    attribute,
    constant_value,
    dependents,
    is_standard,
    opset,
    subgraphs,
)
from lsa_onnx.structure import first_output
from lsa_onnx.untied import makers_of, walk_nodes

if TYPE_CHECKING:
    import onnx

# Before, Dropout never dropped at inference.
_FIRST_DROPOUT_WITH_MODE = 12
_TRAINING_MODE_INPUT = 2
_SHOWN = 3


def require_inference(model: onnx.ModelProto) -> None:
    """Refuse a model whose answers depend on chance, or on the other samples of a batch.

    Args:
        model: With small constants inside, as ``lsa_onnx.model.load_model`` gives it.

    Raises:
        ModelError: Nodes are in training mode, or draw numbers on which an output depends.
    """
    training = nodes_in_training(model)
    if training:
        raise ModelError(
            f"the model was exported in training mode: {_listed(training)} would drop values at random, or "
            "normalise by the batch; export it again after model.eval()"
        )
    drawn = random_tensors(model.graph)
    returned = [value.name for value in model.graph.output if value.name in drawn]
    if returned:
        nodes = [node for node in model.graph.node if _draws(node)]
        raise ModelError(
            f"output {returned[0]!r} depends on random numbers, drawn by {_listed(nodes)}: a model that is "
            "hardened must give one answer for one sample; export it without them, or cut the part that "
            "draws out of the file"
        )


def nodes_in_training(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    """The nodes that work as in training: they drop values, or normalise by the statistics of the batch."""
    bodies = [model.graph, *model.functions]
    nodes = [node for body in bodies for node in walk_nodes(body)]
    graphs = [model.graph, *(inner for node in nodes for inner in subgraphs(node))]
    tensors = {tensor.name: tensor for graph in graphs for tensor in graph.initializer}
    makers = makers_of(model.graph)
    drops = opset(model) >= _FIRST_DROPOUT_WITH_MODE
    return [
        node
        for node in nodes
        if (is_standard(node, {"BatchNormalization"}) and attribute(node, "training_mode", 0))
        or (drops and is_standard(node, {"Dropout"}) and _is_switched_on(node, makers, tensors))
    ]


def random_tensors(graph: onnx.GraphProto) -> Collection[str]:
    """The tensors of the main graph whose values depend on numbers that a node draws."""
    drawn = [name for node in graph.node if _draws(node) for name in node.output if name]
    return dependents(graph, drawn, by_value=True)


def _draws(node: onnx.NodeProto) -> bool:
    inner = (each for body in subgraphs(node) for each in body.node)
    return is_standard(node, RANDOM) or any(map(_draws, inner))


def _is_switched_on(
    node: onnx.NodeProto,
    makers: Mapping[str, onnx.NodeProto],
    tensors: Mapping[str, onnx.TensorProto],
) -> bool:
    """Whether a Dropout is told by a constant that it trains."""
    name = next(iter(node.input[_TRAINING_MODE_INPUT:]), "")
    while name in makers and is_standard(makers[name], {"Identity"}):
        name = makers[name].input[0]
    switch = constant_value(name, makers, tensors)
    return switch is not None and bool(np.any(switch))


def _listed(nodes: Sequence[onnx.NodeProto]) -> str:
    shown = ", ".join(f"{node.op_type} {first_output(node)!r}" for node in nodes[:_SHOWN])
    more = len(nodes) - _SHOWN
    return f"{shown} and {more} more" if more > 0 else shown
