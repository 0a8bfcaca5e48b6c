"""``differentiate``: a model that also returns the gradient of an objective by its input.

Reverse-mode differentiation, done on the graph: composite operators are expanded, and for each node
between the input and the objective its adjoint is written as more nodes. The result is an ordinary
ONNX model, so gradients run wherever the model runs.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx

from lsa_onnx.errors import ModelError
from lsa_onnx.rewrite.expand import expand
from lsa_onnx.rewrite.graph import (
    add_initializer,
    copy_model,
    import_default_domain,
    is_standard,
    node_inputs,
    opset,
    replace_nodes,
    true_inputs,
    unused_suffix,
)
from lsa_onnx.rewrite.modernise import modernise
from lsa_onnx.rewrite.names import separate_names
from lsa_onnx.rewrite.objectives import Objective, Written, write_objective, write_rows
from lsa_onnx.rewrite.reductions import Scored
from lsa_onnx.rewrite.shapes import KnownShapes
from lsa_onnx.rewrite.vjp import MissingRules, Names, Tape, active_tensors, find_rule, sweep
from lsa_onnx.rewrite.vjp.sweep import STEPS, ZERO_GRADIENT, Missing

Shapes = Mapping[str, Sequence["int | None"]]


class NotDifferentiable(ModelError):
    """No gradient can be had of this model; ``nodes`` are those without an adjoint, with reasons."""

    def __init__(self, message: str, nodes: Sequence[Missing] = ()) -> None:
        super().__init__(message)
        self.nodes = list(nodes)


@dataclass(frozen=True)
class Differentiated:
    """A model that returns an objective and, unless only that was wanted, its gradient.

    Attributes:
        model: The model. Its outputs are those named here.
        loss: Output of shape (n,), to be maximised.
        margin: Output of shape (n,), see ``objectives.Written``; ``None`` without classes.
        gradients: Input → output with the gradient of the sum of losses, of the input's shape. Where
            samples do not influence each other that is each sample's own gradient.
        goals: What a run must be given besides the model's inputs (``labels``, ``target``,
            ``reference``) → the graph input for it.
    """

    model: onnx.ModelProto
    loss: str
    margin: str | None
    gradients: dict[str, str]
    goals: dict[str, str]


def differentiate(
    model: onnx.ModelProto,
    objective: Objective,
    wrt: Collection[str],
    *,
    shapes: Shapes | None = None,
    straight_through: bool = False,
) -> Differentiated:
    """Add an objective to ``model``, and its gradient by the inputs ``wrt``.

    Args:
        model: The model; it is not changed. External weights stay where they are.
        objective: What to maximise.
        wrt: Float inputs to differentiate by. None: the objective alone is written.
        shapes: Input name → shape, ``None`` for the batch, where the model leaves other dimensions
            free. The result then holds for these shapes.
        straight_through: Let Sign, Round, Floor and Ceil pass adjoints on as if they were the
            identity. (Quantisation always does.)

    Raises:
        ModelError: There is no such input or tensor.
        NotDifferentiable: Operators on the way have no adjoint (all are named), or no
            differentiable path leads from an input to the objective.
    """
    _require_inputs(model, wrt)
    work = primitives(model)
    forward, written, first = _with_objective(work, objective)
    tape = Tape(
        KnownShapes(work, shapes),
        first.names,
        {tensor.name: tensor for tensor in work.graph.initializer},
        opset=opset(work),
        straight_through=straight_through,
    )
    gradients = _write_gradients(tape, forward, written, wrt) if wrt else {}
    return _finish(work, [*forward, *tape.nodes], tape, written, gradients)


def primitives(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of ``model`` as adjoint rules read it: raised, composites expanded, names separated."""
    raised = modernise(model)
    version = opset(raised)
    expanded = expand(raised, lambda node: find_rule(node, version) is not None or _flat(node))
    return separate_names(expanded)


def read_rows(
    model: onnx.ModelProto, tensors: Sequence[Scored]
) -> tuple[onnx.ModelProto, list[str]]:
    """A model that returns ``tensors`` as one row per sample, shape (n, elements) each.

    What ``kl``, ``output`` and ``layer`` objectives take as references.

    Returns:
        The model, and the names of its outputs in the order of ``tensors``.
    """
    work = copy_model(model)
    _require_tensors(work.graph, [item.tensor for item in tensors])
    names = Names(unused_suffix(work.graph, "__rows"))
    known = KnownShapes.types_alone(model)
    tape = Tape(known, names, {}, opset=import_default_domain(work))
    rows = [write_rows(tape, item) for item in tensors]
    replace_nodes(work.graph, _ancestors([*work.graph.node, *tape.nodes], set(rows)))
    for tensor in names.initializers:
        add_initializer(work, tensor)
    del work.graph.output[:]
    work.graph.output.extend(onnx.ValueInfoProto(name=name) for name in rows)
    return work, rows


def _flat(node: onnx.NodeProto) -> bool:
    """Whether nothing flows through ``node``, so that it needs no adjoint."""
    return is_standard(node, ZERO_GRADIENT | STEPS)


def _require_inputs(model: onnx.ModelProto, wrt: Collection[str]) -> None:
    known = [value.name for value in true_inputs(model.graph)]
    for name in wrt:
        if name not in known:
            raise ModelError(
                f"the model has no input {name!r}; its inputs are {', '.join(map(repr, known))}"
            )


def _with_objective(
    work: onnx.ModelProto, objective: Objective
) -> tuple[list[onnx.NodeProto], Written, Tape]:
    """Write the objective into ``work`` (changed) and drop what it does not need.

    Returns:
        The forward nodes up to the loss, what the objective left, and the tape it was written on.
    """
    graph = work.graph
    _require_tensors(graph, [item.tensor for item in objective.tensors])
    names = Names(unused_suffix(graph, "__grad"))
    constants = {tensor.name: tensor for tensor in graph.initializer}
    tape = Tape(KnownShapes.types_alone(work), names, constants, opset=opset(work))
    written = write_objective(tape, objective)
    nodes = [*graph.node, *tape.nodes]
    wanted = {written.loss} | ({written.margin} if written.margin else set())
    forward = _ancestors(nodes, wanted)
    replace_nodes(graph, forward)
    graph.input.extend(written.inputs)
    graph.initializer.extend(names.initializers)
    del graph.output[:]
    graph.output.extend(onnx.ValueInfoProto(name=name) for name in wanted)
    return list(graph.node), written, tape


def _require_tensors(graph: onnx.GraphProto, tensors: Sequence[str]) -> None:
    made = {name for node in graph.node for name in node.output}
    for name in tensors:
        if name not in made:
            raise ModelError(
                f"there is no tensor {name!r} to aim at: no node of the main graph makes it"
            )


def _ancestors(nodes: Sequence[onnx.NodeProto], wanted: set[str]) -> list[onnx.NodeProto]:
    """The nodes that ``wanted`` depends on, in order."""
    needed, kept = set(wanted), []
    for node in reversed(nodes):
        if any(name in needed for name in node.output):
            needed.update(node_inputs(node))
            kept.append(node)
    return kept[::-1]


def _write_gradients(
    tape: Tape, forward: Sequence[onnx.NodeProto], written: Written, wrt: Collection[str]
) -> dict[str, str]:
    one = onnx.numpy_helper.from_array(np.ones(1, tape.dtype(written.loss)))
    seed = tape.op("ConstantOfShape", tape.op("Shape", written.loss), value=one)
    try:
        found = sweep(tape, forward, {written.loss: seed}, list(wrt), written.detached)
    except MissingRules as missing:
        raise NotDifferentiable(_missing_text(missing.nodes), missing.nodes) from None
    for name in wrt:
        if name not in found:
            raise NotDifferentiable(_no_path_text(tape, forward, name))
    return {name: tape.op("Identity", adjoint) for name, adjoint in found.items()}


def _missing_text(nodes: Sequence[Missing], shown: int = 8) -> str:
    listed = [f"{m.node.op_type} {(m.node.name or m.node.output[0])!r} ({m.reason})" for m in nodes]
    more = f" and {len(listed) - shown} more" if len(listed) > shown else ""
    count = f"{len(nodes)} node{'s have' if len(nodes) > 1 else ' has'} no gradient"
    return (
        f"{count}: {', '.join(listed[:shown])}{more}; black-box attacks and noise need none: "
        "use --attack square"
    )


def _no_path_text(tape: Tape, forward: Sequence[onnx.NodeProto], name: str) -> str:
    active = active_tensors(forward, [name], tape.known, straight_through=tape.straight_through)
    ends = [
        node
        for node in forward
        if any(n in active for n in node_inputs(node)) and not any(n in active for n in node.output)
    ]
    where = ", ".join(f"{n.op_type} {(n.name or n.output[0])!r}" for n in ends[:3])
    return (
        f"no differentiable path leads from the output to input {name!r}: every one ends at "
        f"{where or 'a constant'}; use --attack square, or --straight-through for rounding"
    )


def _finish(
    work: onnx.ModelProto,
    nodes: Sequence[onnx.NodeProto],
    tape: Tape,
    written: Written,
    gradients: dict[str, str],
) -> Differentiated:
    graph = work.graph
    replace_nodes(graph, nodes)
    present = {tensor.name for tensor in graph.initializer}
    graph.initializer.extend(t for t in tape.names.initializers if t.name not in present)
    del graph.output[:]
    del graph.value_info[:]
    results = [written.loss, *([written.margin] if written.margin else []), *gradients.values()]
    # An untyped output is legal for ONNX Runtime, which infers the type.
    graph.output.extend(onnx.ValueInfoProto(name=name) for name in results)
    return Differentiated(work, written.loss, written.margin, gradients, written.goals)
