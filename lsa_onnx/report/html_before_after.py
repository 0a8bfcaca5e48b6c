"""What the page of a hardening shows of the scans before and after, as plain values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lsa_onnx.report import text, view
from lsa_onnx.report.hardening_view import signed
from lsa_onnx.report.html_attacks import rounded
from lsa_onnx.report.text import visible

if TYPE_CHECKING:
    from lsa_onnx.report.document import LayerScore, PerturbationResult, Report

_LABEL_WIDTH = 22


_TITLES = ("before", "after")
_NAMED = 3

# What one perturbation did, scan by scan; None where it was not run.
Found = Sequence["PerturbationResult | None"]


@dataclass(frozen=True)
class Scans:
    """A scan of the model before hardening and one of it after, ``None`` where there is none."""

    before: Report
    after: Report | None

    @property
    def reports(self) -> list[Report]:
        """The scans that there are."""
        return [self.before] if self.after is None else [self.before, self.after]

    @property
    def titles(self) -> list[str]:
        """What they are called."""
        return list(_TITLES[: len(self.reports)])

    @property
    def perturbation(self) -> str | None:
        """The headline perturbation of the scan before; ``None`` where nothing was run."""
        result = view.headline_result(self.before)
        return result.name if result else None

    def results(self, perturbation: str | None) -> list[PerturbationResult | None]:
        """What a perturbation did, one entry per scan."""
        return [
            next((r for r in report.perturbations if r.name == perturbation), None)
            for report in self.reports
        ]

    @property
    def headlines(self) -> list[PerturbationResult | None]:
        """What the headline perturbation did, one entry per scan."""
        return self.results(self.perturbation)


def chart(scans: Scans, gammas: Mapping[str, float]) -> dict[str, Any] | None:
    """The lines of the layers' chart; ``None`` where no layer was scored."""
    tensors = [info.tensor for info in scans.before.layers]
    if scans.headlines[0] is None or not tensors:
        return None
    names = [visible(tensor) for tensor in tensors]
    short = [
        text.short_name(part.strip("…/") or name, _LABEL_WIDTH)
        for name, part in zip(names, text.distinct_names(names), strict=True)
    ]
    return {
        "names": names,
        "short": short,
        "regularised": [tensor in gammas for tensor in tensors],
        "series": [
            _series(title, result, tensors)
            for title, result in zip(scans.titles, scans.headlines, strict=True)
            if result is not None
        ],
    }


def _series(title: str, result: PerturbationResult, tensors: list[str]) -> dict[str, Any]:
    scores, ranks = _scores(result), _ranks(result)
    intervals = [_interval(scores.get(tensor)) for tensor in tensors]
    return {
        "name": title,
        "mean": [rounded(_mean(scores.get(tensor))) for tensor in tensors],
        "low": [rounded(bounds[0] if bounds else None) for bounds in intervals],
        "high": [rounded(bounds[1] if bounds else None) for bounds in intervals],
        "rank": [ranks.get(tensor) for tensor in tensors],
    }


def _scores(result: PerturbationResult | None) -> dict[str, LayerScore]:
    return {score.tensor: score for score in result.layers} if result else {}


def _ranks(result: PerturbationResult | None) -> dict[str, int]:
    listed = result.mvl.layers if result else []
    return {tensor: rank for rank, tensor in enumerate(listed, start=1)}


def _mean(score: LayerScore | None) -> float | None:
    return score.relative_error.mean if score else None


def _interval(score: LayerScore | None) -> tuple[float, float] | None:
    return score.relative_error.interval if score else None


def layers(scans: Scans, gammas: Mapping[str, float]) -> list[dict[str, Any]]:
    """The table of layers under the headline perturbation, in graph order."""
    found = scans.headlines
    scores, ranks = [_scores(result) for result in found], [_ranks(result) for result in found]
    rows = []
    for number, info in enumerate(scans.before.layers):
        own = [by_tensor.get(info.tensor) for by_tensor in scores]
        gamma = gammas.get(info.tensor)
        rows.append(
            {
                "number": number,
                "name": visible(info.tensor),
                "op": visible(info.op),
                "gamma": "" if gamma is None else text.figure(gamma),
                "cells": [
                    (by_tensor.get(info.tensor), text.figure(_mean(score)), _told(score))
                    for by_tensor, score in zip(ranks, own, strict=True)
                ],
                "change": _relative(*map(_mean, own)) if len(own) > 1 else "",
            }
        )
    return rows


def _told(score: LayerScore | None) -> str:
    return text.interval(score.relative_error) if score and _interval(score) else ""


def _relative(was: float | None, now: float | None) -> str:
    if not was or now is None:
        return text.MISSING
    return signed(f"{100 * (now / was - 1):+.1f} %")


def summary(scans: Scans) -> list[str]:
    """How the layers' movement changed, one sentence each."""
    found = dict(zip(scans.titles, scans.headlines, strict=True))
    ran = {title: result for title, result in found.items() if result is not None}
    said = [f"Most vulnerable {title}: {_listed(result)}." for title, result in ran.items()]
    means = [f"{text.figure(result.mvl.mu)} {title}" for title, result in ran.items()]
    return [*said, f"Mean CM over all layers: {', '.join(means)}."]


def _listed(result: PerturbationResult) -> str:
    names = [visible(tensor) for tensor in result.mvl.layers]
    more = f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more if names else "no layer stands out"


def scanned(scans: Scans, folder: str) -> list[str]:
    """What the scans ran on, and what keeps them from being compared, one sentence each.

    ``folder`` is that of the hardening, which leaves there what training never saw.
    """
    data = scans.before.data
    unseen = Path(data.source).parent == Path(folder)
    count = text.count(data.samples, "sample")
    told = [
        f"The scan ran on {count} of {visible(data.source)}.",
        "Training never saw them."
        if unseen
        else "Training may have used them: the verdict above is on samples that it never saw.",
    ]
    if scans.after is not None and scans.after.data.fingerprint != data.fingerprint:
        told.append("The scan after ran on other samples than the scan before.")
    for result in scans.before.perturbations:
        other = scans.results(result.name)[-1]
        if other is not None and other.parameters != result.parameters:
            settings = text.parameters(other.parameters)
            told.append(f"The scan after ran {visible(result.name)} with {settings}.")
    return told


def perturbations(scans: Scans) -> list[dict[str, Any]]:
    """The table of perturbations, those of the scan before first."""
    names = dict.fromkeys(r.name for report in scans.reports for r in report.perturbations)
    return [_perturbation(name, scans.results(name)) for name in names]


def _perturbation(name: str, found: Found) -> dict[str, Any]:
    settings = next(result.parameters for result in found if result is not None)
    flips = [text.share(result.flips if result else None) for result in found]
    moved = [text.figure(result.mvl.mu if result else None) for result in found]
    return {
        "name": visible(name),
        "settings": text.parameters(settings),
        "accuracy": [_accuracy(result) for result in found],
        "flips": " → ".join([*(f.removesuffix(" %") for f in flips[:-1]), flips[-1]]),
        "moved": " → ".join(moved),
    }


def _accuracy(result: PerturbationResult | None) -> tuple[str, list[str], str]:
    """An accuracy, its interval and number of samples, and the length of its bar."""
    if result is None or result.accuracy is None:
        return text.MISSING, [], "0"
    found = result.accuracy
    remarks = [text.shares(found.interval), f"n = {found.n:,}"]
    return text.share(found.value), remarks, f"{found.value:.3f}"
