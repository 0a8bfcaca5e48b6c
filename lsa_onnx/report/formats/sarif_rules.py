"""The rules that results of a SARIF log refer to: one per warning, one for layers, one for gates."""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple

MVL = "most-vulnerable-layer"
GATE = "gate"
# Khalooei et al. 2023, which the tool carries out.
METHOD_URI = "https://arxiv.org/abs/2202.02626"

# What tells how to read the figures; the other warnings say that figures may mislead.
_NOTES = frozenset(
    {
        "empty-mvl",
        "frozen-weights",
        "large-eps",
        "layers-left-out",
        "native-batch",
        "no-perturbation",
        "predicted-labels",
        "scaled-logits",
        "straight-through",
        "vanishing-gradient",
    }
)
# What GitHub calls a level.
_SEVERITY = {"error": "error", "warning": "warning", "note": "recommendation"}


class _Text(NamedTuple):
    """What a rule is called, what it says of a model, and what to do."""

    title: str
    says: str
    todo: str


_MVL = _Text(
    title="Layer that a perturbation moves more than the rest",
    says="The layer's mean comparison measure CM = ‖φ(x) − φ(x̂)‖ / ‖φ(x)‖ exceeds μ + η σ over all layers, or is "
    "among the k largest (Khalooei et al. 2023, Algorithm 1).",
    todo="Regularise these layers in training: `lsa-onnx harden` does. A layer is listed relative to the others "
    "of the same model; the list says nothing of how robust the model is as a whole.",
)
_GATE = _Text(
    title="Gate that the model did not pass",
    says="What was measured is not within the bound that was set for this model.",
    todo="Look at the report of the scan for the figures behind the gate; change the model, or the gate.",
)
_OWN = {MVL: _MVL, GATE: _GATE}


def level_of(code: str) -> str:
    """The level of a warning: "note" or "warning"."""
    return "note" if code in _NOTES else "warning"


def rules(used: Iterable[str]) -> list[dict[str, Any]]:
    """The descriptions of the rules whose ids are ``used``, each once, in that order."""
    return [_own(rule) if rule in _OWN else _of_warning(rule) for rule in dict.fromkeys(used)]


@cache
def warning_texts() -> dict[str, dict[str, str]]:
    """What ``docs/warnings.md`` says: code → "raised", "why" and "todo"."""
    text = files(__package__).joinpath("warnings.json").read_text(encoding="utf-8")
    found: dict[str, dict[str, str]] = json.loads(text)
    return found


def _own(rule: str) -> dict[str, Any]:
    if rule == MVL:
        return {**_rule(rule, _OWN[rule], "warning"), "helpUri": METHOD_URI}
    return _rule(rule, _OWN[rule], "error")


def _of_warning(code: str) -> dict[str, Any]:
    """The rule of a warning; a report made by another version may hold one that is not described here."""
    title, level = f"Warning {code}", level_of(code)
    told = warning_texts().get(code)
    if told is None:
        return _rule(code, _Text(title, "What limits the figures.", "See docs/warnings.md."), level)
    todo = (
        f"**Why it matters**: {told['why']}\n\n**What to do**: {told['todo']}\n\n"
        f"See docs/warnings.md#{code} in the documentation."
    )
    return _rule(code, _Text(title, f"Raised if {told['raised']}", todo), level)


def _rule(rule: str, text: _Text, level: str) -> dict[str, Any]:
    return {
        "id": rule,
        "shortDescription": {"text": text.title},
        "fullDescription": {"text": text.says},
        "help": {"text": text.todo.replace("**", ""), "markdown": text.todo},
        "defaultConfiguration": {"level": level},
        "properties": {
            "tags": ["robustness", "onnx"],
            "precision": "high" if rule == GATE else "medium",
            "problem.severity": _SEVERITY[level],
        },
    }
