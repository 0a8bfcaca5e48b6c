"""Attacks of training: the points of ``lsa_onnx.attacks``, and the choices made for training."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from lsa_onnx.attacks import BALLS, Answer, Goal, Norm, SampleRandomness, apgd, fast, fgsm, trades
from lsa_onnx.attacks.pgd import ascend
from lsa_onnx.errors import DataError
from lsa_trainer.objectives import Algorithm, TorchOracle, TrainingAttack

KINDS: tuple[Algorithm, ...] = ("fgsm", "pgd", "fast", "trades", "apgd")
COUNT = 6
ORDERS = {"linf": math.inf, "l2": 2.0, "l1": 1.0}


class Problem:
    """A small network on samples of 2×3×4 within −1..2."""

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(0)
        first = torch.randn(24, 16, generator=generator)
        second = torch.randn(16, 4, generator=generator)
        self.weights = first, second
        self.x = torch.rand(COUNT, 2, 3, 4, generator=generator) * 3 - 1
        self.goal: Goal = {
            "labels": self.network(self.x).argmax(1),
            **TorchOracle(self.network, "kl").references(self.x),
        }
        self.numbers = SampleRandomness.of_batch(7, 0, COUNT)

    def network(self, x: torch.Tensor) -> torch.Tensor:
        first, second = (weight.to(x) for weight in self.weights)
        return (x.flatten(1) @ first).tanh() @ second

    def run(
        self, kind: Algorithm, scale: float = 1.0, eps: float = 0.3, shares: Any = None, **how: Any
    ) -> torch.Tensor:
        attack = TrainingAttack(kind=kind, eps=eps, low=-1, high=2, **how)
        oracle = TorchOracle(self.network, attack.aim)  # type: ignore[arg-type]
        return attack(oracle, self.x, self.goal, self.numbers, scale, shares)

    def by_hand(self, kind: Algorithm, eps: float, norm: Norm, size: float | None) -> torch.Tensor:
        """From the functions of ``lsa_onnx.attacks``; 4 steps."""
        oracle = TorchOracle(self.network, "kl" if kind == "trades" else "ce")
        ball, numbers = BALLS[norm](eps, -1.0, 2.0), self.numbers
        given = (oracle, self.x, self.goal, ball)
        step = size or 2.5 * eps / 4
        if kind == "fgsm":
            return fgsm(*given)
        if kind == "fast":
            return fast(*given, numbers=numbers, step_share=size / eps if size else 1.25)
        if kind == "trades":
            return trades(*given, numbers=numbers, steps=4, step_size=step)
        if kind == "apgd":
            return apgd(*given, numbers=numbers, steps=4).x
        *_, (last, said) = ascend(*given, ball.random_start(self.x, numbers), 4, step)
        assert said is None
        return last


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("norm", BALLS)
def test_points_are_those_of_the_attack(kind: Algorithm, norm: Norm) -> None:
    problem = Problem()
    found = problem.run(kind, eps=1.0, norm=norm, steps=4)
    assert torch.equal(found, problem.by_hand(kind, 1.0, norm, None))
    moved = torch.linalg.vector_norm((found - problem.x).flatten(1), ORDERS[norm], dim=1)
    assert (moved > 0.1).all()
    assert (moved <= 1 + 1e-5).all()
    assert found.amin() >= -1
    assert found.amax() <= 2
    assert not found.requires_grad


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_an_attack(kind: Algorithm) -> None:
    problem = Problem()
    ce = TorchOracle(problem.network, "ce")
    before, after = (
        ce(x, problem.goal, gradient=False).loss.mean() for x in (problem.x, problem.run(kind))
    )
    assert after > before + 0.2


@pytest.mark.parametrize("kind", KINDS)
def test_warm_up_scales_the_whole_attack(kind: Algorithm) -> None:
    problem = Problem()
    found = problem.run(kind, 0.25, eps=0.4, steps=4)
    torch.testing.assert_close(found, problem.by_hand(kind, 0.1, "linf", None))


@pytest.mark.parametrize("kind", ["pgd", "fast", "trades"])
@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_step_sizes_are_scaled_along(kind: Algorithm, scale: float) -> None:
    problem = Problem()
    found = problem.run(kind, scale, eps=0.4, steps=4, step_size=0.2)
    wanted = problem.by_hand(kind, 0.4 * scale, "linf", 0.2 * scale)
    torch.testing.assert_close(found, wanted)


SHARES = torch.tensor([0.0, 1e-3, 0.25, 0.5, 0.75, 1.0])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("norm", BALLS)
@pytest.mark.parametrize("kind", KINDS)
def test_each_sample_stays_within_its_share(
    kind: Algorithm, norm: Norm, dtype: torch.dtype
) -> None:
    problem = Problem()
    problem.x = problem.x.to(dtype)
    found = problem.run(kind, 0.5, eps=1.0, shares=SHARES, norm=norm, steps=4)
    assert found.dtype == dtype
    moved = (found.double() - problem.x.double()).flatten(1)
    sizes = torch.linalg.vector_norm(moved, ORDERS[norm], dim=1)
    assert (sizes <= 0.5 * SHARES * (1 + 1e-5)).all()
    assert torch.equal(found[0], problem.x[0])
    assert found.amin() >= -1
    assert found.amax() <= 2


@pytest.mark.parametrize("norm", BALLS)
@pytest.mark.parametrize("kind", ["fgsm", "pgd", "fast", "apgd"])
@pytest.mark.parametrize("share", [1.0, 0.5])
def test_a_share_is_an_eps_of_its_own(share: float, kind: Algorithm, norm: Norm) -> None:
    """Half of a ball is searched as a ball of half the size is, where the range is out of reach."""
    problem = Problem()
    problem.x = problem.x.double() * 0.2 + 0.4
    shares = torch.full((COUNT,), share, dtype=torch.float64)
    found = problem.run(kind, eps=0.4, shares=shares, norm=norm, steps=4)
    wanted = problem.run(kind, eps=0.4 * share, norm=norm, steps=4)
    torch.testing.assert_close(found, wanted, atol=1e-6, rtol=1e-6)
    assert not torch.equal(wanted, problem.x)


class Counted:
    """An oracle that notes whether each call asked for a gradient."""

    def __init__(self, oracle: TorchOracle) -> None:
        self.oracle = oracle
        self.asked: list[bool] = []

    def __call__(self, x: torch.Tensor, y: Goal, *, gradient: bool = True) -> Answer:
        self.asked.append(gradient)
        return self.oracle(x, y, gradient=gradient)


@pytest.mark.parametrize(("kind", "calls"), [("fgsm", 1), ("fast", 1), ("pgd", 3), ("trades", 3)])
def test_the_last_point_is_taken_and_not_asked(kind: Algorithm, calls: int) -> None:
    problem = Problem()
    attack = TrainingAttack(kind=kind, eps=0.3, steps=3, low=-1, high=2)
    counted = Counted(TorchOracle(problem.network, attack.aim))  # type: ignore[arg-type]
    attack(counted, problem.x, problem.goal, problem.numbers)
    assert counted.asked == [True] * calls


def test_fgsm_leaves_the_clean_input_where_the_objective_is_flat_there() -> None:
    problem = Problem()
    moved, kl = problem.run("fgsm", objective="kl"), TorchOracle(problem.network, "kl")
    ball = BALLS["linf"](0.3, -1.0, 2.0)
    wanted = fgsm(kl, problem.x, problem.goal, ball, numbers=problem.numbers)
    assert torch.equal(moved, wanted)
    assert not torch.equal(moved, fgsm(kl, problem.x, problem.goal, ball))
    assert kl(moved, problem.goal).loss.mean() > 0.2


@pytest.mark.parametrize("kind", KINDS)
def test_what_the_oracle_should_aim_at(kind: Algorithm) -> None:
    assert TrainingAttack(kind=kind, eps=0.1).aim == ("kl" if kind == "trades" else "ce")
    assert TrainingAttack(kind=kind, eps=0.1, objective="output").aim == "output"


@pytest.mark.parametrize(
    ("kind", "aim", "away"),
    [
        ("trades", None, True), ("trades", "output", True), ("trades", "ce", False),
        ("pgd", None, False), ("pgd", "output", False), ("pgd", "kl", True),
    ],
)  # fmt: skip
def test_what_leads_away_from_the_clean_answer(kind: Algorithm, aim: Any, away: bool) -> None:
    assert TrainingAttack(kind=kind, eps=0.1, objective=aim).leaves_clean == away


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("eps", "scale"), [(0.0, 1.0), (0.3, 0.0)])
def test_nothing_moves_at_distance_zero(kind: Algorithm, eps: float, scale: float) -> None:
    problem = Problem()
    assert torch.equal(problem.run(kind, scale, eps=eps), problem.x)


def test_a_batch_without_samples_stays() -> None:
    problem, empty = Problem(), torch.zeros(0, 2, 3, 4)
    attack = TrainingAttack(kind="pgd", eps=0.1)
    oracle, goal = TorchOracle(problem.network, "ce"), {"labels": torch.zeros(0).long()}
    assert attack(oracle, empty, goal, SampleRandomness.of_batch(0, 0, 0)).shape == empty.shape


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_types_are_kept(dtype: torch.dtype) -> None:
    problem = Problem()
    problem.x = problem.x.to(dtype)
    assert problem.run("pgd").dtype == dtype


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"kind": "pdg"}, "unknown training attack 'pdg'; did you mean 'pgd'"),
        ({"norm": "l3"}, "unknown norm 'l3'"),
        ({"eps": -0.1}, "eps -0.1 is not a distance"),
        ({"eps": 1.5}, "eps 1.5 is larger than the range's width 1"),
        ({"steps": 0}, "0 steps of 'pgd'"),
        ({"step_size": 0.0}, "step size 0 of 'pgd'"),
        ({"step_size": math.nan}, "step size nan of 'pgd'"),
        ({"kind": "fgsm", "step_size": 0.1}, "step size 0.1 is of no use: 'fgsm' sets its own"),
        ({"kind": "apgd", "step_size": 0.1}, "'apgd' sets its own"),
    ],
)
def test_parameters_that_are_refused(how: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        TrainingAttack(**{"kind": "pgd", "eps": 0.1, **how})


def test_inputs_and_scales_that_are_refused() -> None:
    problem, attack = Problem(), TrainingAttack(kind="pgd", eps=0.1)
    oracle = TorchOracle(problem.network, "ce")
    with pytest.raises(DataError, match=r"they are torch\.int64"):
        attack(oracle, problem.x.long(), problem.goal, problem.numbers)
    with pytest.raises(DataError, match="eps_scale -1"):
        attack(oracle, problem.x, problem.goal, problem.numbers, -1.0)
