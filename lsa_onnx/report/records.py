"""The figures of a document in long form: a record for each layer and perturbation, or attack and strength."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from lsa_onnx.report import text, view
from lsa_onnx.report.figures.drawing import model_names

if TYPE_CHECKING:
    from lsa_onnx.report.document import LayerInfo, LayerScore, PerturbationResult, Report
    from lsa_onnx.report.evaluation import AttackAtEps, Evaluation
    from lsa_onnx.report.evaluations import Evaluations

Record = dict[str, Any]

# Column → its type. A missing figure is None; figures are those of the records of the same names.
LAYER_COLUMNS: dict[str, type] = {
    "perturbation": str,
    "kind": str,
    "norm": str,
    "eps": float,
    "layer": int,
    "tensor": str,
    "node": str,
    "op": str,
    "body": str,
    "shape": str,
    "dtype": str,
    "parameters": int,
    "status": str,
    "reason": str,
    "mvl_rank": int,
    "cm_mean": float,
    "cm_low": float,
    "cm_high": float,
    "cm_std": float,
    "cm_median": float,
    "cm_min": float,
    "cm_max": float,
    "cm_q05": float,
    "cm_q25": float,
    "cm_q75": float,
    "cm_q95": float,
    "cm_n": int,
    "cm_noise": float,
    "absolute_mean": float,
    "cosine_mean": float,
    "amplification_mean": float,
    "growth": float,
    "stability": float,
    "undefined_samples": int,
    "nonfinite_samples": int,
    "numerical_floor": float,
}
STRENGTH_COLUMNS: dict[str, type] = {
    "attack": str,
    "norm": str,
    "eps": float,
    "eps_text": str,
    "white_box": bool,
    "robust_accuracy": float,
    "low": float,
    "high": float,
    "n": int,
    "correct": int,
    "broken": int,
    "success_rate": float,
    "r_and_g": float,
    "seconds": float,
}


def layer_records(report: Report) -> Iterator[Record]:
    """A record for each perturbation and layer, perturbations as applied, layers as scored.

    ``layer`` counts in graph order from 0, ``mvl_rank`` from 1 in the MVL list of that perturbation:
    ``None`` for a layer that is not listed. ``cm_low`` to ``cm_high`` is the 95 % interval of the mean CM,
    ``cm_q05`` a quantile of CM, ``cm_noise`` the mean CM under random noise of an attack's norm. ``eps`` is
    in units of the declared range.
    """
    places = {info.tensor: (number, info) for number, info in enumerate(report.layers)}
    for result in report.perturbations:
        noise = view.baseline_means(report, result)
        ranks = {tensor: rank for rank, tensor in enumerate(result.mvl.layers, start=1)}
        for score in result.layers:
            if score.tensor in places:
                yield {
                    **_perturbation(result),
                    **_layer(*places[score.tensor]),
                    **_scores(score),
                    "cm_noise": noise.get(score.tensor),
                    "mvl_rank": ranks.get(score.tensor),
                }


def _perturbation(result: PerturbationResult) -> Record:
    attack = result.attack
    return {
        "perturbation": result.name,
        "kind": result.kind,
        "norm": attack.norm if attack else None,
        "eps": attack.eps if attack else None,
    }


def _layer(number: int, info: LayerInfo) -> Record:
    same = ("tensor", "node", "op", "body", "dtype", "parameters", "numerical_floor")
    return {
        "layer": number,
        "shape": None if info.shape is None else text.shape(info.shape),
        **{name: getattr(info, name) for name in same},
    }


def _scores(score: LayerScore) -> Record:
    cm = score.relative_error
    low, high = cm.interval or (None, None)
    same = ("status", "reason", "growth", "stability", "undefined_samples", "nonfinite_samples")
    return {
        "cm_mean": cm.mean,
        "cm_low": low,
        "cm_high": high,
        "cm_std": cm.std,
        "cm_median": cm.median,
        "cm_min": cm.minimum,
        "cm_max": cm.maximum,
        **{f"cm_q{share[2:]}": value for share, value in cm.quantiles.items()},
        "cm_n": cm.n,
        "absolute_mean": score.absolute_error.mean,
        "cosine_mean": score.cosine.mean,
        "amplification_mean": score.amplification.mean,
        **{name: getattr(score, name) for name in same},
    }


def strength_records(evaluation: Evaluation) -> Iterator[Record]:
    """A record for each attack and strength, in the order of the evaluation.

    ``low`` to ``high`` is the 95 % interval of the robust accuracy; ``r_and_g`` is that of the attack over
    all of its strengths.
    """
    scores = {(each.attack, each.norm): each.r_and_g for each in evaluation.summaries}
    for result in evaluation.results:
        yield {**_strength(result), "r_and_g": scores.get((result.attack, result.norm))}


def model_records(found: Evaluations) -> Iterator[Record]:
    """Those of each evaluation, with the ``model`` that they are of."""
    names = model_names([each.model.file.path for each in found.evaluations])
    for name, evaluation in zip(names, found.evaluations, strict=True):
        for record in strength_records(evaluation):
            yield {"model": name, **record}


def _strength(result: AttackAtEps) -> Record:
    low, high = result.interval
    kept = {name: getattr(result, name) for name in STRENGTH_COLUMNS if hasattr(result, name)}
    return {**kept, "low": low, "high": high}
