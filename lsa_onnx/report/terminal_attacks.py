"""The attacks of a scan in the terminal view, beside random noise of the same norm."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lsa_onnx.report import text, view
from lsa_onnx.report.text import visible

if TYPE_CHECKING:
    from lsa_onnx.report.document import Accuracy, AttackOutcome, Baseline, Report
    from lsa_onnx.report.terminal_paint import Painter

_NAME_WIDTH = 16
_SUCCESS = "success = share of the initially correct samples whose prediction changed"
_ROBUST = "robust accuracy = share of all labelled samples that stay right"


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
    legend = _legend([attack for _, attack in found])
    if legend:
        paint.line(legend, "dim")
    paint.line()


def _legend(attacks: Sequence[AttackOutcome]) -> str:
    """What the figures mean that are shown, "" where a model without classes has none."""
    meanings = [_SUCCESS] if any(a.success is not None for a in attacks) else []
    meanings += [_ROBUST] if any(a.robust_accuracy is not None for a in attacks) else []
    intervals = f"{'both ' if len(meanings) > 1 else ''}with 95 % intervals"
    return " · ".join([*meanings, intervals]) if meanings else ""


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
    flipped = [] if noise.flips is None else [f"{text.share(noise.flips)} flipped"]
    return "\n".join([*right, *flipped]) or text.MISSING
