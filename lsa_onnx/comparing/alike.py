"""Whether two runs can be compared at all, and which of their perturbations."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from lsa_onnx.report.conditions import Conditions, Dose

# Random numbers differ with it, what they are drawn from does not.
_CHANCE = frozenset({"seed"})


def data_differ(before: Conditions, after: Conditions) -> str | None:
    """In what samples and range of two runs differ, in words; ``None`` if in nothing."""
    if (before.fingerprint, before.samples) != (after.fingerprint, after.samples):
        return (
            f"the samples are others: {before.samples:,} with fingerprint {before.fingerprint[:12]}… and "
            f"{after.samples:,} with {after.fingerprint[:12]}…"
        )
    if before.part != after.part:
        return f"they are of {_span(before.part)} and of {_span(after.part)}"
    if not (before.complete and after.complete):
        made = "a scan" if before.kind == "report" else "an evaluation"
        return f"the {'second' if before.complete else 'first'} is of {made} that ended early"
    if before.labels != after.labels:
        return f"only the {'first' if before.labels else 'second'} has labels"
    if before.range != after.range:
        told = [f"{low:g} to {high:g}" for low, high in (before.range, after.range)]
        return (
            f"the declared ranges are {told[0]} and {told[1]}, so that an eps means something else"
        )
    return None


def _span(part: tuple[int, int] | None) -> str:
    return "all samples" if part is None else f"samples {part[0]} to {part[1] - 1}"


def interfaces_differ(before: Conditions, after: Conditions) -> str | None:
    """In which input or output two models differ, in words."""
    for name in {**before.interface, **after.interface}:
        was, now = before.interface.get(name), after.interface.get(name)
        if was != now:
            return f"the {name} of the models differs: {was or 'none'} and {now or 'none'}"
    return None


def layers_differ(before: Conditions, after: Conditions) -> str | None:
    """Which layer one of two runs scores alone, or that their order differs, in words.

    A layer of a run that has not begun may be one that it will not score.
    """
    was, now = ([layer.tensor for layer in each.layers] for each in (before, after))
    if not after.settled:
        now = [name for name in now if name in was]
    for mine, other, which in ((was, now, "first"), (now, was, "second")):
        alone = next((name for name in mine if name not in other), None)
        if alone is not None:
            return f"layer {alone!r} is scored by the {which} alone"
    return None if was == now else "the same layers are scored in another order"


def partner(wanted: Dose, applied: Sequence[Dose]) -> int | None:
    """Where the perturbation ``wanted`` is among ``applied``, whatever its settings; ``None`` if nowhere."""
    return next((at for at, each in enumerate(applied) if _same(wanted, each)), None)


def settings_differ(before: Dose, after: Dose) -> str | None:
    """In which setting two runs of one perturbation differ, in words."""
    was, now = (_lasting(each.settings) for each in (before, after))
    for name in {**was, **now}:
        if was.get(name) != now.get(name):
            return (
                f"{before.words} was run with {name} {was.get(name)!r} and with {now.get(name)!r}"
            )
    return None


def _same(one: Dose, other: Dose) -> bool:
    if (one.name, one.kind) != (other.name, other.kind):
        return False
    if one.strength is None or other.strength is None:
        return one.strength is other.strength
    return math.isclose(one.strength, other.strength, rel_tol=1e-6)


def _lasting(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if name not in _CHANCE}
