"""What attacks climb beside the loss of an answer: its values, its slopes, and what it costs."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from lsa_onnx.attacks import SampleRandomness
from lsa_onnx.errors import ModelError
from lsa_trainer.objectives import (
    BASES,
    Base,
    BaseName,
    ClassLoss,
    InnerOracle,
    LayerRegulariser,
    OutputLoss,
    StepSpec,
    TorchOracle,
    TrainingAttack,
    comparison_measure,
    losses,
)
from tests.trainer.step_model import COUNT, StepModel

# γ of a layer that counts samples first, and of one that does so on its second axis.
GAMMAS = {"relu": 0.5, "turned": 2.0}
ATTACKED = [name for name in BASES if name != "standard"]


class Model(StepModel):
    """With the term and the oracle of an attack on it."""

    def term(self, power: int = 1) -> LayerRegulariser:
        return LayerRegulariser(GAMMAS, {"turned": 1}, power=power)

    def oracle(self, name: BaseName | None, power: int = 1, weight: float = 0.0) -> InnerOracle:
        base = None if name is None else Base(name, ClassLoss(0.1, 2.0), clean_weight=weight)
        return InnerOracle(self, self.term(power), base, ("y",))


@pytest.mark.parametrize("power", [1, 2])
def test_the_term_alone_is_the_sum_over_layers_of_each_sample(power: int) -> None:
    model = Model()
    oracle = model.oracle(None, power)
    clean, moved = model(model.x), model(model.x_adv)
    wanted = 0.5 * comparison_measure(clean["relu"], moved["relu"]) ** power
    wanted = wanted + 2 * comparison_measure(clean["turned"], moved["turned"], 1) ** power
    found = oracle(model.x_adv, oracle.goal(model.x, [model.y]))
    torch.testing.assert_close(found.loss, wanted.detach())
    assert found.margin is None
    assert not found.loss.requires_grad


@pytest.mark.parametrize("power", [1, 2])
@pytest.mark.parametrize("name", ATTACKED)
def test_the_total_is_what_the_step_minimises(name: BaseName, power: int) -> None:
    """Number for number, but for what does not depend on x̂."""
    model = Model()
    weight = 0.25 if name != "at-trades" else 0.0
    oracle = model.oracle(name, power, weight)
    assert oracle.base is not None
    spec = StepSpec(base=oracle.base, outputs=("y",), regulariser=oracle.term)
    goal = oracle.goal(model.x, [model.y])
    for x_adv in (model.x_adv, model.x + 0.1):
        total = losses(model, model.x, x_adv, model.y, spec).total
        fit = ClassLoss(0.1, 2.0).fit([model(model.x)["y"]], model.y)
        apart = fit if name == "at-trades" else weight * fit
        found = oracle(x_adv, goal, gradient=False)
        assert found.gradient is None
        torch.testing.assert_close(found.loss.mean() + apart, total)


@pytest.mark.parametrize("power", [1, 2])
@pytest.mark.parametrize("name", [None, *ATTACKED])
def test_slopes_are_those_of_differences(name: BaseName | None, power: int) -> None:
    model = Model()
    oracle = model.oracle(name, power)
    goal = oracle.goal(model.x, [model.y])
    point, slope = model.x_adv, oracle(model.x_adv, goal).gradient
    assert slope is not None
    for index in range(5):
        along = torch.zeros_like(point)
        along[:, index % 2, index % 4, index] = 1e-6
        ends = [oracle(at, goal, gradient=False).loss for at in (point + along, point - along)]
        wanted = (ends[0] - ends[1]) / 2e-6
        torch.testing.assert_close(
            slope[:, index % 2, index % 4, index], wanted, rtol=1e-5, atol=1e-7
        )


def test_several_outputs_and_their_targets() -> None:
    model = Model()
    targets = [torch.zeros(COUNT, 4).double(), torch.ones(COUNT, 4).double()]
    criterion = OutputLoss((2.0, 5.0))
    for name, wanted in (("at-pgd", targets), ("at-trades", None)):
        base = Base(name, criterion, beta=3.0)  # type: ignore[arg-type]
        oracle = InnerOracle(model, LayerRegulariser({"relu": 1.0}), base, ("y", "z"))
        clean, moved = (model(x) for x in (model.x, model.x_adv))
        now, was = ([values[n] for n in ("y", "z")] for values in (moved, clean))
        loss = criterion.distances(now, wanted) if wanted else 3 * criterion.distances(now, was)
        loss = loss + comparison_measure(clean["relu"], moved["relu"])
        found = oracle(model.x_adv, oracle.goal(model.x, targets))
        torch.testing.assert_close(found.loss, loss.detach())


def test_a_goal_costs_one_pass_without_a_graph_and_weights_get_no_gradient() -> None:
    model = Model()
    oracle = model.oracle("at-trades")
    goal = oracle.goal(model.x, [model.y])
    oracle(model.x_adv, goal)
    assert model.passes == [(COUNT, False), (COUNT, True)]
    assert all(len(entry) == COUNT for entry in goal.values())
    assert model.w.grad is None
    assert model.v.grad is None


def test_samples_can_be_asked_about_alone() -> None:
    """Attacks take rows of a goal: what a sample is told must not depend on the others."""
    model = Model()
    oracle = model.oracle("at-trades")
    goal = oracle.goal(model.x, [model.y])
    whole = oracle(model.x_adv, goal)
    part = oracle(model.x_adv[1:2], {name: entry[1:2] for name, entry in goal.items()})
    torch.testing.assert_close(part.loss, whole.loss[1:2])
    assert whole.gradient is not None
    torch.testing.assert_close(part.gradient, whole.gradient[1:2])


def test_layers_that_do_not_depend_on_the_input() -> None:
    def constant(x: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"relu": torch.ones(len(x), 2)}

    oracle = InnerOracle(constant, LayerRegulariser({"relu": 1.0}))
    x = torch.rand(COUNT, 2)
    with pytest.raises(ModelError, match="objective 'cm' has no gradient"):
        oracle(x, oracle.goal(x, []))


@pytest.mark.parametrize("kind", ["fgsm", "fast", "pgd", "apgd", "trades"])
def test_attacks_on_layers_move_them_more_than_attacks_on_the_loss(kind: Any) -> None:
    """Both start where there is a slope: at x itself, the comparison measure has none."""
    model = Model()
    numbers, how = SampleRandomness.of_batch(7, 0, COUNT), {"kind": kind, "eps": 0.2, "steps": 8}
    layers, loss = model.oracle(None), TorchOracle(lambda x: model(x)["y"], "ce")
    goal = layers.goal(model.x, [model.y])
    by_layers = TrainingAttack(**how, objective="cm")(layers, model.x, goal, numbers)
    by_loss = TrainingAttack(**how, objective="ce")(loss, model.x, {"labels": model.y}, numbers)
    moved, less = (layers(x, goal, gradient=False).loss for x in (by_layers, by_loss))
    assert moved.mean() > 1.01 * less.mean()
