"""What a command line may ask for, and what it gets."""

from __future__ import annotations

from typing import Any

import pytest

from lsa_onnx.attacks import (
    ATTACKS,
    NOISES,
    Apgd,
    Attack,
    AttackSettings,
    Auto,
    Fgsm,
    Noise,
    Pgd,
    Square,
    Trades,
    parse_perturbations,
)
from lsa_onnx.errors import DataError


def noise_of(text: str, seed: int = 0) -> Noise:
    (made,) = parse_perturbations([text], AttackSettings(seed=seed))
    assert isinstance(made, Noise)
    return made


def attack_of(text: str, **settings: Any) -> Attack:
    (made,) = parse_perturbations([text], AttackSettings(**settings))
    assert isinstance(made, Attack)
    return made


@pytest.mark.parametrize(
    ("text", "strength"),
    [
        ("salt", 0.05),
        ("salt=0.2", 0.2),
        ("salt=20%", 0.2),
        ("salt=33.3%", 0.333),
        ("salt=1e-2", 0.01),
    ],
)
def test_noises(text: str, strength: float) -> None:
    noise = noise_of(text, 4)
    assert (noise.noise, noise.name, noise.strength, noise.seed) == ("salt", "salt", strength, 4)


def test_names_of_noises_are_unique() -> None:
    texts = ["gaussian", "salt", "gaussian=20%", "gaussian=0.2", "gaussian=10%", "salt=5%"]
    made = parse_perturbations(texts, AttackSettings())
    assert [each.name for each in made] == ["gaussian=0.1", "salt", "gaussian=0.2"]


@pytest.mark.parametrize(
    ("text", "eps"), [("pgd", 0.25), ("pgd=0.5", 0.5), ("pgd=8/255", 16 / 255), ("pgd=30%", 0.6)]
)
def test_attacks(text: str, eps: float) -> None:
    attack = attack_of(text, eps=0.25, low=-1.0, high=1.0, seed=9)
    assert isinstance(attack, Pgd)
    assert (attack.name, attack.norm, attack.seed) == ("pgd", "linf", 9)
    assert attack.eps == pytest.approx(eps)


def test_names_of_attacks_are_unique_and_as_written() -> None:
    texts = ["pgd=8/255", "fgsm", "salt", "pgd=4/255", "pgd= 8/255", "pgd", "fgsm=8"]
    made = parse_perturbations(texts, AttackSettings(eps=8.0, high=255.0))
    names = [each.name for each in made]
    assert names == ["pgd=8/255", "fgsm", "salt", "pgd=4/255"]


def test_settings_reach_the_attacks_that_have_a_use_for_them() -> None:
    given: dict[str, Any] = {
        "eps": 0.1,
        "norm": "l2",
        "steps": 7,
        "restarts": 3,
        "objective": "kl",
        "momentum": 0.5,
        "seed": 5,
    }
    assert attack_of("fgsm", **given) == Fgsm(eps=0.1, norm="l2", seed=5, objective="kl")
    pgd = attack_of("pgd", **given)
    assert isinstance(pgd, Pgd)
    assert (pgd.steps, pgd.restarts, pgd.momentum, pgd.objective) == (7, 3, 0.5, "kl")
    square = attack_of("square", **given)
    assert isinstance(square, Square)
    assert (square.queries, square.objective) == (7, "kl")
    auto = attack_of("auto", **given)
    assert isinstance(auto, Auto)
    assert (auto.steps, auto.queries, auto.restarts) == (7, 350, 3)


def test_defaults_are_those_of_the_papers() -> None:
    def parameters(name: str) -> dict[str, Any]:
        return attack_of(name, eps=0.1).parameters()

    assert parameters("pgd")["steps"] == 20
    assert parameters("pgd")["step_size"] == pytest.approx(2.5 * 0.1 / 20)
    assert parameters("fast")["step_share"] == 1.25
    assert (parameters("apgd")["steps"], parameters("apgd")["rho"]) == (100, 0.75)
    assert (parameters("square")["queries"], parameters("square")["p_init"]) == (5000, 0.8)
    assert (parameters("auto")["steps"], parameters("auto")["queries"]) == (100, 5000)
    assert (parameters("trades")["steps"], parameters("trades")["objective"]) == (10, "kl")


def test_a_name_that_says_the_objective_keeps_it() -> None:
    found = {
        name: attack_of(name, eps=0.1, objective="margin")
        for name in ("apgd", "apgd-ce", "apgd-dlr")
    }
    assert all(isinstance(attack, Apgd) for attack in found.values())
    assert [a.objective for a in found.values()] == ["margin", "ce", "dlr"]
    assert [a.name for a in found.values()] == ["apgd", "apgd-ce", "apgd-dlr"]
    trades = attack_of("trades", eps=0.1, objective="output")
    assert isinstance(trades, Trades)
    assert trades.objective == "output"


def test_the_table_says_what_an_attack_needs() -> None:
    assert [name for name, kind in ATTACKS.items() if not kind.needs_gradient] == ["square"]
    assert {name for name, kind in ATTACKS.items() if "l1" not in kind.norms} == {"square", "auto"}
    assert all(kind.help for kind in ATTACKS.values())
    assert not set(ATTACKS) & set(NOISES)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("rain", "unknown perturbation 'rain'; accepted are gaussian, salt, pepper, speckle, fgsm"),
        ("", "unknown perturbation ''; accepted are"),
        ("pdg", "unknown perturbation 'pdg'; did you mean 'pgd'? accepted are"),
        ("PGD", "unknown perturbation 'PGD'; did you mean 'pgd'?"),
        ("sqare=0.1", "unknown perturbation 'sqare'; did you mean 'square'?"),
        ("salt=lots", "strength 'lots' in 'salt=lots' is not a number; give a share such as 0.1"),
        ("salt=", "strength '' in 'salt='"),
        ("salt=%", "strength '%' in 'salt=%'"),
        ("salt=120%", "strength 1.2 of 'salt' is not within 0..1"),
        ("salt=-1", "strength -1 of 'salt'"),
        ("salt=nan", "strength nan of 'salt'"),
        ("pgd", "attack 'pgd' has no eps; give --eps 8/255 or pgd=8/255"),
        ("pgd=", "eps '' is not a finite number"),
        ("pgd=-1", "eps '-1' is negative"),
        ("pgd=nan", "eps 'nan' is not a finite number"),
        ("pgd=300", "eps 300 is larger than the range's width 255"),
        ("pgd=120%", "eps 306 is larger than the range's width 255"),
    ],
)
def test_errors_name_the_value(text: str, said: str) -> None:
    with pytest.raises(DataError) as caught:
        parse_perturbations([text], AttackSettings(high=255.0))
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"norm": "l3"}, "unknown norm 'l3'; accepted are linf, l2, l1"),
        ({"norm": "Linf"}, "unknown norm 'Linf'; did you mean 'linf'?"),
        ({"norm": "max"}, "unknown norm 'max'; accepted are linf, l2, l1"),
        ({"steps": 0}, "0 steps are not usable; give 1 or more"),
        ({"restarts": -2}, "-2 restarts are not usable"),
        ({"momentum": 1.5}, "momentum 1.5 is not a decay"),
        ({"momentum": float("nan")}, "momentum nan is not a decay"),
        ({"eps": -0.5}, "eps -0.5 is not a distance"),
        ({"eps": 1.5}, "eps 1.5 is larger than the range's width 1"),
    ],
)
def test_settings_that_are_not_usable_are_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(DataError) as caught:
        AttackSettings(**settings)
    assert said in str(caught.value)


@pytest.mark.parametrize("name", ["square", "auto"])
def test_a_norm_that_the_attack_lacks_is_refused_with_what_works(name: str) -> None:
    with pytest.raises(DataError) as caught:
        attack_of(name, eps=0.5, norm="l1")
    expected = f"attack {name!r} does not work in the l1 norm; it takes linf and l2, and 'pgd'"
    assert str(caught.value).startswith(expected)
