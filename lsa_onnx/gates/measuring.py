"""The figures of a document that a gate asks about."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from lsa_onnx.errors import DataError
from lsa_onnx.gates.applying import asked_about
from lsa_onnx.gates.expression import METRICS, Gate
from lsa_onnx.gates.layers import find_layers
from lsa_onnx.report.conditions import Dose, doses_in
from lsa_onnx.report.document import Accuracy, LayerInfo, MvlList, PerturbationResult, Report
from lsa_onnx.report.evaluation import AttackAtEps, Evaluation

_NO_LABELS = "there are no labels, or the model predicts no classes"
_NO_CLASSES = "the model predicts no classes"
_NONE_RIGHT = "no sample was right without the attack"


@dataclass(frozen=True)
class Reading:
    """A figure: what it is of, in words; ``value`` is ``None`` where it is undefined, and ``why``."""

    of: str
    value: float | None
    why: str = ""


def readings(gate: Gate, document: Report | Evaluation) -> list[Reading]:
    """All figures that a gate is about; it fails where its comparison is true of one of them.

    Args:
        gate: What is asked.
        document: What a run found.

    Raises:
        DataError: This document has no such figure: it has no such metric, layer or perturbation.
    """
    require_metric(gate, document)
    if gate.metric == "warnings":
        return [_warnings(gate, document)]
    if isinstance(document, Evaluation):
        return _EVALUATED[gate.metric](gate, document)
    return _SCANNED[gate.metric](gate, document)


def require_metric(gate: Gate, document: Report | Evaluation) -> None:
    """Refuse a metric that this kind of document has not.

    Raises:
        DataError: It has not.
    """
    kind = "evaluation" if isinstance(document, Evaluation) else "report"
    if kind not in METRICS[gate.metric].documents:
        raise no_such_metric(gate, kind)


def no_such_metric(gate: Gate, kind: str) -> DataError:
    """The error for a metric that a kind of document has not."""
    known = [name for name, metric in METRICS.items() if kind in metric.documents]
    command = {"report": "a scan", "evaluation": "an evaluation"}[kind]
    return DataError(
        f"gate {gate.text!r}: {command} measures no {gate.metric}; give one of {', '.join(known)}"
    )


def _warnings(gate: Gate, document: Report | Evaluation) -> Reading:
    counted = [w for w in document.warnings if gate.part in (None, w.code)]
    return Reading(f"warnings {gate.part}" if gate.part else "warnings", float(len(counted)))


def _results(gate: Gate, report: Report) -> list[tuple[Dose, PerturbationResult]]:
    applied = doses_in(report)
    low, high = report.input.range
    places = asked_about(gate, applied, high - low)
    return [(applied[at], report.perturbations[at]) for at in places]


def _of_accuracy(of: str, found: Accuracy | None, why: str) -> Reading:
    return Reading(of, None if found is None else found.value, why)


def _accuracy(gate: Gate, report: Report) -> list[Reading]:
    if gate.perturbation is None:
        return [_of_accuracy("clean accuracy", report.accuracy, _NO_LABELS)]
    return [
        _of_accuracy(f"accuracy under {applied.words}", result.accuracy, _NO_LABELS)
        for applied, result in _results(gate, report)
    ]


def _success(gate: Gate, report: Report) -> list[Reading]:
    return [
        _of_accuracy(
            f"success of {applied.words}",
            result.attack.success if result.attack else None,
            f"{_NO_CLASSES}, or {_NONE_RIGHT}",
        )
        for applied, result in _results(gate, report)
    ]


def _flips(gate: Gate, report: Report) -> list[Reading]:
    return [
        Reading(f"flips under {applied.words}", result.flips, _NO_CLASSES)
        for applied, result in _results(gate, report)
    ]


def _mu(gate: Gate, report: Report) -> list[Reading]:
    return [
        Reading(
            f"mean CM over all layers under {applied.words}", result.mvl.mu, "no layer has a CM"
        )
        for applied, result in _results(gate, report)
    ]


def _cm(gate: Gate, report: Report) -> list[Reading]:
    chosen = {layer.tensor for layer in _layers(gate, report)}
    return [
        Reading(
            f"mean CM of {score.tensor!r} under {applied.words}",
            score.relative_error.mean,
            f"it is {score.status} for {score.tensor!r}",
        )
        for applied, result in _results(gate, report)
        for score in result.layers
        if score.tensor in chosen
    ]


def _mvl(gate: Gate, report: Report) -> list[Reading]:
    """How many of the layers are in a list: without a perturbation, in that of the headline."""
    chosen = {layer.tensor for layer in _layers(gate, report)}
    lists = [(f"the MVL list under {report.mvl.perturbation or 'nothing'}", report.mvl)]
    if gate.perturbation is not None:
        found = _results(gate, report)
        lists = [(f"the MVL list under {applied.words}", result.mvl) for applied, result in found]
    return [Reading(f"layers{_named(gate)} in {of}", _listed(mvl, chosen)) for of, mvl in lists]


def _listed(mvl: MvlList, chosen: set[str]) -> float:
    return float(sum(tensor in chosen for tensor in mvl.layers))


def _named(gate: Gate) -> str:
    return "" if gate.part is None else f" {gate.part!r}"


def _layers(gate: Gate, report: Report) -> list[LayerInfo]:
    if gate.part is None:
        return report.layers
    return find_layers(gate.part, report.layers, f"gate {gate.text!r}")


def _attacked(gate: Gate, found: Evaluation) -> list[tuple[Dose, AttackAtEps]]:
    applied = doses_in(found)
    low, high = found.input.range
    places = asked_about(gate, applied, high - low)
    return [(applied[at], found.results[at]) for at in places]


def _robust(gate: Gate, found: Evaluation) -> list[Reading]:
    if gate.perturbation is None:
        # Without labels it is the agreement of the model with itself, which no gate could fail.
        return [_of_accuracy("clean accuracy", _clean(found), "there are no labels")]
    return [
        Reading(f"accuracy under {applied.words}", result.robust_accuracy)
        for applied, result in _attacked(gate, found)
    ]


def _clean(found: Evaluation) -> Accuracy | None:
    return found.clean if found.labels == "given" else None


def _broken(gate: Gate, found: Evaluation) -> list[Reading]:
    return [
        Reading(f"success of {applied.words}", result.success_rate, _NONE_RIGHT)
        for applied, result in _attacked(gate, found)
    ]


def _r_and_g(gate: Gate, found: Evaluation) -> list[Reading]:
    names = {result.attack for _, result in _attacked(gate, found)}
    scores = {each.attack: each.r_and_g for each in found.summaries}
    return [
        Reading(f"R&G score under {name}", scores.get(name), "0 is not among the strengths")
        for name in sorted(names)
    ]


_SCANNED: dict[str, Callable[[Gate, Report], list[Reading]]] = {
    "accuracy": _accuracy,
    "success": _success,
    "flips": _flips,
    "cm": _cm,
    "mu": _mu,
    "mvl": _mvl,
}
_EVALUATED: dict[str, Callable[[Gate, Evaluation], list[Reading]]] = {
    "accuracy": _robust,
    "success": _broken,
    "r&g": _r_and_g,
}
