"""What the HTML page shows, as plain values: the template and the chart only lay it out.

What it shows of attacks is in ``html_attacks``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from lsa_onnx.report import text, view
from lsa_onnx.report.html_attacks import attack_tiles, baseline_line, rounded
from lsa_onnx.report.html_graph import feeding
from lsa_onnx.report.text import visible

if TYPE_CHECKING:
    from lsa_onnx.report.document import LayerInfo, LayerScore, PerturbationResult, Report
    from lsa_onnx.report.view import LayerRow

_LABEL_WIDTH = 22
_TITLE_WIDTH = 16


def tiles(report: Report) -> list[tuple[str, str, str]]:
    """The figures at the top of the page: label, value, remark."""
    data, run = report.data, report.run
    shown = [("Samples", f"{data.samples:,}", f"of {data.available:,}")]
    if report.accuracy is not None:
        interval = f"95 % interval {text.shares(report.accuracy.interval)}"
        shown.append(("Clean accuracy", text.share(report.accuracy.value), interval))
    headline = view.headline_result(report)
    if headline is not None:
        shown += attack_tiles(headline) if headline.attack else _accuracy_tile(headline)
    layers = f"{text.count(len(report.not_scored), 'tensor')} not scored"
    shown.append(("Layers scored", f"{len(report.layers):,}", layers))
    shown.append(("Device", visible(run.device), visible(run.provider)))
    return shown


def _accuracy_tile(result: PerturbationResult) -> list[tuple[str, str, str]]:
    if result.accuracy is None:
        return []
    settings = text.parameters(result.parameters)
    value = text.share(result.accuracy.value)
    return [(f"Accuracy under {visible(result.name)}", value, settings)]


def chart(report: Report, rows: Sequence[LayerRow]) -> dict[str, Any]:
    """The data of the chart and of the table's details, for the page's script."""
    headline = view.headline_result(report)
    return {
        "layers": _layers(rows),
        "series": [_series(report, result) for result in report.perturbations],
        "headline": report.perturbations.index(headline) if headline else 0,
        "baseline": baseline_line(report, headline) if headline else None,
        "threshold": report.mvl.threshold if report.mvl.rule == "eta" else None,
    }


def _layers(rows: Sequence[LayerRow]) -> list[dict[str, Any]]:
    names = [visible(row.info.tensor) for row in rows]
    feeds = feeding([row.info for row in rows])
    return [
        {
            "name": name,
            "short": text.short_name(short.strip("…/") or name, _LABEL_WIDTH),
            "op": visible(row.info.op),
            "rank": row.rank,
            "from": sources,
        }
        for row, name, short, sources in zip(
            rows, names, text.distinct_names(names), feeds, strict=True
        )
    ]


def _series(report: Report, result: PerturbationResult) -> dict[str, Any]:
    by_tensor = {score.tensor: score for score in result.layers}
    scores = [by_tensor.get(info.tensor) for info in report.layers]
    ranks = {tensor: rank for rank, tensor in enumerate(result.mvl.layers, start=1)}
    intervals = [score.relative_error.interval if score else None for score in scores]
    random = view.times_random(report, result)
    return {
        "name": visible(result.name),
        "short": text.shorten(visible(result.name), _TITLE_WIDTH),
        "mean": [rounded(score.relative_error.mean if score else None) for score in scores],
        "low": [rounded(bounds[0] if bounds else None) for bounds in intervals],
        "high": [rounded(bounds[1] if bounds else None) for bounds in intervals],
        "rank": [ranks.get(info.tensor) for info in report.layers],
        "details": [
            [*_figures(score, random.get(info.tensor), report), _note(info, score)]
            for score, info in zip(scores, report.layers, strict=True)
        ],
    }


def _figures(score: LayerScore | None, times_random: float | None, report: Report) -> list[str]:
    """The columns on the right of the table but for the note; their titles are in the template."""
    random = [text.figure(times_random)] if view.baseline(view.headline_result(report)) else []
    if score is None:
        return [text.MISSING] * (4 + len(random))
    return [
        text.interval(score.relative_error),
        *random,
        text.figure(score.amplification.mean),
        text.figure(score.growth),
        text.share(score.stability, 0),
    ]


def table(report: Report, rows: Sequence[LayerRow]) -> list[dict[str, Any]]:
    """The layer table: one entry per layer, its CM cells in the order of the perturbations."""
    largest = max((mean for row in rows for mean in row.means.values() if mean), default=1.0)
    return [_row(report, row, largest) for row in rows]


def _row(report: Report, row: LayerRow, largest: float) -> dict[str, Any]:
    figures = _figures(row.score, row.times_random, report)
    bounds = row.score.relative_error.interval if row.score else None
    return {
        "number": row.number,
        "rank": row.rank,
        "name": visible(row.info.tensor),
        "op": visible(row.info.op),
        "shape": text.shape(row.info.shape),
        "weights": row.info.parameters,
        "mean": text.figure(row.score.relative_error.mean if row.score else None),
        "cells": [_cell(mean, largest) for mean in row.means.values()],
        "share": _share(report, row),
        "low": rounded(bounds[0]) if bounds else "",
        "figures": figures,
        "interval": figures[0],
        "stability": figures[-1],
        "note": _note(row.info, row.score),
    }


def _share(report: Report, row: LayerRow) -> str:
    """The layer's CM under the headline perturbation, as a share of the largest there."""
    headline = view.headline_result(report)
    means = [score.relative_error.mean for score in headline.layers] if headline else []
    largest = max((mean for mean in means if mean), default=1.0)
    own = row.score.relative_error.mean if row.score else None
    return f"{max(0.0, own / largest):.3f}" if own is not None else "0"


def _note(info: LayerInfo, score: LayerScore | None) -> str:
    notes = (view.score_note(score), view.origin_note(info, score))
    return "; ".join(note for note in notes if note)


def _cell(mean: float | None, largest: float) -> dict[str, Any]:
    fraction = 0.0 if mean is None else max(0.0, mean / largest)
    return {
        "value": rounded(mean),
        "text": text.figure(mean),
        "fraction": f"{fraction:.3f}",
    }


def perturbations(report: Report) -> list[dict[str, str]]:
    """The table of perturbations."""
    numbers = {info.tensor: str(number) for number, info in enumerate(report.layers)}
    return [
        {
            "name": visible(result.name),
            "kind": result.kind,
            "settings": text.parameters(result.parameters),
            "accuracy": text.accuracy(result.accuracy),
            "flips": text.share(result.flips),
            "linf": text.figure(result.input_linf.mean),
            "l2": text.figure(result.input_l2.mean),
            "relative": text.figure(result.input_relative.mean),
            "mvl": ", ".join(numbers.get(t, visible(t)) for t in result.mvl.layers) or "empty",
        }
        for result in report.perturbations
    ]
