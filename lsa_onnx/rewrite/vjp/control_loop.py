"""The adjoint of Loop."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import onnx
from onnx import helper

from lsa_onnx.rewrite.vjp.control_bodies import merged, write_body
from lsa_onnx.rewrite.vjp.control_states import copies_of, states_behind
from lsa_onnx.rewrite.vjp.control_steps import Sliced, State, StepBack, Steps, step_back
from lsa_onnx.rewrite.vjp.registry import Adjoints, Op, RuleRefused, rule_of_all
from lsa_onnx.rewrite.vjp.tape import Tape


@rule_of_all("Loop")
def loop(t: Tape, op: Op, adjoints: list[str | None]) -> Adjoints:
    """Steps until a condition fails: a second Loop keeps the states, then a third goes back over them.

    States that the adjoint reads must keep their shape from step to step.
    """
    steps = _steps(op)
    back = step_back(t, steps, adjoints)
    if not back.outputs:
        return {}
    _require_same_shapes(t, steps, back.read)
    numbers, *states = _kept(t, op, steps, back.read)
    made = _write(t, steps.body, back, numbers, [*states, *back.results])
    return merged(t, zip(back.sources, made, strict=True))


def _steps(op: Op) -> Steps:
    body: onnx.GraphProto = op.attribute("body")
    # Before the states, a body gets the number of the step and the condition, and returns the latter.
    starts = [value.name for value in body.input][2:]
    ends = [value.name for value in body.output][1:]
    initial = op.inputs[2:]
    count = len(initial)
    states = [State(*names) for names in zip(initial, starts, ends, strict=False)]
    results = zip(op.outputs[count:], ends[count:], strict=False)
    return Steps(body, states, [], [Sliced(*names) for names in results])


def _require_same_shapes(t: Tape, steps: Steps, read: Collection[str]) -> None:
    """States that are kept are stacked.

    Raises:
        RuleRefused: The shape of one changes from step to step.
    """
    for state in steps.states:
        kept = state.start in read and t.dims(state.initial) is not None
        # Shape inference takes the one for the other unless the body shows that they differ.
        if kept and not t.known.same_shape(state.initial, state.start):
            raise RuleRefused(f"the shape of its state {state.start!r} changes from step to step")


def _kept(t: Tape, op: Op, steps: Steps, read: Collection[str]) -> list[Sliced]:
    """Run the Loop again for the number of each step and, as far as they are in ``read``, its states."""
    body = steps.body
    number, *others = (value.name for value in body.input)
    wanted = [number, *(name for name in others if name in read)]
    behind = states_behind(steps, [body.output[0].name, *wanted])
    copies, values = copies_of(t, wanted)
    graph = write_body(
        body,
        [*body.node, *copies],
        [*body.input[:2], *(body.input[2 + index] for index in behind)],
        [body.output[0], *(body.output[1 + index] for index in behind), *values],
    )
    initial = [steps.states[index].initial for index in behind]
    count = len(behind) + len(wanted)
    made = t.ops("Loop", *op.inputs[:2], *initial, outputs=count, body=graph)
    return [Sliced(*names) for names in zip(made[len(behind) :], wanted, strict=True)]


def _write(
    t: Tape, forward: onnx.GraphProto, back: StepBack, numbers: Sliced, slices: Sequence[Sliced]
) -> list[str]:
    """A Loop over ``numbers`` from the end; not a Scan, which ONNX Runtime has take a step at least."""
    count = t.op("Squeeze", t.op("Shape", numbers.whole))
    last = t.op("Sub", count, t.constant(1, "int64"))
    done, go = t.names.fresh("done"), t.names.fresh("go")
    start = [
        helper.make_node("Sub", [last, done], [numbers.slice], numbers.slice),
        *(_gather(item, numbers.slice) for item in slices),
    ]
    go_on = helper.make_node("Identity", [go], [t.names.fresh("go_on")], go)
    body = write_body(
        forward,
        [*start, *back.nodes, go_on],
        [_scalar(done, onnx.TensorProto.INT64), _scalar(go, onnx.TensorProto.BOOL), *back.inputs],
        [_scalar(go_on.output[0], onnx.TensorProto.BOOL), *back.outputs],
    )
    return t.ops("Loop", count, "", *back.initial, outputs=len(back.outputs), body=body)


def _gather(item: Sliced, number: str) -> onnx.NodeProto:
    """One slice."""
    return helper.make_node(
        "Gather", [item.whole, number], [item.slice], item.slice, axis=item.axis
    )


def _scalar(name: str, element: int) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, element, [])
