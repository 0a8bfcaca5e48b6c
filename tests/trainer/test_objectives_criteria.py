"""Criteria and base objectives, by hand, by formula and by numeric gradients."""

from __future__ import annotations

import math
from typing import Any, get_args

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lsa_onnx.errors import DataError, ModelError
from lsa_trainer.objectives import (
    BASES,
    Algorithm,
    Base,
    BaseName,
    ClassLoss,
    Criterion,
    OutputLoss,
    logit_temperature,
    variance_scale,
)
from tests.rewrite import losses

Z = torch.tensor([[2.0, 0.0, -1.0, 1.0], [0.5, 3.0, 0.0, -2.0]], dtype=torch.float64)
W = torch.tensor([[1.0, 1.0, -1.0, 0.0], [0.0, -1.0, 2.0, 0.5]], dtype=torch.float64)
Y = torch.tensor([0, 3])


# Classes


def test_cross_entropy_by_formula() -> None:
    wanted = losses.cross_entropy(Z.numpy(), Y.numpy()).mean()
    np.testing.assert_allclose(ClassLoss().fit([Z], Y), wanted, rtol=1e-12)
    scaled = losses.cross_entropy(Z.numpy() / 4, Y.numpy()).mean()
    np.testing.assert_allclose(ClassLoss(temperature=4).fit([Z], Y), scaled, rtol=1e-12)


def test_label_smoothing_by_hand() -> None:
    # Of 4 classes, each gets 0.2 / 4; the label keeps 0.8 besides.
    log_p = Z.log_softmax(1)
    wanted = -(0.8 * log_p[[0, 1], Y] + 0.05 * log_p.sum(1)).mean()
    torch.testing.assert_close(ClassLoss(label_smoothing=0.2).fit([Z], Y), wanted)


def test_divergence_is_that_of_the_clean_answer_from_the_perturbed_one() -> None:
    wanted = losses.divergence(Z.numpy(), W.numpy()).mean()
    np.testing.assert_allclose(ClassLoss().drift([Z], [W]), wanted, rtol=1e-12)
    assert ClassLoss().drift([Z], [Z]) == 0


def test_where_the_lowest_wins_scores_are_negated() -> None:
    plain, lowest = ClassLoss(temperature=2.0), ClassLoss(temperature=2.0, lowest_wins=True)
    assert torch.equal(lowest.fit([-Z], Y), plain.fit([Z], Y))
    assert torch.equal(lowest.drift([-Z], [-W]), plain.drift([Z], [W]))
    assert torch.equal(lowest.logits([-Z]), Z / 2)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_widened(dtype: torch.dtype) -> None:
    found = ClassLoss().fit([(Z * 3).to(dtype)], Y)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, ClassLoss().fit([Z * 3], Y).float())


@pytest.mark.parametrize("criterion", [ClassLoss(0.1, 2.0), ClassLoss(lowest_wins=True)])
def test_gradients_of_class_losses(criterion: ClassLoss) -> None:
    inputs = (Z.clone().requires_grad_(), W.clone().requires_grad_())
    assert torch.autograd.gradcheck(lambda z, _: criterion.fit([z], Y), inputs)
    assert torch.autograd.gradcheck(lambda z, w: criterion.drift([z], [w]), inputs)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"label_smoothing": 1.5}, "label smoothing 1.5"),
        ({"label_smoothing": -0.1}, "label smoothing -0.1"),
        ({"label_smoothing": math.nan}, "label smoothing nan"),
        ({"temperature": 0.0}, "temperature 0 "),
        ({"temperature": math.inf}, "temperature inf"),
    ],
)
def test_settings_that_are_refused(how: dict[str, float], message: str) -> None:
    with pytest.raises(DataError, match=message):
        ClassLoss(**how)  # type: ignore[arg-type]


# Temperature


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 99), exponent=st.integers(-6, 40), classes=st.integers(2, 12))
def test_temperature_brings_saturated_logits_to_a_deviation_of_5(
    seed: int, exponent: int, classes: int
) -> None:
    z = np.random.default_rng(seed).standard_normal((9, classes)) * 2.0**exponent
    temperature = logit_temperature(torch.tensor(z))
    assert math.log2(temperature).is_integer()
    assert temperature >= 1
    if temperature > 1:
        spread = float(np.median(z.std(axis=1))) / temperature
        assert 5 / 2**0.5 * 0.999 <= spread <= 5 * 2**0.5 * 1.001
    if exponent < 1:
        assert temperature == 1
    if exponent > 10:
        assert temperature > 1


def test_temperature_by_hand() -> None:
    # Standard deviations of 40 · (1, 0, −1): 32.66; over 8, 4.08.
    z = torch.tensor([[40.0, 0, -40], [40, 0, -40], [0.1, 0, 0]])
    assert logit_temperature(z) == 8
    assert logit_temperature(z.half()) == 8
    # Half of the samples are sure: that is an ordinary model.
    assert logit_temperature(z[1:]) == 1
    # Sure, with logits that are no wider than they should be.
    assert logit_temperature(torch.tensor([[17.0] + [0.0] * 400])) == 1
    # The last whose others round away: 2⁻²⁴ = exp(−16.64).
    assert logit_temperature(torch.tensor([[16.6, 0.0]])) == 1
    assert logit_temperature(torch.tensor([[16.7, 0.0]])) == 2


def test_temperature_is_exact() -> None:
    z = torch.rand(50, 10, generator=torch.Generator().manual_seed(0)) * 1e4
    temperature = logit_temperature(z)
    assert temperature == 512
    assert torch.equal(ClassLoss(temperature=temperature).logits([z]) * temperature, z)


def test_temperature_looks_at_finite_rows_alone() -> None:
    z = torch.tensor([[math.nan, 0, 0], [40.0, 0, -40]])
    assert logit_temperature(z) == 8
    with pytest.raises(ModelError, match="none of 1 samples has finite logits"):
        logit_temperature(z[:1])


# Values


def test_output_loss_by_hand() -> None:
    f, g = torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([[[5.0]], [[7.0]]])
    targets = torch.tensor([[1, 0], [0, 4]]), torch.tensor([5.0, 4.0])
    # Means over samples: (4 + 9) / 2 and (0 + 9) / 2.
    assert OutputLoss((2.0, 9.0)).fit([f, g], targets) == 6.5 / 2 + 4.5 / 9
    assert OutputLoss().fit([g], targets[1]) == 4.5
    assert OutputLoss((4.0,)).drift([f], [f + 1]) == 0.5


def test_a_constant_at_the_mean_of_the_targets_has_a_loss_of_1() -> None:
    targets = torch.rand(7, 3, 2, generator=torch.Generator().manual_seed(0))
    criterion = OutputLoss((variance_scale(targets),))
    constant = targets.mean(0, keepdim=True).expand(7, 3, 2)
    torch.testing.assert_close(criterion.fit([constant], targets), torch.tensor(1.0))
    assert variance_scale(torch.tensor([1, 3])) == 1
    assert variance_scale(torch.tensor([1, 5])) == 4
    assert variance_scale(torch.full((4, 2), 3.0)) == 1


def test_half_precision_outputs_do_not_overflow() -> None:
    f = torch.full((2, 3), 300.0, dtype=torch.float16)
    assert OutputLoss().fit([f], torch.zeros(2, 3)) == 270_000


@pytest.mark.parametrize("size", [1e-30, 1e30])
def test_squares_of_scaled_targets_neither_overflow_nor_vanish(size: float) -> None:
    targets = torch.tensor([[1.0], [3.0]]) * size
    criterion = OutputLoss((variance_scale(targets),))
    # The variance is size².
    torch.testing.assert_close(criterion.fit([targets + 2 * size], targets), torch.tensor(4.0))


def test_the_distance_of_each_sample_by_hand() -> None:
    f, g = torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([[[5.0]], [[7.0]]])
    targets = torch.tensor([[1, 0], [0, 4]]), torch.tensor([5.0, 4.0])
    found = OutputLoss((4.0, 9.0)).distances([f, g], targets)
    torch.testing.assert_close(found, torch.tensor([4 / 4 + 0, 9 / 4 + 9 / 9]))


def test_gradient_of_the_output_loss() -> None:
    inputs = (Z.clone().requires_grad_(), W.clone().requires_grad_())
    assert torch.autograd.gradcheck(lambda z, w: OutputLoss((3.0,)).drift([z], [w]), inputs)


def test_targets_of_another_size() -> None:
    with pytest.raises(DataError, match=r"targets have shape \(2, 3\) and outputs \(2, 1\)"):
        OutputLoss().fit([torch.zeros(2, 1)], torch.zeros(2, 3))


# Bases


@pytest.mark.parametrize("criterion", [ClassLoss(0.1, 2.0), OutputLoss((2.0,))])
@pytest.mark.parametrize("name", BASES)
def test_where_the_loss_is_taken(name: BaseName, criterion: Criterion) -> None:
    y = Y if isinstance(criterion, ClassLoss) else Z * 0.9
    base = Base(name, criterion, beta=3.0)
    at_x, at_x_adv = criterion.fit([Z], y), criterion.fit([W], y)
    wanted = {
        "standard": at_x,
        "at-trades": at_x + 3 * criterion.drift([Z], [W]),
    }.get(name, at_x_adv)
    clean = [Z] if base.needs_clean else None
    adversarial = [W] if base.needs_adversarial else None
    torch.testing.assert_close(base(clean, adversarial, y), wanted)


@pytest.mark.parametrize("criterion", [ClassLoss(0.1, 2.0), OutputLoss((2.0,))])
@pytest.mark.parametrize("name", ["at-fgsm", "at-pgd", "at-fast", "at-apgd"])
def test_a_share_of_the_loss_is_taken_at_x(name: BaseName, criterion: Criterion) -> None:
    y = Y if isinstance(criterion, ClassLoss) else Z * 0.9
    base = Base(name, criterion, clean_weight=0.25)
    assert base.needs_clean
    wanted = 0.75 * criterion.fit([W], y) + 0.25 * criterion.fit([Z], y)
    torch.testing.assert_close(base([Z], [W], y), wanted)
    inner = base.of_perturbed(None, [W], y)
    torch.testing.assert_close(inner, 0.75 * criterion.distances([W], y))


@pytest.mark.parametrize("criterion", [ClassLoss(0.1, 2.0, True), OutputLoss((2.0,))])
def test_losses_are_means_over_samples(criterion: Criterion) -> None:
    y = Y if isinstance(criterion, ClassLoss) else Z * 0.9
    pairs = (
        (criterion.distances([W], y), criterion.fit([W], y)),
        (criterion.drifts([Z], [W]), criterion.drift([Z], [W])),
    )
    for each, mean in pairs:
        assert each.shape == (2,)
        torch.testing.assert_close(each.mean(), mean)


def test_what_each_base_needs() -> None:
    needs: dict[Any, tuple[bool, bool]] = {
        name: (Base(name, ClassLoss()).needs_clean, Base(name, ClassLoss()).needs_adversarial)
        for name in BASES
    }
    assert needs.pop("standard") == (True, False)
    assert needs.pop("at-trades") == (True, True)
    assert set(needs.values()) == {(False, True)}
    assert set(BASES) == set(get_args(BaseName))
    assert {attack for attack in BASES.values() if attack} == set(get_args(Algorithm))


def test_both_terms_of_trades_are_differentiated_by_both_answers() -> None:
    inputs = (Z.clone().requires_grad_(), W.clone().requires_grad_())
    base = Base("at-trades", ClassLoss())
    assert torch.autograd.gradcheck(lambda z, w: base([z], [w], Y), inputs)
    z, w = inputs
    (slope,) = torch.autograd.grad(base([z], [w], Y), z)
    (alone,) = torch.autograd.grad(ClassLoss().fit([z], Y), z)
    assert not torch.allclose(slope, alone)


def test_bases_that_are_refused() -> None:
    with pytest.raises(DataError, match="unknown base 'at-pdg'; did you mean 'at-pgd'"):
        Base("at-pdg", ClassLoss())  # type: ignore[arg-type]
    for beta in (-1.0, math.nan):
        with pytest.raises(DataError, match=f"beta {beta:g} of 'at-trades'"):
            Base("at-trades", ClassLoss(), beta)
    for weight in (-0.1, 1.5, math.nan):
        with pytest.raises(DataError, match=f"clean weight of {weight:g} is not a share"):
            Base("at-pgd", ClassLoss(), clean_weight=weight)


@pytest.mark.parametrize(("name", "lacking"), [("standard", "x"), ("at-pgd", "x̂")])
def test_outputs_that_are_lacking(name: BaseName, lacking: str) -> None:
    with pytest.raises(ValueError, match=f"outputs for {lacking}$"):
        Base(name, ClassLoss())(None, None, Y)
