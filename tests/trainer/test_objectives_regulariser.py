"""The layer-wise term: the comparison measure as the scan has it, its slopes, and γ."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lsa_onnx.errors import DataError
from lsa_onnx.measures import NEAR_ZERO_RMS
from lsa_trainer.objectives import (
    LayerRegulariser,
    auto_share,
    balance,
    comparison_measure,
    parse_gamma,
    require_gamma,
)


def drawn(seed: int, *shape: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)


# The comparison measure


def test_by_hand() -> None:
    a = torch.tensor([[[3.0, 0.0], [0.0, 4.0]], [[1.0, 1.0], [1.0, 1.0]]])
    b = torch.tensor([[[3.0, 0.0], [0.0, 9.0]], [[1.0, 1.0], [1.0, 0.0]]])
    assert comparison_measure(a, b).tolist() == [1, 0.5]


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 99),
    shape=st.lists(st.integers(1, 4), min_size=1, max_size=4),
    axis=st.integers(0, 3),
    dtype=st.sampled_from([torch.float16, torch.bfloat16, torch.float32, torch.float64]),
)
def test_by_formula(seed: int, shape: list[int], axis: int, dtype: torch.dtype) -> None:
    axis %= len(shape)
    a, b = drawn(seed, *shape, dtype=dtype), drawn(seed + 100, *shape, dtype=dtype)
    rows = [np.moveaxis(v.double().numpy(), axis, 0).reshape(shape[axis], -1) for v in (a, b)]
    wanted = np.linalg.norm(rows[0] - rows[1], axis=1) / np.linalg.norm(rows[0], axis=1)
    found = comparison_measure(a, b, axis)
    assert found.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    np.testing.assert_allclose(found, wanted, rtol=1e-5)


def test_samples_that_take_several_entries_or_all() -> None:
    a, b = drawn(0, 6, 5), drawn(1, 6, 5)
    merged = comparison_measure(a, b, 0, samples=3)
    torch.testing.assert_close(merged, comparison_measure(a.reshape(3, 10), b.reshape(3, 10)))
    torch.testing.assert_close(comparison_measure(a, b, None), comparison_measure(a[None], b[None]))


def test_sums_of_squares_do_not_overflow_in_half_precision() -> None:
    a = torch.full((2, 300), 200.0, dtype=torch.float16)
    torch.testing.assert_close(comparison_measure(a, 0.5 * a), torch.tensor([0.5, 0.5]))


@pytest.mark.parametrize("axis", [0, 1, None])
def test_slopes(axis: int | None) -> None:
    inputs = (drawn(0, 3, 4, 2).requires_grad_(), drawn(1, 3, 4, 2).requires_grad_())
    assert torch.autograd.gradcheck(lambda a, b: comparison_measure(a, b, axis), inputs)


def slopes(a: torch.Tensor, b: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    a, b = a.requires_grad_(), b.requires_grad_()
    found = comparison_measure(a, b)
    return (found.detach(), *torch.autograd.grad(found.sum(), (a, b)))


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_what_does_not_move_has_no_slope(dtype: torch.dtype) -> None:
    a = drawn(0, 3, 5, dtype=dtype)
    b = a.clone()
    b[1] += 1
    found, by_a, by_b = slopes(a, b)
    assert found[[0, 2]].tolist() == [0, 0]
    for slope in (by_a, by_b):
        assert torch.equal(slope[[0, 2]], torch.zeros(2, 5, dtype=dtype))
        assert slope[1].abs().min() > 0
        assert slope.isfinite().all()


@pytest.mark.parametrize("size", [0.0, 0.5 * NEAR_ZERO_RMS])
def test_samples_without_a_clean_norm_are_left_out(size: float) -> None:
    a, b = drawn(0, 3, 5), drawn(1, 3, 5)
    a[1] = size
    b[2] = a[2] = 0
    found, by_a, by_b = slopes(a, b)
    assert found[1:].tolist() == [0, 0]
    assert found[0] > 0
    for slope in (by_a, by_b):
        assert torch.equal(slope[1:], torch.zeros(2, 5, dtype=torch.float64))
        assert slope.isfinite().all()


def test_norms_just_above_zero_count() -> None:
    a = torch.full((1, 5), 2 * NEAR_ZERO_RMS)
    torch.testing.assert_close(comparison_measure(a, 3 * a), torch.tensor([2.0]))


def test_what_is_not_a_number_shows() -> None:
    a = torch.tensor([[math.nan, 1.0], [1.0, 1.0]])
    assert comparison_measure(a, torch.ones(2, 2)).isnan().tolist() == [True, False]
    assert comparison_measure(torch.ones(2, 2), a).isnan().tolist() == [True, False]


# The term


def test_the_term_by_hand() -> None:
    clean = {"r:0": torch.tensor([[1.0, 0], [0, 2]]), "c,1": torch.tensor([[4.0, 1]]), "no": Z}
    moved = {"r:0": torch.tensor([[1.0, 1], [0, 0]]), "c,1": torch.tensor([[4.0, 3]]), "no": Z}
    term = LayerRegulariser({"r:0": 0.5, "c,1": 3.0}, {"c,1": 1})(clean, moved, 2)
    assert {name: float(cm) for name, cm in term.cms.items()} == {"r:0": 1, "c,1": 1}
    assert term.total == 3.5


Z = torch.zeros(1)


@pytest.mark.parametrize("power", [1, 2])
def test_the_term_is_the_mean_of_what_each_sample_adds(power: int) -> None:
    clean = {"a": drawn(0, 3, 4), "b": drawn(1, 5, 6), "no": Z}
    moved = {"a": drawn(2, 3, 4), "b": drawn(3, 5, 6), "no": Z}
    term = LayerRegulariser({"a": 0.7, "b": 2.0}, {"b": 1}, power=power)
    found = term(clean, moved, 3)
    each = term.each(term.rows(clean, 3), moved, 3)
    assert each.shape == (3,)
    torch.testing.assert_close(each.mean(), found.total)
    cms = [
        comparison_measure(clean["a"], moved["a"]),
        comparison_measure(clean["b"], moved["b"], 1, samples=3),
    ]
    parts = [(cm**power).mean() for cm in cms]
    torch.testing.assert_close(list(found.terms.values()), parts)
    torch.testing.assert_close(list(found.cms.values()), [cm.mean() for cm in cms])
    torch.testing.assert_close(found.total, 0.7 * parts[0] + 2 * parts[1])
    torch.testing.assert_close(term.scaled(0.5)(clean, moved, 3).total, found.total / 2)
    torch.testing.assert_close(term.measure()(clean, moved, 3).total, cms[0].mean() + cms[1].mean())


def test_slopes_of_the_square_fade_as_the_layer_comes_to_rest() -> None:
    a, b = drawn(0, 3, 4).requires_grad_(), drawn(1, 3, 4).requires_grad_()
    plain, square = (LayerRegulariser({"a": 0.7}, power=power) for power in (1, 2))
    assert torch.autograd.gradcheck(lambda a, b: square({"a": a}, {"a": b}, 3)[0], (a, b))
    sizes = {}
    for name, term in (("plain", plain), ("square", square)):
        for gap in (1.0, 0.1, 0.0):
            near = (a + gap * (b - a)).detach().requires_grad_()
            (slope,) = torch.autograd.grad(term({"a": a.detach()}, {"a": near}, 3).total, near)
            sizes[name, gap] = float(slope.norm())
    assert sizes["plain", 0.1] == pytest.approx(sizes["plain", 1.0])
    assert sizes["square", 0.1] == pytest.approx(0.1 * sizes["square", 1.0])
    assert sizes["plain", 0.0] == sizes["square", 0.0] == 0


def test_slopes_flow_through_both_passes_unless_one_is_detached() -> None:
    a, b = drawn(0, 3, 4).requires_grad_(), drawn(1, 3, 4).requires_grad_()

    def term(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return LayerRegulariser({"a": 0.7, "b": 2.0})(
            {"a": a, "b": a * a}, {"a": b, "b": b * b}, 3
        )[0]

    assert torch.autograd.gradcheck(term, (a, b))
    found = LayerRegulariser({"a": 1.0}, detach_clean=True)({"a": a}, {"a": b}, 3)
    by_a, by_b = torch.autograd.grad(found.total, (a, b), allow_unused=True)
    assert by_a is None
    assert by_b.abs().min() > 0
    assert not found.cms["a"].requires_grad


def test_a_step_down_the_term_makes_the_layer_sustainable() -> None:
    w = drawn(0, 4, 6).requires_grad_()
    x, x_adv = drawn(1, 8, 4), drawn(1, 8, 4) + 0.3 * drawn(2, 8, 4)
    layer = LayerRegulariser({"h": 1.0})
    before = layer({"h": (x @ w).relu()}, {"h": (x_adv @ w).relu()}, 8)
    (slope,) = torch.autograd.grad(before.total, w)
    w = (w - 0.1 * slope).detach()
    assert layer({"h": (x @ w).relu()}, {"h": (x_adv @ w).relu()}, 8).total < before.total


# γ as it is written

LAYERS = ["relu:0", "a", "a=1,b", "b"]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("1", [1.0, 1.0, 1.0, 1.0]),
        (" 2.5e-1 ", [0.25, 0.25, 0.25, 0.25]),
        ("a=1,b=2,relu:0=3,a=4,b=5", [3.0, 4.0, 2.0, 5.0]),
        ("b=5, a=1,b=2, a= 4 ,relu:0=0", [0.0, 4.0, 2.0, 5.0]),
    ],
)
def test_weights_that_are_read(text: str, wanted: list[float]) -> None:
    assert parse_gamma(text, LAYERS) == dict(zip(LAYERS, wanted, strict=True))


def test_auto_and_names_that_look_like_values() -> None:
    assert parse_gamma("auto", ["a"]) is None
    assert parse_gamma("auto=2,1=3", ["1", "auto"]) == {"1": 3, "auto": 2}
    assert parse_gamma("auto:1=2", ["auto:1"]) == {"auto:1": 2}


@pytest.mark.parametrize(
    ("text", "share"),
    [("auto", 0.1), (" auto:0.3 ", 0.3), ("auto:2", 2.0), ("0.3", None), ("auto:1=2", None)],
)
def test_the_share_of_the_base_loss(text: str, share: float | None) -> None:
    assert auto_share(text) == share
    if share is not None:
        assert parse_gamma(text, LAYERS) is None
        require_gamma(text, LAYERS)


@pytest.mark.parametrize(
    "text", ["auto:", "auto:0", "auto:-1", "auto:nan", "auto:inf", "auto:much"]
)
def test_shares_that_are_refused(text: str) -> None:
    for refusing in (parse_gamma, require_gamma):
        with pytest.raises(
            DataError, match=f"gamma '{text}' holds no share of the base loss"
        ) as caught:
            refusing(text, LAYERS)
        assert "\n" not in str(caught.value)


@settings(max_examples=50, deadline=None)
@given(
    weights=st.dictionaries(
        st.text("=,:ab1 ", min_size=1, max_size=5).filter(lambda name: name == name.strip()),
        st.floats(0, 1e6),
        min_size=1,
        max_size=4,
    )
)
def test_any_name_can_be_given_if_no_other_begins_with_it(weights: dict[str, float]) -> None:
    names = list(weights)
    if any(a != b and b.startswith(f"{a}=") for a in names for b in names):
        return
    text = ",".join(f"{name}={weight!r}" for name, weight in weights.items())
    assert parse_gamma(text, names) == weights


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "gamma '' says nothing of layer 'relu:0'"),
        ("-1", "gamma '-1' holds a weight that is not a number of 0 or more"),
        ("nan", "gamma 'nan' holds a weight"),
        ("inf", "gamma 'inf' holds a weight"),
        ("relu:0=1,b=x", "gamma 'relu:0=1,b=x' holds a weight"),
        ("relu:0=1,b=", "gamma 'relu:0=1,b=' holds a weight"),
        ("relu:0=1,c=1", "at 'c=1'; .*layers are relu:0, a, a=1,b, b"),
        ("much", "at 'much'"),
        ("b=1,b=2", "names layer 'b' twice"),
        ("relu:0=1,b=1", "says nothing of layer 'a'"),
    ],
)
def test_weights_that_are_refused(text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        parse_gamma(text, LAYERS)
    if "says nothing" not in message:
        with pytest.raises(DataError, match=message):
            require_gamma(text, LAYERS)


@pytest.mark.parametrize("text", ["auto", " 0.5 ", "b=1", "a=1,b=2,relu:0=3"])
def test_weights_of_some_layers_of_a_model(text: str) -> None:
    require_gamma(text, LAYERS)


def test_a_message_names_a_few_layers() -> None:
    with pytest.raises(DataError, match=r"layers are t0, t1, .*, t11, …$"):
        require_gamma("much", [f"t{number}" for number in range(100)])


# γ in balance


@settings(max_examples=30, deadline=None)
@given(
    base=st.floats(1e-3, 1e3),
    cms=st.lists(st.floats(0.02, 1.0), min_size=1, max_size=5),
    share=st.floats(0.01, 2),
)
def test_every_layer_contributes_the_same(base: float, cms: list[float], share: float) -> None:
    measured = {str(index): cm for index, cm in enumerate(cms)}
    gammas = balance(base, measured, share)
    parts = [gammas[name] * cm for name, cm in measured.items()]
    np.testing.assert_allclose(parts, share * base / len(cms))


def test_balance_by_hand() -> None:
    assert balance(2.0, {"a": 0.5, "b": 0.25}, share=0.5) == {"a": 1.0, "b": 2.0}
    assert balance(2.0, {"a": 0.5, "b": 0.25}) == pytest.approx({"a": 0.2, "b": 0.4})
    # What does not move weighs 100 times as much as what moves most, and no more.
    assert balance(2.0, {"a": 0.5, "b": 0.0, "c": 1e-9, "d": 0.25}, share=1.0) == pytest.approx(
        {"a": 1, "b": 100, "c": 100, "d": 2}
    )


@pytest.mark.parametrize(
    ("base", "cms", "message"),
    [
        (0.0, {"a": 1.0}, "against a base loss of 0; give gamma as a number"),
        (math.nan, {"a": 1.0}, "against a base loss of nan"),
        (1.0, {"a": 1.0, "b": math.inf}, "measure of layer 'b' is inf"),
        (1.0, {"a": 0.0, "b": 0.0}, r"none of 2 layers moves \(CM 0\); raise eps"),
        (1.0, {}, "none of 0 layers moves"),
    ],
)
def test_what_cannot_be_balanced(base: float, cms: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        balance(base, cms)
