"""What translated graphs call beside the operator table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch


def host_tensor(numbers: Sequence[Any], shape: Sequence[int]) -> torch.Tensor:
    """A tensor on the CPU, bool or int64, from numbers that a run has told."""
    kind = torch.bool if numbers and all(isinstance(n, bool) for n in numbers) else torch.int64
    return torch.tensor(numbers, dtype=kind).reshape(shape)


def host_numbers(tensor: torch.Tensor) -> list[Any]:
    """The numbers of a tensor; on a GPU this waits for it."""
    found: list[Any] = tensor.reshape(-1).tolist()
    return found


def size(tensor: torch.Tensor, axis: int) -> int:
    """One dimension, under ``torch.compile`` as a symbol."""
    found: int = tensor.shape[axis]
    return found


def quotient(a: int, b: int) -> int:
    """``a / b`` without its fraction, as ONNX divides: padding may be computed from negative sizes."""
    return a // b if (a >= 0) == (b > 0) else -(-a // b)


def beside(tensor: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """``tensor`` on the device of ``other``."""
    return tensor.to(other.device)


def in_type(tensor: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """``tensor`` in the type that ONNX gives it."""
    return tensor.to(dtype)


def item(results: Any, index: int) -> Any:
    """One output of an operator; those with a single one may return it as it is."""
    return results[index] if isinstance(results, (tuple, list)) else results
