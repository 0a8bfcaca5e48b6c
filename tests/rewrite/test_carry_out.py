"""Tensors of bodies as tensors of the main graph, held to what numpy says that each execution makes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from lsa_onnx.errors import ModelError
from lsa_onnx.rewrite import Scored, compare, expose
from lsa_onnx.rewrite.bodies import bodies
from lsa_onnx.rewrite.carry_out import CarriedOut, carry_out
from lsa_onnx.rewrite.graph import copy_model, local_names
from tests.graphs import if_net, loop_net, run, samples

Array = NDArray[Any]
THEN, ELSE = "I/then_branch", "I/else_branch"
X = np.array([[1, -2, 3, 0.5], [0, 4, -5, 1.5]], np.float32)


def parsed(text: str, opset: int = 17) -> onnx.ModelProto:
    header = f'<ir_version: 8, opset_import: ["" : {opset}, "com.microsoft" : 1]>'
    return onnx.parser.parse_model(f"{header}\n{text}")


def everything(proto: onnx.ModelProto) -> dict[str, list[str]]:
    return {b.path: sorted(filter(None, local_names(b.graph))) for b in bodies(proto)}


def same(a: Any, b: Any) -> bool:
    """Whether two values have the same bits."""
    if isinstance(a, list):
        return len(a) == len(b) and all(map(same, a, b))
    if a is None or b is None:
        return a is b
    return bool(a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes())


class Result:
    """What leaves the bodies of a model, run with optimisation and without."""

    def __init__(self, proto: onnx.ModelProto, wanted: Mapping[str, Iterable[str]]) -> None:
        self.original = proto
        before = proto.SerializeToString()
        self.carried: CarriedOut = carry_out(proto, {p: list(t) for p, t in wanted.items()})
        assert proto.SerializeToString() == before
        assert self.carried.model.graph.output == proto.graph.output
        asked = {(path, tensor) for path, tensors in wanted.items() for tensor in tensors}
        assert self.carried.names.keys() | self.carried.refused.keys() == asked
        assert not self.carried.names.keys() & self.carried.refused.keys()
        self.names = list(self.carried.names.values())
        assert len(set(self.names)) == len(self.names)
        self.exposed = expose(self.carried.model, self.names)

    def run(self, feeds: Mapping[str, Array]) -> dict[tuple[str, str], Array]:
        """The tensors that were carried out; those the model returns anyway are as they were."""
        plain, optimised = (run(self.exposed, feeds, optimised=o) for o in (False, True))
        for results, level in ((plain, False), (optimised, True)):
            expected = run(self.original, feeds, optimised=level)
            assert all(same(results[name], value) for name, value in expected.items())
        for name in self.names:
            np.testing.assert_allclose(optimised[name], plain[name], rtol=1e-6)
        return {key: plain[name] for key, name in self.carried.names.items()}


def carry(proto: onnx.ModelProto, feeds: Mapping[str, Array]) -> dict[tuple[str, str], Array]:
    """Everything in every body, none of it refused."""
    result = Result(proto, everything(proto))
    assert result.carried.refused == {}
    return result.run(feeds)


# --- If


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


# --- Loop

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


# --- Scan

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


# --- Bodies in bodies

LOOP_IN_LOOP = """g (float[N, 4] x, int64 m, int64 n, bool c) => (float[N, 4] y) {
    [L] y = Loop (m, c, x) <body = a (int64 i, bool go, float[N, 4] s) => (bool on, float[N, 4] t) {
        on = Identity (go)
        [M] t = Loop (n, c, s) <body = b (int64 j, bool go2, float[N, 4] p) => (bool on2, float[N, 4] q)
        {
            on2 = Identity (go2)
            q = Add (p, x)
            u = Shape (q)
        }>
    }>
}"""


@pytest.mark.parametrize("opset", [11, 13, 21])
@pytest.mark.parametrize(("m", "n"), [(2, 3), (1, 1), (3, 0), (0, 2), (0, 0)])
def test_loop_in_loop(m: int, n: int, opset: int) -> None:
    feeds = {"x": X, "m": np.asarray(m), "n": np.asarray(n), "c": np.asarray(True)}
    found = carry(parsed(LOOP_IN_LOOP, opset), feeds)
    q = found["L/body/M/body", "q"]
    assert len(q) == m * n
    assert len(found["L/body", "t"]) == m
    if m * n:
        expected = np.stack([X * (count + 2) for count in range(m * n)])
        np.testing.assert_allclose(q, expected, rtol=1e-6)
        np.testing.assert_array_equal(found["L/body/M/body", "j"], list(range(n)) * m)
        assert found["L/body/M/body", "u"].tolist() == [[2, 4]] * (m * n)


def test_three_loops_with_a_branch_that_no_iteration_changes() -> None:
    text = LOOP_IN_LOOP.replace(
        "q = Add (p, x)",
        """q = If (c) <
            then_branch = f () => (float[N, 4] v) { w = Neg (p) v = Add (w, x) },
            else_branch = o () => (float[N, 4] v) { v = Exp (p) }
        >""",
    )
    feeds = {"x": X, "m": np.asarray(2), "n": np.asarray(3), "c": np.asarray(True)}
    found = carry(parsed(text), feeds)
    path = "L/body/M/body/If_1"
    w = found[f"{path}/then_branch", "w"]
    # p alternates between x and 0.
    np.testing.assert_allclose(w, [-X, 0 * X] * 3, atol=1e-6)
    assert found[f"{path}/else_branch", "v"].shape[0] == 0


def test_nested_bodies_of_old_opsets_stay() -> None:
    proto = parsed(LOOP_IN_LOOP, 10)
    result = Result(proto, {"L/body": ["t"], "L/body/M/body": ["q"]})
    feeds = {"x": X, "m": np.asarray(2), "n": np.asarray(3), "c": np.asarray(True)}
    np.testing.assert_allclose(result.run(feeds)["L/body", "t"], [4 * X, 7 * X], rtol=1e-6)
    (reason,) = result.carried.refused.values()
    assert reason == "inside bodies of bodies, which takes opset 11, not 10"


UNEVEN = """g (float[N, 4] x, int64 m, bool c) => (float[N, 4] y) {
    one = Constant <value_int = 1> ()
    two = Constant <value_int = 2> ()
    [L] y = Loop (m, c, x) <body = a (int64 i, bool go, float[N, 4] s) => (bool on, float[N, 4] t) {
        on = Identity (go)
        rest = Mod (i, two)
        odd = Equal (rest, one)
        [I] t = If (odd) <
            then_branch = f () => (float[N, 4] v) { w = Neg (s) v = Sub (w, x) },
            else_branch = o () => (float[N, 4] v) { r = ReduceSum <keepdims = 0> (s) v = Abs (s) }
        >
    }>
}"""


DRAWN = """half = Constant <value = float {0.5}> ()
        p = RandomUniform <shape = [1]> ()
        scalar = ReduceSum <keepdims = 0> (p)
        odd = Less (scalar, half)"""


def test_a_branch_taken_in_some_iterations_gives_zeros_in_the_others() -> None:
    """The batch is free: zeros get the size that the input has."""
    proto = parsed(UNEVEN)
    x = np.concatenate([X, 2 * X, X])[:5]
    found = carry(proto, {"x": x, "m": np.asarray(4), "c": np.asarray(True)})
    states = [x, abs(x), -abs(x) - x, abs(-abs(x) - x)]
    w = found[f"L/body/{THEN}", "w"]
    np.testing.assert_allclose(w, [0 * x, -states[1], 0 * x, -states[3]], rtol=1e-6)
    r = found[f"L/body/{ELSE}", "r"]
    np.testing.assert_allclose(r, [x.sum(), 0, states[2].sum(), 0], rtol=1e-5)
    found = carry(proto, {"x": x, "m": np.asarray(0), "c": np.asarray(True)})
    assert len(found[f"L/body/{THEN}", "w"]) == 0


def test_zeros_of_shapes_that_are_declared() -> None:
    text = UNEVEN.replace("[N, 4]", "[2, 4]")
    found = carry(parsed(text, 12), {"x": X, "m": np.asarray(2), "c": np.asarray(True)})
    np.testing.assert_array_equal(found[f"L/body/{THEN}", "w"], [0 * X, -abs(X)])


def test_branches_in_branches_of_loops() -> None:
    inner = """[J] v = If (c) <
        then_branch = h () => (float[N, 4] k) { k = Exp (w) },
        else_branch = l () => (float[N, 4] k) { k = Sin (w) }
    >"""
    proto = parsed(UNEVEN.replace("v = Sub (w, x)", inner))
    result = Result(proto, everything(proto))
    found = result.run({"x": X, "m": np.asarray(3), "c": np.asarray(True)})
    # How often the inner branch counts is not known where the outer one is not taken.
    path = f"L/body/{THEN}/J"
    assert result.carried.refused == {
        (
            f"{path}/{branch}",
            "k",
        ): f"its shape is not known beforehand, and {path}/{branch} runs in some iterations only"
        for branch in ("then_branch", "else_branch")
    }
    assert len(found[f"L/body/{THEN}", "w"]) == 3


def test_branches_in_branches_that_both_change() -> None:
    inner = """[J] v = If (odd) <
        then_branch = h () => (float[N, 4] k) { k = Exp (w) },
        else_branch = l () => (float[N, 4] k) { k = Sin (w) }
    >"""
    proto = parsed(UNEVEN.replace("v = Sub (w, x)", inner))
    found = carry(proto, {"x": X, "m": np.asarray(2), "c": np.asarray(True)})
    path = f"L/body/{THEN}/J"
    np.testing.assert_allclose(
        found[f"{path}/then_branch", "k"], [0 * X, np.exp(-abs(X))], rtol=1e-6
    )
    np.testing.assert_array_equal(found[f"{path}/else_branch", "k"], [0 * X, 0 * X])


def test_a_branch_in_a_loop_whose_shape_is_not_known() -> None:
    proto = parsed(
        UNEVEN.replace("w = Neg (s)", "w = Neg (s) nz = NonZero (x)").replace("[N, 4]", "[N, 4]")
    )
    result = Result(proto, everything(proto))
    assert result.carried.refused == {
        (f"L/body/{THEN}", "nz"): f"its shape is not known beforehand, and L/body/{THEN} runs in "
        "some iterations only"
    }
    result.run({"x": X, "m": np.asarray(3), "c": np.asarray(True)})


def test_loop_in_if() -> None:
    proto = parsed("""g (float[N, 4] x, int64 m, bool c) => (float[N, 4] y) {
        [I] y = If (c) <
            then_branch = f () => (float[N, 4] v) {
                [L] v = Loop (m, c, x) <body = b (int64 i, bool go, float[N, 4] s) =>
                    (bool go, float[N, 4] t) { t = Add (s, x) }>
            },
            else_branch = o () => (float[N, 4] v) { v = Exp (x) }
        >
    }""")
    path = f"{THEN}/L/body"
    found = carry(proto, {"x": X, "m": np.asarray(3), "c": np.asarray(True)})
    np.testing.assert_array_equal(found[path, "t"], [2 * X, 3 * X, 4 * X])
    found = carry(proto, {"x": X, "m": np.asarray(3), "c": np.asarray(False)})
    assert len(found[path, "t"]) == 0


@settings(max_examples=8, deadline=None)
@given(
    m=st.integers(0, 4),
    n=st.integers(0, 3),
    batch=st.integers(1, 3),
    c=st.booleans(),
)
def test_counts_multiply(m: int, n: int, batch: int, c: bool) -> None:
    x = samples(1, batch, 4)
    feeds = {"x": x, "m": np.asarray(m), "n": np.asarray(n), "c": np.asarray(c)}
    found = carry(parsed(LOOP_IN_LOOP), feeds)
    assert len(found["L/body", "s"]) == m * c
    assert len(found["L/body/M/body", "p"]) == m * n * c


# --- What stays in its body

GROWING = """g (float[N, 4] x, int64 m, bool c) => (float[K, 4] y) {
    [L] y = Loop (m, c, x) <body = b (int64 i, bool go, float[K, 4] s) => (bool go, float[K, 4] t) {
        t = Concat <axis = 0> (s, x)
        h = Relu (t)
        k = Neg (x)
        size = Shape (t)
    }>
}"""


def test_what_grows_stays() -> None:
    proto = parsed(GROWING)
    result = Result(proto, everything(proto))
    reason = "its shape may change from one execution of L/body to the next"
    assert result.carried.refused == {("L/body", name): reason for name in ("h", "s", "t")}
    found = result.run({"x": X, "m": np.asarray(3), "c": np.asarray(True)})
    assert found["L/body", "size"].tolist() == [[4, 4], [6, 4], [8, 4]]


def test_slices_that_grow_stay() -> None:
    """The iteration decides how long they are."""
    proto = parsed("""g (float[N, 4] x, int64 m, bool c) => (float y) {
        zero = Constant <value_ints = [0]> ()
        start = Constant <value = float {0}> ()
        [L] y = Loop (m, c, start) <body = b (int64 i, bool go, float s) => (bool go, float t) {
            end = Unsqueeze (i, zero)
            part = Slice (x, zero, end)
            h = Exp (part)
            sum = ReduceSum <keepdims = 0> (h)
            t = Add (s, sum)
        }>
    }""")
    result = Result(proto, everything(proto))
    assert {name for _, name in result.carried.refused} == {"part", "h"}
    result.run({"x": X, "m": np.asarray(3), "c": np.asarray(True)})


@pytest.mark.parametrize(
    ("count", "on2"), [("i", "Identity (go2)"), ("n", "Less (j, i)"), ("n", "Greater (top, n)")]
)
def test_a_loop_that_runs_more_often_each_time_stays(count: str, on2: str) -> None:
    text = LOOP_IN_LOOP.replace("Loop (n, c, s)", f"Loop ({count}, c, s)")
    text = text.replace(
        "on2 = Identity (go2)",
        f"biggest = ReduceMax <keepdims = 0> (p) top = Cast <to = 7> (biggest) on2 = {on2}",
    )
    proto = parsed(text)
    result = Result(proto, everything(proto))
    reason = "inside a Loop that may run more or less often each time it is reached"
    assert set(result.carried.refused.values()) == {reason}
    assert {path for path, _ in result.carried.refused} == {"L/body/M/body"}
    feeds = {"x": X, "m": np.asarray(3), "n": np.asarray(2), "c": np.asarray(True)}
    assert len(result.run(feeds)["L/body", "t"]) == 3


def test_what_is_made_of_a_growing_cache_leaves_if_its_size_is_fixed() -> None:
    """As in attention: one query, ever more keys."""
    attention = """keys = Transpose (t)
        scores = MatMul (x, keys)
        weights = Softmax (scores)
        h = MatMul (weights, t)"""
    proto = parsed(GROWING.replace("h = Relu (t)", attention))
    result = Result(proto, {"L/body": ["scores", "h"]})
    assert result.carried.refused.keys() == {("L/body", "scores")}
    found = result.run({"x": X, "m": np.asarray(3), "c": np.asarray(True)})["L/body", "h"]
    for steps, got in zip((2, 3, 4), found, strict=True):
        keys = np.concatenate([X] * steps)
        weights = np.exp(X @ keys.T)
        expected = weights / weights.sum(axis=1, keepdims=True) @ keys
        np.testing.assert_allclose(got, expected, rtol=1e-5)


def test_a_state_of_which_nothing_is_known_after_one_step_stays() -> None:
    """Inference takes it to keep its shape and cannot tell: ONNX has no rule for the operator."""
    proto = parsed("""g (float[2, 4] x, int64 m, bool c) => (float[K, 4] y) {
        [L] y = Loop (m, c, x) <body = b (int64 i, bool go, float[K, 4] s) => (bool go, float[K, 4] t) {
            h = Relu (s)
            t = com.microsoft.BiasGelu (h, k)
            k = Constant <value = float[4] {1, 2, 3, 4}> ()
        }>
    }""")
    nodes = proto.graph.node[0].attribute[0].g.node
    nodes.insert(0, nodes.pop())
    result = Result(proto, everything(proto))
    reason = "its shape may change from one execution of L/body to the next"
    assert result.carried.refused == {("L/body", name): reason for name in ("s", "h", "t")}
    result.run({"x": X, "m": np.asarray(3), "c": np.asarray(True)})


def test_a_branch_that_is_drawn_may_change() -> None:
    proto = parsed(UNEVEN.replace("odd = Equal (rest, one)", DRAWN))
    result = Result(proto, everything(proto))
    assert result.carried.refused == {}
    for _ in range(3):
        feeds = {"x": X, "m": np.asarray(4), "c": np.asarray(True)}
        found = run(result.exposed, feeds)
        assert len(found[result.carried.names[f"L/body/{THEN}", "w"]]) == 4


def test_text_and_sequences_stay() -> None:
    proto = parsed("""g (float[N, 4] x, bool c) => (float[K, 4] y) {
        [I] y = If (c) <
            then_branch = f () => (float[K, 4] v) {
                list = SequenceConstruct (x, x)
                text = Cast <to = 8> (x)
                v = ConcatFromSequence <axis = 0> (list)
            },
            else_branch = o () => (float[K, 4] v) { v = Relu (x) }
        >
    }""")
    result = Result(proto, everything(proto))
    assert result.carried.refused == {
        (THEN, "list"): f"a sequence, made inside {THEN}",
        (THEN, "text"): f"text, made inside {THEN}",
    }
    result.run({"x": X, "c": np.asarray(True)})


def test_unknown_types_stay_in_branches_alone() -> None:
    """ONNX's inference does not know the operators of other domains."""
    body = "h = com.microsoft.FastGelu (x) v = Relu (h)"
    proto = parsed(f"""g (float[2, 4] x, bool c) => (float[2, 4] y) {{
        [I] y = If (c) <
            then_branch = f () => (float[2, 4] v) {{ {body} }},
            else_branch = o () => (float[2, 4] v) {{ v = Relu (x) }}
        >
    }}""")
    result = Result(proto, everything(proto))
    reason = f"of unknown element type, made inside {THEN}"
    assert result.carried.refused == {(THEN, "h"): reason}


def test_bodies_of_other_operators_stay() -> None:
    proto = parsed("""g (float[N, 4] x) => (float[K, 4] y) {
        list = SequenceConstruct (x, x)
        [S] out = SequenceMap (list) <body = b (float[N, 4] a) => (float[N, 4] e) { e = Neg (a) }>
        y = ConcatFromSequence <axis = 0> (out)
    }""")
    result = Result(proto, everything(proto))
    reason = "inside a SequenceMap node, whose body returns nothing but its result"
    assert result.carried.refused == {("S/body", "a"): reason, ("S/body", "e"): reason}
    result.run({"x": X})


# --- What is asked for


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


# --- With the other rewrites


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
