"""The adjoint of If."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lsa_onnx.rewrite.vjp.control_bodies import captured, merged, returned, write_body
from lsa_onnx.rewrite.vjp.registry import Adjoints, Op, rule_of_all
from lsa_onnx.rewrite.vjp.sweep import Missing, MissingRules, sweep
from lsa_onnx.rewrite.vjp.tape import Tape

if TYPE_CHECKING:
    import onnx

_BRANCHES = ("then_branch", "else_branch")


@rule_of_all("If")
def if_(t: Tape, op: Op, adjoints: list[str | None]) -> Adjoints:
    """One of two bodies: an If whose bodies return the adjoints of all that either body reads."""
    branches: list[onnx.GraphProto] = [op.attribute(name) for name in _BRANCHES]
    wanted = [name for name in captured(branches) if t.active(name)]
    halves = _pulled_back(t, branches, adjoints, wanted)
    reached = [name for name in wanted if any(name in found for _, found in halves)]
    if not reached:
        return {}
    bodies = {}
    for name, branch, (inner, found) in zip(_BRANCHES, branches, halves, strict=True):
        pairs = [(found.get(n) or inner.zeros_like(n), n) for n in reached]
        outputs = returned(inner, pairs)
        bodies[name] = write_body(branch, [*branch.node, *inner.nodes], [], outputs)
    return dict(zip(reached, t.ops("If", op.x, outputs=len(reached), **bodies), strict=True))


def _pulled_back(
    t: Tape,
    branches: Sequence[onnx.GraphProto],
    adjoints: Sequence[str | None],
    wanted: Sequence[str],
) -> list[tuple[Tape, dict[str, str]]]:
    """For each branch a tape with its adjoint, and the adjoints that it found.

    Raises:
        MissingRules: Those of all branches.
    """
    halves, missing = [], list[Missing]()
    for branch in branches:
        t.constants.update({tensor.name: tensor for tensor in branch.initializer})
        inner = t.child()
        names = [value.name for value in branch.output]
        seeds = merged(inner, zip(names, adjoints, strict=False))
        try:
            halves.append((inner, sweep(inner, list(branch.node), seeds, wanted)))
        except MissingRules as found:
            missing += found.nodes
    if missing:
        raise MissingRules(missing)
    return halves
