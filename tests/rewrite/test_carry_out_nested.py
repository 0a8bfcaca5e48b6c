"""Bodies in bodies: executions of all of them count along one axis."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.graphs import samples
from tests.rewrite.carried import (
    ELSE,
    LOOP_IN_LOOP,
    THEN,
    UNEVEN,
    Result,
    X,
    carry,
    everything,
    parsed,
)


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
