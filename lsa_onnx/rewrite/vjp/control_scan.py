"""The adjoint of Scan."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from lsa_onnx.rewrite.vjp.control_bodies import declared, merged, write_body
from lsa_onnx.rewrite.vjp.control_states import copies_of, states_behind
from lsa_onnx.rewrite.vjp.control_steps import Sliced, State, StepBack, Steps, step_back
from lsa_onnx.rewrite.vjp.registry import Adjoints, Op, RuleRefused, rule_of_all
from lsa_onnx.rewrite.vjp.tape import Tape

if TYPE_CHECKING:
    import onnx

_END = (1 << 63) - 1


@rule_of_all("Scan")
def scan(t: Tape, op: Op, adjoints: list[str | None]) -> Adjoints:
    """Steps over slices: a Scan in the other direction.

    The states at the start of each step are had from outputs that return them step by step; only
    those that are not returned take a second Scan forward.
    """
    steps = _steps(op)
    back = step_back(t, steps, adjoints)
    if not back.outputs:
        return {}
    _require_ranks(back)
    made = _write(t, steps.body, back, _kept(t, op, steps, back.read))
    return merged(t, zip(back.sources, made, strict=True))


def _steps(op: Op) -> Steps:
    body: onnx.GraphProto = op.attribute("body")
    inputs, outputs = ([v.name for v in values] for values in (body.input, body.output))
    count = len(op.inputs) - op.attribute("num_scan_inputs")
    states = [State(*names) for names in zip(op.inputs[:count], inputs, outputs, strict=False)]
    items = _sliced(op, "input", op.inputs[count:], inputs[count:])
    results = _sliced(op, "output", op.outputs[count:], outputs[count:])
    return Steps(body, states, items, results)


def _require_ranks(back: StepBack) -> None:
    """ONNX Runtime must know the ranks of what a Scan returns.

    Raises:
        RuleRefused: One is not known.
    """
    for value, source in zip(back.outputs, back.sources, strict=True):
        if not value.type.tensor_type.HasField("shape"):
            raise RuleRefused(f"the rank of {source!r} is not known")


def _sliced(op: Op, side: str, wholes: Sequence[str], slices: Sequence[str]) -> list[Sliced]:
    zeros = [0] * len(slices)
    axes = op.attribute(f"scan_{side}_axes", zeros)
    directions = op.attribute(f"scan_{side}_directions", zeros)
    return [Sliced(*given) for given in zip(wholes, slices, axes, directions, strict=False)]


def _kept(t: Tape, op: Op, steps: Steps, read: Collection[str]) -> list[Sliced]:
    """The items and states in ``read``; at least one of them, for the number of steps."""
    supplied = [item for item in steps.items if item.slice in read] or list(steps.items[:1])
    origins = _origins(steps.body)
    returned_as = {origins.get(r.slice, r.slice): r for r in steps.results}
    lost = []
    for state in steps.states:
        if state.start not in read:
            continue
        result = returned_as.get(origins.get(state.end, state.end))
        if result is None:
            lost.append(state.start)
        else:
            supplied.append(_one_step_earlier(t, state, result))
    return supplied + (_kept_again(t, op, steps, lost) if lost else [])


def _origins(body: onnx.GraphProto) -> dict[str, str]:
    """Copy → the tensor that it is a copy of."""
    found: dict[str, str] = {}
    for node in body.node:
        if node.op_type == "Identity":
            found[node.output[0]] = found.get(node.input[0], node.input[0])
    return found


def _one_step_earlier(t: Tape, state: State, ends: Sliced) -> Sliced:
    """The state at the start of each step, from that at the end of each."""
    first = t.op("Unsqueeze", state.initial, t.ints(ends.axis))
    both = [ends.whole, first] if ends.direction else [first, ends.whole]
    every = t.op("Concat", *both, axis=ends.axis)
    bounds = (1, _END) if ends.direction else (0, -1)
    starts = t.op("Slice", every, t.ints(bounds[0]), t.ints(bounds[1]), t.ints(ends.axis))
    return Sliced(starts, state.start, ends.axis, ends.direction)


def _kept_again(t: Tape, op: Op, steps: Steps, wanted: Sequence[str]) -> list[Sliced]:
    """Run the Scan again for the states at the start of each step."""
    body = steps.body
    behind = states_behind(steps, wanted)
    copies, values = copies_of(t, wanted)
    graph = write_body(
        body,
        [*body.node, *copies],
        [*(body.input[index] for index in behind), *body.input[len(steps.states) :]],
        [*(body.output[index] for index in behind), *values],
    )
    initial = [steps.states[index].initial for index in behind]
    made = t.ops(
        "Scan",
        *initial,
        *(item.whole for item in steps.items),
        outputs=len(behind) + len(wanted),
        body=graph,
        num_scan_inputs=len(steps.items),
        scan_input_axes=op.attribute("scan_input_axes"),
        scan_input_directions=op.attribute("scan_input_directions"),
    )
    return [Sliced(*pair) for pair in zip(made[len(behind) :], wanted, strict=True)]


def _write(
    t: Tape, forward: onnx.GraphProto, back: StepBack, supplied: Sequence[Sliced]
) -> list[str]:
    """A Scan in which every direction is turned round."""
    results = [result for result in back.results if result.slice in back.read]
    slices, items = [*supplied, *results], back.items
    inputs = [
        *back.inputs,
        *(declared(t, item.slice, item.slice, adjoint=False) for item in supplied),
        *(declared(t, item.slice, item.slice, adjoint=True) for item in results),
    ]
    return t.ops(
        "Scan",
        *back.initial,
        *(item.whole for item in slices),
        outputs=len(back.outputs),
        body=write_body(forward, back.nodes, inputs, back.outputs),
        num_scan_inputs=len(slices),
        scan_input_axes=[item.axis for item in slices],
        scan_input_directions=[1 - item.direction for item in slices],
        scan_output_axes=[item.axis for item in items] or None,
        scan_output_directions=[1 - item.direction for item in items] or None,
    )
