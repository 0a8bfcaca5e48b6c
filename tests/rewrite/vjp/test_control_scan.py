"""Adjoints of Scan against central differences."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from lsa_onnx.rewrite.differentiate import primitives
from tests.graphs import Shape, model, node, run, samples, value, weight
from tests.rewrite.gradients import pulled_back
from tests.rewrite.vjp.bodies import DOUBLE, body, checked, double, loop_body

Array = NDArray[Any]

# Steps, batch, features and hidden units: all different.
STEPS, BATCH, FEATURES, HIDDEN = 4, 2, 3, 5


def recurrent(returns: bool = True) -> onnx.GraphProto:
    """h ← tanh(x w + h r), which it returns step by step unless that is turned off."""
    nodes = [
        node("MatMul", ["x_t", "w"], ["xw"]),
        node("MatMul", ["h", "r"], ["hr"]),
        node("Add", ["xw", "hr"], ["a"]),
        node("Tanh", ["a"], ["h_next"]),
        node("Identity", ["h_next"], ["h_t"]),
    ]
    return body(nodes, ["h", "x_t"], ["h_next", "h_t"] if returns else ["h_next"])


def recurrent_feeds() -> dict[str, Array]:
    return {
        "x": double(0, STEPS, BATCH, FEATURES),
        "h0": double(1, BATCH, HIDDEN),
        "w": double(2, FEATURES, HIDDEN),
        "r": double(3, HIDDEN, HIDDEN),
    }


def matrices(graph: onnx.GraphProto) -> onnx.GraphProto:
    """Declare the ranks of results, which ONNX Runtime must know of a Scan but cannot infer from a Loop."""
    for result in graph.output:
        result.CopyFrom(value(result.name, [None, None], DOUBLE))
    return graph


def scans(proto: onnx.ModelProto) -> list[onnx.NodeProto]:
    return [n for n in proto.graph.node if n.op_type == "Scan"]


@pytest.mark.parametrize("free", [False, True])
@pytest.mark.parametrize("direction", [0, 1])
@pytest.mark.parametrize("outputs", [["last"], ["all"], ["last", "all"]])
def test_a_recurrent_cell(outputs: list[str], direction: int, free: bool) -> None:
    nodes = [
        node("Sin", ["x"], ["s"]),
        node(
            "Scan",
            ["h0", "s"],
            ["last", "all"],
            body=recurrent(),
            num_scan_inputs=1,
            scan_input_directions=[direction],
            scan_output_directions=[direction],
        ),
    ]
    shapes: dict[str, Shape] = {"x": ["T", "N", FEATURES], "h0": ["N", HIDDEN]} if free else {}
    checked(nodes, recurrent_feeds(), outputs, shapes=shapes)


@pytest.mark.parametrize(("returns", "count"), [(True, 2), (False, 3)])
def test_states_that_are_returned_are_not_computed_again(returns: bool, count: int) -> None:
    outputs = ["y", "all"] if returns else ["y"]
    nodes = [node("Scan", ["h0", "x"], outputs, body=recurrent(returns), num_scan_inputs=1)]
    feeds = recurrent_feeds()
    inputs = [value(n, x.shape, DOUBLE) for n, x in feeds.items()]
    proto = model(nodes, inputs, [value("y", None, DOUBLE)], opset=18)
    written, *_ = pulled_back(proto, ["x"])
    assert len(scans(written)) == count
    checked(nodes, feeds, ["y"])


@pytest.mark.parametrize("both_ways", list(product([0, 1], repeat=4)))
@settings(max_examples=2, deadline=None)
@given(axes=st.tuples(*[st.sampled_from([0, 1, 2, -1, -2])] * 4), seed=st.integers(0, 99))
def test_axes_and_directions(both_ways: tuple[int, ...], axes: tuple[int, ...], seed: int) -> None:
    """Two scanned inputs and two scanned outputs, along any axes in any direction."""
    nodes = [
        node("Mul", ["a_t", "s"], ["p"]),
        node("Add", ["p", "b_t"], ["next"]),
        node("Sin", ["next"], ["u_t"]),
        node("Mul", ["a_t", "b_t"], ["v_t"]),
    ]
    step = body(nodes, ["s", "a_t", "b_t"], ["next", "u_t", "v_t"])
    scan = node(
        "Scan",
        ["s0", "a", "b"],
        ["last", "u", "v"],
        body=step,
        num_scan_inputs=2,
        scan_input_axes=axes[:2],
        scan_output_axes=axes[2:],
        scan_input_directions=both_ways[:2],
        scan_output_directions=both_ways[2:],
    )
    feeds = {"s0": double(seed, BATCH, FEATURES)}
    for name, axis in zip("ab", axes[:2], strict=True):
        drawn = double(seed + ord(name), STEPS, BATCH, FEATURES)
        feeds[name] = np.ascontiguousarray(np.moveaxis(drawn, 0, axis))
    checked([scan], feeds, ["last", "u", "v"])


@pytest.mark.parametrize("axis", [1, 2, -1])
@pytest.mark.parametrize("direction", [0, 1])
def test_a_state_returned_along_another_axis(axis: int, direction: int) -> None:
    nodes = [
        node("Mul", ["s", "a_t"], ["m"]),
        node("Sin", ["m"], ["next"]),
        node("Identity", ["next"], ["each"]),
    ]
    scan = node(
        "Scan",
        ["s0", "a"],
        ["last", "all"],
        body=body(nodes, ["s", "a_t"], ["next", "each"]),
        num_scan_inputs=1,
        scan_output_axes=[axis],
        scan_output_directions=[direction],
    )
    feeds = {"s0": double(0, BATCH, FEATURES), "a": double(1, STEPS, BATCH, FEATURES)}
    checked([scan], feeds, ["all"])


def test_bidirectional() -> None:
    """Two Scans over one input whose outputs are added, both of them read by a third."""
    ways = [
        node(
            "Scan",
            ["h0", "x"],
            [f"last_{way}", f"all_{way}"],
            body=recurrent(),
            num_scan_inputs=1,
            scan_input_directions=[way],
            scan_output_directions=[way],
        )
        for way in (0, 1)
    ]
    nodes = [*ways, node("Mul", ["all_0", "all_1"], ["y"])]
    checked(nodes, recurrent_feeds())


def test_no_state_and_inputs_that_have_no_adjoint() -> None:
    """Each step masks its slice; the masks are not numbers."""
    nodes = [node("Where", ["m_t", "x_t", "zero"], ["a"]), node("Exp", ["a"], ["y_t"])]
    step = body(nodes, ["x_t", "m_t"], ["y_t"], {"zero": np.asarray(0.0)})
    step.input[1].type.tensor_type.elem_type = onnx.TensorProto.BOOL
    scan = node("Scan", ["x", "m"], ["y"], body=step, num_scan_inputs=2)
    mask = np.random.default_rng(1).random((STEPS, BATCH, FEATURES)) > 0.5
    checked([scan], {"x": double(0, STEPS, BATCH, FEATURES), "m": mask})


def test_a_long_short_term_memory() -> None:
    """Two states, of which one is not returned; sequences end early, as sequence lengths have them."""
    gates = [
        node("MatMul", ["x_t", "w"], ["xw"]),
        node("MatMul", ["h", "r"], ["hr"]),
        node("Add", ["xw", "hr"], ["a"]),
        node("Sigmoid", ["a"], ["gate"]),
        node("Tanh", ["a"], ["new"]),
        node("Mul", ["gate", "c"], ["kept"]),
        node("Mul", ["gate", "new"], ["added"]),
        node("Add", ["kept", "added"], ["c_full"]),
        node("Tanh", ["c_full"], ["c_tanh"]),
        node("Mul", ["gate", "c_tanh"], ["h_full"]),
        node("Less", ["t", "lengths"], ["runs"]),
        node("Where", ["runs", "c_full", "c"], ["c_next"]),
        node("Where", ["runs", "h_full", "h"], ["h_next"]),
        node("Where", ["runs", "h_full", "zero"], ["h_t"]),
        node("Add", ["t", "one"], ["t_next"]),
    ]
    step = body(
        gates,
        ["h", "c", "t", "x_t"],
        ["h_next", "c_next", "t_next", "h_t"],
        {"zero": np.asarray(0.0), "one": np.asarray(1, np.int64)},
    )
    for values in (step.input[2], step.output[2]):
        values.type.tensor_type.elem_type = onnx.TensorProto.INT64
    outputs = ["h_n", "c_n", "t_n", "all"]
    scan = node("Scan", ["h0", "c0", "t0", "x"], outputs, body=step, num_scan_inputs=1)
    feeds = recurrent_feeds() | {"c0": double(4, BATCH, HIDDEN)}
    weights = {"t0": np.asarray(0, np.int64), "lengths": np.array([[2], [4]], np.int64)}
    checked([scan], feeds, ["h_n", "c_n", "all"], weights)


def test_scan_in_loop_in_scan() -> None:
    """The innermost body reads tensors of all graphs around it."""
    inner = matrices(body([node("Mul", ["q", "x_t"], ["q_next"])], ["q", "e_t"], ["q_next"]))
    looped = loop_body(
        [
            node("Identity", ["go"], ["go_on"]),
            node("Scan", ["p", "e"], ["p_scan"], body=inner, num_scan_inputs=1),
            node("Sin", ["p_scan"], ["p_sin"]),
            node("Add", ["p_sin", "x_t"], ["p_next"]),
        ],
        ["p"],
        ["p_next"],
    )
    outer = body(
        [
            node("Loop", ["n", "", "s"], ["p_last"], body=looped),
            node("Mul", ["p_last", "e_0"], ["next"]),
            node("Identity", ["p_last"], ["each"]),
        ],
        ["s", "x_t"],
        ["next", "each"],
    )
    nodes = [
        node("Exp", ["h0"], ["e_0"]),
        node("Scan", ["h0", "x"], ["last", "all"], body=matrices(outer), num_scan_inputs=1),
    ]
    feeds = {"h0": double(0, BATCH, FEATURES), "x": double(1, 3, BATCH, FEATURES)}
    weights = {"n": np.asarray(2, np.int64), "e": double(5, 2, BATCH, FEATURES)}
    checked(nodes, feeds, ["last", "all"], weights)


def test_a_fused_step_back_keeps_its_tensors() -> None:
    """ONNX Runtime lost a tensor if a copy of it was returned and another reader of it was fused."""
    feeds = {
        "x": samples(0, STEPS, BATCH, FEATURES),
        "w": weight(1, 1, 4 * HIDDEN, FEATURES),
        "r": weight(2, 1, 4 * HIDDEN, HIDDEN),
    }
    nodes = [
        node("LSTM", [*feeds, "", "lengths"], ["", "y"], hidden_size=HIDDEN),
    ]
    inputs = [value(name, array.shape) for name, array in feeds.items()]
    lengths = {"lengths": np.array([STEPS, 2], np.int32)}
    proto = primitives(model(nodes, inputs, [value("y", None)], lengths, opset=18))
    pulled, gradients, seeds = pulled_back(proto, ["x"])
    feeds[seeds["y"]] = samples(3, 1, BATCH, HIDDEN)
    plain, fused = (run(pulled, feeds, optimised=optimised) for optimised in (False, True))
    found = fused[gradients["x"]]
    np.testing.assert_allclose(found, plain[gradients["x"]], atol=1e-6)
    # The second sample ends after two steps.
    assert found[:2].any(axis=(0, 2)).all()
    assert found[2:].any(axis=(0, 2)).tolist() == [True, False]
