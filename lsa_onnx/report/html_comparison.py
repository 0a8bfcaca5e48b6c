"""A comparison as one HTML page that needs nothing else: no network, no other file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lsa_onnx.files import write_atomically
from lsa_onnx.report import comparison_view as view
from lsa_onnx.report import text
from lsa_onnx.report.facts import Facts, told_file
from lsa_onnx.report.hardening_view import signed
from lsa_onnx.report.html_attacks import rounded
from lsa_onnx.report.html_gates import gate_rows
from lsa_onnx.report.html_page import render_page
from lsa_onnx.report.text import visible

if TYPE_CHECKING:
    import os

    from lsa_onnx.report.comparison import (
        AccuracyChange,
        Compared,
        Comparison,
        LayerChange,
        Movement,
        PerturbationChange,
    )

_LABEL_WIDTH = 22
_METHODS = {
    "Newcombe": "Newcombe's, as of two sets of samples",
    "paired bootstrap": "of a bootstrap that draws a sample for both models at once",
}


def render_comparison_html(comparison: Comparison) -> str:
    """The whole page as text, to be stored as UTF-8."""
    change = view.judged(comparison)
    layers = change if change is not None and change.layers else None
    values = {
        "comparison": comparison,
        "status": view.status(comparison),
        "headline": view.headline(comparison),
        "sources": [visible(each.source) for each in (comparison.before, comparison.after)],
        "tiles": _tiles(comparison),
        "regressions": [visible(each.told) for each in comparison.regressions],
        "gates": gate_rows(comparison.gates),
        "scores": _scores(comparison),
        "method": _method(comparison),
        "layers": _layers(layers) if layers else [],
        "lists": view.lists(layers) if layers else [],
        "norms": view.norm_notes(layers) if layers else [],
        "perturbation": view.strength(layers) if layers else "",
        "others": [_other(each) for each in comparison.perturbations if each.layers],
        "remarks": view.remarks(comparison),
        "topics": {
            "Before": _facts(comparison.before),
            "After": _facts(comparison.after),
            "Data": _data(comparison),
        },
        "command": text.command_line(comparison.command),
        "tool_version": comparison.tool_version,
        "title": f"{comparison.before.source} → {comparison.after.source}",
    }
    data = {"layers": _chart(layers), "history": None} if layers else None
    return render_page("comparison", data, values, script="hardening")


def write_comparison_html(comparison: Comparison, path: str | os.PathLike[str]) -> None:
    """Write the page to ``path``; an earlier file there is replaced only by a complete one.

    Raises:
        DataError: The file cannot be written.
    """
    write_atomically(path, render_comparison_html(comparison).encode("utf-8"))


def _tiles(comparison: Comparison) -> list[tuple[str, str, str]]:
    """The figures at the top of the page: label, value, remark."""
    tiles = [("Regressions", f"{len(comparison.regressions):,}", "beyond chance")]
    tiles += [_accuracy_tile(name, change) for name, change in view.telling(comparison)]
    if comparison.agreement is not None:
        tiles.append(("Same answers", text.share(comparison.agreement.value), "clean samples"))
    judged = view.judged(comparison)
    if judged is not None and judged.layers:
        remark = f"of {len(judged.layers):,} move otherwise"
        tiles.append(("Layers", f"{view.changed(judged.layers):,}", remark))
    return tiles


def _accuracy_tile(name: str, change: AccuracyChange) -> tuple[str, str, str]:
    was, now = (text.share(each.value) for each in (change.before, change.after))
    low, high = (signed(f"{100 * bound:+.1f}") for bound in change.interval)
    label = "Clean accuracy" if name == "clean" else f"Accuracy, {name}"
    return label, f"{was.removesuffix(' %')} → {now}", f"{low} to {high} points"


def _scores(comparison: Comparison) -> list[dict[str, Any]]:
    return [
        {
            "name": row.name,
            "settings": row.settings,
            "cells": [_cell(*row.before), _cell(*row.after), _cell(*row.difference)],
            "verdict": row.verdict,
        }
        for row in view.score_rows(comparison)
    ]


def _cell(value: str, interval: str) -> tuple[str, list[str], str]:
    """A figure, its interval, and the length of its bar, which only shares have."""
    share = float(value.removesuffix(" %")) / 100 if value.endswith(" %") else 0.0
    return value, [interval] if interval else [], f"{share:.3f}"


def _method(comparison: Comparison) -> str:
    found = dict.fromkeys(change.method for _, _, change in view.accuracies(comparison))
    return " or ".join(_METHODS[each] for each in found)


def _layers(change: PerturbationChange) -> list[dict[str, Any]]:
    return [
        {
            "number": row.number,
            "name": row.name,
            "other": row.other,
            "cells": [(row.ranks[0], *row.before), (row.ranks[1], *row.after)],
            "change": row.change,
            "moved": row.moved,
            "verdict": row.verdict,
        }
        for row in view.layer_rows(change)
    ]


def _chart(change: PerturbationChange) -> dict[str, Any]:
    """The lines of the layers' chart, as the script of a hardening's page reads them."""
    names = [visible(each.tensor) for each in change.layers]
    return {
        "names": names,
        "short": [
            text.short_name(part.strip("…/") or name, _LABEL_WIDTH)
            for name, part in zip(names, text.distinct_names(names), strict=True)
        ],
        "regularised": [False] * len(names),
        "series": [
            _series("before", [each.before for each in change.layers]),
            _series("after", [each.after for each in change.layers]),
        ],
    }


def _series(name: str, movements: list[Movement]) -> dict[str, Any]:
    bounds = [each.interval or (None, None) for each in movements]
    return {
        "name": name,
        "mean": [rounded(each.cm) for each in movements],
        "low": [rounded(low) for low, _ in bounds],
        "high": [rounded(high) for _, high in bounds],
        "rank": [each.rank for each in movements],
    }


def _other(change: PerturbationChange) -> dict[str, str]:
    flips = [text.share(each) for each in (change.flips_before, change.flips_after)]
    moved = [text.figure(each) for each in (change.mu_before, change.mu_after)]
    return {
        "name": view.strength(change),
        "flips": " → ".join(flips),
        "moved": " → ".join(moved),
        "worse": str(_count(change.layers, "worse")),
        "better": str(_count(change.layers, "better")),
        "newcomers": ", ".join(map(visible, change.newcomers)) or text.MISSING,
        "leavers": ", ".join(map(visible, change.leavers)) or text.MISSING,
    }


def _count(layers: list[LayerChange], verdict: str) -> int:
    return sum(each.verdict == verdict for each in layers)


def _facts(side: Compared) -> Facts:
    return [
        ("Given", visible(side.source)),
        ("Model", told_file(side.model)),
        ("Made", f"{visible(side.created)} by lsa-onnx {visible(side.tool_version)}"),
    ]


def _data(comparison: Comparison) -> Facts:
    data, (low, high) = comparison.data, comparison.range
    return [
        ("Source", visible(data.source)),
        ("Samples", f"{data.samples:,} of {data.available:,}"),
        ("Fingerprint", visible(data.fingerprint)),
        ("Value range", f"{text.brief(low)} to {text.brief(high)}: strengths are in these units"),
    ]
