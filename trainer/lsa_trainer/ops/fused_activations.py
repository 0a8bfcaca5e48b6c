"""The activations that ONNX Runtime's optimiser fuses into what stands before them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F  # noqa: N812 - as all of torch's users call it
from torch import Tensor

from lsa_trainer.ops.registry import Floats, Op


def _hard_sigmoid(x: Tensor, alpha: float = 0.2, beta: float = 0.5) -> Tensor:
    return (alpha * x + beta).clamp(0, 1)


def _leaky_relu(x: Tensor, alpha: float = 0.01) -> Tensor:
    return F.leaky_relu(x, alpha)


def _clip(x: Tensor, low: float, high: float) -> Tensor:
    return x.clamp(low, high)


# Operator → how many numbers it takes, and the function of x and these.
_ACTIVATIONS: dict[str, tuple[int, Callable[..., Tensor]]] = {
    "": (0, lambda x: x),
    "Clip": (2, _clip),
    "Elu": (1, F.elu),
    "HardSigmoid": (2, _hard_sigmoid),
    "LeakyRelu": (1, _leaky_relu),
    "Relu": (0, torch.relu),
    "Sigmoid": (0, torch.sigmoid),
    "Softplus": (0, F.softplus),
    "Softsign": (0, F.softsign),
    "Tanh": (0, torch.tanh),
}


def activated(x: Tensor, kind: str, numbers: Sequence[float | None]) -> Tensor:
    """``x`` after an activation.

    Args:
        x: The tensor.
        kind: The activation's operator, ``""`` for none.
        numbers: Its attributes in the order of their documentation, ``None`` where the rest is left
            out.
    """
    most, function = _ACTIVATIONS[kind]
    given: Floats = [n for n in numbers[:most] if n is not None]
    return function(x, *given)


def unknown_activation(op: Op) -> str | None:
    """Why the node cannot be run: its activation is not one of these."""
    kind = op.attributes.get("activation", "")
    return None if kind in _ACTIVATIONS else f"activation {kind!r} is not supported"
