"""``LSTM``, ``GRU`` and ``RNN`` as a ``Scan`` over time for each direction.

What does not depend on the state (the product of the inputs with their weights) is computed for all
times at once, outside the ``Scan``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import onnx
from onnx import helper

from lsa_onnx.rewrite.expand.builder import Builder, Expansion, Names
from lsa_onnx.rewrite.expand.cells import (
    Activation,
    Step,
    gate_activations,
    gru_step,
    lstm_step,
    rnn_step,
)

_INT64 = onnx.TensorProto.INT64


@dataclass(frozen=True)
class _Run:
    """What the directions of one node have in common.

    ``x`` is (time, n, features). ``valid`` (time, n, 1) says which steps belong to a sample and
    ``lengths`` (n, 1) how many do; both are ``""`` where all do.
    """

    b: Builder
    x: str
    valid: str
    lengths: str

    def of(self, index: int, direction: int) -> str:
        """One direction's part of an input of the node, ``""`` if there is no such input."""
        b = self.b
        number = b.scalar(direction, _INT64)
        return b("Gather", b.input(index), number, axis=0) if b.has(index) else ""

    def initial(self, index: int, direction: int) -> str:
        """The first state (n, hidden) of a direction: what the node was given, or zeros."""
        b = self.b
        if b.has(index):
            axis = 1 if b.attribute("layout", 0) else 0
            return b("Gather", b.input(index), b.scalar(direction, _INT64), axis=axis)
        shape = b.concat_dims(b.dims(self.x, 1, 2), b.dims(b.input(2), 2))
        return b("Expand", 0.0, shape)

    def weighted(self, direction: int, bias: str) -> str:
        """What the inputs contribute to the gates at all times: (time, n, gates × hidden)."""
        b = self.b
        product = b("MatMul", self.x, _transposed(b, self.of(1, direction)))
        return b("Add", product, bias) if bias else product


def _transposed(b: Builder, matrix: str) -> str:
    return b("Transpose", matrix, perm=[1, 0])


def _directions(b: Builder) -> list[bool]:
    """For each direction whether it runs backwards in time."""
    kinds = {"forward": [False], "reverse": [True], "bidirectional": [False, True]}
    return kinds[b.attribute("direction", "forward")]


def _prepared(b: Builder) -> _Run:
    x = b("Transpose", b.input(0), perm=[1, 0, 2]) if b.attribute("layout", 0) else b.input(0)
    if not b.has(4):
        return _Run(b, x, "", "")
    lengths = b("Unsqueeze", b.cast(b.input(4), _INT64), [1])
    steps = b("Range", b.scalar(0, _INT64), b("Squeeze", b.dims(x, 0, 1)), b.scalar(1, _INT64))
    return _Run(b, x, b("Less", b("Unsqueeze", steps, [1, 2]), lengths), lengths)


def _summed_bias(run: _Run, direction: int) -> str:
    """Both halves of the bias added up: (gates × hidden,); ``""`` for none."""
    bias = run.of(3, direction)
    if not bias:
        return ""
    return run.b("Add", *run.b.several("Split", 2, bias, axis=0, num_outputs=2))


def _lstm(b: Builder) -> Names:
    run, backwards = _prepared(b), _directions(b)
    kinds = gate_activations(b, ["Sigmoid", "Tanh", "Tanh"], len(backwards))
    results = []
    for index, reverse in enumerate(backwards):
        weights, peepholes = run.of(2, index), run.of(7, index)
        parts = b.several("Split", 3, peepholes, axis=0, num_outputs=3) if peepholes else []
        step = lstm_step(_transposed(b, weights), parts, kinds[index])
        states = [run.initial(5, index), run.initial(6, index)]
        gates = run.weighted(index, _summed_bias(run, index))
        results.append(_scanned(run, step, gates, states, reverse))
    return _stacked(b, results)


def _rnn(b: Builder) -> Names:
    run, backwards = _prepared(b), _directions(b)
    kinds = gate_activations(b, ["Tanh"], len(backwards))
    results = []
    for index, reverse in enumerate(backwards):
        step = rnn_step(_transposed(b, run.of(2, index)), kinds[index])
        gates = run.weighted(index, _summed_bias(run, index))
        results.append(_scanned(run, step, gates, [run.initial(5, index)], reverse))
    return _stacked(b, results)


def _gru(b: Builder) -> Names:
    run, backwards = _prepared(b), _directions(b)
    kinds = gate_activations(b, ["Sigmoid", "Tanh"], len(backwards))
    results = []
    for index, reverse in enumerate(backwards):
        step, bias = _gru_step(run, index, kinds[index])
        gates = run.weighted(index, bias)
        results.append(_scanned(run, step, gates, [run.initial(5, index)], reverse))
    return _stacked(b, results)


def _gru_step(run: _Run, direction: int, kinds: list[Activation]) -> tuple[Step, str]:
    """The step of a direction, and the bias that is added outside it."""
    b = run.b
    three = b.several("Split", 3, run.of(2, direction), axis=0, num_outputs=3)
    gates = _transposed(b, b("Concat", three[0], three[1], axis=0))
    hidden = _transposed(b, three[2])
    bias = run.of(3, direction)
    if not bias or not b.attribute("linear_before_reset", 0):
        return gru_step(gates, hidden, "", kinds), _summed_bias(run, direction)
    parts = b.several("Split", 6, bias, axis=0, num_outputs=6)
    outside = [b("Add", parts[0], parts[3]), b("Add", parts[1], parts[4]), parts[2]]
    return gru_step(gates, hidden, parts[5], kinds), b("Concat", *outside, axis=0)


def _scanned(run: _Run, step: Step, gates: str, states: list[str], reverse: bool) -> list[str]:
    """The outputs (time, n, hidden) of one direction and its last states (n, hidden)."""
    b = run.b
    scanned = [gates, run.valid] if run.valid else [gates]
    body = _body(b, step, len(states), bool(run.valid))
    made = [b.fresh() for _ in range(len(states) + 1)]
    directions: dict[str, Any] = {
        "scan_input_directions": [int(reverse)] * len(scanned),
        "scan_output_directions": [int(reverse)],
    }
    b.add(
        helper.make_node(
            "Scan",
            [*states, *scanned],
            made,
            made[0],
            body=body,
            num_scan_inputs=len(scanned),
            **directions,
        )
    )
    *last, outputs = made
    if run.valid and b.node.op_type != "RNN":
        # ONNX Runtime's kernels return zeros for a sample of no steps, whatever its first state.
        some = b("Greater", run.lengths, b.scalar(0, _INT64))
        last = [b("Where", some, state, 0.0) for state in last]
    return [outputs, *last]


def _body(b: Builder, step: Step, count: int, masked: bool) -> onnx.GraphProto:
    """The graph of one step: states and input to new states and output."""
    inner = b.inner()
    states, x = [b.fresh() for _ in range(count)], b.fresh()
    inputs = [_matrix(name, b.dtype) for name in (*states, x)]
    new = step(inner, x, states)
    if masked:
        valid = b.fresh()
        inputs.append(_matrix(valid, onnx.TensorProto.BOOL))
        new = [inner("Where", valid, *pair) for pair in zip(new, states, strict=True)]
        output = inner("Where", valid, new[0], 0.0)
    else:
        output = inner("Identity", new[0])
    results = [_matrix(name, b.dtype) for name in (*new, output)]
    return helper.make_graph(inner.nodes, b.fresh(), inputs, results)


def _matrix(name: str, element: int) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, element, [None, None])


def _stacked(b: Builder, results: list[list[str]]) -> list[str]:
    """The node's outputs from those of its directions, in the layout that it asks for."""
    outputs, *states = zip(*results, strict=True)
    batch_first = b.attribute("layout", 0)
    sequence = b("Concat", *(b("Unsqueeze", y, [1]) for y in outputs), axis=1)
    if batch_first:
        sequence = b("Transpose", sequence, perm=[2, 0, 1, 3])
    axis = 1 if batch_first else 0
    last = [b("Concat", *(b("Unsqueeze", s, [axis]) for s in two), axis=axis) for two in states]
    return [sequence, *last]


EXPANSIONS: dict[tuple[str, str], Expansion] = {
    ("", "GRU"): _gru,
    ("", "LSTM"): _lstm,
    ("", "RNN"): _rnn,
}
