"""Integers without a sign, of which torch computes with uint8 alone."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

import torch
from torch import Tensor

_WIDE = (torch.uint16, torch.uint32, torch.uint64)

F = TypeVar("F", bound=Callable[..., Any])


def signed(value: Any) -> Any:
    """``value`` as int64 if it is a tensor of uint16, uint32 or uint64, else as it is.

    A uint64 from 2⁶³ on keeps its bits: sums, products and shifts to the left come out right, but it
    counts as less than 0.
    """
    is_wide = isinstance(value, Tensor) and value.dtype in _WIDE
    return value.to(torch.int64) if is_wide else value


def through_int64(function: F) -> F:
    """``function``, made to compute as ``signed`` says where its first input needs that.

    An integer that it returns gets the type of the first input back.
    """

    @wraps(function)
    def call(x: Any, *others: Any, **attributes: Any) -> Any:
        if x.dtype not in _WIDE:
            return function(x, *others, **attributes)
        result = function(*map(signed, (x, *others)), **attributes)
        return result.to(x.dtype) if result.dtype == torch.int64 else result

    return call  # type: ignore[return-value]  # wraps keeps the signature, which mypy cannot tell
