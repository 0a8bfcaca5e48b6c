"""Each sign that an attack failed, at, below and above the point from which it is raised."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from lsa_onnx.accounts import attack_checks
from lsa_onnx.accounts.attack_checks import Attempt, check_attempts, check_curve
from lsa_onnx.report.document import ReportWarning
from tests.scanning.helpers import codes_in


def attempt(name: str = "pgd", broken: int = 0, /, **more: Any) -> Attempt:
    """An attack on 200 samples, 180 of them right before it."""
    given = {"norm": "linf", "eps": 0.1, "white_box": name != "square", "right": 180, "n": 200}
    return Attempt(name, more.pop("algorithm", name), broken=broken, **{**given, **more})


def codes(attempts: Sequence[Attempt]) -> list[str]:
    return [warning.code for warning in check_attempts(attempts)]


def only(found: list[ReportWarning], code: str) -> str:
    (warning,) = found
    assert warning.code == code
    assert "\n" not in warning.message
    return warning.message


@pytest.mark.parametrize(
    ("share", "code"),
    [("saturated", "vanishing-gradient"), ("flat", "zero-gradient")],
)
@pytest.mark.parametrize(("value", "raised"), [(None, False), (0.0099, False), (0.01, True)])
def test_gradients_that_vanish_for_one_sample_in_a_hundred(
    share: str, code: str, value: float | None, raised: bool
) -> None:
    found = check_attempts([attempt("pgd", 0, **{share: value})])
    assert bool(found) == raised
    if raised:
        assert "For 1.0% of samples" in only(found, code)


def test_noise_that_changes_more_than_the_attack() -> None:
    """Two of 200 samples may be chance, three are not."""
    assert codes([attempt(flips=0.25, noise_flips=0.26)]) == []
    assert codes([attempt(flips=0.25, noise_flips=None), attempt(noise_flips=0.5)]) == []
    found = check_attempts([attempt(flips=0.25, noise_flips=0.265)])
    assert "pgd changes 25.0% of predictions, random noise of the same norm 26.5%" in only(
        found, "weaker-than-noise"
    )


@pytest.mark.parametrize(
    ("n", "tolerated"), [(20, 1), (100, 1), (101, 1), (200, 2), (299, 2), (1000, 10)]
)
def test_a_difference_is_chance_up_to_one_sample_or_one_in_a_hundred(
    n: int, tolerated: int
) -> None:
    def pair(difference: int) -> list[Attempt]:
        return [attempt("fgsm", difference, right=n, n=n), attempt("pgd", 0, right=n, n=n)]

    assert codes(pair(tolerated)) == []
    assert codes(pair(tolerated + 1)) == ["iterative-weaker"]


@pytest.mark.parametrize("single", ["fgsm", "fast"])
@pytest.mark.parametrize("many", ["pgd", "apgd", "auto"])
def test_many_steps_that_break_less_than_one(single: str, many: str) -> None:
    found = check_attempts([attempt(single, 60), attempt(many, 40)])
    message = only(found, "iterative-weaker")
    assert f"{many} breaks 40 of 180 samples, the single step of {single} 60" in message
    assert codes([attempt(single, 40), attempt(many, 60)]) == []


@pytest.mark.parametrize("other", [{"eps": 0.2}, {"norm": "l2"}])
def test_only_attacks_in_one_ball_are_compared(other: dict[str, Any]) -> None:
    assert codes([attempt("fgsm", 60), attempt("pgd", 40, **other)]) == []
    assert codes([attempt("square", 60), attempt("pgd", 40, **other)]) == []


def test_a_blind_attack_that_breaks_more_than_the_best_one_that_sees() -> None:
    seeing = [attempt("pgd", 40), attempt("apgd", 50)]
    assert codes([*seeing, attempt("square", 52)]) == []
    message = only(check_attempts([*seeing, attempt("square", 53)]), "black-box-stronger")
    assert "square, which knows no gradient, breaks 53 of 180 samples, apgd 50" in message
    # Without an attack that sees there is nothing to compare with.
    assert codes([attempt("square", 53)]) == []


def test_each_code_comes_once_with_the_first_attempt_that_shows_it() -> None:
    found = check_attempts([attempt(flat=0.5), attempt(flat=0.9), attempt(saturated=0.2)])
    assert [warning.code for warning in found] == ["zero-gradient", "vanishing-gradient"]
    assert "50.0%" in found[0].message


def curve(*points: tuple[float, int], **more: Any) -> list[Attempt]:
    """Attempts at (eps, broken)."""
    return [attempt("pgd", broken, eps=eps, **more) for eps, broken in points]


def test_accuracy_that_rises_with_eps() -> None:
    steady = curve((0.01, 30), (0.02, 60), (0.03, 58))
    assert check_curve(steady, width=1.0, classes=10) == []
    found = check_curve(curve((0.01, 30), (0.02, 60), (0.03, 57), (0.04, 0)), width=1.0, classes=10)
    message = only(found, "accuracy-rises-with-eps")
    assert "pgd leaves 120 samples right at eps 0.02, and more at 0.03: 123" in message


@pytest.mark.parametrize(
    ("broken", "eps", "width", "classes", "raised"),
    [
        # Chance is 20 of 200, and 2 more may be chance.
        (158, 0.5, 1.0, 10, False),
        (157, 0.5, 1.0, 10, True),
        (157, 0.499, 1.0, 10, False),
        (157, 127.4, 255.0, 10, False),
        (157, 127.5, 255.0, 10, True),
        (157, 0.5, 1.0, 5, False),
        (157, 0.5, 1.0, None, False),
    ],
)
def test_a_large_eps_that_leaves_more_than_chance(
    broken: int, eps: float, width: float, classes: int | None, raised: bool
) -> None:
    found = check_curve(curve((eps / 2, 0), (eps, broken)), width=width, classes=classes)
    assert bool(found) == raised
    if raised:
        message = only(found, "large-eps-not-chance")
        assert f"pgd leaves 11.5% right at eps {eps:g}" in message
        assert "chance is 10.0%" in message


def test_a_large_eps_counts_in_the_linf_norm_alone() -> None:
    assert check_curve(curve((0.9, 0), norm="l2"), width=1.0, classes=10) == []


def test_no_attempts_show_nothing() -> None:
    assert check_attempts([]) == []
    assert check_curve([], width=1.0, classes=10) == []


def test_every_code_of_the_module_is_tested() -> None:
    assert codes_in(attack_checks) == {
        "vanishing-gradient",
        "zero-gradient",
        "weaker-than-noise",
        "iterative-weaker",
        "black-box-stronger",
        "accuracy-rises-with-eps",
        "large-eps-not-chance",
    }
