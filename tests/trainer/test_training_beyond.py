"""Options that go beyond AT-LR as published: what a run makes of each."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lsa_onnx.errors import DataError
from lsa_trainer.objectives import Base, ClassLoss, LayerRegulariser, StepSpec, comparison_measure
from lsa_trainer.training.data import TrainingSet
from lsa_trainer.training.opponent import Opponent
from lsa_trainer.training.randomness import TorchRandomness
from lsa_trainer.training.setup import attack_for, attack_to_validate_with
from tests.trainer.small_runs import (
    Recorder,
    assert_equal,
    blobs,
    job,
    mlp,
    options,
    run,
    weights,
)

COUNT = 12
INNERS = [
    ("at-pgd", "margin"), ("at-pgd", "dlr"), ("at-pgd", "kl"), ("at-pgd", "cm"), ("at-pgd", "ce+cm"),
    ("at-fgsm", "cm"), ("at-fast", "ce+cm"), ("at-apgd", "ce+cm"), ("at-trades", "ce"),
    ("at-trades", "ce+cm"), ("standard", "cm"), ("standard", "ce+cm"),
]  # fmt: skip


def attacked(inner: str, part: TrainingSet, base: str = "at-pgd", **how: Any) -> Tensor:
    """x̂ of a small model whose layer "1" weighs 2."""
    model = job(mlp(), ["1"])
    against = Opponent(model, model.trainee.reading(model.outputs), ClassLoss())
    attack = attack_for(options(base=base, inner=inner, eps="0.2", steps=5), model)
    assert attack is not None
    assert part.y is not None
    spec = StepSpec(
        base=Base(base, ClassLoss()),  # type: ignore[arg-type]
        outputs=model.outputs,
        regulariser=LayerRegulariser({"1": 2.0}),
    )
    numbers = TorchRandomness(3, 0, torch.arange(len(part)))
    return against.attacked(attack, part, [part.y], numbers, spec=spec, **how)


def climbed(x: Tensor, part: TrainingSet) -> tuple[float, float]:
    """J and CM of layer "1" of that model, at ``x``."""
    with torch.no_grad():
        net: Any = mlp().eval()
        clean, now = (net[1](net[0](each)) for each in (part.x, x))
        fit = nn.functional.cross_entropy(net(x), part.y)
    return float(fit), float(comparison_measure(clean, now).mean())


@pytest.mark.parametrize("base", ["at-fgsm", "at-fast", "at-pgd", "at-apgd"])
def test_each_objective_is_climbed_best_by_its_own_attack(base: str) -> None:
    part = blobs(COUNT)
    found = {inner: climbed(attacked(inner, part, base), part) for inner in ("ce", "cm", "ce+cm")}
    totals = {inner: fit + 2 * cm for inner, (fit, cm) in found.items()}
    assert found["cm"][1] > found["ce"][1]
    assert found["ce"][0] > found["cm"][0]
    # These start at x, where the loss shows to which side; others start at random.
    if base in ("at-fgsm", "at-pgd"):
        assert totals["ce+cm"] >= max(totals.values())


@pytest.mark.parametrize(
    ("base", "inner", "labels_matter"),
    [
        ("at-pgd", "kl", False), ("at-pgd", "cm", False), ("at-trades", "auto", False),
        ("at-trades", "ce+cm", False), ("at-trades", "ce", True), ("at-pgd", "auto", True),
        ("at-pgd", "ce+cm", True),
    ],
)  # fmt: skip
def test_whether_labels_matter(base: str, inner: str, labels_matter: bool) -> None:
    part = blobs(COUNT)
    assert part.y is not None
    found, other = (attacked(inner, TrainingSet(part.x, y), base) for y in (part.y, part.y * 0))
    assert torch.equal(found[::3], other[::3])
    assert torch.equal(found, other) != labels_matter


@pytest.mark.parametrize("inner", ["ce", "cm", "ce+cm"])
def test_inputs_that_are_held_are_held_for_layers_too(inner: str) -> None:
    class Shifted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = mlp()

        def forward(self, x: Tensor, shift: Tensor) -> Tensor:
            y: Tensor = self.inner(x + shift)
            return y

    model, part = job(Shifted(), ["inner.1"]), blobs(COUNT)
    against = Opponent(model, model.trainee.reading(model.outputs), ClassLoss())
    attack = attack_for(options(inner=inner, eps="0.1"), model)
    assert attack is not None
    assert part.y is not None
    term = LayerRegulariser({"inner.1": 1.0})
    spec = StepSpec(base=Base("at-pgd", ClassLoss()), outputs=model.outputs, regulariser=term)
    numbers = TorchRandomness(3, 0, torch.arange(COUNT))
    shifts = [{"shift": torch.full_like(part.x, by)} for by in (0.0, 0.5)]
    found = [
        against.attacked(attack, TrainingSet(part.x, part.y, s), [part.y], numbers, spec=spec)
        for s in shifts
    ]
    assert not torch.equal(found[0], found[1])


@pytest.mark.usefixtures("rising")
@pytest.mark.parametrize(("base", "inner"), INNERS)
def test_every_objective_trains(base: str, inner: str, tmp_path: Path) -> None:
    module, plain, seen = mlp(), mlp(), Recorder()
    run(job(plain, ["1"]), tmp_path / "auto", options(base=base))
    run(job(module, ["1"]), tmp_path / "own", options(base=base, inner=inner), listener=seen)
    assert not torch.equal(weights(module)["0.weight"], weights(plain)["0.weight"])
    assert all(math.isfinite(values["loss"]) for values in seen.steps)
    assert all(values["cm"]["1"] > 0 for values in seen.steps)


def test_validation_is_what_it_was(tmp_path: Path) -> None:
    for changes in ({"inner": "cm"}, {"inner": "kl", "base": "at-trades"}):
        attack = attack_to_validate_with(options(**changes), job(mlp(), ["1"]))
        assert attack.objective is None
    for classes, inner in ((False, "cm"), (False, "ce+cm")):
        model = job(mlp(), ["1"], classes=classes)
        assert attack_to_validate_with(options(inner=inner), model).objective == "output"
    found = [
        run(job(mlp(), ["1"]), tmp_path / inner, options(inner=inner, lr=1e-12)).history
        for inner in ("auto", "cm")
    ]
    assert found[0] == found[1]


@pytest.mark.parametrize(
    ("schedule", "factors"),
    [
        ("rising", [1 / 6, 2 / 6, 3 / 6, 4 / 6, 5 / 6, 1]),
        ("falling", [1, 5 / 6, 4 / 6, 3 / 6, 2 / 6, 1 / 6]),
        ("with-eps", [1 / 4, 2 / 4, 3 / 4, 1, 1, 1]),
    ],
)
def test_gamma_changes_over_the_run(
    schedule: str, factors: list[float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the loss and in the attack that climbs it."""
    climbed, attack = list[float](), Opponent.attacked

    def noted(self: Opponent, *given: Any, **named: Any) -> Tensor:
        spec = given[6] if len(given) > 6 else None
        climbed.extend([] if spec is None else [spec.regularised.gammas["1"]])
        return attack(self, *given, **named)

    monkeypatch.setattr(Opponent, "attacked", noted)
    seen = Recorder()
    how = options(gamma_schedule=schedule, eps_warmup=0.5, inner="ce+cm", gamma="0.2")
    trained = run(job(mlp(), ["1"]), tmp_path, how, listener=seen)
    assert [values["gamma_scale"] for values in seen.steps] == pytest.approx(factors)
    for values, factor in zip(seen.steps, factors, strict=True):
        assert values["regulariser"] == pytest.approx(0.2 * factor * values["cm"]["1"], rel=1e-5)
    assert climbed == pytest.approx([0.2 * factor for factor in factors])
    assert trained.gammas == {"1": 0.2}


def drawn(folder: Path, monkeypatch: pytest.MonkeyPatch, **changes: Any) -> list[Tensor]:
    """How far each sample of each step is moved, of ε."""
    found, attack = list[Tensor](), Opponent.attacked

    def noted(self: Opponent, *given: Any, **named: Any) -> Tensor:
        moved = attack(self, *given, **named)
        if len(given) > 6:
            found.append((moved - given[1].x).abs().flatten(1).amax(1) / 0.1)
        return moved

    with monkeypatch.context() as patch:
        patch.setattr(Opponent, "attacked", noted)
        how = options(eps_schedule="random", eps="0.1", base="at-fgsm", **changes)
        # Far from both ends of the range, FGSM goes all the way.
        run(job(mlp(), low=-5.0, high=6.0), folder, how)
    return found


def test_every_sample_has_an_eps_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved = drawn(tmp_path / "a", monkeypatch, eps_warmup=0.0)
    every = torch.stack(moved)
    assert every.shape == (6, 16)
    assert len(every.unique()) == every.numel()
    assert every.min() < 0.1
    assert 0.9 < every.max() <= 1 + 1e-5
    assert float(every.mean()) == pytest.approx(0.5, abs=0.1)
    again = drawn(tmp_path / "b", monkeypatch, eps_warmup=0.0, lr=1e-9)
    other = drawn(tmp_path / "c", monkeypatch, eps_warmup=0.0, seed=1)
    torch.testing.assert_close(torch.stack(again), every, atol=1e-4, rtol=0)
    assert not torch.allclose(torch.stack(other), every, atol=1e-2)
    early = drawn(tmp_path / "d", monkeypatch, eps_warmup=1.0)
    scales = torch.tensor([(step + 1) / 7 for step in range(6)])[:, None]
    torch.testing.assert_close(torch.stack(early), every * scales, atol=1e-4, rtol=0)


def test_what_is_beyond_the_published_is_said(tmp_path: Path) -> None:
    plain, seen = Recorder(), Recorder()
    run(job(mlp(), ["1"]), tmp_path / "plain", options(epochs=1), listener=plain)
    how = options(epochs=1, inner="cm", lr_power=2, eps_schedule="random")
    run(job(mlp(), ["1"]), tmp_path / "own", how, listener=seen)
    assert plain.said == []
    assert seen.said == [
        "beyond AT-LR as published: inner cm, lr_power 2, eps_schedule random",
    ]


@pytest.mark.parametrize(
    ("changes", "layers", "classes", "message"),
    [
        (
            {"inner": "cm"},
            [],
            True,
            "--inner 'cm' climbs the regularised layers, and there are none",
        ),
        (
            {"inner": "ce+cm"},
            [],
            True,
            r"--inner 'ce\+cm' climbs the regularised layers, and there",
        ),
        ({"inner": "cm", "gamma": "1=0"}, ["1"], True, "--inner 'cm' .* no gamma is above 0"),
        ({"inner": "kl"}, ["1"], False, "--inner 'kl' needs a model with classes"),
        ({"inner": "margin"}, [], False, "--inner 'margin' needs a model with classes"),
    ],
)
def test_what_there_is_nothing_to_climb_of(
    changes: dict[str, Any], layers: list[str], classes: bool, message: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=message) as caught:
        run(job(mlp(), layers, classes=classes), tmp_path, options(**changes))
    assert "\n" not in str(caught.value)


def test_defaults_that_are_named_are_the_defaults(tmp_path: Path) -> None:
    plain, named = mlp(), mlp()
    run(job(plain, ["1"]), tmp_path / "plain", options(gamma="auto"))
    how = options(
        gamma="auto:0.1",
        inner="ce",
        clean_weight=0.0,
        gamma_schedule="constant",
        lr_power=1,
        eps_schedule="warmup",
    )
    run(job(named, ["1"]), tmp_path / "named", how)
    assert_equal(weights(plain), weights(named))
