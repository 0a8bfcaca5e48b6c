"""What may be drawn, what equals what, and plans that are refused."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from lsa_onnx.errors import DataError
from lsa_trainer.option_checks import INNERS
from lsa_trainer.options import HardenOptions
from lsa_trainer.tuning import plan as plans
from lsa_trainer.tuning.layers import Ranking
from lsa_trainer.tuning.plan import SEARCHABLE, TuningPlan, offered, require_search
from lsa_trainer.tuning.space import Setting, Space, scaled_eps
from tests.trainer.tuned_nets import ranking

DATA = Path("train.npz")


class Fixed:
    """Draws what it is told to, and keeps what it was asked for."""

    def __init__(self, **values: Any) -> None:
        self.values = values
        self.asked: dict[str, Any] = {}

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        self.asked[name] = (low, high, step, log)
        return float(self.values.get(name, low))

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        self.asked[name] = list(choices)
        return self.values.get(name, choices[0])


def space(*search: str, rank: Ranking | None = None, **changes: Any) -> Space:
    return Space(HardenOptions(data=DATA, **changes), search, rank)


def test_gamma_is_drawn_on_a_logarithmic_scale_and_kept_in_three_digits() -> None:
    trial = Fixed(gamma=0.0123456)
    drawn = space("gamma").draw(trial)
    assert trial.asked == {"gamma": (0.01, 100.0, None, True)}
    assert drawn == Setting({"gamma": "0.0123"}, {"gamma": "0.0123"})


def test_a_share_balances_gamma() -> None:
    assert space("share").draw(Fixed(share=0.25)).changes == {"gamma": "auto:0.25"}
    trial = Fixed(weight="share", share=0.5)
    assert space("gamma", "share").draw(trial).changes == {"gamma": "auto:0.5"}
    assert trial.asked["weight"] == ["gamma", "share"]
    assert "gamma" not in trial.asked


def test_eta_is_drawn_only_for_the_mvl_list() -> None:
    of = space("layers", "eta", rank=ranking())
    trial = Fixed(layers="mvl", eta=0.5)
    drawn = of.draw(trial)
    assert trial.asked["layers"] == ["mvl", "alone", "growth"]
    assert trial.asked["eta"] == [0.5]
    assert drawn.chosen == {"layers": "mvl", "eta": 0.5}
    assert drawn.changes == {"mvl": ("a",)}
    grown = Fixed(layers="growth", growth="growth 2")
    assert of.draw(grown) == Setting({"layers": "growth 2"}, {"mvl": ("b", "a")})
    assert grown.asked["growth"] == ["growth 1", "growth 2", "growth 3"]
    assert "eta" not in grown.asked
    alone = Fixed(layers="alone", alone="layer c")
    assert of.draw(alone) == Setting({"layers": "layer c"}, {"mvl": ("c",)})


def test_layers_that_nobody_searches_are_those_of_the_scan() -> None:
    assert space("gamma", rank=ranking(listed=("b", "c"))).draw(Fixed()).changes["mvl"] == (
        "b",
        "c",
    )
    assert "mvl" not in space("gamma").draw(Fixed()).changes


def test_the_other_choices() -> None:
    names = ("inner", "gamma_schedule", "lr_power", "detach_clean", "clean_weight")
    trial = Fixed(clean_weight=0.30000000000000004, lr_power=2, eps=1.5)
    drawn = space(*names, "eps_schedule", "eps", "base", eps="8/255").draw(trial)
    assert trial.asked["inner"] == [name for name in INNERS if name != "auto"]
    assert trial.asked["gamma_schedule"] == ["constant", "rising", "falling", "with-eps"]
    assert trial.asked["eps_schedule"] == ["warmup", "cosine", "random"]
    assert trial.asked["clean_weight"] == (0.0, 0.5, 0.1, False)
    assert trial.asked["eps"] == (1.0, 1.5, 0.1, False)
    assert "standard" not in trial.asked["base"]
    assert (drawn.changes["clean_weight"], drawn.changes["lr_power"]) == (0.3, 2)
    assert drawn.changes["eps"] == "12/255"


def test_trades_weighs_clean_inputs_itself() -> None:
    trial = Fixed(base="at-trades")
    assert "clean_weight" not in space("base", "clean_weight").draw(trial).changes


@pytest.mark.parametrize(
    ("text", "factor", "scaled"),
    [("8/255", 1.25, "10/255"), ("5%", 1.5, "7.5%"), ("0.1", 1.1, "0.11"), (" 4/255 ", 1.0, "4/255")],
)  # fmt: skip
def test_eps_keeps_its_units(text: str, factor: float, scaled: str) -> None:
    assert scaled_eps(text, factor) == scaled


def test_settings_that_train_the_same_have_one_key() -> None:
    of = space("gamma", inner="auto")
    one = Setting({"layers": "mvl"}, {"mvl": ("a", "b"), "gamma": "1"})
    other = Setting({"layers": "growth 2"}, {"mvl": ["b", "a"], "gamma": "1", "inner": "ce"})
    assert of.key(one) == of.key(other)
    assert of.key(one) != of.key(Setting({}, {"mvl": ("a",), "gamma": "1"}))
    # Without a term, what it is made of makes no difference.
    nothing = Setting({}, {"mvl": ("a",), "gamma": "0", "lr_power": 2})
    assert of.key(nothing) == of.key(of.plain())
    assert of.key(Setting({}, {"gamma": "0", "inner": "margin"})) != of.key(of.plain())


def test_the_same_setting_without_its_term() -> None:
    of = space("gamma", inner="margin")
    setting = Setting(
        {"gamma": "1", "eps": "12/255", "inner": "ce+cm"},
        {"gamma": "1", "eps": "12/255", "inner": "ce+cm", "mvl": ("a",), "lr_power": 2},
    )
    without = of.without_term(setting)
    assert without.changes == {"gamma": "0", "mvl": (), "eps": "12/255", "inner": "auto"}
    # What the options ask for stays, unless it is made of the term.
    assert of.plain().changes == {"gamma": "0", "mvl": ()}
    assert space(inner="cm", gamma="1").plain().changes["inner"] == "auto"


def test_each_field_that_is_searched_is_one_of_the_options() -> None:
    fields = {field.name for field in dataclasses.fields(HardenOptions)}
    assert {name for name in offered() if name not in fields} == {"share", "eta", "layers"}
    assert offered() == tuple(SEARCHABLE)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"search": ("gama",)}, "unknown choice to search 'gama'; did you mean 'gamma'?"),
        ({"search": ()}, "there is nothing to search"),
        ({"score": "clean"}, "unknown score 'clean'"),
        ({"trials": 1}, "--trials 1 is not usable; give 2 or more"),
        ({"held_out": 0}, "--held-out 0 is not usable"),
        ({"timeout": 0.0}, "--timeout 0 is not usable"),
        ({"timeout": float("nan")}, "--timeout nan is not usable"),
        ({"seeds": (1, -1)}, "--seeds: -1 is not usable"),
        ({"seeds": (1, 2, 1)}, "--seeds 1,2,1 names one twice"),
        ({"eps_list": ("0", "0.1")}, "--eps-list 0,0.1 is for --score rg"),
        ({"score": "rg"}, "--eps-list '' holds no 0"),
        ({"score": "rg", "eps_list": ("0.1", "8/255")}, "--eps-list '0.1,8/255' holds no 0"),
    ],
)
def test_plans_that_are_not_usable(changes: dict[str, Any], named: str) -> None:
    with pytest.raises(DataError) as caught:
        TuningPlan(**changes)
    assert named in str(caught.value)


@pytest.mark.parametrize(
    ("given", "search", "named"),
    [
        ({"mvl": ("a",)}, ("gamma", "layers"), "--mvl 'a' names the layers that --search layers looks for"),
        ({"mvl": ("a",)}, ("eta",), "--search eta looks for"),
        ({"gamma": "0"}, ("eta", "lr_power"), "--gamma 0 takes the layer-wise term away"),
    ],
)  # fmt: skip
def test_searches_for_nothing(given: dict[str, Any], search: tuple[str, ...], named: str) -> None:
    with pytest.raises(DataError) as caught:
        require_search(HardenOptions(data=DATA, **given), TuningPlan(search=search))
    assert named in str(caught.value)


def test_searches_beside_the_term_are_for_something() -> None:
    require_search(HardenOptions(data=DATA, gamma="0"), TuningPlan(search=("eta", "gamma")))
    require_search(HardenOptions(data=DATA, gamma="0"), TuningPlan(search=("eps",)))


def test_without_optuna_there_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    plans.require_optuna()
    monkeypatch.setattr(plans, "find_spec", lambda _: None)
    with pytest.raises(DataError, match=r"needs optuna, .*pip install 'lsa-onnx\[tune\]'$"):
        plans.require_optuna()
