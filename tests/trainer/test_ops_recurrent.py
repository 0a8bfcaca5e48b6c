"""``LSTM``, ``GRU`` and ``RNN`` against ONNX Runtime, which knows no layout but time first."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper

from lsa_trainer.ops import recurrent
from lsa_trainer.ops.registry import why_not
from tests.graphs import weight
from tests.trainer.one_operator import Array, compare, on_torch, slope_error

TIME, BATCH, FEATURES, HIDDEN = 4, 3, 5, 2
GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
# How many activations a direction has.
ACTIVATIONS = {"LSTM": 3, "GRU": 2, "RNN": 1}
KINDS = pytest.mark.parametrize("kind", list(GATES))
DIRECTIONS = pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
NAMES = [
    "Relu", "Tanh", "Sigmoid", "Affine", "LeakyRelu", "ThresholdedRelu", "ScaledTanh",
    "HardSigmoid", "Elu", "Softsign", "Softplus",
]  # fmt: skip


def inputs(
    kind: str,
    direction: str = "forward",
    *,
    bias: bool = True,
    lengths: list[int] | None = None,
    initial: bool = False,
    peepholes: bool = False,
    dtype: str = "float32",
) -> list[Array | None]:
    """Those of a node, all of them."""
    d, g = 2 if direction == "bidirectional" else 1, GATES[kind] * HIDDEN
    states = [weight(4 + i, d, BATCH, HIDDEN, dtype=dtype) if initial else None for i in (0, 1)]
    given = [
        weight(0, TIME, BATCH, FEATURES, dtype=dtype) * 3,
        weight(1, d, g, FEATURES, dtype=dtype) * 3,
        weight(2, d, g, HIDDEN, dtype=dtype) * 3,
        weight(3, d, 2 * g, dtype=dtype) if bias else None,
        None if lengths is None else np.array(lengths, np.int32),
        *states[: 2 if kind == "LSTM" else 1],
    ]
    return [*given, weight(7, d, 3 * HIDDEN, dtype=dtype)] if peepholes else given


def check(kind: str, given: list[Array | None], **how: Any) -> None:
    outputs = 3 if kind == "LSTM" else 2
    compare(kind, given, opset=22, outputs=outputs, hidden_size=HIDDEN, **how)


@KINDS
@DIRECTIONS
@pytest.mark.parametrize("reset", [0, 1])
@pytest.mark.parametrize("bias", [False, True])
def test_what_torch_has_a_fused_network_for(
    kind: str, direction: str, reset: int, bias: bool
) -> None:
    how: dict[str, Any] = {"linear_before_reset": reset} if kind == "GRU" else {}
    for initial in (False, True):
        given = inputs(kind, direction, bias=bias, initial=initial)
        check(kind, given, direction=direction, **how)


@KINDS
@DIRECTIONS
def test_samples_of_different_lengths(kind: str, direction: str) -> None:
    how: dict[str, Any] = {"linear_before_reset": 1} if kind == "GRU" else {}
    given = inputs(kind, direction, lengths=[4, 0, 2], initial=True)
    check(kind, given, direction=direction, **how)


@DIRECTIONS
@pytest.mark.parametrize("forget", [0, 1])
def test_peepholes_and_coupled_gates(direction: str, forget: int) -> None:
    given = inputs("LSTM", direction, initial=True, peepholes=True)
    check("LSTM", given, direction=direction, input_forget=forget)
    check("LSTM", inputs("LSTM", direction), direction=direction, input_forget=forget)


@settings(max_examples=60, deadline=None)
@given(data=st.data(), kind=st.sampled_from(list(GATES)), both=st.booleans(), clip=st.booleans())
def test_any_activations(data: st.DataObject, kind: str, both: bool, clip: bool) -> None:
    direction = "bidirectional" if both else "forward"
    count = ACTIVATIONS[kind] * (2 if both else 1)
    names = data.draw(st.lists(st.sampled_from(NAMES), min_size=count, max_size=count))
    how: dict[str, Any] = {"direction": direction, "activations": names}
    if clip:
        how["clip"] = 0.5
    if data.draw(st.booleans()):
        takes_two = {"Affine", "ScaledTanh", "HardSigmoid"}
        takes_one = takes_two | {"LeakyRelu", "ThresholdedRelu", "Elu"}
        for name, takers in (("activation_alpha", takes_one), ("activation_beta", takes_two)):
            numbers = [0.2 + 0.1 * i for i, n in enumerate(names) if n in takers]
            how |= {name: numbers} if numbers else {}
    check(kind, inputs(kind, direction, initial=True), tolerance=1e-4, **how)


@KINDS
@DIRECTIONS
def test_batch_first_is_time_first_turned(kind: str, direction: str) -> None:
    plain = inputs(kind, direction, initial=True)
    turned = [a if a is None or i in (1, 2, 3) else a.swapaxes(0, 1) for i, a in enumerate(plain)]
    how: dict[str, Any] = {"outputs": 3, "direction": direction}
    y, *last = on_torch(kind, plain, **how)
    other, *other_last = on_torch(kind, turned, layout=1, **how)
    np.testing.assert_allclose(other, y.transpose(2, 0, 1, 3), rtol=1e-6)
    for a, b in zip(other_last, last, strict=True):
        np.testing.assert_allclose(a, b.swapaxes(0, 1), rtol=1e-6)


@KINDS
def test_half_precision(kind: str) -> None:
    check(kind, inputs(kind, bias=True, dtype="float16"), tolerance=5e-3)


@KINDS
def test_no_steps_at_all_return_the_first_state(kind: str) -> None:
    x, *rest = inputs(kind, initial=True)
    assert x is not None
    y, h, *_ = on_torch(kind, [x[:0], *rest])
    assert y.shape == (0, 1, BATCH, HIDDEN)
    np.testing.assert_array_equal(h, rest[4])


@KINDS
@pytest.mark.parametrize("fused", [False, True])
def test_slopes_by_inputs_weights_and_first_states(kind: str, fused: bool) -> None:
    x, w, r, b, _, *states = inputs(kind, "bidirectional", initial=True)
    assert x is not None
    assert w is not None
    # Few of them: differences take a run for each number.
    arrays = [x[:3, :2, :2], w[:, :, :2], r, b, *(s[:, :2] for s in states if s is not None)]
    given = [torch.tensor(a, dtype=torch.float64, requires_grad=True) for a in arrays]
    how: dict[str, Any] = {"linear_before_reset": 1} if kind == "GRU" else {}
    run = partial(getattr(recurrent, kind.lower()), direction="bidirectional", **how)
    lengths = None if fused else torch.tensor([3, 2])

    def all_outputs(*tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        results: tuple[torch.Tensor, ...] = run(*tensors[:4], lengths, *tensors[4:])
        return results

    slope_error(all_outputs, *given)


def test_names_that_onnx_does_not_define() -> None:
    wrong = helper.make_node("RNN", ["x", "w", "r"], ["y"], activations=["Swish"])
    reason = why_not(wrong, 22)
    assert reason is not None
    assert reason.startswith("activation 'Swish' is none of affine, elu")
    wrong = helper.make_node("RNN", ["x", "w", "r"], ["y"], direction="sideways")
    assert why_not(wrong, 22) == "direction 'sideways' is none of forward, reverse, bidirectional"
