"""What is known of a tensor while a graph is translated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Static:
    """A constant that is not trained, on the CPU."""

    value: torch.Tensor


@dataclass(frozen=True, eq=False)
class Host:
    """A shape, or what was computed from shapes: whole numbers, some known only when the model runs.

    Attributes:
        numbers: ``int`` or ``torch.fx.Proxy`` each, in an array of objects of the tensor's shape.
    """

    numbers: NDArray[Any]


# A tensor of the running graph, or one that is known before.
Value: TypeAlias = torch.fx.Node | Static | Host


def plain(number: Any) -> Any:
    """An entry of ``Host.numbers`` as an argument of a call."""
    return number.node if isinstance(number, torch.fx.Proxy) else number
