"""The torch oracle: the numbers of the ONNX Runtime oracle, formulas, and what it leaves alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from onnx import numpy_helper
from torch.nn import functional

from lsa_onnx.attacks import Answer, Goal
from lsa_onnx.errors import ModelError
from lsa_onnx.rewrite import Scored
from lsa_onnx.rewrite.objectives import CLASS_KINDS, Kind, Objective
from lsa_onnx.runtime.gradients import GradientSource
from lsa_trainer.objectives import TorchOracle
from tests.graphs import Array, conv_net, samples
from tests.rewrite import losses
from tests.runtime.rig import CPU, build

KINDS: tuple[Kind, ...] = ("ce", "margin", "dlr", "kl", "output", "layer")
LABELS = np.array([0, 5, 2, 3, 1])
ROWS = [[3.0, 1.0, 0.5, -2.0], [1.0, 4.0, 2.0, 0.0], [0.5, 0.25, 1.0, -1.0]]


class Twins(NamedTuple):
    """One model in ONNX Runtime and in torch."""

    source: GradientSource
    layers: Callable[[torch.Tensor], dict[str, torch.Tensor]]
    clean: Array
    kept: Any

    def oracles(
        self, kind: Kind, tensors: tuple[str, ...] = ("y",), **how: Any
    ) -> tuple[Objective, TorchOracle]:
        objective = Objective(kind, tuple(Scored(t) for t in tensors), 6, **how)

        def logits(x: torch.Tensor) -> list[torch.Tensor]:
            found = self.layers(x)
            return [found[tensor] for tensor in tensors]

        return objective, TorchOracle(logits, kind, **how)


@pytest.fixture
def twins(tmp_path: Path) -> Twins:
    """Conv, ReLU and Gemm on images of 3×5×7, 6 classes; logits far enough apart to be ranked."""
    proto, x = conv_net(), samples(0, 5, 3, 5, 7)
    rig = build(proto, {"x": x}, tmp_path)
    source = GradientSource(rig.plan, "x", rig.model.folder, CPU, {"x": x.shape[1:]})
    w = {t.name: torch.tensor(numpy_helper.to_array(t)) for t in proto.graph.initializer}

    def layers(x: torch.Tensor) -> dict[str, torch.Tensor]:
        relu = functional.conv2d(x, w["w"]).relu()
        return {"relu": relu, "y": relu.flatten(1) @ w["v"].T + w["c"]}

    return Twins(source, layers, x, rig)


def tensors(goal: Goal) -> dict[str, torch.Tensor]:
    return {name: torch.tensor(values) for name, values in goal.items()}


def close(found: Answer, wanted: Answer) -> None:
    for a, b in zip(found, wanted, strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            assert tuple(a.shape) == b.shape
            np.testing.assert_allclose(a.numpy(), b, rtol=1e-4, atol=1e-5)


def ask(kind: Kind, z: Any, y: Any, dtype: torch.dtype = torch.float32, **how: Any) -> Answer:
    """What an oracle on the identity says of logits."""
    name = "target" if how.get("targeted") else "labels"
    oracle = TorchOracle(lambda x: x, kind, **how)
    return oracle(torch.tensor(z, dtype=dtype), {name: torch.tensor(y)})


# Against ONNX Runtime


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("lowest_wins", [False, True])
@pytest.mark.parametrize("gradient", [False, True])
def test_same_answers_as_onnx_runtime(
    twins: Twins, kind: Kind, lowest_wins: bool, gradient: bool
) -> None:
    tensor = "relu" if kind == "layer" else "y"
    objective, ours = twins.oracles(kind, (tensor,), lowest_wins=lowest_wins)
    goal: dict[str, Array] = {"labels": LABELS}
    if kind not in CLASS_KINDS:
        goal = twins.source.references(objective, {"x": twins.clean})
        for name, rows in ours.references(torch.tensor(twins.clean)).items():
            np.testing.assert_allclose(rows, goal[name], rtol=1e-4, atol=1e-5)
    x = twins.clean + 2 * samples(1, *twins.clean.shape)
    wanted = twins.source.oracle(objective)(x, goal, gradient=gradient)
    found = ours(torch.tensor(x), tensors(goal), gradient=gradient)
    assert float(np.abs(wanted.loss).min()) > 1e-3
    close(found, wanted)


@pytest.mark.parametrize("kind", ["ce", "margin", "dlr"])
@pytest.mark.parametrize("lowest_wins", [False, True])
def test_same_targeted_answers_as_onnx_runtime(twins: Twins, kind: Kind, lowest_wins: bool) -> None:
    objective, ours = twins.oracles(kind, targeted=True, lowest_wins=lowest_wins)
    goal = {"target": LABELS}
    wanted = twins.source.oracle(objective)(twins.clean, goal)
    close(ours(torch.tensor(twins.clean), tensors(goal)), wanted)


def test_several_outputs_add_up_as_in_onnx_runtime(twins: Twins) -> None:
    objective, ours = twins.oracles("output", ("y", "relu"))
    goal = twins.source.references(objective, {"x": twins.clean})
    assert set(goal) == {"reference", "reference 1"}
    x = (twins.clean * 1.1).astype(np.float32)
    wanted = twins.source.oracle(objective)(x, goal)
    close(ours(torch.tensor(x), tensors(goal)), wanted)


def test_entries_of_one_sample_that_were_merged_into_the_batch() -> None:
    # Two heads per sample: rows 0 and 1 belong to sample 0.
    oracle = TorchOracle(lambda x: x.reshape(6, 2), "layer")
    x = torch.arange(1.0, 13.0).reshape(3, 2, 2)
    goal = oracle.references(x)
    assert goal["reference"].shape == (3, 4)
    found = oracle(2 * x, goal)
    assert found.loss.tolist() == [1, 1, 1]


# Against formulas and by hand


@pytest.mark.parametrize("scale", [0.1, 1.0, 300.0])
@pytest.mark.parametrize(
    ("kind", "formula"), [("ce", losses.logit_loss), ("margin", losses.lead), ("dlr", losses.dlr)]
)
def test_values_and_gradients(kind: Kind, formula: Any, scale: float) -> None:
    rng = np.random.default_rng(3)
    z = np.stack([rng.permutation(5) + rng.random(5) / 2 for _ in range(4)]) * scale
    y = rng.integers(0, 5, 4)
    found, step = ask(kind, z, y, torch.float64), 1e-5 * scale
    np.testing.assert_allclose(found.loss, formula(z, y), rtol=1e-9)
    assert found.gradient is not None
    for index in range(5):
        moved = np.eye(5)[index] * step
        numeric = (formula(z + moved, y) - formula(z - moved, y)) / (2 * step)
        np.testing.assert_allclose(found.gradient[:, index], numeric, rtol=1e-5, atol=1e-7 / scale)


def test_divergence_by_formula() -> None:
    z, reference = np.array(ROWS), np.array(ROWS)[::-1] * 0.5
    oracle = TorchOracle(lambda x: x, "kl")
    found = oracle(torch.tensor(z), {"reference": torch.tensor(reference.copy())})
    np.testing.assert_allclose(found.loss, losses.divergence(reference, z), rtol=1e-9)
    q, p = torch.tensor(z).softmax(1), torch.tensor(reference.copy()).softmax(1)
    torch.testing.assert_close(found.gradient, q - p)


def test_by_hand() -> None:
    found = ask("ce", [[5, 1, 1, 1], [0, 2, 0, 0]], [0, 2])
    np.testing.assert_allclose(found.loss[0], np.log(3) + 1 - 5, rtol=1e-6)
    assert found.gradient is not None
    np.testing.assert_allclose(found.gradient[0], [-1, 1 / 3, 1 / 3, 1 / 3], rtol=1e-6)
    assert ask("margin", ROWS, [0, 2, 3]).loss.tolist() == [-2, 2, 2]
    np.testing.assert_allclose(ask("dlr", ROWS, [0, 2, 3]).loss, [-2 / 2.5, 2 / 3, 2 / 0.75])
    widths = [3 - (0.5 - 2) / 2, 4 - (1 + 0) / 2, 1 - (0.25 - 1) / 2]
    targeted = ask("dlr", ROWS, [0, 2, 3], targeted=True)
    np.testing.assert_allclose(targeted.loss, np.array([2, -2, -2]) / widths, rtol=1e-6)
    assert targeted.margin is not None
    assert targeted.margin.tolist() == [-2, 2, 2]


def test_equal_rivals_share_the_gradient_as_in_onnx_runtime() -> None:
    gradient = ask("margin", [[2, 1, 1]], [0]).gradient
    assert gradient is not None
    assert gradient.tolist() == [[-1, 0.5, 0.5]]


def test_a_clean_value_of_zero_has_its_absolute_change() -> None:
    oracle = TorchOracle(lambda x: x, "output")
    found = oracle(
        torch.tensor([[3.0, 4.0], [6.0, 8.0]]), {"reference": torch.tensor([[0.0, 0], [3, 4]])}
    )
    assert found.loss.tolist() == [25, 1]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("kind", ["ce", "margin", "dlr"])
def test_sure_models_have_gradients_and_wide_losses(kind: Kind, dtype: torch.dtype) -> None:
    z = np.array([[1, -1, 0.5, 0], [-0.5, 0.25, -1, 1]]) * 2e3
    found = ask(kind, z, [0, 3], dtype)
    assert found.gradient is not None
    assert found.margin is not None
    assert found.gradient.dtype == dtype
    assert found.loss.dtype == found.margin.dtype
    assert found.loss.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    assert found.margin.tolist() == [1000, 1500]
    assert found.gradient.abs().amax(1).min() > 1e-7
    if kind != "dlr":
        assert found.loss.tolist() == [-1000, -1500]


# What it leaves alone


def network() -> torch.nn.Module:
    return torch.nn.Sequential(torch.nn.Linear(5, 7), torch.nn.Tanh(), torch.nn.Linear(7, 4))


@pytest.mark.parametrize("kind", ["ce", "margin", "kl"])
def test_weights_keep_their_gradients(kind: Kind) -> None:
    module, x = network(), torch.rand(3, 5)
    module(x).sum().backward()
    before = [weight.grad.clone() for weight in module.parameters()]
    oracle = TorchOracle(module, kind)
    goal = {"labels": torch.tensor([0, 1, 2]), **oracle.references(x * 0.9)}
    with torch.no_grad():
        found = oracle(x, goal)
    for weight, grad in zip(module.parameters(), before, strict=True):
        assert torch.equal(weight.grad, grad)
    for part in found:
        assert part is None or not part.requires_grad
    assert not x.requires_grad
    leaf = x.clone().requires_grad_()
    torch.testing.assert_close(oracle(leaf, goal).gradient, found.gradient)
    assert leaf.grad is None


def test_no_gradient_of_a_weight_is_computed() -> None:
    """The backward of a product is asked for the input's gradient alone."""
    asked: list[tuple[bool, ...]] = []

    class Product(torch.autograd.Function):
        @staticmethod
        def forward(context: Any, x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
            context.save_for_backward(w)
            return x @ w

        @staticmethod
        def backward(context: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
            asked.append(context.needs_input_grad)
            return grads[0] @ context.saved_tensors[0].T, None

    w = torch.rand(5, 4)
    oracle = TorchOracle(lambda x: Product.apply(x, w), "ce")
    oracle(torch.rand(3, 5), {"labels": torch.tensor([0, 1, 2])})
    assert asked == [(True, False)]


def test_no_gradient_costs_no_graph() -> None:
    seen: list[bool] = []

    def logits(x: torch.Tensor) -> torch.Tensor:
        seen.append(torch.is_grad_enabled())
        return x

    oracle = TorchOracle(logits, "ce")
    assert (
        oracle(torch.rand(2, 3), {"labels": torch.tensor([0, 1])}, gradient=False).gradient is None
    )
    with torch.no_grad():
        oracle(torch.rand(2, 3), {"labels": torch.tensor([0, 1])})
    assert seen == [False, True]


def test_a_batch_without_samples() -> None:
    found = ask("ce", np.zeros((0, 3)), np.zeros(0, np.int64))
    assert found.loss.shape == (0,)
    assert found.gradient is not None
    assert found.gradient.shape == (0, 3)


# What it refuses


@pytest.mark.parametrize(
    ("kind", "classes", "targeted", "message"),
    [
        ("dlr", 2, False, "'dlr' needs 3 classes or more, and the model has 2; use 'margin'"),
        ("dlr", 3, True, "'dlr' needs 4 classes or more, and the model has 3; use 'margin'"),
        ("ce", 1, False, "'ce' needs 2 classes or more, and the model has 1; use 'output'"),
    ],
)
def test_too_few_classes(kind: Kind, classes: int, targeted: bool, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        ask(kind, np.ones((2, classes)), [0, 0], targeted=targeted)


@pytest.mark.parametrize("kind", ["ce", "margin"])
def test_an_answer_that_ignores_the_input(kind: Kind) -> None:
    weights = torch.ones(2, 3, requires_grad=True)
    for logits in (lambda x: weights * 1, lambda x: x.detach() * 1):
        oracle = TorchOracle(logits, kind)
        with pytest.raises(ModelError, match=f"objective '{kind}' has no gradient"):
            oracle(torch.rand(2, 3), {"labels": torch.tensor([0, 1])})
