"""Trigonometric and hyperbolic functions against ONNX Runtime, also outside their domains."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lsa_trainer.ops import trigonometry as ops
from tests.trainer.one_operator import compare

CIRCULAR = ["Sin", "Cos", "Tan", "Asin", "Acos", "Atan"]
KINDS = [*CIRCULAR, "Sinh", "Cosh", "Tanh", "Asinh", "Acosh", "Atanh"]
POINTS = np.array([[-4, -2, -1, -0.75], [-0.25, 0, 0.5, 0.875], [1, 1.5, 3, np.nan]], np.float32)


@pytest.mark.parametrize("kind", KINDS)
def test_values(kind: str) -> None:
    compare(kind, [POINTS])
    compare(kind, [np.zeros((2, 0), np.float32)])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_keeps_the_type(kind: str, dtype: torch.dtype) -> None:
    function = getattr(ops, kind.lower())
    x = torch.tensor([[0.25, 0.5]], dtype=dtype) + (1 if kind == "Acosh" else 0)
    wide = function(x.double())
    assert function(x).dtype == dtype
    torch.testing.assert_close(function(x).double(), wide, atol=1e-2, rtol=1e-2)
