"""Curvatures of surfaces and matrices that are known."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from lsa_trainer.landscape.curvature import STENCIL, largest_eigenvalue, principal_curvatures
from lsa_trainer.landscape.hessian import Hessian
from lsa_trainer.landscape.points import Observer
from tests.graphs import model, node, save, value, weight
from tests.trainer.landscape.views import regression, view

numbers = st.floats(-10, 10)


@settings(max_examples=30)
@given(numbers, numbers, numbers, numbers)
def test_a_quadratic_bends_as_it_says(p: float, q: float, r: float, slope: float) -> None:
    surface = {(a, b): 3 + slope * a + (p * a * a + r * b * b) / 2 + q * a * b for a, b in STENCIL}
    high, low = principal_curvatures(surface, 0.0) or (math.nan, math.nan)
    wanted = np.linalg.eigvalsh([[p, q], [q, r]])
    assert (low, high) == pytest.approx(tuple(wanted), abs=1e-7)


@settings(max_examples=30)
@given(numbers, st.floats(-0.9, 0.9))
def test_the_angle_between_directions_does_not_matter(bend: float, cosine: float) -> None:
    # A cup in orthogonal u and v, read along a (that is u) and b, at an angle to it.
    sine = math.sqrt(1 - cosine**2)
    points = {(a, b): (a + cosine * b, sine * b) for a, b in STENCIL}
    surface = {point: (bend * u * u + v * v) / 2 for point, (u, v) in points.items()}
    found = principal_curvatures(surface, cosine) or (math.nan, math.nan)
    assert found == pytest.approx((max(bend, 1), min(bend, 1)), abs=1e-7)


def test_without_a_plane_there_is_no_curvature() -> None:
    assert principal_curvatures(dict.fromkeys(STENCIL, 1.0), 1.0) is None
    assert principal_curvatures(dict.fromkeys(STENCIL, 1.0), -1.0) is None


def test_where_the_loss_is_not_finite_there_is_none() -> None:
    surface = {**dict.fromkeys(STENCIL, 1.0), STENCIL[0]: math.inf}
    assert principal_curvatures(surface, 0.0) is None


@pytest.mark.parametrize("eigenvalues", [(5.0, 1, -2), (2.0, 1, -5), (-1.0, -3, -4), (0.0, 0, 0)])
def test_the_largest_eigenvalue_and_not_the_largest_magnitude(
    eigenvalues: tuple[float, ...],
) -> None:
    turned, _ = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(0)))
    turned = turned.double()
    matrix = turned @ torch.diag(torch.tensor(eigenvalues).double()) @ turned.T
    start = torch.tensor([1.0, 2, 3]).double()
    found = largest_eigenvalue(lambda v: matrix @ v, start)
    assert found == pytest.approx(max(eigenvalues), rel=5e-3, abs=5e-3)


def test_a_product_that_is_not_finite_has_none() -> None:
    assert largest_eigenvalue(lambda v: v * math.inf, torch.ones(3).double()) is None


def observer(tmp_path: Path) -> Observer:
    """Of an MLP with a smooth activation, samples in two pieces of unequal size."""
    nodes = [
        node("Gemm", ["x", "w", "b"], ["h"]),
        node("Tanh", ["h"], ["t"]),
        node("MatMul", ["t", "v"], ["y"]),
    ]
    arrays = {"w": weight(1, 4, 3), "b": weight(2, 3), "v": weight(3, 3, 3)}
    proto = model(nodes, [value("x", ["N", 4])], [value("y", ["N", 3])], arrays)
    rng = np.random.default_rng(1)
    np.savez(tmp_path / "d.npz", x=rng.random((40, 4), np.float32), y=np.arange(40) % 3)
    return view(save(proto, tmp_path / "m.onnx"), tmp_path / "d.npz", batch=24).observer


def whole_hessian(of: Observer, x_adv: list[Tensor]) -> Tensor:
    """The matrix itself, from the formula of the model, in double precision."""
    w, b, v = (p.detach().double() for p in of.job.parameters.values())

    def loss(theta: Tensor) -> Tensor:
        one, two, three = theta.split([12, 3, 9])
        hidden = torch.tanh(torch.cat(x_adv).double() @ one.reshape(4, 3) + two)
        y = torch.cat([piece.targets[0] for piece in of.pieces])
        return torch.nn.functional.cross_entropy(hidden @ three.reshape(3, 3), y)

    theta = torch.cat([each.flatten() for each in (w, b, v)])
    return torch.autograd.functional.hessian(loss, theta)


def test_products_are_those_of_the_hessian(tmp_path: Path) -> None:
    of = observer(tmp_path)
    hessian = Hessian(of, of.perturbed())
    matrix, v = whole_hessian(of, list(hessian.x_adv)), hessian.start()
    assert hessian.differentiable
    assert len(of.pieces) == 2
    size = float((matrix @ v).abs().max())
    assert torch.allclose(hessian.product(v), matrix @ v, rtol=0, atol=1e-5 * size)
    assert torch.allclose(hessian._differences(v), matrix @ v, rtol=0, atol=1e-2 * size)
    top = float(torch.linalg.eigvalsh(matrix).max())
    assert largest_eigenvalue(hessian.product, v) == pytest.approx(top, rel=1e-2)


def test_differences_of_gradients_leave_weights_alone(tmp_path: Path) -> None:
    of = observer(tmp_path)
    before = [p.detach().clone() for p in of.job.parameters.values()]
    hessian = Hessian(of, of.perturbed())
    hessian._differences(hessian.start())
    after = list(of.job.parameters.values())
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_where_torch_has_no_second_derivative_gradients_are_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> Tensor:
        raise NotImplementedError("the derivative is not implemented")

    of = observer(tmp_path)
    hessian = Hessian(of, of.perturbed())
    matrix, v = whole_hessian(of, list(hessian.x_adv)), hessian.start()
    monkeypatch.setattr(Hessian, "_twice", refuse)
    size = float((matrix @ v).abs().max())
    assert not hessian.differentiable
    assert torch.allclose(hessian.product(v), matrix @ v, rtol=0, atol=1e-2 * size)


def test_a_linear_model_bends_as_its_inputs_spread(tmp_path: Path) -> None:
    file, data = regression(tmp_path)
    of = view(file, data, eps="0").observer
    hessian = Hessian(of, of.perturbed())
    x = np.load(data)["x"].astype(np.float64)
    y = np.load(data)["y"][:, 0]
    spread = ((y - y.mean(0)) ** 2).sum(1).mean()
    # J = mean |x w - y|^2 / spread has this Hessian for each column of w.
    wanted = np.linalg.eigvalsh(2 * x.T @ x / len(x) / spread).max()
    found = largest_eigenvalue(hessian.product, hessian.start())
    assert found == pytest.approx(wanted, rel=5e-3)
