"""The losses of a step: their values, their gradients, and the passes that they cost."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from lsa_trainer.objectives import (
    BASES,
    Base,
    BaseName,
    ClassLoss,
    LayerRegulariser,
    Losses,
    OutputLoss,
    StepSpec,
    comparison_measure,
    losses,
)
from tests.trainer.step_model import COUNT, StepModel


class Model(StepModel):
    """With the specification of a step."""

    def spec(self, name: BaseName, *, layers: bool = False, **how: Any) -> StepSpec:
        term = LayerRegulariser({"relu": 0.5, "turned": 2.0}, {"turned": 1}) if layers else None
        how = {"regulariser": term, **how}
        return StepSpec(base=Base(name, ClassLoss(0.1, 2.0)), outputs=("y",), **how)

    def run(self, spec: StepSpec) -> Losses:
        x_adv = self.x_adv if spec.needs_adversarial else None
        return losses(self, self.x, x_adv, self.y, spec)

    def gradients(self, total: torch.Tensor) -> tuple[torch.Tensor, ...]:
        found: tuple[torch.Tensor, ...] = torch.autograd.grad(total, (self.w, self.v))
        return found


@pytest.mark.parametrize("layers", [False, True])
@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("name", BASES)
def test_the_sum_of_its_parts(name: BaseName, exact: bool, layers: bool) -> None:
    model = Model()
    found = model.run(model.spec(name, layers=layers, exact_batching=exact))
    clean, moved = model(model.x), model(model.x_adv)
    base = Base(name, ClassLoss(0.1, 2.0))([clean["y"]], [moved["y"]], model.y)
    total = base
    if layers:
        cms = {
            "relu": comparison_measure(clean["relu"], moved["relu"]).mean(),
            "turned": comparison_measure(clean["turned"], moved["turned"], 1).mean(),
        }
        torch.testing.assert_close(found.cms, {n: cm.detach() for n, cm in cms.items()})
        term = 0.5 * cms["relu"] + 2 * cms["turned"]
        torch.testing.assert_close(found.regulariser, term.detach())
        total = base + term
    torch.testing.assert_close(found.base, base.detach())
    torch.testing.assert_close(found.total, total)
    torch.testing.assert_close(model.gradients(found.total), model.gradients(total))


@pytest.mark.parametrize(
    ("name", "layers", "exact", "passes"),
    [
        ("standard", False, True, [COUNT]),
        ("at-pgd", False, True, [COUNT]),
        ("at-fgsm", False, False, [COUNT]),
        ("at-trades", False, True, [2 * COUNT]),
        ("at-trades", False, False, [COUNT, COUNT]),
        ("standard", True, True, [2 * COUNT]),
        ("at-pgd", True, True, [COUNT, COUNT]),
        ("at-pgd", True, False, [COUNT, COUNT]),
    ],
)
def test_passes(name: BaseName, layers: bool, exact: bool, passes: list[int]) -> None:
    model = Model()
    spec = model.spec(name, layers=layers, exact_batching=exact)
    model.run(spec)
    assert model.passes == [(count, True) for count in passes]


@pytest.mark.parametrize("layers", [False, True])
@pytest.mark.parametrize("exact", [False, True])
def test_a_share_of_the_loss_at_clean_inputs(exact: bool, layers: bool) -> None:
    """It needs the outputs for x: the part of the model up to the layers will not do."""
    model, criterion = Model(), ClassLoss(0.1, 2.0)
    spec = model.spec("at-pgd", layers=layers, exact_batching=exact)
    spec = replace(spec, base=Base("at-pgd", criterion, clean_weight=0.25))

    def layers_alone(x: torch.Tensor) -> dict[str, torch.Tensor]:
        raise AssertionError(len(x))

    found = losses(model, model.x, model.x_adv, model.y, spec, layers_alone)
    assert model.passes == ([(2 * COUNT, True)] if exact else [(COUNT, True)] * 2)
    at = {
        name: criterion.fit([model(x)["y"]], model.y)
        for name, x in (("x", model.x), ("x̂", model.x_adv))
    }
    torch.testing.assert_close(found.base, (0.75 * at["x̂"] + 0.25 * at["x"]).detach())


@pytest.mark.parametrize("exact", [False, True])
def test_a_clean_pass_that_is_a_constant_costs_no_graph(exact: bool) -> None:
    model = Model()
    term = LayerRegulariser({"relu": 1.0}, detach_clean=True)
    found = model.run(model.spec("at-pgd", regulariser=term, exact_batching=exact))
    assert model.passes == [(COUNT, False), (COUNT, True)]
    clean, moved = model(model.x)["relu"].detach(), model(model.x_adv)
    total = Base("at-pgd", ClassLoss(0.1, 2.0))(None, [moved["y"]], model.y)
    total = total + comparison_measure(clean, moved["relu"]).mean()
    torch.testing.assert_close(model.gradients(found.total), model.gradients(total))


def test_what_is_behind_the_layers_is_left_out_where_only_they_are_compared() -> None:
    model = Model()
    spec = model.spec("at-pgd", layers=True, exact_batching=True)
    whole, asked = model.run(spec), []

    def layers_alone(x: torch.Tensor) -> dict[str, torch.Tensor]:
        asked.append(len(x))
        return {name: value for name, value in model(x).items() if name != "y"}

    found = losses(model, model.x, model.x_adv, model.y, spec, layers_alone)
    assert asked == [COUNT]
    torch.testing.assert_close(found.total, whole.total)
    torch.testing.assert_close(model.gradients(found.total), model.gradients(whole.total))


def test_trades_learns_from_the_clean_pass_even_where_layers_do_not() -> None:
    model = Model()
    term = LayerRegulariser({"relu": 1.0}, detach_clean=True)
    model.run(model.spec("at-trades", regulariser=term))
    assert model.passes == [(COUNT, True), (COUNT, True)]


def test_a_regulariser_without_layers_is_none() -> None:
    model = Model()
    found = model.run(model.spec("at-pgd", regulariser=LayerRegulariser({})))
    assert model.passes == [(COUNT, True)]
    assert found.regulariser is None
    assert found.cms == {}
    assert found.clean is None


def test_what_is_reported_is_detached() -> None:
    model = Model()
    found = model.run(model.spec("at-trades", layers=True))
    assert found.total.requires_grad
    for part in (
        found.base,
        found.regulariser,
        found.clean,
        found.adversarial,
        *found.cms.values(),
    ):
        assert part is not None
        assert not part.requires_grad
    torch.testing.assert_close(found.clean, model(model.x)["y"].detach())
    torch.testing.assert_close(found.adversarial, model(model.x_adv)["y"].detach())


def test_a_caller_without_gradients_gets_none() -> None:
    model = Model()
    with torch.no_grad():
        assert not model.run(model.spec("at-trades", layers=True)).total.requires_grad


def test_several_outputs_and_their_targets() -> None:
    model = Model()
    targets = [torch.zeros(COUNT, 4), torch.ones(COUNT, 4)]
    criterion = OutputLoss((2.0, 5.0))
    spec = StepSpec(base=Base("at-pgd", criterion), outputs=("y", "z"))
    found = losses(model, model.x, model.x_adv, targets, spec)
    moved = model(model.x_adv)
    wanted = criterion.fit([moved["y"], moved["z"]], targets)
    torch.testing.assert_close(found.total, wanted)
    torch.testing.assert_close(found.adversarial, moved["y"].detach())


def test_attention_heads_in_the_batch_stay_with_their_sample() -> None:
    def heads(x: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"h": x.reshape(2 * len(x), 2), "y": x}

    x = torch.rand(COUNT, 4, generator=torch.Generator().manual_seed(0))
    x_adv = x + torch.tensor([0.1, 0, 0, 0.5])
    base, term = Base("at-pgd", ClassLoss()), LayerRegulariser({"h": 1.0})
    for exact in (False, True):
        spec = StepSpec(base=base, outputs=("y",), regulariser=term, exact_batching=exact)
        found = losses(heads, x, x_adv, torch.tensor([0, 3, 1]), spec)
        torch.testing.assert_close(found.cms["h"], comparison_measure(x, x_adv).mean())


@pytest.mark.parametrize(("name", "layers"), [("at-pgd", False), ("standard", True)])
def test_perturbed_inputs_that_are_lacking(name: BaseName, layers: bool) -> None:
    model = Model()
    with pytest.raises(ValueError, match="x_adv: None"):
        losses(model, model.x, None, model.y, model.spec(name, layers=layers))
