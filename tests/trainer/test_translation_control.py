"""If, Loop and Scan in torch: results of ONNX Runtime, and gradients through bodies."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import helper, numpy_helper

from tests import graphs
from tests.graphs import Array, model, node, samples, value, weight
from tests.rewrite.vjp.bodies import DOUBLE, body, double, loop_body
from tests.trainer.on_torch import loaded, require_equal, run_torch


def whole(
    nodes: list[onnx.NodeProto],
    feeds: dict[str, Array],
    outputs: dict[str, str],
    weights: dict[str, Array] | None = None,
) -> onnx.ModelProto:
    """A model that takes arrays of any batch and declares no shapes of results."""
    inputs = [
        value(name, ["N", *x.shape[1:]] if x.ndim else [], str(x.dtype))
        for name, x in feeds.items()
    ]
    results = [value(name, None, dtype) for name, dtype in outputs.items()]
    return model(nodes, inputs, results, weights, opset=18)


def require_slopes(module: Any, *inputs: Array) -> None:
    """Hold the gradients by inputs and by all weights to differences."""
    given = [torch.from_numpy(x).requires_grad_() for x in inputs]
    parameters = list(module.parameters())

    def outputs(*values: torch.Tensor) -> Any:
        return module(*values[: len(given)])

    assert torch.autograd.gradcheck(outputs, (*given, *parameters))


# If


@pytest.mark.parametrize("sign", [-1, 1])
def test_a_condition_that_the_data_decide(sign: int, tmp_path: Path) -> None:
    proto = graphs.if_net()
    module = loaded(proto, tmp_path)
    for count in (1, 3):
        feeds = {"x": sign * samples(count, count, 5)}
        require_equal(module, proto, feeds)


def test_branches_with_weights_from_outside_and_inside(tmp_path: Path) -> None:
    """Two weights and a tensor are captured; each branch has a constant of its own."""
    then = body(
        [node("MatMul", ["h", "v"], ["t0"]), node("Mul", ["t0", "k"], ["t"])],
        [],
        ["t"],
        {"k": double(3, 3)},
    )
    other = body(
        [node("MatMul", ["h", "u"], ["o0"]), node("Add", ["o0", "k2"], ["o"])],
        [],
        ["o"],
        {"k2": double(4, 3)},
    )
    nodes = [
        node("MatMul", ["x", "w"], ["h"]),
        node("ReduceSum", ["x"], ["sum"], keepdims=0),
        node("Greater", ["sum", "zero"], ["positive"]),
        node("If", ["positive"], ["y"], then_branch=then, else_branch=other),
    ]
    weights = {
        "w": double(0, 4, 5),
        "v": double(1, 5, 3),
        "u": double(2, 5, 3),
        "zero": np.asarray(0.0),
    }
    x = double(5, 2, 4)
    proto = whole(nodes, {"x": x}, {"y": DOUBLE}, weights)
    module = loaded(proto, tmp_path)
    frozen = "inside the body of If 'n_y'"
    reasons = {w.name: w.frozen for w in module.constants.weights}
    assert reasons == {"w": "", "v": frozen, "u": frozen, "k": frozen, "k2": frozen}
    for sign in (-1, 1):
        feeds = {"x": sign * np.abs(x)}
        require_equal(module, proto, feeds)
        require_slopes(module, feeds["x"])
    assert not [name for name in module.state_dict() if "constant" in name]


def test_a_constant_condition_is_no_choice(tmp_path: Path) -> None:
    branches = [body([node(kind, ["x"], [kind])], [], [kind]) for kind in ("Neg", "Abs")]
    nodes = [node("If", ["yes"], ["y"], then_branch=branches[0], else_branch=branches[1])]
    x = double(0, 3, 4)
    proto = whole(nodes, {"x": x}, {"y": DOUBLE}, {"yes": np.asarray(True)})
    module = loaded(proto, tmp_path)
    require_equal(module, proto, {"x": x})
    assert not [n for n in module.graph.nodes if n.op == "call_module"]


def test_a_condition_on_the_shape(tmp_path: Path) -> None:
    """What is decided by the size of the batch is decided in every run."""
    branches = [body([node(kind, ["x"], [kind])], [], [kind]) for kind in ("Neg", "Abs")]
    nodes = [
        node("Shape", ["x"], ["shape"], end=1),
        node("Squeeze", ["shape"], ["n"]),
        node("Equal", ["n", "two"], ["is_two"]),
        node("If", ["is_two"], ["y"], then_branch=branches[0], else_branch=branches[1]),
    ]
    proto = whole(nodes, {"x": double(0, 2, 3)}, {"y": DOUBLE}, {"two": np.asarray(2)})
    module = loaded(proto, tmp_path)
    for count in (1, 2, 3):
        require_equal(module, proto, {"x": double(count, count, 3)})


def test_branches_with_several_results(tmp_path: Path) -> None:
    then = body([node("Neg", ["x"], ["t"]), node("Exp", ["h"], ["t2"])], [], ["t", "t2"])
    other = body([node("Abs", ["h"], ["o"]), node("Neg", ["h"], ["o2"])], [], ["o", "o2"])
    nodes = [
        node("Tanh", ["x"], ["h"]),
        node("ReduceMax", ["x"], ["top"], keepdims=0),
        node("Greater", ["top", "zero"], ["positive"]),
        node("If", ["positive"], ["y", "z"], then_branch=then, else_branch=other),
    ]
    x = double(0, 2, 3)
    proto = whole(nodes, {"x": x}, {"y": DOUBLE, "z": DOUBLE}, {"zero": np.asarray(0.0)})
    module = loaded(proto, tmp_path)
    for feeds in ({"x": np.abs(x)}, {"x": -np.abs(x)}):
        require_equal(module, proto, feeds)


# Loop


def gathering_loop(trips: str, keep: str = "") -> list[onnx.NodeProto]:
    """s ← tanh(s W) while it goes on; gives s + i of each step, and i."""
    steps = [
        node("MatMul", ["s", "w"], ["m"]),
        node("Tanh", ["m"], ["s1"]),
        node("Cast", ["i"], ["i_f"], to=onnx.TensorProto.DOUBLE),
        node("Add", ["s1", "i_f"], ["row"]),
        node("Less", ["i", "last"], ["go_on"]),
    ]
    graph = loop_body(steps, ["s"], ["s1", "row"])
    graph.output.append(value("i_out", [], "int64"))
    graph.node.append(node("Identity", ["i"], ["i_out"]))
    return [
        node("Tanh", ["x"], ["h"]),
        node("Loop", [trips, keep, "h"], ["y", "rows", "steps"], body=graph),
    ]


LOOP_OUTPUTS = {"y": DOUBLE, "rows": DOUBLE, "steps": "int64"}


def loop_weights(trips: int, last: int = 9) -> dict[str, Array]:
    return {"w": double(0, 3, 3), "trips": np.asarray(trips), "last": np.asarray(last)}


@pytest.mark.parametrize(("trips", "last", "rows"), [(4, 9, 4), (1, 9, 1), (9, 2, 3)])
def test_steps_and_what_they_give(trips: int, last: int, rows: int, tmp_path: Path) -> None:
    x = double(1, 2, 3)
    proto = whole(gathering_loop("trips"), {"x": x}, LOOP_OUTPUTS, loop_weights(trips, last))
    module = loaded(proto, tmp_path)
    require_equal(module, proto, {"x": x})
    assert run_torch(module, {"x": x})["rows"].shape == (rows, 2, 3)


def test_gradients_go_through_all_steps(tmp_path: Path) -> None:
    proto = whole(
        gathering_loop("trips")[:2],
        {"x": double(1, 2, 3)},
        {"y": DOUBLE, "rows": DOUBLE},
        loop_weights(3),
    )
    module = loaded(proto, tmp_path)
    assert [w.name for w in module.constants.weights if w.trains] == []
    require_slopes(module, double(1, 2, 3))


@pytest.mark.parametrize("keep", ["", "no"])
def test_no_step_at_all(keep: str, tmp_path: Path) -> None:
    """The state is what it was, and of each result there are none."""
    weights = loop_weights(3 if keep else 0) | {"no": np.asarray(False)}
    x = double(1, 2, 3)
    proto = whole(gathering_loop("trips", keep), {"x": x}, LOOP_OUTPUTS, weights)
    module = loaded(proto, tmp_path)
    found = run_torch(module, {"x": x})
    np.testing.assert_allclose(found["y"], np.tanh(x))
    assert (found["rows"].dtype, found["steps"].dtype) == (np.float64, np.int64)
    assert (found["rows"].shape[0], found["steps"].shape) == (0, (0,))


def test_the_number_of_steps_may_be_data(tmp_path: Path) -> None:
    nodes = [*gathering_loop("trips")]
    weights = {name: array for name, array in loop_weights(0).items() if name != "trips"}
    feeds = {"x": double(1, 2, 3), "trips": np.asarray(3)}
    proto = whole(nodes, feeds, LOOP_OUTPUTS, weights)
    module = loaded(proto, tmp_path)
    for trips in (3, 1):
        require_equal(module, proto, {**feeds, "trips": np.asarray(trips)})


def test_the_number_of_steps_may_be_the_batch(tmp_path: Path) -> None:
    nodes = [
        node("Shape", ["x"], ["shape"], end=1),
        node("Squeeze", ["shape"], ["trips"]),
        *gathering_loop("trips"),
    ]
    weights = {name: array for name, array in loop_weights(0).items() if name != "trips"}
    proto = whole(nodes, {"x": double(1, 2, 3)}, LOOP_OUTPUTS, weights)
    module = loaded(proto, tmp_path)
    for count in (1, 2, 4):
        require_equal(module, proto, {"x": double(count, count, 3)})


def test_a_loop_in_a_branch_reads_what_is_two_levels_out(tmp_path: Path) -> None:
    inner = loop_body(
        [
            node("MatMul", ["s", "w"], ["m"]),
            node("Add", ["m", "x"], ["s1"]),
            node("Identity", ["go"], ["go_on"]),
        ],
        ["s"],
        ["s1"],
    )
    then = body([node("Loop", ["trips", "", "h"], ["t"], body=inner)], [], ["t"])
    other = body([node("Neg", ["x"], ["o"])], [], ["o"])
    nodes = [
        node("Tanh", ["x"], ["h"]),
        node("ReduceMax", ["x"], ["top"], keepdims=0),
        node("Greater", ["top", "zero"], ["positive"]),
        node("If", ["positive"], ["y"], then_branch=then, else_branch=other),
    ]
    weights = {"w": double(0, 3, 3), "zero": np.asarray(0.0), "trips": np.asarray(3)}
    x = np.abs(double(1, 2, 3))
    proto = whole(nodes, {"x": x}, {"y": DOUBLE}, weights)
    module = loaded(proto, tmp_path)
    for feeds in ({"x": x}, {"x": -x}):
        require_equal(module, proto, feeds)
        require_slopes(module, feeds["x"])


# Scan


@pytest.mark.parametrize("axis", [0, 1, -2])
@pytest.mark.parametrize("backwards", [0, 1])
@pytest.mark.parametrize("result_axis", [0, 2, -1])
@pytest.mark.parametrize("result_backwards", [0, 1])
def test_axes_and_directions(
    axis: int, backwards: int, result_axis: int, result_backwards: int, tmp_path: Path
) -> None:
    """A recurrent cell by hand: s ← tanh(s + slice W)."""
    steps = [
        node("MatMul", ["slice", "w"], ["m"]),
        node("Add", ["s", "m"], ["a"]),
        node("Tanh", ["a"], ["s1"]),
        node("Neg", ["s1"], ["row"]),
    ]
    scan = node(
        "Scan",
        ["start", "x"],
        ["last", "rows"],
        body=body(steps, ["s", "slice"], ["s1", "row"]),
        num_scan_inputs=1,
        scan_input_axes=[axis],
        scan_input_directions=[backwards],
        scan_output_axes=[result_axis],
        scan_output_directions=[result_backwards],
    )
    feeds = {"start": double(1, 2, 3), "x": double(2, 2, 2, 4)}
    proto = model(
        [scan],
        [value("start", [2, 3], DOUBLE), value("x", [2, 2, 4], DOUBLE)],
        [value("last", None, DOUBLE), value("rows", None, DOUBLE)],
        {"w": double(0, 4, 3)},
        opset=18,
    )
    module = loaded(proto, tmp_path)
    require_equal(module, proto, feeds)
    if not (result_axis or result_backwards):
        require_slopes(module, feeds["start"], feeds["x"])


def test_a_scan_of_two_inputs_without_state(tmp_path: Path) -> None:
    steps = [node("Mul", ["p", "q"], ["pq"]), node("Add", ["pq", "h"], ["row"])]
    nodes = [
        node("Tanh", ["b"], ["h"]),
        node("Scan", ["a", "a2"], ["y"], body=body(steps, ["p", "q"], ["row"]), num_scan_inputs=2),
    ]
    feeds = {"a": double(0, 5, 2, 3), "a2": double(1, 5, 2, 3), "b": double(2, 2, 3)}
    proto = whole(nodes, feeds, {"y": DOUBLE})
    module = loaded(proto, tmp_path)
    require_equal(module, proto, feeds)
    require_slopes(module, *feeds.values())


def test_weights_inside_a_body_do_not_train(tmp_path: Path) -> None:
    inner = body([node("MatMul", ["x", "v"], ["t"])], [], ["t"], {"v": double(1, 3, 3)})
    other = body([node("Neg", ["x"], ["o"])], [], ["o"])
    nodes = [
        node("ReduceMax", ["x"], ["top"], keepdims=0),
        node("Greater", ["top", "zero"], ["positive"]),
        node("If", ["positive"], ["y"], then_branch=inner, else_branch=other, name="choice"),
    ]
    x = np.abs(double(0, 2, 3))
    proto = whole(nodes, {"x": x}, {"y": DOUBLE}, {"zero": np.asarray(0.0)})
    module = loaded(proto, tmp_path)
    (inside,) = module.constants.weights
    assert (inside.name, inside.frozen) == ("v", "inside the body of If 'choice'")
    assert module.constants.share == 0
    require_equal(module, proto, {"x": x})
    require_slopes(module, x)


def test_moving_takes_bodies_along(tmp_path: Path) -> None:
    graph = helper.make_graph(
        [node("Mul", ["h", "k"], ["t"])], "body", [], [value("t", None)],
        [numpy_helper.from_array(weight(3, 4), "k")],
    )  # fmt: skip
    proto = graphs.if_net()
    branch = next(n for n in proto.graph.node if n.op_type == "If")
    for attribute in branch.attribute:
        attribute.g.CopyFrom(graph)
    module = loaded(proto, tmp_path)
    x = samples(0, 2, 5)
    before = run_torch(module, {"x": x})["y"]
    after = run_torch(module.double(), {"x": x.astype(np.float64)})["y"]
    assert after.dtype == np.float64
    np.testing.assert_allclose(after, before, rtol=1e-5)
