"""``LSTM``, ``GRU`` and ``RNN``: torch's fused networks where they compute the same, else a loop over time.

What does not depend on the state (the product of the inputs with their weights) is computed for all
times at once, before the loop.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from lsa_trainer.ops.recurrent_cells import (
    ACTIVATIONS,
    Activation,
    Step,
    clipped,
    gate_activations,
    gru_step,
    lstm_step,
    rnn_step,
)
from lsa_trainer.ops.registry import Op, operator

# For each direction, whether it runs backwards in time.
_DIRECTIONS = {"forward": [False], "reverse": [True], "bidirectional": [False, True]}


@dataclass(frozen=True)
class _Run:
    """A node's inputs, time first whatever its layout is.

    Attributes:
        x: (time, n, features).
        w: (directions, gates × hidden, features).
        r: (directions, gates × hidden, hidden).
        b: (directions, 2 × gates × hidden), those of ``w`` and then those of ``r``.
        lengths: (n,), how many steps each sample has, ``None`` where all are taken.
        states: (directions, n, hidden) each, where they start.
        backwards: For each direction, whether it runs backwards in time.
        layout: 1 where the batch comes first in the file.
    """

    x: Tensor
    w: Tensor
    r: Tensor
    b: Tensor | None
    lengths: Tensor | None
    states: tuple[Tensor, ...]
    backwards: list[bool]
    layout: int

    def bias(self, direction: int) -> tuple[Tensor, Tensor] | None:
        """Both halves of a direction's bias, (gates × hidden,) each."""
        return None if self.b is None else self.b[direction].chunk(2)

    def weighted(self, direction: int, bias: Tensor | None) -> Tensor:
        """What the inputs contribute to the gates at all times: (time, n, gates × hidden)."""
        return torch.nn.functional.linear(self.x, self.w[direction], bias)


def _refusal(op: Op) -> str | None:
    """Names that ONNX does not define."""
    for name in op.attributes.get("activations", ()):
        if name.lower() not in ACTIVATIONS:
            return f"activation {name!r} is none of {', '.join(sorted(ACTIVATIONS))}"
    direction = op.attributes.get("direction", "forward")
    if direction not in _DIRECTIONS:
        return f"direction {direction!r} is none of {', '.join(_DIRECTIONS)}"
    return None


@operator("LSTM", refuse=_refusal)
def lstm(
    x: Tensor,
    w: Tensor,
    r: Tensor,
    b: Tensor | None = None,
    sequence_lens: Tensor | None = None,
    initial_h: Tensor | None = None,
    initial_c: Tensor | None = None,
    p: Tensor | None = None,
    *,
    activation_alpha: Sequence[float] = (),
    activation_beta: Sequence[float] = (),
    activations: Sequence[str] = (),
    clip: float = 0.0,
    direction: str = "forward",
    input_forget: int = 0,
    layout: int = 0,
) -> tuple[Tensor, ...]:
    """All outputs, the last outputs and the last cells; ``p`` are the peepholes (directions, 3 hidden)."""
    run = _run(x, w, r, b, sequence_lens, [initial_h, initial_c], direction, layout)
    usual = ["Sigmoid", "Tanh", "Tanh"]
    if p is None and not input_forget and _is_plain(run, activations, usual, clip):
        # From the gates input, output, forget, cell to input, forget, cell, output.
        return _fused(torch.lstm, run, [0, 2, 3, 1])
    kinds = _kinds(run, activations or usual, activation_alpha, activation_beta, clip)

    def made(index: int) -> tuple[Step, Tensor]:
        peepholes = p[index].chunk(3) if p is not None else ()
        step = lstm_step(run.r[index].T, peepholes, kinds[index], coupled=bool(input_forget))
        return step, run.weighted(index, _summed(run.bias(index)))

    return _looped(run, made)


@operator("GRU", refuse=_refusal)
def gru(
    x: Tensor,
    w: Tensor,
    r: Tensor,
    b: Tensor | None = None,
    sequence_lens: Tensor | None = None,
    initial_h: Tensor | None = None,
    *,
    activation_alpha: Sequence[float] = (),
    activation_beta: Sequence[float] = (),
    activations: Sequence[str] = (),
    clip: float = 0.0,
    direction: str = "forward",
    layout: int = 0,
    linear_before_reset: int = 0,
) -> tuple[Tensor, ...]:
    """All outputs and the last outputs."""
    run = _run(x, w, r, b, sequence_lens, [initial_h], direction, layout)
    usual = ["Sigmoid", "Tanh"]
    if linear_before_reset and _is_plain(run, activations, usual, clip):
        # From the gates update, reset, new to reset, update, new.
        return _fused(torch.gru, run, [1, 0, 2])
    kinds = _kinds(run, activations or usual, activation_alpha, activation_beta, clip)

    def made(index: int) -> tuple[Step, Tensor]:
        outside, inside = _summed(run.bias(index)), None
        if linear_before_reset and run.b is not None:
            of_w, of_r = (half.chunk(3) for half in run.b[index].chunk(2))
            outside, inside = torch.cat([of_w[0] + of_r[0], of_w[1] + of_r[1], of_w[2]]), of_r[2]
        linear_first = bool(linear_before_reset)
        step = gru_step(run.r[index].T, inside, kinds[index], linear_first=linear_first)
        return step, run.weighted(index, outside)

    return _looped(run, made)


@operator("RNN", refuse=_refusal)
def rnn(
    x: Tensor,
    w: Tensor,
    r: Tensor,
    b: Tensor | None = None,
    sequence_lens: Tensor | None = None,
    initial_h: Tensor | None = None,
    *,
    activation_alpha: Sequence[float] = (),
    activation_beta: Sequence[float] = (),
    activations: Sequence[str] = (),
    clip: float = 0.0,
    direction: str = "forward",
    layout: int = 0,
) -> tuple[Tensor, ...]:
    """All outputs and the last outputs."""
    run = _run(x, w, r, b, sequence_lens, [initial_h], direction, layout)
    if _is_plain(run, activations, ["Tanh"], clip):
        return _fused(torch.rnn_tanh, run, [0])
    if activations and _is_plain(run, activations, ["Relu"], clip):
        return _fused(torch.rnn_relu, run, [0])
    kinds = _kinds(run, activations or ["Tanh"], activation_alpha, activation_beta, clip)

    def made(index: int) -> tuple[Step, Tensor]:
        weighted = run.weighted(index, _summed(run.bias(index)))
        return rnn_step(run.r[index].T, kinds[index]), weighted

    return _looped(run, made)


def _run(
    x: Tensor,
    w: Tensor,
    r: Tensor,
    b: Tensor | None,
    lengths: Tensor | None,
    initial: Sequence[Tensor | None],
    direction: str,
    layout: int,
) -> _Run:
    x = x.transpose(0, 1) if layout else x
    shape = (w.shape[0], x.shape[1], r.shape[2])
    zeros = partial(x.new_zeros, shape)
    states = [zeros() if s is None else s.transpose(0, 1) if layout else s for s in initial]
    for state in states:
        # torch's own check is left out on this way in: its kernels end the process.
        if state.shape != shape:
            raise ValueError(f"an initial state of shape {tuple(state.shape)}, not {shape}")
    return _Run(x, w, r, b, lengths, tuple(states), _DIRECTIONS[direction], layout)


def _is_plain(run: _Run, names: Sequence[str], usual: Sequence[str], clip: float) -> bool:
    """Whether torch's fused networks know all of this; they want one step at least."""
    expected = [name.lower() for name in usual] * len(run.backwards)
    ordinary = not names or [name.lower() for name in names] == expected
    return ordinary and not clip and run.lengths is None and run.x.shape[0] > 0


def _fused(network: Callable[..., Any], run: _Run, order: Sequence[int]) -> tuple[Tensor, ...]:
    """A node as one of torch's functions, which want the gates in this ``order``."""
    single_reverse = run.backwards == [True]
    x = run.x.flip(0) if single_reverse else run.x
    parameters: list[Tensor] = []
    for index in range(len(run.backwards)):
        tensors = [run.w[index], run.r[index], *(run.bias(index) or ())]
        parameters += [_reordered(tensor, order) for tensor in tensors]
    first = run.states if len(run.states) > 1 else run.states[0]
    # The last ones are layers, dropout, training (cuDNN keeps what a gradient needs), bidirectional
    # and batch first.
    training, both = torch.is_grad_enabled(), len(run.backwards) > 1
    how = (run.b is not None, 1, 0.0, training, both, False)
    outputs, *last = network(x, first, parameters, *how)
    outputs = outputs.unflatten(2, (len(run.backwards), -1)).transpose(1, 2)
    return _laid_out(run, outputs.flip(0) if single_reverse else outputs, last)


def _reordered(tensor: Tensor, order: Sequence[int]) -> Tensor:
    gates = tensor.chunk(len(order))
    return torch.cat([gates[index] for index in order]) if len(order) > 1 else tensor


def _kinds(
    run: _Run,
    names: Sequence[str],
    alphas: Sequence[float],
    betas: Sequence[float],
    clip: float,
) -> list[list[Activation]]:
    """The activations of each direction; ``names`` may be those of one where they are the usual ones."""
    directions, gates = len(run.backwards), run.w.shape[1] // run.r.shape[2]
    count = {1: 1, 3: 2, 4: 3}[gates]
    made = gate_activations(list(names) * (directions * count // len(names)), alphas, betas)
    if clip > 0:
        # The output of an LSTM, its third, is that of a cell as it is.
        made = [kind if i % count == 2 else clipped(kind, clip) for i, kind in enumerate(made)]
    return [made[count * index : count * (index + 1)] for index in range(directions)]


def _summed(bias: tuple[Tensor, Tensor] | None) -> Tensor | None:
    return None if bias is None else bias[0] + bias[1]


def _looped(run: _Run, made: Callable[[int], tuple[Step, Tensor]]) -> tuple[Tensor, ...]:
    """A node step by step; ``made`` gives the step of a direction and what its inputs contribute."""
    results = [
        _one_direction(run, *made(index), tuple(s[index] for s in run.states), backwards=backwards)
        for index, backwards in enumerate(run.backwards)
    ]
    outputs, *last = (torch.stack(parts) for parts in zip(*results, strict=True))
    return _laid_out(run, outputs.transpose(0, 1), last)


def _one_direction(
    run: _Run, step: Step, weighted: Tensor, states: tuple[Tensor, ...], *, backwards: bool
) -> tuple[Tensor, ...]:
    """All outputs (time, n, hidden) and the last states (n, hidden)."""
    lengths = run.lengths[:, None] if run.lengths is not None else None
    outputs = []
    times = range(len(weighted))
    for time in reversed(times) if backwards else times:
        new = step(weighted[time], states)
        if lengths is None:
            states = new
            outputs.append(new[0])
        else:
            pairs = zip(new, states, strict=True)
            states = tuple(torch.where(time < lengths, *pair) for pair in pairs)
            outputs.append(torch.where(time < lengths, new[0], 0))
    if lengths is not None:
        # ONNX Runtime returns zeros for a sample of no steps, whatever its first state.
        states = tuple(torch.where(lengths > 0, state, 0) for state in states)
    ordered = outputs[::-1] if backwards else outputs
    return torch.stack(ordered) if ordered else weighted.new_zeros(0, *states[0].shape), *states


def _laid_out(run: _Run, outputs: Tensor, last: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Outputs (time, directions, n, hidden) and last states as the file wants them."""
    if run.layout:
        return outputs.permute(2, 0, 1, 3), *(state.transpose(0, 1) for state in last)
    return outputs, *last
