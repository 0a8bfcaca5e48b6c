"""The rules that results of a SARIF log refer to: one per warning, one for layers, one for gates."""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import cache
from importlib.resources import files
from typing import Any

MVL = "most-vulnerable-layer"
GATE = "gate"

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
_SEVERITY = {"error": "error", "warning": "warning", "note": "recommendation"}

_OWN = {
    MVL: (
        "Layer that a perturbation moves more than the rest",
        "The layer's mean comparison measure CM = ‖φ(x) − φ(x̂)‖ / ‖φ(x)‖ exceeds μ + η σ over all layers, "
        "or is among the k largest (Khalooei et al. 2023, Algorithm 1).",
        "A model is often made more robust by regularising these layers in training: `lsa-onnx harden` does so. "
        "A layer is listed relative to the other layers of the same model; the list says nothing of how "
        "robust the model is as a whole.",
    ),
    GATE: (
        "Gate that the model did not pass",
        "What was measured is not within the bound that was set for this model.",
        "Look at the report of the scan for the figures behind the gate; change the model, or the gate.",
    ),
}


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
    short, full, help_text = _OWN[rule]
    return _rule(rule, short, full, help_text, "error" if rule == GATE else "warning")


def _of_warning(code: str) -> dict[str, Any]:
    """The rule of a warning; a report made by another version may hold one that is not described here."""
    short = f"Warning {code}"
    told = warning_texts().get(code)
    if told is None:
        return _rule(
            code, short, "What limits the figures.", "See docs/warnings.md.", level_of(code)
        )
    full = f"Raised if {told['raised']}"
    help_text = (
        f"**Why it matters**: {told['why']}\n\n**What to do**: {told['todo']}\n\n"
        f"See docs/warnings.md#{code} in the documentation."
    )
    return _rule(code, short, full, help_text, level_of(code))


def _rule(rule: str, short: str, full: str, help_text: str, level: str) -> dict[str, Any]:
    return {
        "id": rule,
        "name": rule,
        "shortDescription": {"text": short},
        "fullDescription": {"text": full},
        "help": {"text": help_text.replace("**", ""), "markdown": help_text},
        "defaultConfiguration": {"level": level},
        "properties": {
            "tags": ["robustness", "onnx"],
            "precision": "high" if rule == GATE else "medium",
            "problem.severity": _SEVERITY[level],
        },
    }
