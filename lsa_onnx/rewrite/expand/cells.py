"""One step of each recurrent network, as ONNX Runtime computes it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from lsa_onnx.rewrite.expand import activations
from lsa_onnx.rewrite.expand.builder import Builder, NotExpandable

# From what the input contributes (n, gates × hidden) and the states (n, hidden) to the new states.
Step = Callable[[Builder, str, list[str]], list[str]]

# What ONNX Runtime takes where the model gives no number; activations that take none are left out.
_DEFAULTS: dict[str, tuple[float, ...]] = {
    "affine": (0.0, 0.0),
    "elu": (1.0,),
    "hardsigmoid": (0.2, 0.5),
    "leakyrelu": (0.01,),
    "scaledtanh": (0.0, 0.0),
    "thresholdedrelu": (0.0,),
}
_PLAIN = {
    "relu": "Relu",
    "sigmoid": "Sigmoid",
    "softplus": "Softplus",
    "softsign": "Softsign",
    "tanh": "Tanh",
}


@dataclass(frozen=True)
class Activation:
    """An activation of a gate and its numbers."""

    kind: str
    numbers: tuple[float, ...]

    def __call__(self, b: Builder, x: str) -> str:
        """Append it."""
        if self.kind in _PLAIN:
            return b(_PLAIN[self.kind], x)
        first, *rest = self.numbers
        if self.kind == "affine":
            return b("Add", b("Mul", x, first), rest[0])
        if self.kind == "scaledtanh":
            return b("Mul", b("Tanh", b("Mul", x, rest[0])), first)
        if self.kind == "hardsigmoid":
            return activations.hard_sigmoid(b, x, first, rest[0])
        if self.kind == "leakyrelu":
            return activations.leaky_relu(b, x, first)
        if self.kind == "thresholdedrelu":
            return activations.thresholded_relu(b, x, first)
        return activations.elu(b, x, first)


def gate_activations(b: Builder, default: list[str], directions: int) -> list[list[Activation]]:
    """The activations of each direction.

    The lists of numbers hold one entry for each activation that takes it, in order.

    Args:
        b: Holds the node.
        default: The activations of one direction where the node names none.
        directions: 1 or 2.
    """
    names = b.attribute("activations", default * directions)
    given = [iter(b.attribute(f"activation_{n}", list[float]())) for n in ("alpha", "beta")]
    made = []
    for name in names:
        defaults = _known(name)
        numbers = tuple(next(g, d) for g, d in zip(given, defaults, strict=False))
        made.append(Activation(name.lower(), numbers))
    count = len(default)
    return [made[start : start + count] for start in range(0, count * directions, count)]


def _known(name: str) -> tuple[float, ...]:
    if name.lower() not in _DEFAULTS and name.lower() not in _PLAIN:
        raise NotExpandable(f"{name} is no activation of a recurrent network")
    return _DEFAULTS.get(name.lower(), ())


def _clipped(b: Builder, x: str) -> str:
    bound = b.attribute("clip", 0.0)
    return b("Clip", x, -bound, bound) if bound > 0 else x


def rnn_step(recurrence: str, kinds: list[Activation]) -> Step:
    """``f(x + h R)``; ``recurrence`` is (hidden, hidden)."""

    def step(b: Builder, x: str, states: list[str]) -> list[str]:
        total = b("Add", x, b("MatMul", states[0], recurrence))
        return [kinds[0](b, _clipped(b, total))]

    return step


def lstm_step(recurrence: str, peepholes: list[str], kinds: list[Activation]) -> Step:
    """The step of ``LSTM``.

    Args:
        recurrence: (hidden, 4 hidden) for the gates input, output, forget, cell.
        peepholes: (hidden,) for the gates input, output, forget; or nothing.
        kinds: The activations of gates, cell input and output.
    """
    gate, squash, out = kinds

    def step(b: Builder, x: str, states: list[str]) -> list[str]:
        h, c = states
        total = b("Add", x, b("MatMul", h, recurrence))
        parts = b.several("Split", 4, total, axis=-1, num_outputs=4)

        def opened(index: int, cell: str) -> str:
            seen = b("Mul", peepholes[index], cell) if peepholes else ""
            return gate(b, _clipped(b, b("Add", parts[index], seen) if seen else parts[index]))

        i = opened(0, c)
        f = b("Sub", 1.0, i) if b.attribute("input_forget", 0) else opened(2, c)
        fresh = b("Mul", i, squash(b, _clipped(b, parts[3])))
        cell = b("Add", b("Mul", f, c), fresh)
        return [b("Mul", opened(1, cell), out(b, cell)), cell]

    return step


def gru_step(gates: str, hidden: str, bias: str, kinds: list[Activation]) -> Step:
    """The step of ``GRU``.

    Args:
        gates: (hidden, 2 hidden), the recurrence of the gates update and reset.
        hidden: (hidden, hidden), that of the new state.
        bias: (hidden,), what the reset gate scales along with the recurrence if it is applied after
            it (``linear_before_reset``); ``""`` for none.
        kinds: The activations of gates and new state.
    """
    gate, squash = kinds

    def step(b: Builder, x: str, states: list[str]) -> list[str]:
        (h,) = states
        xz, xr, xh = b.several("Split", 3, x, axis=-1, num_outputs=3)
        hz, hr = b.several("Split", 2, b("MatMul", h, gates), axis=-1, num_outputs=2)
        z, r = (gate(b, _clipped(b, b("Add", *pair))) for pair in ((xz, hz), (xr, hr)))
        if b.attribute("linear_before_reset", 0):
            linear = b("MatMul", h, hidden)
            seen = b("Mul", r, b("Add", linear, bias) if bias else linear)
        else:
            seen = b("MatMul", b("Mul", r, h), hidden)
        new = squash(b, _clipped(b, b("Add", xh, seen)))
        return [b("Add", b("Mul", b("Sub", 1.0, z), new), b("Mul", z, h))]

    return step
