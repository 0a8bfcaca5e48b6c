"""What the user's gates found, in the terminal view of every document that has some."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lsa_onnx.report.gates_view import measured, told_gates
from lsa_onnx.report.text import visible

if TYPE_CHECKING:
    from lsa_onnx.report.sections import GateOutcome
    from lsa_onnx.report.terminal_paint import Painter

_STYLES = {"passed": "green", "known": "yellow", "failed": "bold red"}


def print_gates(gates: Sequence[GateOutcome], paint: Painter, subject: str = "") -> None:
    """Print a line per gate: whether it passed, what it looked at and what that was.

    Args:
        gates: Their outcomes; nothing is printed without any.
        paint: Where to.
        subject: The model, where there are several.
    """
    if not gates:
        return
    of = f" of {subject}" if subject else ""
    paint.line(f"Gates{of}: {told_gates(gates)}", "bold")
    grid = paint.grid()
    grid.add_column(overflow="fold")
    for gate in gates:
        status = paint.text(f"  {gate.status}", _STYLES[gate.status])
        grid.add_row(status, paint.text(visible(gate.expression)), paint.text(measured(gate)))
    paint.print(grid)
    paint.line()
