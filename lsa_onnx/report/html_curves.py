"""What the page of an evaluation shows of attacks, as plain values: its template only lays them out.

A table has a row per attack and model, and a column per strength.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lsa_onnx.report import text
from lsa_onnx.report.curves import breaking, summary_of
from lsa_onnx.report.html_attacks import rounded
from lsa_onnx.report.text import visible

if TYPE_CHECKING:
    from lsa_onnx.report.evaluation import AttackAtEps, AttackSummary, Evaluation
    from lsa_onnx.report.evaluations import Difference, Evaluations

# A figure, its remark, and how far its bar reaches, 0 to 1.
Cell = tuple[str, str, str]
# The norm, and eps as it was asked for: ranges may differ between models, and with them what 8/255 is.
Place = tuple[str, str]

_NOTHING: Cell = (text.MISSING, "", "0")


@dataclass(frozen=True)
class Model:
    """A model by the name that is safe to show, and what was found out about it."""

    name: str
    evaluation: Evaluation


@dataclass(frozen=True)
class _Line:
    """One attack on one model, at the strengths it was run at, and over all of them."""

    model: str
    attack: str
    points: dict[Place, AttackAtEps]
    summary: AttackSummary | None
    width: float

    def row(self, **more: Any) -> dict[str, Any]:
        """What every row of a table begins with."""
        return {"model": self.model, "attack": visible(self.attack), **more}


def headline(models: Sequence[Model]) -> str:
    """One sentence: what is left under the strongest attack, or which model keeps the most."""
    if len(models) == 1:
        return _left(models[0].evaluation)
    scored: dict[str, list[tuple[float, str]]] = {}
    for line in _lines(models):
        if line.summary is not None:
            scored.setdefault(line.attack, []).append((line.summary.r_and_g, line.model))
    if not scored:
        return f"{len(models)} models under attack"
    # The attack that leaves least is the one to believe.
    attack = min(scored, key=lambda name: statistics.mean(score for score, _ in scored[name]))
    most = f"{max(score for score, _ in scored[attack]):.1f}"
    best = [name for score, name in scored[attack] if f"{score:.1f}" == most]
    under = f"under {visible(attack)}: R&G {most}"
    if len(best) == len(models):
        return f"{len(models)} models keep the same {under}"
    if len(best) > 1:
        return f"{', '.join(best[:-1])} and {best[-1]} keep the most {under}"
    return f"{best[0]} keeps the most {under}"


def _left(evaluation: Evaluation) -> str:
    clean = text.share(evaluation.clean.value)
    if not evaluation.results:
        return f"{clean} of samples are right without an attack"
    least = min(evaluation.results, key=lambda each: each.robust_accuracy)
    under = f"{visible(least.attack)} at eps {visible(least.eps_text)}"
    return (
        f"{text.share(least.robust_accuracy)} of samples stay right under {under}, {clean} without"
    )


def unit(models: Sequence[Model]) -> str:
    """What a strength means in the chart."""
    ranges = {model.evaluation.input.range for model in models}
    if len(ranges) > 1:
        return "ε, share of the width of the range that each model declares"
    ((low, high),) = ranges
    norms = dict.fromkeys(visible(norm) for norm, _ in _places(models))
    return f"ε ({', '.join(norms)}), in units of the range {text.brief(low)} to {text.brief(high)}"


def chart(models: Sequence[Model]) -> dict[str, Any] | None:
    """The lines of the chart; ``None`` where there is no curve to draw."""
    shared = len({model.evaluation.input.range for model in models}) == 1
    lines = _lines(models)
    named: dict[float, Place] = {}
    for line in lines:
        for place, point in line.points.items():
            named.setdefault(_position(point, line, shared=shared), place)
    eps = sorted(named)
    if len(eps) < 2:
        return None
    return {
        "eps": eps,
        "texts": [_title(named[x], models) for x in eps],
        "unit": unit(models),
        "series": [_series(line, eps, several=len(models) > 1, shared=shared) for line in lines],
    }


def _series(line: _Line, eps: Sequence[float], *, several: bool, shared: bool) -> dict[str, Any]:
    at = {_position(point, line, shared=shared): point for point in line.points.values()}
    points = [at.get(x) for x in eps]
    attack = visible(line.attack)
    return {
        "name": f"{attack} · {line.model}" if several else attack,
        "mean": [rounded(point.robust_accuracy) if point else None for point in points],
        "low": [rounded(point.interval[0]) if point else None for point in points],
        "high": [rounded(point.interval[1]) if point else None for point in points],
        "rank": [None] * len(points),
    }


def _position(point: AttackAtEps, line: _Line, *, shared: bool) -> float:
    """Where a point lies on the axis of the chart."""
    return point.eps if shared else round(point.eps / line.width, 9)


def scores(models: Sequence[Model]) -> dict[str, Any]:
    """Robust accuracy at every strength and the R&G score."""
    places = _places(models)
    rows = []
    for line in _lines(models):
        cells = [_share_cell(line.points.get(place)) for place in places]
        rows.append(line.row(cells=[*cells, _score_cell(line.summary)]))
    return {"titles": [_title(place, models) for place in places], "rows": rows}


def _share_cell(point: AttackAtEps | None) -> Cell:
    if point is None:
        return _NOTHING
    share = point.robust_accuracy
    return text.share(share), text.shares(point.interval), f"{share:.3f}"


def _score_cell(summary: AttackSummary | None) -> Cell:
    if summary is None:
        return _NOTHING
    low, high = summary.interval
    fraction = summary.r_and_g / (100 * len(summary.eps))
    return f"{summary.r_and_g:.1f}", f"{low:.1f}–{high:.1f}", f"{fraction:.3f}"


def differences(found: Evaluations, models: Sequence[Model]) -> dict[str, Any]:
    """How the other models differ from the first: R&G, and robust accuracy at every strength."""
    titles = {r.eps: f"ε {visible(r.eps_text)}" for r in models[0].evaluation.results}
    order = list(dict.fromkeys(line.attack for line in _lines(models)))
    columns = sorted({each.eps for each in found.differences if each.eps is not None})
    told: dict[tuple[int, str], dict[float | None, Difference]] = {}
    for each in sorted(found.differences, key=lambda each: order.index(each.attack)):
        told.setdefault((each.model, each.attack), {})[each.eps] = each
    rows = [
        {
            "model": models[model].name,
            "attack": visible(attack),
            "cells": [_difference_cell(by_eps.get(eps)) for eps in (None, *columns)],
        }
        for (model, attack), by_eps in told.items()
    ]
    return {
        "titles": ["R&G", *(titles.get(eps, text.brief(eps)) for eps in columns)],
        "rows": rows,
    }


def _difference_cell(found: Difference | None) -> tuple[str, str]:
    if found is None:
        return text.MISSING, ""
    low, high = found.interval
    return f"{found.value:+.1f}", f"{low:+.1f} to {high:+.1f}"


def unpaired(found: Evaluations, models: Sequence[Model]) -> list[str]:
    """The models for which there is no difference to the first."""
    paired = {0, *(each.model for each in found.differences)}
    return [model.name for place, model in enumerate(models) if place not in paired]


def breakings(models: Sequence[Model]) -> dict[str, Any]:
    """How many samples each attack broke first at every strength above 0."""
    places = [
        place
        for place in _places(models)
        if any(line.points[place].eps for line in _lines(models) if place in line.points)
    ]
    rows = [_breaking_row(line, line.summary, places) for line in _lines(models) if line.summary]
    return {"titles": [_title(place, models) for place in places], "rows": rows}


def _breaking_row(line: _Line, summary: AttackSummary, places: Sequence[Place]) -> dict[str, Any]:
    found, n = breaking(summary), len(summary.minimal_eps)
    texts = {point.eps: visible(place[1]) for place, point in line.points.items()}
    counts = dict(zip(summary.eps, found.counts, strict=True))
    at = [counts.get(line.points[place].eps) if place in line.points else None for place in places]
    median = "none" if found.median is None else texts.get(found.median, text.brief(found.median))
    return line.row(
        median=median,
        cells=[_count_cell(count, n) for count in (counts.get(0.0), *at, found.never)],
    )


def _count_cell(count: int | None, n: int) -> Cell:
    if count is None:
        return _NOTHING
    return f"{count:,}", text.share(count / n), f"{count / n:.3f}"


def attacks(models: Sequence[Model]) -> list[dict[str, Any]]:
    """Settings, what was broken, and how long it took, of each attack at each strength."""
    return [
        line.row(
            eps=visible(point.eps_text),
            settings=_settings(point),
            right=f"{point.correct + point.broken:,} → {point.correct:,}",
            success=_success_cell(point),
            seconds=f"{point.seconds:.1f}",
        )
        for line in _lines(models)
        for point in line.points.values()
    ]


def _settings(point: AttackAtEps) -> str:
    access = "white box" if point.white_box else "black box"
    told = {name: value for name, value in point.parameters.items() if name not in ("eps", "norm")}
    return ", ".join(filter(None, [access, text.parameters(told)]))


def _success_cell(point: AttackAtEps) -> Cell:
    if point.success_rate is None or point.success_interval is None:
        return _NOTHING
    bounds = text.shares(point.success_interval)
    return text.share(point.success_rate), bounds, f"{point.success_rate:.3f}"


def _lines(models: Sequence[Model]) -> list[_Line]:
    """Attacks in the order asked for, each on all models."""
    found = [line for model in models for line in _lines_of(model)]
    order = list(dict.fromkeys(line.attack for line in found))
    return sorted(found, key=lambda line: order.index(line.attack))


def _lines_of(model: Model) -> Iterator[_Line]:
    low, high = model.evaluation.input.range
    results = model.evaluation.results
    for attack in dict.fromkeys(each.attack for each in results):
        points = {(r.norm, r.eps_text): r for r in results if r.attack == attack}
        yield _Line(model.name, attack, points, summary_of(model.evaluation, attack), high - low)


def _places(models: Sequence[Model]) -> list[Place]:
    """Every strength once, from weak to strong within the norms in the order asked for."""
    found: dict[Place, float] = {}
    for line in _lines(models):
        for place, point in line.points.items():
            found.setdefault(place, point.eps / line.width)
    norms = list(dict.fromkeys(norm for norm, _ in found))
    return sorted(found, key=lambda place: (norms.index(place[0]), found[place]))


def _title(place: Place, models: Sequence[Model]) -> str:
    """A strength as a column calls it, with the norm where there are several."""
    norm, asked = map(visible, place)
    several = len({norm for norm, _ in _places(models)}) > 1
    return f"{norm} {asked}" if several else f"ε {asked}"
