"""The attacks of a scan in the terminal view, beside random noise of the same norm."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lsa_onnx.report import text, view
from lsa_onnx.report.text import visible

if TYPE_CHECKING:
    from lsa_onnx.report.document import Accuracy, AttackOutcome, Baseline, Report
    from lsa_onnx.report.terminal_paint import Painter

_NAME_WIDTH = 16
_LEGEND = (
    "success = share of the initially correct samples whose prediction changed · robust accuracy = "
    "share of all labelled samples that stay right · both with 95 % intervals"
)


def print_attacks(report: Report, paint: Painter) -> None:
    """Print what each attack did to the predictions; nothing where there was none."""
    found = view.attacks(report)
    if not found:
        return
    low, high = report.input.range
    unit = f"eps in units of the range {text.brief(low)} to {text.brief(high)}"
    paint.line(f"Attacks on the untouched model ({unit})", "bold")
    table = paint.new_table()
    table.add_column(paint.text("Attack"), no_wrap=True)
    for title in ("Threat", "Success", "Robust accuracy", "Random,\nsame norm"):
        table.add_column(paint.text(title), overflow="fold")
    for result, attack in found:
        name = paint.name(visible(result.name), _NAME_WIDTH)
        cells = [
            name,
            _threat(attack),
            _share(attack.success),
            _share(attack.robust_accuracy),
            _random(attack.baseline),
        ]
        table.add_row(*map(paint.text, cells))
    paint.print(table)
    for result, attack in found:
        for note in view.attack_notes(attack):
            paint.line(f"{paint.name(visible(result.name), _NAME_WIDTH)}: {note}", "yellow")
    paint.line(_LEGEND, "dim")
    paint.line()


def _threat(attack: AttackOutcome) -> str:
    access = "white box" if attack.white_box else "black box"
    return f"{attack.norm}, eps {text.brief(attack.eps)}\n{access}, {visible(attack.objective)}"


def _share(value: Accuracy | None) -> str:
    if value is None:
        return text.MISSING
    return f"{text.share(value.value)}\n{text.shares(value.interval)}, n = {value.n:,}"


def _random(noise: Baseline | None) -> str:
    """What random noise did: to the labels where there are some, else to the predictions."""
    if noise is None:
        return text.MISSING
    right = [] if noise.accuracy is None else [f"{text.share(noise.accuracy.value)} right"]
    return "\n".join([*right, f"{text.share(noise.flips)} flipped"])
