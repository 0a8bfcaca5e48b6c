"""What the HTML page shows, as plain values: the template and the chart only lay it out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from lsa_onnx.report import text, view
from lsa_onnx.report.text import visible

if TYPE_CHECKING:
    from lsa_onnx.report.document import LayerScore, PerturbationResult, Report
    from lsa_onnx.report.view import LayerRow

_LABEL_WIDTH = 22
_TITLE_WIDTH = 16
_DIGITS = 5


def tiles(report: Report) -> list[tuple[str, str, str]]:
    """The figures at the top of the page: label, value, remark."""
    data, run = report.data, report.run
    shown = [("Samples", f"{data.samples:,}", f"of {data.available:,}")]
    if report.accuracy is not None:
        low, high = report.accuracy.interval
        shown.append(
            (
                "Clean accuracy",
                text.share(report.accuracy.value),
                f"95 % interval {100 * low:.1f}–{100 * high:.1f} %",
            )
        )
    for result in report.perturbations:
        if result.accuracy is not None and result is view.headline_result(report):
            name = visible(result.name)
            settings = text.parameters(result.parameters)
            shown.append((f"Accuracy under {name}", text.share(result.accuracy.value), settings))
    layers = f"{text.count(len(report.not_scored), 'tensor')} not scored"
    shown.append(("Layers scored", f"{len(report.layers):,}", layers))
    shown.append(("Device", visible(run.device), visible(run.provider)))
    return shown


def chart(report: Report, rows: Sequence[LayerRow]) -> dict[str, Any]:
    """The data of the chart and of the table's details, for the page's script."""
    headline = view.headline_result(report)
    return {
        "layers": _layers(rows),
        "series": [_series(report, result) for result in report.perturbations],
        "headline": report.perturbations.index(headline) if headline else 0,
        "threshold": report.mvl.threshold if report.mvl.rule == "eta" else None,
    }


def _layers(rows: Sequence[LayerRow]) -> list[dict[str, Any]]:
    names = [visible(row.info.tensor) for row in rows]
    return [
        {
            "name": name,
            "short": text.short_name(short.strip("…/") or name, _LABEL_WIDTH),
            "op": visible(row.info.op),
            "rank": row.rank,
        }
        for row, name, short in zip(rows, names, text.distinct_names(names), strict=True)
    ]


def _series(report: Report, result: PerturbationResult) -> dict[str, Any]:
    by_tensor = {score.tensor: score for score in result.layers}
    scores = [by_tensor.get(info.tensor) for info in report.layers]
    ranks = {tensor: rank for rank, tensor in enumerate(result.mvl.layers, start=1)}
    intervals = [score.relative_error.interval if score else None for score in scores]
    return {
        "name": visible(result.name),
        "short": text.shorten(visible(result.name), _TITLE_WIDTH),
        "mean": [_rounded(score.relative_error.mean if score else None) for score in scores],
        "low": [_rounded(bounds[0] if bounds else None) for bounds in intervals],
        "high": [_rounded(bounds[1] if bounds else None) for bounds in intervals],
        "rank": [ranks.get(info.tensor) for info in report.layers],
        "details": [_details(score) for score in scores],
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.{_DIGITS}g}")


def _details(score: LayerScore | None) -> list[str]:
    """Interval, amplification, growth, stability and note, as the table shows them."""
    if score is None:
        return [text.MISSING] * 4 + [view.score_note(None) or ""]
    return [
        text.interval(score.relative_error),
        text.figure(score.amplification.mean),
        text.figure(score.growth),
        text.share(score.stability, 0),
        view.score_note(score) or "",
    ]


def table(rows: Sequence[LayerRow]) -> list[dict[str, Any]]:
    """The layer table: one entry per layer, its CM cells in the order of the perturbations."""
    largest = max((mean for row in rows for mean in row.means.values() if mean), default=1.0)
    return [_row(row, largest) for row in rows]


def _row(row: LayerRow, largest: float) -> dict[str, Any]:
    interval, amplification, growth, stability, note = _details(row.score)
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
        "low": _rounded(bounds[0]) if bounds else "",
        "interval": interval,
        "amplification": amplification,
        "growth": growth,
        "stability": stability,
        "note": note,
    }


def _cell(mean: float | None, largest: float) -> dict[str, Any]:
    fraction = 0.0 if mean is None else max(0.0, mean / largest)
    return {
        "value": _rounded(mean),
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
