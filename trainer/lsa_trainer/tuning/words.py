"""How scores and settings are told, the same on a terminal, on a page and in messages."""

from __future__ import annotations

from typing import Any

from lsa_onnx.report.text import MISSING
from lsa_trainer.tuning.document import Gain, Trial, Tuning
from lsa_trainer.tuning.plan import Score

_PERCENT = 100.0
# Fewer trials say little of what mattered.
_MANY = 30


def score_text(value: float | None, score: Score) -> str:
    """A robust accuracy in percent, an R&G score as it is."""
    if value is None:
        return MISSING
    return f"{value * _PERCENT:.1f} %" if score == "robust" else f"{value:.1f}"


def bounds_text(bounds: tuple[float, float] | None, score: Score) -> str:
    """An interval of a score; nothing for none."""
    if bounds is None:
        return ""
    low, high = (value * (_PERCENT if score == "robust" else 1.0) for value in bounds)
    return f"{low:.1f} to {high:.1f}"


def gain_text(gain: Gain, score: Score) -> str:
    """A difference of scores with its interval."""
    unit = " points" if score == "robust" else ""
    value = _signed(gain.value, score)
    return f"{value}{unit} ({_between(gain.interval, score)})"


def setting_text(trial: Trial) -> str:
    """What the search chose, in one line."""
    if trial.role == "plain":
        return "plain adversarial training (gamma 0)"
    told = ", ".join(f"{name} {_value(value)}" for name, value in trial.chosen.items())
    return told or "the options as given"


def trial_line(trial: Trial, score: Score) -> str:
    """A finished trial in one line."""
    told = f"trial {trial.name}: {setting_text(trial)}: "
    if trial.reason is not None:
        return f"{told}failed: {trial.reason}"
    bounds = bounds_text(trial.interval, score)
    clean = score_text(trial.clean, "robust")
    return (
        f"{told}{score_text(trial.score, score)} ({bounds}), clean {clean}, {trial.seconds:.0f} s"
    )


def score_name(tuning: Tuning) -> str:
    """What was measured, how and on what."""
    steps = f" of {tuning.steps} steps" if tuning.steps is not None else ""
    attack = f"{tuning.attack}{steps}, {tuning.norm}"
    if tuning.score == "robust":
        return f"robust accuracy under {attack}, eps {tuning.eps[-1]}"
    return f"R&G score under {attack}, eps {', '.join(tuning.eps)}"


def verdict(tuning: Tuning) -> str:
    """Whether anything beat plain adversarial training, in one sentence."""
    gain, best = tuning.gain, tuning.trial(tuning.best)
    if best.role == "plain":
        others = len([t for t in tuning.trials if t.role == "searched"])
        return f"Nothing beat plain adversarial training: it is the best of {others + 1} trials."
    if gain is None:
        failed = any(trial.role == "plain" for trial in tuning.trials)
        what = "failed" if failed else "is not finished"
        return f"Plain adversarial training {what}, so there is nothing to compare with."
    told = f"{gain_text(gain, tuning.score)} against plain adversarial training"
    if gain.holds:
        return f"Trial {best.name} beats plain adversarial training: {told}."
    return f"Trial {best.name} is ahead, but not by more than chance among so many trials: {told}."


def remarks(tuning: Tuning) -> list[str]:
    """What belongs to the verdict."""
    found = []
    gain, term = tuning.gain, tuning.term_gain
    if gain is not None and gain.among_all is not None:
        bounds = _between(gain.among_all, tuning.score)
        found.append(
            "In brackets the 95 % interval of the paired bootstrap over samples; it does not know that the trial was "
            f"picked as the best. Bounds that hold for all trials at once: {bounds}."
        )
    if term is not None:
        found.append(
            "Of that the layer-wise term alone, against the same setting with gamma 0: "
            f"{gain_text(term, tuning.score)}."
        )
    if tuning.trial(tuning.best).role == "without the term":
        found.append(
            "The best has no layer-wise term: it is another trial with gamma 0, and what it gains comes from the "
            "other choices."
        )
    return found


def importance_title(tuning: Tuning) -> str:
    """What the shares of importance are, and how far to trust them."""
    scored = sum(trial.role == "searched" and trial.score is not None for trial in tuning.trials)
    doubt = f"; of {scored} trials alone, so only a hint" if scored < _MANY else ""
    return f"part of the differences between scores that each choice explains (PED-ANOVA{doubt})"


def _between(bounds: tuple[float, float], score: Score) -> str:
    """Bounds of a difference."""
    return " to ".join(_signed(value, score) for value in bounds)


def _signed(difference: float, score: Score) -> str:
    return f"{difference * (_PERCENT if score == 'robust' else 1.0):+.1f}"


def _value(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
