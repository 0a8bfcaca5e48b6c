"""Adjoints of matrix products against central differences."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.graphs import model, node, samples, value
from tests.rewrite.gradients import check, check_on_runtime
from tests.rewrite.vjp.cases import adjoints, one_node

Array = NDArray[Any]
FREE = [False, True]


def product(a: tuple[int, ...], b: tuple[int, ...], *, free: bool = False) -> None:
    shapes = {"a": a, "b": b}
    inputs = [
        value(n, ["N", *s[1:]] if free and len(s) > 2 else s, "float64") for n, s in shapes.items()
    ]
    proto = model(
        [node("MatMul", ["a", "b"], ["y"])], inputs, [value("y", None, "float64")], opset=18
    )
    check(proto, {n: samples(i, *s, dtype="float64") for i, (n, s) in enumerate(shapes.items())})


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ((2, 3), (3, 4)),
        ((3,), (3,)),
        ((3,), (3, 2)),
        ((2, 3), (3,)),
        ((4, 2, 3), (3,)),
        ((3,), (4, 3, 2)),
        ((2, 4, 3), (3, 5)),
        ((4, 3), (2, 3, 5)),
        ((2, 1, 4, 3), (3, 3, 2)),
        ((1, 2, 3), (4, 3, 2)),
        ((2, 3, 2, 4), (2, 3, 4, 2)),
        ((3, 2), (2, 2, 2, 3)),
        ((2, 2, 3, 2), (2,)),
    ],
)
def test_ranks_and_broadcasts(a: tuple[int, ...], b: tuple[int, ...]) -> None:
    product(a, b)


@pytest.mark.parametrize(("a", "b"), [((2, 4, 3), (2, 3, 5)), ((2, 3, 4, 2), (2, 2))])
def test_free_batch(a: tuple[int, ...], b: tuple[int, ...]) -> None:
    product(a, b, free=True)


@pytest.mark.parametrize(
    ("names", "first", "second"),
    [
        *(("AB", first, second) for first, second in ((1, 5), (5, 1), (5, 5), (1, 1))),
        ("AA", 5, 5),
        ("AA", 1, 1),
        ("A1", 5, 1),
        ("A1", 1, 1),
        ("1A", 1, 5),
        ("15", 1, 5),
    ],
)
def test_stacks_of_unknown_length(names: str, first: int, second: int) -> None:
    """One of two that are named differently may be 1, and is repeated then."""
    sizes = [int(n) if n.isdigit() else n for n in names]
    feeds = {"a": (2, first, 4, 3), "b": (2, second, 3, 2)}
    inputs = [
        value(name, [shape[0], size, *shape[2:]], "float64")
        for size, (name, shape) in zip(sizes, feeds.items(), strict=True)
    ]
    proto = model(
        [node("MatMul", ["a", "b"], ["y"])], inputs, [value("y", None, "float64")], opset=18
    )
    given = {n: samples(i, *s, dtype="float64") for i, (n, s) in enumerate(feeds.items())}
    check(proto, given)
    check_on_runtime(proto, given)


@settings(max_examples=40, deadline=None)
@given(
    trans_a=st.integers(0, 1),
    trans_b=st.integers(0, 1),
    alpha=st.sampled_from([1.0, 0.5]),
    beta=st.sampled_from([1.0, 2.0]),
    c=st.sampled_from([None, (), (1,), (5,), (1, 5), (3, 1), (3, 5)]),
)
def test_gemm(
    trans_a: int, trans_b: int, alpha: float, beta: float, c: tuple[int, ...] | None
) -> None:
    shapes: dict[str, tuple[int, ...]] = {
        "a": (4, 3) if trans_a else (3, 4),
        "b": (5, 4) if trans_b else (4, 5),
    }
    if c is not None:
        shapes["c"] = c
    given = {"transA": trans_a, "transB": trans_b, "alpha": alpha, "beta": beta}
    proto = model(
        [node("Gemm", list(shapes), ["y"], **given)],
        [value(n, s, "float64") for n, s in shapes.items()],
        [value("y", None, "float64")],
        opset=18,
    )
    feeds = {
        n: np.asarray(samples(i, *s, dtype="float64")) for i, (n, s) in enumerate(shapes.items())
    }
    check(proto, feeds)


@pytest.mark.parametrize("kind", ["MatMul", "Gemm"])
def test_half_precision(kind: str) -> None:
    feeds: dict[str, Array] = {"a": samples(0, 4, 6), "b": samples(1, 6, 5)}
    exact = adjoints(one_node(kind, feeds), feeds)
    half: dict[str, Array] = {name: x.astype(np.float16) for name, x in feeds.items()}
    for name, found in adjoints(one_node(kind, half), half).items():
        assert found.dtype == np.float16
        np.testing.assert_allclose(found, exact[name], rtol=1e-2)
