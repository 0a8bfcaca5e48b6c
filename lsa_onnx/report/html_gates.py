"""The outcomes of gates as plain values for every page that shows them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from lsa_onnx.report.gates_view import measured
from lsa_onnx.report.text import visible

if TYPE_CHECKING:
    from lsa_onnx.report.sections import GateOutcome


def gate_rows(gates: Sequence[GateOutcome]) -> list[dict[str, Any]]:
    """One row per gate, in the order given; every value is safe to show as it is."""
    return [
        {
            "status": gate.status,
            "expression": visible(gate.expression),
            "measured": measured(gate),
        }
        for gate in gates
    ]
