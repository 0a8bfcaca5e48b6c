"""Operators that draw random numbers.

All draw from torch's own generator, which ``torch.manual_seed`` sets. A node's attribute ``seed`` is not
read: it would give every step of the training the same numbers.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lsa_trainer.ops.element_types import TORCH_TYPES, type_refusal
from lsa_trainer.ops.registry import Ints, Op, operator

_FLOAT, _INT32 = 1, 6


def _dtype_refusal(op: Op) -> str | None:
    return type_refusal(op.attributes.get("dtype"))


@operator("RandomNormal", refuse=_dtype_refusal)
def random_normal(
    *, shape: Ints, mean: float = 0.0, scale: float = 1.0, dtype: int = _FLOAT
) -> Tensor:
    """Normal numbers."""
    return torch.randn(shape, dtype=TORCH_TYPES[dtype]) * scale + mean


@operator("RandomNormalLike", refuse=_dtype_refusal)
def random_normal_like(
    x: Tensor, *, mean: float = 0.0, scale: float = 1.0, dtype: int | None = None
) -> Tensor:
    """Normal numbers in x's shape."""
    return torch.randn_like(x, dtype=_chosen(dtype, x)) * scale + mean


@operator("RandomUniform", refuse=_dtype_refusal)
def random_uniform(
    *, shape: Ints, low: float = 0.0, high: float = 1.0, dtype: int = _FLOAT
) -> Tensor:
    """Numbers from ``low`` up to ``high``, each as likely as the others."""
    return torch.rand(shape, dtype=TORCH_TYPES[dtype]) * (high - low) + low


@operator("RandomUniformLike", refuse=_dtype_refusal)
def random_uniform_like(
    x: Tensor, *, low: float = 0.0, high: float = 1.0, dtype: int | None = None
) -> Tensor:
    """Numbers from ``low`` up to ``high`` in x's shape."""
    return torch.rand_like(x, dtype=_chosen(dtype, x)) * (high - low) + low


@operator("Bernoulli", refuse=_dtype_refusal)
def bernoulli(x: Tensor, *, dtype: int | None = None) -> Tensor:
    """1 with probability x, else 0."""
    return torch.bernoulli(x).to(_chosen(dtype, x))


@operator("Multinomial", refuse=_dtype_refusal)
def multinomial(x: Tensor, *, sample_size: int = 1, dtype: int = _INT32) -> Tensor:
    """Classes (n, sample_size), drawn by the log-probabilities x (n, classes), of any sum."""
    drawn = torch.multinomial(x.softmax(1), sample_size, replacement=True)
    return drawn.to(TORCH_TYPES[dtype])


def _chosen(dtype: int | None, x: Tensor) -> torch.dtype:
    return x.dtype if dtype is None else TORCH_TYPES[dtype]
