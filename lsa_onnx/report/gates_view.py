"""What every view tells of gates: how many passed, and what each looked at."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lsa_onnx.report import text
from lsa_onnx.report.text import visible

if TYPE_CHECKING:
    from lsa_onnx.report.sections import GateOutcome

STATUSES = ("passed", "known", "failed")


def told_gates(gates: Sequence[GateOutcome]) -> str:
    """``2 passed, 1 failed``."""
    found = [gate.status for gate in gates]
    return ", ".join(f"{found.count(each)} {each}" for each in STATUSES if each in found)


def measured(gate: GateOutcome) -> str:
    """What a gate looked at, what it was, and what there is to say of it; safe to show."""
    value = "" if gate.value is None else f": {text.brief(gate.value)}"
    note = f" ({visible(gate.note)})" if gate.note else ""
    return f"{visible(gate.measured)}{value}{note}"
