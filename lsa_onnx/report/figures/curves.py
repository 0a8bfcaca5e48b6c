"""Robust accuracy over eps: a line for each model and attack, in its band."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lsa_onnx.report import text
from lsa_onnx.report.figures.drawing import drawn_to, legible, model_names
from lsa_onnx.report.figures.style import BAND_OPACITY, SMALL, WIDTH, legend_columns, stroke

if TYPE_CHECKING:
    import os

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from lsa_onnx.report.evaluation import AttackAtEps, Evaluation

_NORMS = {"linf": "L∞", "l2": "L2", "l1": "L1"}
_PANEL_HEIGHT = 3.0
_LEGEND_ROW = 0.17
_NAME_WIDTH = 34


@dataclass(frozen=True)
class Line:
    """One attack on one model under one norm, from weak to strong; shares are in percent."""

    model: int
    attack: str
    norm: str
    eps: list[float]
    accuracy: list[float]
    low: list[float]
    high: list[float]


def draw_curves(
    evaluations: Sequence[Evaluation],
    path: str | os.PathLike[str],
    *,
    titles: Sequence[str] | None = None,
) -> None:
    """Draw robust accuracy over eps with 95 % bands, and the R&G score of each line in the legend.

    Args:
        evaluations: One per model.
        path: A png, svg or pdf file.
        titles: What to call the models instead of by their files.

    Raises:
        DataError: It cannot be drawn or written.
    """
    names = model_names([evaluation.model.file.path for evaluation in evaluations], titles)
    with drawn_to(path) as figure:
        fill(figure, evaluations, names)


def fill(figure: Figure, evaluations: Sequence[Evaluation], names: Sequence[str]) -> None:
    """Draw on an empty figure: a panel for each norm, one legend below them."""
    lines = [line for at, each in enumerate(evaluations) for line in lines_of(each, at)]
    norms = list(dict.fromkeys(line.norm for line in lines)) or ["linf"]
    labels = [_label(line, evaluations[line.model], names, len(norms) > 1) for line in lines]
    columns = legend_columns(labels)
    rows = -(-len(lines) // columns) + 2
    figure.set_size_inches(WIDTH, _PANEL_HEIGHT + _LEGEND_ROW * rows)
    panels = figure.subplots(1, len(norms), sharey=True, squeeze=False)[0]
    looks = [_look(line, lines, len(evaluations)) for line in lines]
    handles = [
        _draw(panels[norms.index(line.norm)], line, look)
        for line, look in zip(lines, looks, strict=True)
    ]
    for norm, panel in zip(norms, panels, strict=True):
        _label_axes(panel, norm, evaluations)
    panels[0].set_ylabel("robust accuracy in %")
    if len(names) == 1:
        panels[0].set_title(legible(names[0], 80))
    figure.legend(
        handles,
        labels,
        loc="outside lower left",
        ncols=columns,
        title=textwrap.fill(_caption(evaluations), 118),
        title_fontsize=SMALL,
        alignment="left",
    )


def lines_of(evaluation: Evaluation, model: int) -> list[Line]:
    """A line per norm and attack, in the order asked for; each begins with clean accuracy at eps 0."""
    found: dict[tuple[str, str], list[AttackAtEps]] = {}
    for result in evaluation.results:
        found.setdefault((result.norm, result.attack), []).append(result)
    lines = []
    for (norm, attack), results in found.items():
        points = {0.0: (evaluation.clean.value, *evaluation.clean.interval)}
        points |= {each.eps: (each.robust_accuracy, *each.interval) for each in results}
        eps = sorted(points)
        accuracy, low, high = ([100 * points[e][part] for e in eps] for part in range(3))
        lines.append(Line(model, attack, norm, eps, accuracy, low, high))
    return lines


def _look(line: Line, lines: Sequence[Line], models: int) -> dict[str, Any]:
    """One model: a colour per attack. Several: a colour per model, a mark and a dash per attack."""
    attack = list(dict.fromkeys(each.attack for each in lines)).index(line.attack)
    return stroke(attack) if models == 1 else stroke(line.model, attack)


def _draw(panel: Axes, line: Line, look: dict[str, Any]) -> Any:
    panel.fill_between(
        line.eps, line.low, line.high, color=look["color"], alpha=BAND_OPACITY, linewidth=0
    )
    return panel.plot(line.eps, line.accuracy, **look)[0]


def _label(line: Line, evaluation: Evaluation, names: Sequence[str], with_norm: bool) -> str:
    """Attack, model and score; no name comes first, for matplotlib hides what begins with "_"."""
    attack = f"under {legible(line.attack, _NAME_WIDTH)}"
    if with_norm:
        attack += f" ({_NORMS.get(line.norm, legible(line.norm, 12))})"
    score = _score(line, evaluation)
    if len(names) == 1:
        return f"{attack}{score}"
    return f"\N{THIN SPACE}{legible(names[line.model], _NAME_WIDTH)} {attack}{score}"


def _score(line: Line, evaluation: Evaluation) -> str:
    found = [s for s in evaluation.summaries if (s.attack, s.norm) == (line.attack, line.norm)]
    if not found:
        return ""
    low, high = found[0].interval
    return f": R&G {found[0].r_and_g:.1f} ({low:.1f}–{high:.1f})"


def _label_axes(panel: Axes, norm: str, evaluations: Sequence[Evaluation]) -> None:
    ranges = {each.input.range for each in evaluations}
    unit = " to ".join(map(text.brief, ranges.pop())) if len(ranges) == 1 else None
    within = f", in units of the range {unit}" if unit else ", in units of each model's range"
    panel.set_xlabel(f"ε ({_NORMS.get(norm, legible(norm, 12))}{within})")
    panel.set_ylim(-2, 102)
    panel.margins(x=0.02)


def _caption(evaluations: Sequence[Evaluation]) -> str:
    samples = sorted({evaluation.clean.n for evaluation in evaluations})
    count = " and ".join(f"{n:,}" for n in samples[:3]) or "no"
    said = f"Bands, and figures in brackets, are 95 % intervals over {count} samples."
    lists = {tuple(summary.eps) for each in evaluations for summary in each.summaries}
    if not lists:
        return said
    one = (
        f"at ε\N{NO-BREAK SPACE}= {', '.join(f'{eps:.3g}' for eps in lists.pop())}"
        if len(lists) == 1
        else ""
    )
    return f"{said} R&G is the sum of the accuracies in percent {one or 'at the marks of a line'}."
