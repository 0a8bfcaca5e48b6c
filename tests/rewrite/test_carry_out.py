"""Tensors of bodies as tensors of the main graph, held to what numpy says that each execution makes."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from lsa_onnx.errors import ModelError
from lsa_onnx.rewrite import Scored, compare, expose
from lsa_onnx.rewrite.carry_out import carry_out
from lsa_onnx.rewrite.graph import copy_model
from tests.graphs import if_net, loop_net, run, samples
from tests.rewrite.carried import (
    ELSE,
    THEN,
    UNEVEN,
    Array,
    Result,
    X,
    carry,
    everything,
    parsed,
)


@pytest.mark.parametrize("opset", [11, 12, 13, 17, 21])
def test_the_branch_taken_returns_one_execution_and_the_other_none(opset: int) -> None:
    proto = if_net()
    proto.opset_import[0].version = opset
    if opset >= 18:
        del proto.graph.node[1].attribute[:]
        proto.graph.node[1].attribute.append(onnx.helper.make_attribute("keepdims", 0))
    w = onnx.numpy_helper.to_array(proto.graph.initializer[0])
    x = samples(3, 6, 5)
    for sign in (1, -1):
        h = sign * x @ w
        found = carry(proto, {"x": sign * x})
        positive = h.mean() > 0
        neg, abs_ = found["n_z/then_branch", "inner_Neg"], found["n_z/else_branch", "inner_Abs"]
        assert neg.shape == ((1, 6, 4) if positive else (0, 1, 4))
        assert abs_.shape == ((0, 1, 4) if positive else (1, 6, 4))
        np.testing.assert_allclose(*((neg[0], -h) if positive else (abs_[0], abs(h))), rtol=1e-5)


@pytest.mark.parametrize("opset", [7, 10])
def test_branches_of_old_opsets_stay(opset: int) -> None:
    proto = if_net()
    proto.opset_import[0].version = opset
    # Until opset 11, a Gemm had to have a bias.
    proto.graph.node[0].op_type = "MatMul"
    result = Result(proto, everything(proto))
    reason = f"inside an If of opset {opset}, whose branches must return equal shapes"
    assert list(result.carried.refused.values()) == [reason, reason]
    result.run({"x": samples(3, 6, 5)})


IF_IN_IF = """g (float[N, 4] x, bool a, bool b) => (float[N, 4] y) {
    [I] y = If (a) <
        then_branch = p () => (float[N, 4] u) {
            h = Abs (x)
            [J] u = If (b) <
                then_branch = q () => (float[N, 4] v) { v = Sqrt (h) },
                else_branch = r () => (float[N, 4] v) { k = Neg (h) v = Exp (k) }
            >
        },
        else_branch = o () => (float[N, 4] u) { h = Neg (x) u = Relu (h) }
    >
}"""


@pytest.mark.parametrize("a", [False, True])
@pytest.mark.parametrize("b", [False, True])
def test_if_in_if(a: bool, b: bool) -> None:
    found = carry(parsed(IF_IN_IF), {"x": X, "a": np.asarray(a), "b": np.asarray(b)})
    values = {
        (THEN, "h"): abs(X) if a else None,
        (THEN, "u"): (np.sqrt(abs(X)) if b else np.exp(-abs(X))) if a else None,
        (f"{THEN}/J/then_branch", "v"): np.sqrt(abs(X)) if a and b else None,
        (f"{THEN}/J/else_branch", "k"): -abs(X) if a and not b else None,
        (f"{THEN}/J/else_branch", "v"): np.exp(-abs(X)) if a and not b else None,
        (ELSE, "h"): None if a else -X,
        (ELSE, "u"): None if a else np.maximum(-X, 0),
    }
    assert found.keys() == values.keys()
    for key, expected in values.items():
        assert len(found[key]) == (expected is not None)
        if expected is not None:
            np.testing.assert_allclose(found[key][0], expected, rtol=1e-6)


def test_branches_that_return_what_they_are_given() -> None:
    """A constant of the same name in both branches, and a tensor that is returned twice."""
    proto = parsed("""g (float[N, 4] x, bool c) => (float[N, 4] y, float[N, 4] z, float[4] k) {
        n = Neg (x)
        [I] y, z, k = If (c) <
            then_branch = p () => (float[N, 4] h, float[N, 4] h2, float[4] w) <
                float[4] w = {1, 2, 3, 4}
            > { h = Add (x, w) h2 = Identity (h) },
            else_branch = q () => (float[N, 4] h, float[N, 4] h2, float[4] w) <
                float[4] w = {5, 6, 7, 8}
            > { h = Add (n, w) h2 = Mul (h, w) }
        >
    }""")
    w, v = np.array([[1, 2, 3, 4], [5, 6, 7, 8]], np.float32)
    found = carry(proto, {"x": X, "c": np.asarray(True)})
    np.testing.assert_array_equal(found[THEN, "h"], [X + w])
    np.testing.assert_array_equal(found[THEN, "w"], [w])
    assert found[ELSE, "w"].shape == (0, 4)
    found = carry(proto, {"x": X, "c": np.asarray(False)})
    np.testing.assert_array_equal(found[ELSE, "w"], [v])
    np.testing.assert_array_equal(found[ELSE, "h2"], [(v - X) * v])
    assert len(found[THEN, "h2"]) == 0


COUNTED = """g (float[N, 4] x, int64 m, bool c, float limit) => (float[N, 4] y, float[T, N, 4] each) {
    [L] y, each = Loop (m, c, x) <body = b (int64 i, bool go, float[N, 4] s) =>
        (bool on, float[N, 4] t, float[N, 4] e)
    {
        h = Abs (s)
        f = Cast <to = 1> (i)
        t = Add (h, f)
        e = Neg (s)
        top = ReduceMax <keepdims = 0> (t)
        on = Less (top, limit)
    }>
}"""


def counted(x: Array, m: int, limit: float) -> dict[str, list[Array]]:
    """What each iteration of ``COUNTED`` makes."""
    rows: dict[str, list[Array]] = {name: [] for name in ("i", "go", "s", "h", "f", "t", "e", "on")}
    s, on = x, True
    for i in range(m):
        if not on:
            break
        h = abs(s)
        t = h + np.float32(i)
        on = bool(t.max() < limit)
        for name, row in {
            "i": i,
            "go": True,
            "s": s,
            "h": h,
            "f": i,
            "t": t,
            "e": -s,
            "on": on,
        }.items():
            rows[name].append(np.asarray(row))
        s = t
    return rows


@pytest.mark.parametrize(
    ("m", "limit", "count"), [(3, 100, 3), (1, 100, 1), (6, 8, 3), (6, -1, 1), (0, 100, 0)]
)
def test_loops_from_data_with_an_early_end(m: int, limit: float, count: int) -> None:
    feeds = {
        "x": X,
        "m": np.asarray(m),
        "c": np.asarray(True),
        "limit": np.asarray(limit, np.float32),
    }
    found = carry(parsed(COUNTED), feeds)
    rows = counted(X, m, limit)
    for name, expected in rows.items():
        got = found["L/body", name]
        assert len(got) == len(expected) == count
        if expected:
            np.testing.assert_array_equal(got, np.stack(expected))
            assert got.dtype == (np.float32 if name in "sfhte" else got.dtype)


def test_a_loop_that_is_not_entered() -> None:
    feeds = {"m": np.asarray(3), "c": np.asarray(False), "limit": np.asarray(9, np.float32)}
    found = carry(parsed(COUNTED), {"x": X, **feeds})
    assert {len(value) for value in found.values()} == {0}


@pytest.mark.parametrize("inputs", [["m", "", "x"], ["", "c", "x"], ["", "", "x"]])
def test_loops_without_trip_count_or_condition(inputs: list[str]) -> None:
    proto = parsed(COUNTED)
    proto.graph.node[0].input[:] = inputs
    unread = [value for value in proto.graph.input if value.name not in ("x", "limit", *inputs)]
    for value in unread:
        proto.graph.input.remove(value)
    feeds = {"x": X, "limit": np.asarray(8, np.float32)}
    given = {"m": np.asarray(9), "c": np.asarray(True)}
    found = carry(proto, feeds | {name: given[name] for name in inputs if name in given})
    np.testing.assert_array_equal(found["L/body", "t"], np.stack(counted(X, 9, 8)["t"]))


@pytest.mark.parametrize("opset", [8, 11, 13, 17])
def test_a_loop_around_outer_tensors(opset: int) -> None:
    proto = loop_net(4)
    proto.opset_import[0].version = opset
    # Until opset 11, a Gemm had to have a bias.
    proto.graph.node[0].op_type = "MatMul"
    w = onnx.numpy_helper.to_array(proto.graph.initializer[0])
    x = samples(5, 3, 5)
    found = carry(proto, {"x": x})["n_total/body", "next"]
    expected = np.stack([x @ w * count for count in range(2, 6)])
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_initializers_that_are_inputs_too() -> None:
    proto = loop_net(2)
    proto.ir_version = 3
    proto.graph.input.extend(
        onnx.helper.make_tensor_value_info(t.name, t.data_type, t.dims)
        for t in proto.graph.initializer
    )
    assert len(carry(proto, {"x": samples(5, 3, 5)})["n_total/body", "next"]) == 2


def test_a_body_that_returns_its_state_and_what_it_returns_already() -> None:
    proto = parsed("""g (float[N, 4] x, int64 m, bool c) => (float[N, 4] y, float[T, N, 4] e) {
        [L] y, e = Loop (m, c, x) <body = b (int64 i, bool go, float[N, 4] s) =>
            (bool go, float[N, 4] s, float[N, 4] t) { t = Exp (s) }>
    }""")
    found = carry(proto, {"x": X, "m": np.asarray(2), "c": np.asarray(True)})
    np.testing.assert_array_equal(found["L/body", "s"], [X, X])
    np.testing.assert_allclose(found["L/body", "t"], np.exp([X, X]), rtol=1e-6)


SCAN = """g (float[5, 2, 4] x, float[2, 3] k) => (float[4] y, float[1] z, float[5, 4] d) {
    a0 = Constant <value = float[4] {0, 0, 0, 0}> ()
    b0 = Constant <value = float[1] {1}> ()
    first = Constant <value_ints = [0]> ()
    second = Constant <value_ints = [1]> ()
    half = Gather <axis = 1> (x, first)
    seq = Squeeze (half, second)
    [S] y, z, d = Scan <num_scan_inputs = 2, ATTRIBUTES, body = b (
        float[4] s, float[1] p, float[4] a, float[2] q
    ) => (float[4] t, float[1] r, float[4] e) {
        m = ReduceSum (q)
        r = Mul (p, m)
        t = Add (s, a)
        e = Mul (t, r)
    }> (a0, b0, seq, cut)
    }"""


@pytest.mark.parametrize(
    ("attributes", "reverse"),
    [
        ("scan_input_axes = [0, 1]", False),
        ("scan_input_axes = [0, 1], scan_output_axes = [1]", False),
        ("scan_input_axes = [0, -1], scan_input_directions = [1, 0]", True),
        ("scan_input_axes = [0, 1], scan_output_axes = [0], scan_output_directions = [1]", False),
    ],
)
def test_scans_of_several_states(attributes: str, reverse: bool) -> None:
    text = SCAN.replace("ATTRIBUTES", attributes).replace("(a0, b0, seq, cut)", "(a0, b0, seq, k)")
    text = text.replace("float[2, 3] k", "float[2, 5] k")
    x, k = samples(0, 5, 2, 4), samples(1, 2, 5)
    found = carry(parsed(text), {"x": x, "k": k})
    rows = x[::-1, 0] if reverse else x[:, 0]
    states = np.cumsum(rows, axis=0)
    products = np.cumprod(k.sum(axis=0))[:, None]
    np.testing.assert_allclose(found["S/body", "t"], states, rtol=1e-6)
    np.testing.assert_allclose(found["S/body", "a"], rows)
    np.testing.assert_allclose(found["S/body", "q"], k.T)
    np.testing.assert_allclose(found["S/body", "r"], products, rtol=1e-5)
    np.testing.assert_allclose(found["S/body", "e"], states * products, rtol=1e-5)
    np.testing.assert_allclose(found["S/body", "s"][1:], states[:-1], rtol=1e-6)


def test_a_tensor_asked_for_twice_is_carried_once() -> None:
    result = carry_out(if_net(), {"n_z/then_branch": ["inner_Neg", "inner_Neg"]})
    assert list(result.names.values()) == ["n_z/then_branch/inner_Neg"]
    (node,) = (n for n in result.model.graph.node if n.op_type == "If")
    assert list(node.output) == ["z", "n_z/then_branch/inner_Neg"]


def test_nothing_asked_for_changes_nothing() -> None:
    assert carry_out(if_net(), {}).model == if_net()


def test_names_are_new_in_the_whole_model() -> None:
    proto = if_net()
    proto.graph.node[0].name = "n_z/then_branch/inner_Neg"
    result = Result(proto, everything(proto))
    assert result.carried.names["n_z/then_branch", "inner_Neg"] == "n_z/then_branch/inner_Neg_1"
    result.run({"x": samples(3, 6, 5)})


@pytest.mark.parametrize(
    ("path", "tensor", "message"),
    [
        ("n_z/body", "inner_Neg", "cannot look into 'n_z/body': the model has no such body"),
        ("n_z/then_branch", "h", "cannot carry 'h' out of 'n_z/then_branch': that body defines no"),
        ("n_z/then_branch", "", "cannot carry '' out of 'n_z/then_branch': that body defines no"),
    ],
)
def test_what_is_not_there(path: str, tensor: str, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        carry_out(if_net(), {path: [tensor]})


@pytest.mark.parametrize("optimised", [False, True])
def test_the_twin_scores_what_was_carried_out(optimised: bool) -> None:
    proto = parsed(UNEVEN)
    carried = carry_out(proto, {f"L/body/{THEN}": ["w"], "L/body": ["t"]})
    w, t = carried.names[f"L/body/{THEN}", "w"], carried.names["L/body", "t"]
    scored = [Scored(name, batch_axis=None) for name in (w, t)]
    twin = compare(carried.model, scored, ["y"], ["x"])
    x, other = X, X + 1
    feeds = {"m": np.asarray(3), "c": np.asarray(True)}
    inputs = {"x": x, twin.perturbed_inputs["x"]: other}
    results = run(twin.model, {**feeds, **inputs}, optimised=optimised)
    exposed = expose(carried.model, [w, t])
    clean, perturbed = (run(exposed, {"x": value, **feeds}) for value in (x, other))
    for name in (w, t):
        a, b = clean[name], perturbed[name]
        sums = twin.sums[name]
        np.testing.assert_allclose(results[sums.clean].sum(), (a**2).sum(), rtol=1e-5)
        np.testing.assert_allclose(results[sums.difference].sum(), ((a - b) ** 2).sum(), rtol=1e-5)
    np.testing.assert_array_equal(results[twin.perturbed_outputs["y"]], perturbed["y"])


def test_the_twin_has_branches_of_its_own() -> None:
    """The two inputs take different branches."""
    carried = carry_out(
        if_net(), {"n_z/then_branch": ["inner_Neg"], "n_z/else_branch": ["inner_Abs"]}
    )
    names = list(carried.names.values())
    x = samples(3, 6, 5)
    clean, perturbed = (run(expose(carried.model, names), {"x": sign * x}) for sign in (1, -1))
    assert {len(clean[n]) + len(perturbed[n]) for n in names} == {1}
    twin = compare(carried.model, [Scored("h")], ["y"])
    results = run(twin.model, {"x": x, twin.perturbed_inputs["x"]: -x})
    np.testing.assert_array_equal(results[twin.perturbed_outputs["y"]], perturbed["y"])
    np.testing.assert_array_equal(results["y"], clean["y"])


def test_linear_in_nodes() -> None:
    """A long body takes as long per node as a short one; its copy has a few nodes for each tensor."""
    proto = loop_net()
    body = proto.graph.node[1].attribute[0].g
    long = copy_model(proto)
    inner = long.graph.node[1].attribute[0].g
    for index in range(300):
        inner.node.add(
            op_type="Relu", input=[f"r{index}" if index else "next"], output=[f"r{index + 1}"]
        )
    wanted = {"n_total/body": [f"r{index + 1}" for index in range(300)]}
    carried = carry_out(long, wanted)
    grown = carried.model.graph.node[1].attribute[0].g
    assert len(grown.node) == len(body.node) + 600
    assert len(carried.model.graph.node) == len(proto.graph.node)
    assert len(carried.names) == 300
