"""One step of each recurrent network, as ONNX Runtime computes it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import torch
from torch import Tensor
from torch.nn import functional

Activation: TypeAlias = Callable[[Tensor], Tensor]
# From what the input contributes (n, gates × hidden) and the states (n, hidden) to the new states.
Step: TypeAlias = Callable[[Tensor, tuple[Tensor, ...]], tuple[Tensor, ...]]

_PLAIN: dict[str, Activation] = {
    "relu": torch.relu,
    "sigmoid": torch.sigmoid,
    "softplus": functional.softplus,
    "softsign": functional.softsign,
    "tanh": torch.tanh,
}
# Those that take numbers, and what ONNX Runtime takes where the model gives none.
_NUMBERED: dict[str, tuple[Callable[..., Tensor], tuple[float, ...]]] = {
    "affine": (lambda x, a, b: a * x + b, (0.0, 0.0)),
    "elu": (lambda x, a: torch.where(x > 0, x, a * torch.expm1(x.clamp(max=0))), (1.0,)),
    "hardsigmoid": (lambda x, a, b: (a * x + b).clamp(0, 1), (0.2, 0.5)),
    "leakyrelu": (functional.leaky_relu, (0.01,)),
    "scaledtanh": (lambda x, a, b: a * torch.tanh(b * x), (0.0, 0.0)),
    "thresholdedrelu": (lambda x, a: torch.where(x > a, x, 0), (0.0,)),
}
ACTIVATIONS = frozenset(_PLAIN) | frozenset(_NUMBERED)


def gate_activations(
    names: Sequence[str], alphas: Sequence[float], betas: Sequence[float]
) -> list[Activation]:
    """The named activations; the lists of numbers hold one for each that takes it, in order."""
    given = iter(alphas), iter(betas)
    made = []
    for name in names:
        function, defaults = _NUMBERED.get(name.lower(), (None, ()))
        numbers = [next(g, d) for g, d in zip(given, defaults, strict=False)]
        made.append(_with(function, numbers) if function else _PLAIN[name.lower()])
    return made


def _with(function: Callable[..., Tensor], numbers: Sequence[float]) -> Activation:
    return lambda x: function(x, *numbers)


def clipped(activation: Activation, bound: float) -> Activation:
    """The activation of values clipped to ±``bound``."""
    return lambda x: activation(x.clamp(-bound, bound))


def rnn_step(recurrence: Tensor, kinds: Sequence[Activation]) -> Step:
    """``f(x + h R)``; ``recurrence`` is (hidden, hidden)."""

    def step(x: Tensor, states: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return (kinds[0](torch.addmm(x, states[0], recurrence)),)

    return step


def lstm_step(
    recurrence: Tensor, peepholes: Sequence[Tensor], kinds: Sequence[Activation], *, coupled: bool
) -> Step:
    """The step of ``LSTM``.

    Args:
        recurrence: (hidden, 4 hidden) for the gates input, output, forget, cell.
        peepholes: (hidden,) for the gates input, output, forget; or nothing.
        kinds: The activations of gates, cell input and output.
        coupled: Whether a cell forgets as much as it takes in.
    """
    gate, squash, out = kinds

    def step(x: Tensor, states: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        h, c = states
        parts = torch.addmm(x, h, recurrence).chunk(4, dim=1)

        def opened(index: int, cell: Tensor) -> Tensor:
            return gate(parts[index] + peepholes[index] * cell if peepholes else parts[index])

        i = opened(0, c)
        f = 1 - i if coupled else opened(2, c)
        cell = f * c + i * squash(parts[3])
        return opened(1, cell) * out(cell), cell

    return step


def gru_step(
    recurrence: Tensor, bias: Tensor | None, kinds: Sequence[Activation], *, linear_first: bool
) -> Step:
    """The step of ``GRU``.

    Args:
        recurrence: (hidden, 3 hidden) for the gates update, reset and the new state.
        bias: (hidden,), what the reset gate scales along with the recurrence, if it comes after that.
        kinds: The activations of gates and new state.
        linear_first: Whether the reset gate is applied after the recurrence.
    """
    gate, squash = kinds
    size = recurrence.shape[0]
    gates, hidden = recurrence[:, : 2 * size], recurrence[:, 2 * size :]

    def step(x: Tensor, states: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        (h,) = states
        z, r = gate(torch.addmm(x[:, : 2 * size], h, gates)).chunk(2, dim=1)
        if linear_first:
            linear = h @ hidden if bias is None else torch.addmm(bias, h, hidden)
            new = squash(x[:, 2 * size :] + r * linear)
        else:
            new = squash(torch.addmm(x[:, 2 * size :], r * h, hidden))
        return ((1 - z) * new + z * h,)

    return step
