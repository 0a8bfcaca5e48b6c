"""Small models with If, Loop and Scan, and what numpy makes of them."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper

from tests.graphs import FLOAT, Array, model, node, value, weight

U, V = weight(1, 4, 4), weight(2, 4, 4)
ROUNDS = 3


def _float(name: str) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, FLOAT, None)


def branching() -> onnx.ModelProto:
    """The first number of the first sample chooses: relu(x u) above 1/2, else tanh(x v)."""

    def branch(kind: str, matrix: str, activation: str) -> onnx.GraphProto:
        nodes = [
            node("MatMul", ["x", matrix], [f"{kind}_product"]),
            node(activation, [f"{kind}_product"], [f"{kind}_out"]),
        ]
        return helper.make_graph(nodes, kind, [], [_float(f"{kind}_out")])

    nodes = [
        node("Gather", ["x", "zero"], ["row"], axis=0),
        node("Gather", ["row", "zero"], ["first"], axis=0),
        node("Greater", ["first", "half"], ["large"]),
        node(
            "If",
            ["large"],
            ["h"],
            then_branch=branch("then", "u", "Relu"),
            else_branch=branch("else", "v", "Tanh"),
        ),
        node("MatMul", ["h", "w"], ["y"]),
    ]
    constants = {
        "u": U,
        "v": V,
        "w": weight(3, 4, 3),
        "zero": np.asarray(0, np.int64),
        "half": np.asarray(0.5, np.float32),
    }
    return model(nodes, [value("x", ["N", 4])], [value("y", ["N", 3])], constants)


def recurrent(*, until: float | None = None, batch: int | str = "N") -> onnx.ModelProto:
    """A Loop: state = tanh(state u) + state, three times, or while its sum is below ``until``."""
    limit = np.asarray(np.inf if until is None else until, np.float32)
    rounds = ROUNDS if until is None else 50
    nodes = [
        node("MatMul", ["state", "u"], ["product"]),
        node("Tanh", ["product"], ["moved"]),
        node("Add", ["moved", "state"], ["next"]),
    ]
    if until is None:
        nodes.append(node("Identity", ["go"], ["on"]))
    else:
        nodes.append(node("ReduceSum", ["next"], ["total"], keepdims=0))
        nodes.append(node("Less", ["total", "limit"], ["on"]))
    body = helper.make_graph(
        nodes,
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            _float("state"),
        ],
        [helper.make_tensor_value_info("on", TensorProto.BOOL, []), _float("next")],
    )
    outside = [
        node("Loop", ["rounds", "", "x"], ["h"], body=body),
        node("MatMul", ["h", "w"], ["y"]),
    ]
    constants = {
        "u": np.abs(U),
        "w": weight(3, 4, 3),
        "rounds": np.asarray(rounds, np.int64),
        "limit": limit,
    }
    return model(outside, [value("x", [batch, 4])], [value("y", [batch, 3])], constants)


def moved_by_round(x: Array, *, until: float | None = None) -> list[Array]:
    """The tensor "moved" of ``recurrent`` for one sample, shape (4,), for each round that runs."""
    state, found = x.astype(np.float64), []
    for _ in range(ROUNDS if until is None else 50):
        found.append(np.tanh(state @ np.abs(U)))
        state = found[-1] + state
        if until is not None and state.sum() >= until:
            break
    return found


def running_mean() -> onnx.ModelProto:
    """A Scan over the 5 rows of each sample: state = (state + row) / 2, collected as "states"."""
    nodes = [
        node("Add", ["state", "row"], ["sum"]),
        node("Mul", ["sum", "half"], ["mean"]),
        node("Identity", ["mean"], ["kept"]),
    ]
    body = helper.make_graph(
        nodes, "body", [_float("state"), _float("row")], [_float("mean"), _float("kept")]
    )
    outside = [
        node("ReduceMean", ["x"], ["start"], axes=[1], keepdims=0),
        node(
            "Scan",
            ["start", "x"],
            ["last", "states"],
            body=body,
            num_scan_inputs=1,
            scan_input_axes=[1],
            scan_output_axes=[1],
        ),
        node("MatMul", ["last", "w"], ["y"]),
    ]
    constants = {"half": np.asarray(0.5, np.float32), "w": weight(3, 4, 3)}
    return model(outside, [value("x", ["N", 5, 4])], [value("y", ["N", 3])], constants)
