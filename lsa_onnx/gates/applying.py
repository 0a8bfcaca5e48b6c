"""Which perturbations of a run a gate asks about."""

from __future__ import annotations

from collections.abc import Sequence

from lsa_onnx.attacks import ATTACKS, parse_eps
from lsa_onnx.attacks.choices import unknown
from lsa_onnx.attacks.noise import parse_strength
from lsa_onnx.errors import DataError
from lsa_onnx.gates.expression import Gate
from lsa_onnx.report.conditions import Dose

# Of two strengths that are one, written in other ways.
_SAME = 1e-6


def asked_about(gate: Gate, applied: Sequence[Dose], width: float) -> list[int]:
    """The places in ``applied`` of what a gate is about: without a name, of all that have its metric.

    Args:
        gate: What is asked.
        applied: What is, or was, run.
        width: Of the declared range.

    Raises:
        DataError: What it names was not asked for, at no such strength, or is none that has its metric.
    """
    fitting = [at for at, each in enumerate(applied) if _has(gate, each)]
    if gate.perturbation is None:
        return fitting
    named = [at for at, each in enumerate(applied) if each.name == gate.perturbation]
    if not named:
        raise not_applied(gate, [each.name for each in applied])
    if not set(named) & set(fitting):
        raise DataError(
            f"gate {gate.text!r}: {gate.metric} is a figure of attacks, and {gate.perturbation!r} is none; "
            f"give one of {', '.join(ATTACKS)}"
        )
    if gate.strength is None:
        return named
    wanted = _strength(gate, applied[named[0]], width)
    found = [at for at in named if _close(applied[at].strength, wanted)]
    if not found:
        run = ", ".join(f"{applied[at].strength:.6g}" for at in named)
        raise DataError(
            f"gate {gate.text!r}: {gate.perturbation} is not run at {gate.strength} = {wanted:.6g}; give one "
            f"of its strengths, {run}, or leave the strength out for any of them"
        )
    return found


def not_applied(gate: Gate, names: Sequence[str]) -> DataError:
    """The error for a perturbation that is none of ``names``, those of the run."""
    run = dict.fromkeys(names)
    hint = "; ask for it with --attack, or name one that is run" if run else ""
    return unknown(f"perturbation in gate {gate.text!r}:", str(gate.perturbation), run, hint)


def _has(gate: Gate, applied: Dose) -> bool:
    return applied.kind == "attack" or gate.metric not in ("success", "r&g")


def _strength(gate: Gate, applied: Dose, width: float) -> float:
    """What the user wrote, in the units that a report has."""
    written = str(gate.strength)
    try:
        if applied.kind == "attack":
            return parse_eps(written, width)
        if applied.kind == "noise":
            return parse_strength(written, f"{applied.name}={written}")
    except DataError as error:
        raise DataError(f"gate {gate.text!r}: {error}") from None
    raise DataError(f"gate {gate.text!r}: {applied.name!r} has no strength; leave {written!r} out")


def _close(run: float | None, wanted: float) -> bool:
    return run is not None and abs(run - wanted) <= _SAME * max(abs(run), abs(wanted))
