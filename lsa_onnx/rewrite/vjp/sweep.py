"""The reverse sweep: adjoints flow from the objective back through the nodes of a graph."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import onnx

from lsa_onnx.rewrite.graph import is_standard, node_inputs
from lsa_onnx.rewrite.shapes import KnownShapes
from lsa_onnx.rewrite.vjp.registry import Op, RuleRefused, find_rule
from lsa_onnx.rewrite.vjp.tape import Tape

# Piecewise constant, or of a discrete result: the gradient is 0 wherever it exists.
ZERO_GRADIENT = frozenset(
    {
        "And",
        "ArgMax",
        "ArgMin",
        "Bernoulli",
        "BitShift",
        "BitwiseAnd",
        "BitwiseNot",
        "BitwiseOr",
        "BitwiseXor",
        "ConstantOfShape",
        "Equal",
        "EyeLike",
        "Greater",
        "GreaterOrEqual",
        "Hardmax",
        "IsInf",
        "IsNaN",
        "Less",
        "LessOrEqual",
        "Multinomial",
        "NonMaxSuppression",
        "NonZero",
        "Not",
        "Or",
        "RandomNormalLike",
        "RandomUniformLike",
        "Shape",
        "Size",
        "Xor",
    }
)
# Zero gradient too, but passed on as the identity under straight-through.
STEPS = frozenset({"Ceil", "Floor", "Round", "Sign"})

_REAL = frozenset(
    {
        onnx.TensorProto.FLOAT,
        onnx.TensorProto.FLOAT16,
        onnx.TensorProto.BFLOAT16,
        onnx.TensorProto.DOUBLE,
    }
)
# Operators that carry quantised numbers along: their adjoint is that of the real numbers they stand
# for.
_QUANTISING = frozenset({"DynamicQuantizeLinear", "QuantizeLinear"})
# What integer operators are expanded to: whole numbers stay whole, whatever type they are computed in.
_COUNTING = frozenset({"Cast", "Conv", "MatMul", "Sub"})
_CARRYING = frozenset(
    {
        "Concat",
        "DepthToSpace",
        "Expand",
        "Flatten",
        "Gather",
        "Identity",
        "MaxPool",
        "Pad",
        "Reshape",
        "Slice",
        "SpaceToDepth",
        "Split",
        "Squeeze",
        "Transpose",
        "Unsqueeze",
    }
)
_COPYING = frozenset({"Cast", "CastLike", "Identity"})


@dataclass(frozen=True)
class Missing:
    """A node whose adjoint cannot be written, and why."""

    node: onnx.NodeProto
    reason: str


class MissingRules(Exception):
    """Nodes on the way from the objective to the input have no adjoint: all of them, in ``nodes``."""

    def __init__(self, nodes: Sequence[Missing]) -> None:
        super().__init__(f"{len(nodes)} nodes without an adjoint")
        self.nodes = list(nodes)


def active_tensors(
    nodes: Iterable[onnx.NodeProto],
    sources: Iterable[str],
    known: KnownShapes,
    detached: Collection[str] = (),
    *,
    straight_through: bool,
) -> set[str]:
    """The tensors through which a change of ``sources`` passes differentiably, those included.

    Quantised numbers count steps, and so do their differences and products: there, casts are exact
    and pass changes on, while other casts to whole numbers do not.
    """
    active = set(sources)
    counts = {name for name in active if not _real(name, known)}
    for node in nodes:
        reading = [name for name in node_inputs(node) if name in active]
        if not reading or is_standard(node, ZERO_GRADIENT):
            continue
        if is_standard(node, STEPS) and not straight_through:
            continue
        counting = is_standard(node, _CARRYING | _COUNTING) and counts.issuperset(reading)
        # Scales that a tensor sets count as constants.
        outputs = node.output[:1] if is_standard(node, _QUANTISING) else node.output
        passing = counting or is_standard(node, _QUANTISING)
        made = {name for name in outputs if name and (passing or _real(name, known))}
        made -= {*detached}
        active |= made
        counts |= {name for name in made if counting or not _real(name, known)}
    return active


def _real(name: str, known: KnownShapes) -> bool:
    """Whether a tensor holds floats, or is of a type that is not known.

    What an unknown operator makes is to be reported, not ignored.
    """
    element = known.element(name)
    return element is None or element in _REAL


def needed_tensors(
    nodes: Sequence[onnx.NodeProto], active: Collection[str], seeds: Iterable[str]
) -> set[str]:
    """Those of ``active`` on which one of ``seeds`` depends."""
    needed = {name for name in seeds if name in active}
    for node in reversed(nodes):
        if any(name in needed for name in node.output):
            needed.update(name for name in node_inputs(node) if name in active)
    return needed


def chosen_tensors(nodes: Sequence[onnx.NodeProto]) -> set[str]:
    """The tensors, or copies of them, of which a Where takes some elements and leaves others."""
    chosen: set[str] = set()
    for node in reversed(nodes):
        if is_standard(node, ("Where",)):
            chosen.update(node.input[1:])
        elif is_standard(node, _COPYING) and node.output[0] in chosen:
            chosen.add(node.input[0])
    return chosen


def sweep(
    tape: Tape,
    nodes: Sequence[onnx.NodeProto],
    seeds: Mapping[str, str],
    sources: Collection[str],
    detached: Collection[str] = (),
) -> dict[str, str]:
    """Write the adjoints of ``sources``.

    Args:
        tape: Where to write.
        nodes: The forward nodes of one graph, in their order; their tensors can be read by the
            nodes that are written.
        seeds: Tensor → its adjoint, as far as it comes from outside of ``nodes``.
        sources: Tensors whose adjoints are wanted.
        detached: Tensors that count as constants.

    Returns:
        Source → name of its adjoint; a source that no seed depends on is left out.

    Raises:
        MissingRules: Some nodes have no adjoint.
    """
    active = active_tensors(
        nodes, sources, tape.known, detached, straight_through=tape.straight_through
    )
    needed = needed_tensors(nodes, active, seeds)
    tape.activate(needed)
    tape.survey(nodes)
    tape.guard(chosen_tensors(nodes))
    parts: dict[str, list[str]] = {name: [seed] for name, seed in seeds.items() if name in needed}
    missing: list[Missing] = []
    for node in reversed(nodes):
        if not any(name in needed for name in node.output):
            continue
        op = Op(node)
        adjoints = [_total(tape, name, parts) for name in node.output]
        try:
            contributions = _applied(tape, op, adjoints)
        except RuleRefused as refusal:
            missing.append(Missing(node, str(refusal)))
            contributions = _stand_ins(tape, node)
        except MissingRules as inner:
            missing += reversed(inner.nodes)
            contributions = _stand_ins(tape, node)
        for name, adjoint in contributions:
            parts.setdefault(name, []).append(adjoint)
    if missing:
        raise MissingRules(missing[::-1])
    totals = {name: _total(tape, name, parts) for name in sources}
    return {name: total for name, total in totals.items() if total is not None}


def _stand_ins(tape: Tape, node: onnx.NodeProto) -> list[tuple[str, str]]:
    """Tensors in place of their own adjoints: the sweep goes on to find what else is missing."""
    return [(name, name) for name in dict.fromkeys(node_inputs(node)) if tape.active(name)]


def _total(tape: Tape, name: str, parts: dict[str, list[str]]) -> str | None:
    """The adjoint of ``name`` with all contributions so far, summed once."""
    found = parts.get(name)
    if not found:
        return None
    total = tape.sum(found)
    parts[name] = [total]
    tape.known.alias(total, name)
    return total


def _applied(tape: Tape, op: Op, adjoints: list[str | None]) -> list[tuple[str, str]]:
    """What ``op`` passes on: (tensor, contribution to its adjoint) of each tensor that is wanted."""
    rule = find_rule(op.node, tape.opset)
    if rule is None:
        raise RuleRefused("it has no adjoint rule")
    if all(adjoint is None for adjoint in adjoints):
        return []
    found = rule(tape, op, adjoints)
    pairs = found.items() if isinstance(found, Mapping) else zip(op.inputs, found, strict=False)
    return [(n, adjoint) for n, adjoint in pairs if adjoint is not None and tape.active(n)]
