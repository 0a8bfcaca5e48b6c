"""Matrix products against ONNX Runtime."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lsa_trainer.ops.linear import einsum, gemm, matmul_integer
from lsa_trainer.ops.registry import why_not
from tests.graphs import node, weight
from tests.trainer.one_operator import Array, compare

MICROSOFT = "com.microsoft"


@pytest.mark.parametrize(
    "shapes",
    [
        ((5, 3), (3, 4)),
        ((2, 5, 3), (3, 4)),
        ((5, 3), (2, 3, 4)),
        ((2, 1, 5, 3), (6, 3, 4)),
        ((3,), (3,)),
        ((3,), (2, 3, 4)),
        ((2, 6, 5, 3), (3,)),
        ((0, 3), (3, 4)),
        ((2, 0), (0, 4)),
    ],
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_matmul_of_all_ranks(shapes: Any, dtype: str) -> None:
    compare("MatMul", [weight(i, *shape, dtype=dtype) for i, shape in enumerate(shapes)])


@pytest.mark.parametrize("dtype", ["int32", "int64", "uint32"])
def test_matmul_of_integers_wraps(dtype: str) -> None:
    a, b = (np.arange(12).reshape(shape).astype(dtype) for shape in ((3, 4), (4, 3)))
    compare("MatMul", [a * a.dtype.type(1 << 28), b])


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_gemm_of_every_kind(data: st.DataObject) -> None:
    how: dict[str, Any] = {n: data.draw(st.sampled_from([0, 1])) for n in ("transA", "transB")}
    how |= {name: data.draw(st.sampled_from([1.0, 0.5, -2.0])) for name in ("alpha", "beta")}
    a, b = weight(0, 5, 3), weight(1, 3, 4)
    inputs = [a.T.copy() if how["transA"] else a, b.T.copy() if how["transB"] else b]
    added = data.draw(st.sampled_from([None, (4,), (1,), (), (5, 1), (1, 4), (5, 4)]))
    if added is not None:
        inputs.append(np.asarray(weight(2, *added), np.float32))
    compare("Gemm", inputs, **how)


def test_gemm_of_integers() -> None:
    """By hand: the runtime has none."""
    a, b = torch.tensor([[1, 2]]), torch.tensor([[3, 4], [5, 6]])
    assert gemm(a, b, torch.tensor([10]), alpha=2.0).tolist() == [[36, 42]]
    assert gemm(a, b, transB=1, transA=0).tolist() == [[11, 17]]


@pytest.mark.parametrize("beta", [1.0, 0.5])
def test_gemm_of_halves(beta: float) -> None:
    inputs = [weight(i, *shape, dtype="float16") for i, shape in enumerate([(5, 3), (4, 3), (4,)])]
    compare("Gemm", inputs, transB=1, beta=beta, tolerance=2e-3)


EQUATIONS: list[tuple[str, list[tuple[int, ...]]]] = [
    ("ij->ji", [(5, 3)]),
    ("i j -> i", [(5, 3)]),
    ("ij,jk", [(5, 3), (3, 4)]),
    ("ba,cb", [(5, 3), (4, 5)]),
    ("bij,bjk->bik", [(2, 5, 3), (2, 3, 4)]),
    ("...ij,...jk->...ik", [(2, 5, 3), (2, 3, 4)]),
    ("...ii->...i", [(2, 3, 3)]),
    ("i,i", [(4,), (4,)]),
    ("bhqd,bhkd->bhqk", [(2, 3, 4, 5), (2, 3, 6, 5)]),
    ("ab,bc,cd->da", [(2, 3), (3, 4), (4, 5)]),
]


@pytest.mark.parametrize(("equation", "shapes"), EQUATIONS)
def test_einsum(equation: str, shapes: list[tuple[int, ...]]) -> None:
    compare("Einsum", [weight(i, *s) for i, s in enumerate(shapes)], equation=equation)


def test_einsum_has_slopes() -> None:
    a, b = torch.ones(5, 3, requires_grad=True), torch.arange(12.0).reshape(3, 4)
    einsum(a, b, equation="ij,jk->ik").sum().backward()
    assert torch.equal(a.grad, torch.tensor([6.0, 22.0, 38.0]).expand(5, 3))


@pytest.mark.parametrize("dtypes", [("uint8", "uint8"), ("uint8", "int8"), ("int8", "int8")])
@pytest.mark.parametrize("batch", [(), (2, 3)])
def test_matmul_of_bytes(dtypes: tuple[str, str], batch: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    a = rng.integers(0, 128, (*batch, 5, 70)).astype(dtypes[0])
    # Kernels of the runtime for older processors add pairs of products up in 16 bits.
    b = rng.integers(0, 128, (*batch, 70, 4)).astype(dtypes[1]) - np.asarray(60, dtypes[1])
    compare("MatMulInteger", [a, b])
    compare("MatMulInteger", [a, b, np.asarray(7, dtypes[0]), np.asarray(3, dtypes[1])])
    columns = rng.integers(0, 9, (*batch, 1, 4) if batch else (4,)).astype(dtypes[1])
    compare("MatMulInteger", [a, b, np.asarray(7, dtypes[0]), columns])


@pytest.mark.parametrize("shape", [(2,), (2, 1)])
def test_bytes_with_a_zero_point_for_each_row(shape: tuple[int, ...]) -> None:
    """By hand: the runtime takes a single one."""
    a, b = torch.tensor([[1, 2], [3, 4]], dtype=torch.uint8), torch.eye(2, dtype=torch.uint8)
    y = matmul_integer(a, b, torch.tensor([1, 5], dtype=torch.uint8).reshape(shape))
    assert y.dtype == torch.int32
    assert y.tolist() == [[0, 1], [-2, -1]]


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_fused_matmul(data: st.DataObject) -> None:
    how: dict[str, Any] = {"alpha": data.draw(st.sampled_from([1.0, 0.25]))}
    inputs: list[Array] = []
    batch: tuple[int, ...] = data.draw(st.sampled_from([(), (2,), (2, 6)]))
    for side, matrix in (("A", (5, 3)), ("B", (3, 4))):
        how[f"trans{side}"] = data.draw(st.sampled_from([0, 1]))
        rows, columns = matrix[::-1] if how[f"trans{side}"] else matrix
        shape = [*batch, rows, columns]
        if batch and data.draw(st.sampled_from([False, True])):
            how[f"transBatch{side}"] = 1
            shape = [rows, *batch, columns]
        inputs.append(weight(len(inputs), *shape))
    compare("FusedMatMul", inputs, domain=MICROSOFT, **how)


def test_fused_matmul_leaves_vectors() -> None:
    compare("FusedMatMul", [weight(0, 3), weight(1, 4, 3)], domain=MICROSOFT, transA=1, transB=1)


@pytest.mark.parametrize(
    ("kind", "numbers"),
    [("Relu", {}), ("Tanh", {}), ("LeakyRelu", {"activation_alpha": 0.3})],
)
def test_fused_gemm(kind: str, numbers: dict[str, float]) -> None:
    inputs = [weight(0, 5, 3), weight(1, 4, 3), weight(2, 4)]
    how: dict[str, Any] = {"activation": kind, "transB": 1, "alpha": 0.5, **numbers}
    compare("FusedGemm", inputs, domain=MICROSOFT, **how)


def test_an_unknown_activation_is_refused() -> None:
    proto = node("FusedGemm", ["a", "b"], ["y"], domain=MICROSOFT, activation="Mish")
    assert why_not(proto, 21) == "activation 'Mish' is not supported"
