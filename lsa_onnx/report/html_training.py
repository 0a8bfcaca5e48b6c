"""What the page of a hardening shows of the verdict and of the training, as plain values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lsa_onnx.report import hardening_view as view
from lsa_onnx.report import text
from lsa_onnx.report.facts import Facts, measurement, told_file
from lsa_onnx.report.html_attacks import rounded
from lsa_onnx.report.html_page import unbroken
from lsa_onnx.report.text import visible

if TYPE_CHECKING:
    from lsa_onnx.report.document import Report
    from lsa_onnx.report.hardening import Comparison, Hardening, Share

_SCANNED = ("Data", "Input", "Run")


def tiles(hardening: Hardening) -> list[tuple[str, str, str]]:
    """The figures at the top of the page: label, value, remark."""
    found = hardening.comparison
    shown = []
    for row in reversed(view.score_rows(found)):
        was, now = (view.score(s, found) for s in (row.before, row.after))
        both = unbroken(f"{was.removesuffix(' %')} → {now}")
        shown.append((row.name, both, view.change(row, found)))
    return [
        *shown,
        ("Layers regularised", f"{len(hardening.layers):,}", visible(hardening.layers_from)),
        ("Chosen step", f"{hardening.best_step:,}", f"of {hardening.steps:,}"),
        ("Weights trained", f"{hardening.trainable:,}", f"of {hardening.weights:,}"),
    ]


def scores(found: Comparison) -> list[dict[str, Any]]:
    """The table of the verdict; each cell is a score, its interval and the length of its bar."""
    return [
        {
            "name": row.name,
            "cells": [
                (view.score(s, found), _remarks(s), f"{max(0.0, s.value):.3f}")
                for s in (row.before, row.after)
            ],
            "change": view.change(row, found),
        }
        for row in view.score_rows(found)
    ]


def _remarks(value: Share) -> list[str]:
    """The interval of a score and its number of samples."""
    return [*filter(None, [view.bounds(value)]), f"n = {value.n:,}"]


def history(hardening: Hardening) -> dict[str, Any] | None:
    """The lines of the validations' chart; ``None`` where there was no validation."""
    if not hardening.history:
        return None
    found = hardening.history
    return {
        "steps": [each.step for each in found],
        "chosen": [each.step == hardening.best_step for each in found],
        "measure": hardening.comparison.measure,
        "series": [
            {"name": "clean", "values": [rounded(each.clean) for each in found]},
            {"name": "one step", "values": [rounded(each.one_step) for each in found]},
            {"name": "robust", "values": [rounded(each.robust) for each in found]},
        ],
    }


def validations(hardening: Hardening) -> list[dict[str, Any]]:
    """The table of validations."""
    shares = hardening.comparison.measure == "accuracy"
    told = text.share if shares else text.figure
    return [
        {
            "step": f"{each.step:,}",
            "chosen": each.step == hardening.best_step,
            "scores": [told(value) for value in (each.clean, each.one_step, each.robust)],
        }
        for each in hardening.history
    ]


def regularised(hardening: Hardening) -> list[tuple[str, str]]:
    """Regularised tensors with the weight of their term."""
    return [(visible(name), text.figure(gamma)) for name, gamma in hardening.layers.items()]


def changes(hardening: Hardening) -> list[tuple[str, str, str]]:
    """Trained tensors, how far they moved and the length of that bar, the largest first."""
    found = view.largest_changes(hardening)
    largest = found[0][1] if found else 0.0
    return [
        (visible(name), text.figure(change), f"{change / (largest or 1.0):.3f}")
        for name, change in found
    ]


def topics(hardening: Hardening, before: Report, after: Report | None) -> dict[str, Facts]:
    """Labelled facts by topic; every value is safe to show as it is."""
    scanned = measurement(before)
    return {
        "Files": _files(hardening, after),
        "Verdict": _verdict(hardening),
        **{f"{topic} of the scan before": scanned[topic] for topic in _SCANNED},
    }


def _files(hardening: Hardening, after: Report | None) -> Facts:
    digest = f"SHA-256 {visible(hardening.model_sha256)}"
    facts = [("Original", f"{visible(hardening.model)}, {digest}")]
    facts += [("Written", told_file(file)) for file in hardening.files]
    if after is not None:
        facts.append(("Scanned after", told_file(after.model.file)))
    return [*facts, ("Run folder", visible(hardening.folder))]


def _verdict(hardening: Hardening) -> Facts:
    found = hardening.comparison
    return [
        ("Attack", view.threat(found)),
        ("Labels", view.label_origin(found)),
        ("Samples", f"{found.robust_after.n:,} that training never saw"),
        ("Clean drop", f"{text.brief(hardening.max_clean_drop)} allowed"),
        ("Training", f"{view.progress(hardening)}, {hardening.seconds:.1f} s"),
    ]


def options(hardening: Hardening) -> list[tuple[str, str]]:
    """Every option of the run, by name."""
    return [(visible(name), _option(value)) for name, value in sorted(hardening.config.items())]


def _option(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_option, value)) or "none"
    return text.brief(value) if isinstance(value, float) else visible(str(value))
