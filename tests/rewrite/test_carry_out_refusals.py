"""What stays in its body, and why; the rest leaves all the same."""

from __future__ import annotations

import numpy as np
import pytest

from tests.graphs import run
from tests.rewrite.carried import (
    LOOP_IN_LOOP,
    THEN,
    UNEVEN,
    Result,
    X,
    everything,
    parsed,
)

DRAWN = """half = Constant <value = float {0.5}> ()
        p = RandomUniform <shape = [1]> ()
        scalar = ReduceSum <keepdims = 0> (p)
        odd = Less (scalar, half)"""


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
            r = com.microsoft.FusedMatMul <transB = 1> (h, h)
            t = com.microsoft.FusedMatMul (r, h)
        }>
    }""")
    result = Result(proto, everything(proto))
    reason = "its shape may change from one execution of L/body to the next"
    assert result.carried.refused == {("L/body", name): reason for name in ("s", "h", "r", "t")}
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
    body = "h = com.microsoft.FusedMatMul <transB = 1> (x, x) v = MatMul (h, x)"
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
