"""How far each layer moves under each perturbation, for one scan or for several on the same axis."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from lsa_onnx.report import text
from lsa_onnx.report.figures.drawing import drawn_to, legible, model_names
from lsa_onnx.report.figures.names import draw_names, names_height
from lsa_onnx.report.figures.style import (
    BAND_OPACITY,
    SMALL,
    SOFT,
    WIDTH,
    colour,
    halo,
    legend_columns,
    number_logarithmic,
    stroke,
)

if TYPE_CHECKING:
    import os

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from lsa_onnx.report.document import PerturbationResult, Report

_PANEL_HEIGHT = 2.9
_MOST_COLUMNS = 3
_LEGEND_ROW = 0.17
_LARGE_MARK = 8.0
# Beyond so many layers, small marks would hide the lines.
_MANY = 40
# Means further apart than this cannot be read on a linear axis.
_WIDE = 12.0
_NAN = float("nan")


def draw_layers(
    reports: Sequence[Report],
    path: str | os.PathLike[str],
    *,
    titles: Sequence[str] | None = None,
) -> None:
    """Draw the mean CM of each layer under each perturbation (Khalooei et al. 2023, Fig. 2).

    Args:
        reports: A panel for each, all with the same vertical axis: a model before and after hardening,
            say.
        path: A png, svg or pdf file.
        titles: Of the panels, instead of the names of the model files.

    Raises:
        DataError: It cannot be drawn or written.
    """
    names = model_names([report.model.file.path for report in reports], titles)
    with drawn_to(path) as figure:
        fill(figure, reports, names)


def fill(figure: Figure, reports: Sequence[Report], names: Sequence[str]) -> None:
    """Draw on an empty figure: panels, the names of the layers below them, one legend."""
    columns = 2 if len(reports) == 4 else min(max(len(reports), 1), _MOST_COLUMNS)
    rows = -(-len(reports) // columns)
    keys = _keys(reports, names)
    kinds = list(dict.fromkeys(r.name for report in reports for r in report.perturbations))
    heights = [_PANEL_HEIGHT] * rows + [names_height(key, WIDTH) for _, key in keys]
    labels = [_label(kind, reports) for kind in kinds]
    legend = _LEGEND_ROW * (3 - (-len(kinds) // legend_columns(labels)))
    figure.set_size_inches(WIDTH, sum(heights) + legend)
    grid = figure.add_gridspec(len(heights), columns, height_ratios=heights)
    panels: list[Axes] = []
    for at, report in enumerate(reports):
        panel = figure.add_subplot(grid[divmod(at, columns)], sharey=panels[0] if panels else None)
        panels.append(panel)
        _draw_report(panel, report, kinds, WIDTH / columns)
        _head(panel, report, legible(names[at], int(11 * WIDTH / columns)))
        panel.tick_params(labelleft=at % columns == 0)
    for at, (title, key) in enumerate(keys):
        draw_names(figure.add_subplot(grid[rows + at, :]), key, title, WIDTH)
    _scale(panels, reports)
    _add_legend(figure, labels)


def _keys(reports: Sequence[Report], names: Sequence[str]) -> list[tuple[str, list[str]]]:
    """The layers to name, once for all scans of the same layers, below a line that says whose they are."""
    owners: dict[tuple[str, ...], list[str]] = {}
    for report, name in zip(reports, names, strict=True):
        owners.setdefault(tuple(info.tensor for info in report.layers), []).append(name)
    owners.pop((), None)
    if len(owners) == 1:
        return [("Layers", list(tensors)) for tensors in owners]
    return [
        (f"Layers of {', '.join(legible(name, 40) for name in whose[:3])}", list(tensors))
        for tensors, whose in owners.items()
    ]


def _draw_report(panel: Axes, report: Report, kinds: Sequence[str], width: float) -> None:
    """The lines of one scan and its numbered axis, in a panel ``width`` inches wide."""
    tensors = [info.tensor for info in report.layers]
    for result in report.perturbations:
        _draw_result(panel, result, tensors, kinds.index(result.name))
    if report.mvl.rule == "eta" and report.mvl.threshold is not None:
        _draw_threshold(panel, report, kinds)
    step = max(1, -(-len(tensors) // int(4.2 * width)))
    ticks = range(0, len(tensors), step)
    panel.set_xticks(ticks, [str(number) for number in ticks])
    for number, label in zip(ticks, panel.get_xticklabels(), strict=True):
        label.set_fontweight("bold" if tensors[number] in report.mvl.layers else "normal")
    panel.set_xlim(-0.5, max(len(tensors), 1) - 0.5)
    panel.set_xlabel("layer, in graph order")


def _draw_result(
    panel: Axes, result: PerturbationResult, tensors: Sequence[str], line: int
) -> None:
    """A line in its band, with gaps where no sample gave a figure; layers of its MVL list are large."""
    scores = {score.tensor: score.relative_error for score in result.layers}
    found = [scores.get(tensor) for tensor in tensors]
    means = [_number(each.mean if each else None) for each in found]
    low, high = (
        [each.interval[side] if each and each.interval else _NAN for each in found]
        for side in (0, 1)
    )
    where = range(len(tensors))
    look = stroke(line)
    small = {"markersize": 2, "markeredgewidth": 0} if len(tensors) > _MANY else {}
    panel.fill_between(where, low, high, color=look["color"], alpha=BAND_OPACITY, linewidth=0)
    panel.plot(where, means, **look | small)
    listed = [number for number in where if tensors[number] in result.mvl.layers]
    panel.plot(
        listed,
        [means[number] for number in listed],
        **look | {"linestyle": "none"},
        markersize=_LARGE_MARK,
    )


def _number(value: float | None) -> float:
    return _NAN if value is None else value


def _draw_threshold(panel: Axes, report: Report, kinds: Sequence[str]) -> None:
    """The cut-off of the headline's MVL list."""
    mvl = report.mvl
    line = kinds.index(mvl.perturbation) if mvl.perturbation in kinds else len(kinds)
    panel.axhline(_number(mvl.threshold), color=colour(line), linewidth=0.8, linestyle=(0, (1, 2)))
    panel.annotate(
        f"μ + {text.brief(mvl.eta)} σ, {legible(mvl.perturbation, 16)}",
        (1, _number(mvl.threshold)),
        (-2, 2),
        panel.get_yaxis_transform(),
        "offset points",
        color=colour(line),
        size=SMALL,
        ha="right",
        path_effects=halo(),
    )


def _head(panel: Axes, report: Report, name: str) -> None:
    accuracy = f"clean accuracy {text.share(report.accuracy.value)}, " if report.accuracy else ""
    said = f"{accuracy}{text.count(report.data.samples, 'sample')}"
    if not any(result.layers for result in report.perturbations):
        said += ": no layer was scored"
    panel.set_title(name, pad=15)
    panel.annotate(said, (0, 1), (0, 4), "axes fraction", "offset points", color=SOFT, size=SMALL)


def _scale(panels: Sequence[Axes], reports: Sequence[Report]) -> None:
    """The vertical axis that all panels share: from 0, or logarithmic where means lie far apart."""
    means = sorted(_means(reports))
    if not means:
        return
    panels[0].set_ylabel("mean CM")
    if means[-1] < _WIDE * means[0]:
        panels[0].set_ylim(bottom=0)
        return
    panels[0].set_ylabel("mean CM, on a logarithmic axis")
    panels[0].set_yscale("log", subs=[])
    number_logarithmic(panels[0].yaxis)


def _means(reports: Iterable[Report]) -> Iterable[float]:
    """Every mean CM above 0."""
    for report in reports:
        for result in report.perturbations:
            yield from (mean for s in result.layers if (mean := s.relative_error.mean))


def _add_legend(figure: Figure, labels: Sequence[str]) -> None:
    from matplotlib.lines import Line2D

    handles: list[Any] = [Line2D([], [], **stroke(line)) for line in range(len(labels))]
    caption = (
        "CM = ‖φ(x) − φ(x̂)‖ / ‖φ(x)‖, mean over samples; bands are its 95 % interval. Large marks are in "
        "the MVL list of their perturbation, bold numbers in that of the scan."
    )
    figure.legend(
        handles,
        labels,
        loc="outside lower left",
        ncols=legend_columns(labels),
        title=textwrap.fill(caption, 118),
        title_fontsize=SMALL,
        alignment="left",
    )


def _label(kind: str, reports: Iterable[Report]) -> str:
    """A perturbation and its strength, where that is the same in all scans."""
    given = [r.parameters for report in reports for r in report.perturbations if r.name == kind]
    strengths = [(key, p[key]) for p in given for key in ("eps", "strength") if key in p]
    # matplotlib hides what begins with "_".
    name = f"\N{THIN SPACE}{legible(kind, 28)}"
    if not strengths or any(strength != strengths[0] for strength in strengths):
        return name
    key, value = strengths[0]
    said = f"{value:.3g}" if isinstance(value, float) else legible(str(value), 12)
    return f"{name}, {'ε' if key == 'eps' else key} {said}"
