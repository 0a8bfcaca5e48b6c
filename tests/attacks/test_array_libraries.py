"""One source for all array libraries: the same points from numpy, torch and the strict array API."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lsa_onnx.attacks import (
    BALLS,
    Ball,
    SampleRandomness,
    apgd,
    auto,
    fast,
    fgsm,
    pgd,
    square,
    trades,
)
from tests.attacks.oracles import Mlp


def plain_fgsm(oracle: Any, x: Any, y: Any, ball: Ball, numbers: Any) -> Any:
    return fgsm(oracle, x, y, ball)


RUNS: dict[str, Any] = {
    "fgsm": plain_fgsm,
    "fgsm nearby": fgsm,
    "fast": fast,
    "pgd": lambda *a, **k: pgd(*a, **k, steps=5, restarts=2, momentum=0.5).x,
    "trades": lambda *a, **k: trades(*a, **k, steps=3),
    "apgd": lambda *a, **k: apgd(*a, **k, steps=9, restarts=2).x,
    "square": lambda *a, **k: square(*a, **k, queries=40, channel_axis=1).x,
}
PAIRS = [(name, norm) for name in RUNS for norm in BALLS if (name, norm) != ("square", "l1")]


@pytest.fixture(params=["array_api_strict", "torch"])
def library(request: pytest.FixtureRequest) -> Any:
    return pytest.importorskip(request.param)


def problem(eps: float, norm: str) -> tuple[Mlp, Any, Any, Ball, SampleRandomness]:
    network = Mlp(2 * 3 * 4)
    x = np.random.default_rng(1).random((6, 2, 3, 4))
    labels = network.logits(x)[0].argmax(axis=1)
    return network, x, labels, BALLS[norm](eps, 0.0, 1.0), SampleRandomness.of_batch(0, 4, 6)


@pytest.mark.parametrize(("name", "norm"), PAIRS)
def test_same_points_as_numpy(library: Any, name: str, norm: str) -> None:
    network, x, labels, ball, numbers = problem(0.05, norm)
    attack, oracle = RUNS[name], network.oracle()
    expected = attack(oracle, x, {"labels": labels}, ball, numbers=numbers)
    given = library.asarray(x)
    found = attack(oracle, given, {"labels": library.asarray(labels)}, ball, numbers=numbers)
    assert type(found) is type(given)
    assert found.dtype == given.dtype
    np.testing.assert_allclose(np.asarray(found), expected, atol=1e-9)
    np.testing.assert_array_equal(np.asarray(given), x)


def test_the_ensemble_gives_the_same_points_as_numpy(library: Any) -> None:
    network, x, labels, ball, numbers = problem(0.03, "linf")
    options: dict[str, Any] = {"numbers": numbers, "steps": 5, "queries": 20}
    expected = auto(network.oracle, x, {"labels": labels}, ball, **options)
    goal = {"labels": library.asarray(labels)}
    found = auto(network.oracle, library.asarray(x), goal, ball, **options)
    np.testing.assert_allclose(np.asarray(found.x), expected.x, atol=1e-9)
    assert expected.margin is not None
    np.testing.assert_allclose(np.asarray(found.margin), expected.margin, atol=1e-9)


@pytest.mark.parametrize(("name", "norm"), PAIRS)
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_torch_keeps_its_types_and_the_promise(name: str, norm: str, dtype: str) -> None:
    torch = pytest.importorskip("torch")
    network, x, labels, ball, numbers = problem(0.02, norm)
    given = torch.asarray(x).to(getattr(torch, dtype))
    goal = {"labels": torch.asarray(labels)}
    found = RUNS[name](network.oracle(), given, goal, ball, numbers=numbers)
    assert found.dtype == given.dtype
    moved = (found.to(torch.float64) - given.to(torch.float64)).reshape(6, -1)
    order = {"linf": float("inf"), "l2": 2, "l1": 1}[norm]
    assert (torch.linalg.vector_norm(moved, order, dim=1) <= 0.02 * (1 + 5e-6)).all()
    assert ((found >= 0) & (found <= 1)).all()
