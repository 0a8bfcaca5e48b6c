"""The search space: what a trial changes of the options, drawn choice by choice.

Every range is here and nowhere else. A drawn value is rounded to what a person would write, so that best.toml
says exactly what was trained.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from lsa_trainer.option_checks import BASES, INNERS
from lsa_trainer.options import HardenOptions
from lsa_trainer.training.schedules import EPS_KINDS, GAMMA_KINDS
from lsa_trainer.tuning.layers import Ranking
from lsa_trainer.tuning.plan import OF_THE_TERM, SEARCHABLE

MVL_LIST = "mvl"
_GAMMA, _SHARE = (0.01, 100.0), (0.01, 1.0)
_MOST_CLEAN_WEIGHT, _MOST_EPS, _STEP = 0.5, 1.5, 0.1
_DIGITS = 3
# What these climb are the regularised layers, so they belong to the term.
_INNER_OF_THE_TERM = frozenset({"cm", "ce+cm"})
# They weigh the loss on clean inputs by themselves.
_WITH_CLEAN = frozenset({"standard", "at-trades"})
_FIELDS = frozenset(HardenOptions.__dataclass_fields__)
_TERM_FIELDS = (OF_THE_TERM & _FIELDS) | {"mvl"}
_SEARCHED_FIELDS = (frozenset(SEARCHABLE) & _FIELDS) | {"mvl"}


class Drawing(Protocol):
    """Where values come from: a trial of Optuna's, in which each name is drawn once."""

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = ..., log: bool = ...
    ) -> float:
        """A number of ``low`` to ``high``."""
        ...

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        """One of ``choices``."""
        ...


@dataclass(frozen=True)
class Setting:
    """What a trial trains.

    Attributes:
        chosen: What the search chose, by name, in words or numbers that a table shows.
        changes: Fields of ``HardenOptions`` that differ from those of the study.
    """

    chosen: dict[str, Any]
    changes: dict[str, Any]


@dataclass(frozen=True)
class Space:
    """All settings of a study.

    Attributes:
        options: Of the study; what is not searched stays as they say.
        search: What is searched.
        ranking: Of the layers; ``None`` where the options name them.
    """

    options: HardenOptions
    search: tuple[str, ...]
    ranking: Ranking | None

    def plain(self) -> Setting:
        """Adversarial training without a layer-wise term, which every trial has to beat."""
        return self.without_term(Setting({}, {}))

    def without_term(self, setting: Setting) -> Setting:
        """The same setting with γ = 0."""
        kept = {n: v for n, v in setting.changes.items() if n not in _TERM_FIELDS}
        if kept.get("inner", self.options.inner) in _INNER_OF_THE_TERM:
            kept["inner"] = "auto"
        chosen = {n: v for n, v in setting.chosen.items() if n in kept}
        return Setting({**chosen, "gamma": "0"}, {**kept, "gamma": "0", "mvl": ()})

    def key(self, setting: Setting) -> str:
        """Equal for settings that train the same thing."""
        named = {f.name: getattr(self.options, f.name) for f in dataclasses.fields(self.options)}
        whole = {name: named[name] for name in _SEARCHED_FIELDS} | setting.changes
        if whole["inner"] == "auto":
            whole["inner"] = "kl" if whole["base"] == "at-trades" else "ce"
        whole["mvl"] = sorted(whole["mvl"])
        if whole["gamma"].strip() == "0":
            whole = {name: v for name, v in whole.items() if name not in _TERM_FIELDS}
        return json.dumps(whole, sort_keys=True)

    def draw(self, trial: Drawing) -> Setting:
        """A setting. The choices are drawn in the order of ``plan.SEARCHABLE``."""
        drawn = _Drawn(trial, self)
        drawn.weigh()
        drawn.choose_layers()
        drawn.choose_objective()
        drawn.choose_attack()
        return Setting(drawn.chosen, drawn.changes)


class _Drawn:
    """A setting in the making."""

    def __init__(self, trial: Drawing, space: Space) -> None:
        self.trial, self.space = trial, space
        self.chosen: dict[str, Any] = {}
        self.changes: dict[str, Any] = {}

    def weigh(self) -> None:
        """γ as a number, or balanced."""
        kinds = [name for name in ("gamma", "share") if self._searched(name)]
        if not kinds:
            return
        kind = kinds[0] if len(kinds) == 1 else self.trial.suggest_categorical("weight", kinds)
        bounds = _GAMMA if kind == "gamma" else _SHARE
        value = _brief(self.trial.suggest_float(kind, *bounds, log=True))
        self.chosen["gamma"] = value if kind == "gamma" else f"auto:{value}"
        self.changes["gamma"] = self.chosen["gamma"]

    def choose_layers(self) -> None:
        """The MVL list at an η, or another set."""
        ranking = self.space.ranking
        if ranking is None:
            return
        sets = ranking.sets() if self._searched("layers") else {}
        # First the kind, then which: else the many single layers would leave the list little chance.
        kind = self.trial.suggest_categorical("layers", [MVL_LIST, *sets]) if sets else MVL_LIST
        if kind != MVL_LIST:
            name = self.trial.suggest_categorical(kind, list(sets[kind]))
            self.chosen["layers"], self.changes["mvl"] = name, sets[kind][name]
            return
        if sets:
            self.chosen["layers"] = MVL_LIST
        self.changes["mvl"] = ranking.listed
        if self._searched("eta"):
            eta = self.trial.suggest_categorical("eta", ranking.etas())
            self.chosen["eta"], self.changes["mvl"] = eta, ranking.mvl(eta)

    def choose_objective(self) -> None:
        """What the loss is made of, beside γ and the layers."""
        self._one_of("base", [base for base in BASES if base != "standard"])
        base = self.changes.get("base", self.space.options.base)
        self._one_of("gamma_schedule", GAMMA_KINDS)
        self._one_of("lr_power", (1, 2))
        self._one_of("detach_clean", (False, True))
        if self._searched("clean_weight") and base not in _WITH_CLEAN:
            drawn = self.trial.suggest_float("clean_weight", 0.0, _MOST_CLEAN_WEIGHT, step=_STEP)
            self._set("clean_weight", round(drawn, 1))

    def choose_attack(self) -> None:
        """How training attacks."""
        # auto is one of the others, by the base.
        self._one_of("inner", [inner for inner in INNERS if inner != "auto"])
        self._one_of("eps_schedule", EPS_KINDS)
        if self._searched("eps"):
            factor = round(self.trial.suggest_float("eps", 1.0, _MOST_EPS, step=_STEP), 1)
            self.chosen["eps"] = scaled_eps(self.space.options.eps, factor)
            self.changes["eps"] = self.chosen["eps"]

    def _one_of(self, name: str, values: Sequence[Any]) -> None:
        if self._searched(name):
            self._set(name, self.trial.suggest_categorical(name, list(values)))

    def _set(self, name: str, value: Any) -> None:
        self.chosen[name] = self.changes[name] = value

    def _searched(self, name: str) -> bool:
        return name in self.space.search


def scaled_eps(text: str, factor: float) -> str:
    """``text``, as ``parse_eps`` takes it, times ``factor``, in the same units: 8/255 by 1.5 is 12/255."""
    number, slash, bottom = text.strip().partition("/")
    bare = number.removesuffix("%")
    scaled = f"{float(bare) * factor:.6g}"
    return f"{scaled}{'%' if bare != number else ''}{slash}{bottom}"


def _brief(value: float) -> str:
    """In three digits, as a person would write it: 0.0123."""
    return f"{value:.{_DIGITS}g}"
