"""Attacks on models without classes climb the loss that training and verdict measure."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lsa_trainer.hardening.choosing import Chosen
from lsa_trainer.hardening.prepare import open_trainable, prepare
from lsa_trainer.hardening.verdict import fit_of
from lsa_trainer.objectives import OutputLoss, TrainingAttack, variance_scale
from lsa_trainer.options import HardenOptions
from lsa_trainer.training.data import TrainingSet
from lsa_trainer.training.opponent import Opponent
from lsa_trainer.training.randomness import TorchRandomness
from lsa_trainer.training.setup import launch
from lsa_trainer.training.validation import Validator
from tests import graphs
from tests.trainer import fragile
from tests.trainer.small_runs import job

COUNT = 8
EPS = 0.1
W = torch.tensor([2.0, -1.0, 0.5])


class Linear(nn.Module):
    """f(x) = w · x."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(W.clone())

    def forward(self, x: Tensor) -> Tensor:
        return (x @ self.w)[:, None]


class Hump(nn.Module):
    """A narrow hump just above 0.5, of height e⁻¹ there."""

    def forward(self, x: Tensor) -> Tensor:
        return (-(((x - 0.52) / 0.02) ** 2)).exp()


class Two(nn.Module):
    """y = x and z = 10 x."""

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"y": x, "z": 10 * x}


def opponent() -> Opponent:
    model = job(Linear(), classes=False)
    return Opponent(model, model.trainee, OutputLoss())


def samples() -> tuple[TrainingSet, Tensor]:
    """Within 0.2..0.8, and targets 0.3 above f(x) and below it in turn."""
    x = 0.2 + 0.6 * torch.rand(COUNT, 3, generator=torch.Generator().manual_seed(0))
    off = torch.tensor([0.3, -0.3]).repeat(COUNT // 2)
    return TrainingSet(x, None), (x @ W + off)[:, None]


def numbers() -> TorchRandomness:
    return TorchRandomness(3, 0, torch.arange(COUNT))


@pytest.mark.parametrize("kind", ["fgsm", "pgd"])
def test_a_linear_model_by_hand(kind: Any) -> None:
    """The distance grows fastest along sign(w) · sign(f(x) − t)."""
    part, targets = samples()
    attack = TrainingAttack(kind=kind, eps=EPS, steps=4, objective="output")
    found = opponent().attacked(attack, part, [targets], numbers())
    side = torch.sign((part.x @ W)[:, None] - targets)
    torch.testing.assert_close(found, part.x + EPS * W.sign() * side)


def test_trades_leads_away_from_the_answer_for_x() -> None:
    part, targets = samples()
    attack = TrainingAttack(kind="trades", eps=EPS, steps=4, objective="output")
    near, far = (opponent().attacked(attack, part, [t], numbers()) for t in (targets, targets + 9))
    assert torch.equal(near, far)
    moved = ((near - part.x) @ W).abs()
    torch.testing.assert_close(moved, (EPS * W.abs().sum()).expand(COUNT))


@pytest.mark.parametrize(("scale", "side"), [(1.0, -1.0), (1e6, 1.0)])
def test_outputs_weigh_as_much_as_in_the_loss(scale: float, side: float) -> None:
    """y is 0.5 above its target and z = 10 y is 1 below: what the loss makes of z decides the direction."""
    x = torch.full((COUNT, 1), 0.5)
    targets = [x - 0.5, 10 * x + 1]
    model = job(nn.Identity(), classes=False, outputs=("y", "z"), trainee=Two())
    against = Opponent(model, model.trainee, OutputLoss((1.0, scale)))
    attack = TrainingAttack(kind="fgsm", eps=0.01, objective="output")
    found = against.attacked(attack, TrainingSet(x, None), targets, numbers())
    torch.testing.assert_close(found, x + 0.01 * side)


def test_attacked_scores_are_never_better_than_clean_ones() -> None:
    """A step of ε leads over the hump of the loss to where it is lower; x itself is within ε of x."""
    x, targets = torch.full((COUNT, 1), 0.5), torch.zeros(COUNT, 1)
    model = job(Hump(), classes=False)
    against = Opponent(model, model.trainee, OutputLoss())
    attack = TrainingAttack(kind="fgsm", eps=EPS, objective="output")
    found = against.attacked(attack, TrainingSet(x, None), [targets], numbers())
    assert (Hump()(found) < Hump()(x)).all()
    scores = Validator(against, TrainingSet(x, None), [targets], attack, 1, 0)()
    assert scores.measure == "fit"
    assert scores.clean == scores.one_step == scores.robust == pytest.approx(1 - math.exp(-2))


def ascended(net: Any, x: Tensor, targets: Tensor, eps: float) -> Tensor:
    """60 steps of eps / 10 along the sign of the loss's gradient, from x itself."""
    point = x
    for _ in range(60):
        point = point.detach().requires_grad_()
        (slope,) = torch.autograd.grad((net(point)["y"] - targets).square().sum(), point)
        point = torch.minimum(torch.maximum(point + slope.sign() * eps / 10, x - eps), x + eps)
        point = point.detach().clamp(0, 1)
    return point


def test_the_verdict_finds_what_ascent_of_the_loss_finds(tmp_path: Path) -> None:
    weights = fragile.mlp_weights()
    weights |= {"v": weights["v"][:1], "c": weights["c"][:1]}
    ends = [graphs.value("x", ["N", 6])], [graphs.value("y", ["N", 1])]
    proto = graphs.model(fragile.mlp().graph.node, *ends, weights)
    model, x = graphs.save(proto, tmp_path / "m.onnx"), fragile.data(200)["x"]
    (clean,) = graphs.run(proto, {"x": x}).values()
    noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(0)).numpy()
    data = fragile.save_data(tmp_path / "xy.npz", {"x": x, "y": clean + 0.3 * clean.std() * noise})
    how = HardenOptions(data=data, eps="0.05", gamma="0", mvl=(), device="cpu", verification=40)
    subject, module = open_trainable(model, how)
    prepared = prepare(subject, module, Chosen((), "none"), how, launch(how, "cpu"))
    found = fit_of(prepared, how)
    part, (targets,) = prepared.verification, prepared.verification_targets
    net = prepared.job.trainee.reading(prepared.job.outputs)
    attacked = ascended(net, part.x, targets, 0.05)
    with torch.no_grad():
        lost = OutputLoss((variance_scale(targets),)).fit([net(attacked)["y"]], targets)
    assert found.clean.value > 0.8
    assert found.robust.value < found.clean.value
    assert found.robust.value <= 1 - 0.97 * float(lost)
