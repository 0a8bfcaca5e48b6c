"""What must hold for the scan of any model: all accounted for, nothing changed, attacks beyond noise."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from numpy.typing import NDArray

from lsa_onnx.model import load_model, with_weights
from lsa_onnx.report.document import AttackOutcome, Distribution, LayerScore, Report
from lsa_onnx.rewrite import expose
from lsa_onnx.rewrite.graph import subgraphs
from lsa_onnx.scanning import ScanOptions, scan
from tests import graphs
from tests.scanning.helpers import attack_of, result

if TYPE_CHECKING:
    import onnx

Array = NDArray[Any]

# Scores are of sums of squares in single precision, of a graph that is optimised.
TOLERANCE = 1e-4
PERTURBATIONS = ("gaussian", "pgd")
_PLAIN = ("float16", "float32", "float64")


@dataclass(frozen=True)
class Whole:
    """A scan under noise and PGD.

    Attributes:
        model: The file.
        report: What was found.
        clean: The inputs that were perturbed, shape (n, ...).
        attacked: What PGD made of them.
    """

    model: Path
    report: Report
    clean: Array
    attacked: Array


def whole_scan(model: Path, data: Path | None = None, **options: Any) -> Whole:
    """Scan all tensors unless ``options`` say otherwise."""
    kept = model.with_name("attacked.npz")
    options = {"perturbations": PERTURBATIONS, "layers": ("all",), "steps": 5, **options}
    chosen = ScanOptions(data=data, save_adversarial=kept, device="cpu", **options)
    report = scan(model, chosen)
    with np.load(kept) as arrays:
        return Whole(model, report, arrays["x"], arrays["x_adv"])


def require_sound(found: Whole, *, observer: float = 1e-5) -> None:
    """Hold a report to what is true of any.

    Args:
        found: The scan.
        observer: How far observing may move the outputs, relative to them.
    """
    report = found.report
    require_accounted(found)
    require_explained(report)
    assert report.verdict.status in ("layers found", "no layer stands out")
    assert report.mvl.perturbation in PERTURBATIONS
    assert set(report.mvl.layers) <= {info.tensor for info in report.layers}
    assert report.observer.n == len(found.clean)
    assert report.observer.max_relative_difference <= observer
    assert report.observer.label_flips in (0, None)
    require_beyond_noise(report)


def require_accounted(found: Whole) -> None:
    """Each tensor that a node makes, in bodies too, is scored or has a reason, once."""
    report = found.report
    told = [(info.tensor, info.op) for info in report.layers]
    told += [(item.tensor, item.op) for item in report.not_scored]
    assert Counter(told) == Counter(made_tensors(load_model(found.model).proto.graph))
    assert all(item.reason for item in report.not_scored)


def made_tensors(graph: onnx.GraphProto) -> Iterator[tuple[str, str]]:
    """Every tensor that a node of the graph makes, or of its bodies, with the node's operator."""
    for node in graph.node:
        yield from ((name, node.op_type) for name in node.output if name)
        for body in subgraphs(node):
            yield from made_tensors(body)


def require_explained(report: Report) -> None:
    """Every score is finite, or its layer says why not."""
    assert report.layers
    for found in report.perturbations:
        for score in found.layers:
            if score.status in ("ok", "constant"):
                assert score.relative_error.mean is not None
                assert np.isfinite(score.relative_error.mean)
            else:
                assert score.reason


def require_beyond_noise(report: Report) -> None:
    """PGD does at least what noise of its size does: to predictions, or without classes to layers."""
    attack = attack_of(report)
    assert attack.white_box
    assert attack.baseline is not None
    if attack.success is None:
        assert moved(report, attack) > 1
        return
    assert attack.baseline.flips is not None
    assert attack.success.value >= attack.baseline.flips


def moved(report: Report, attack: AttackOutcome) -> float:
    """How far the layers move under the attack, in units of how far under noise of its size."""
    assert attack.baseline is not None
    scores = result(report, "pgd").layers
    pairs = zip(scores, attack.baseline.layers, strict=True)
    defined = [(s.relative_error.mean, noise) for s, noise in pairs if noise]
    return float(np.median([mean / noise for mean, noise in defined if mean is not None]))


def require_figures(found: Distribution, values: Array, *, rel: float = TOLERANCE) -> None:
    """Hold a distribution to the values of the samples, of which NaN are left out."""
    defined = values[np.isfinite(values)]
    assert found.n == len(defined) > 0
    got = [found.mean, found.minimum, found.maximum, found.median]
    wanted = [defined.mean(), defined.min(), defined.max(), np.median(defined)]
    assert got == pytest.approx(wanted, rel=rel, abs=1e-7)


def require_scores_of_numpy(found: Whole, some: int = 8, *, rel: float = TOLERANCE) -> None:
    """Hold some of PGD's scores to numpy, from single runs of the model that returns the tensors."""
    model = load_model(found.model)
    # numpy has no bfloat16, and runs return nothing from inside of bodies.
    plain = {i.tensor for i in found.report.layers if i.dtype in _PLAIN and i.body is None}
    scores = [s for s in result(found.report, "pgd").layers if s.tensor in plain]
    chosen = spread([score for score in scores if score.status == "ok"], some)
    exposed = with_weights(model, expose(model.proto, [score.tensor for score in chosen]))
    (name,) = [value.name for value in model.inputs]
    pairs = [
        [graphs.run(exposed, {name: x[i : i + 1]}) for x in (found.clean, found.attacked)]
        for i in range(len(found.clean))
    ]
    for score in chosen:
        errors = [relative_error(a[score.tensor], b[score.tensor]) for a, b in pairs]
        require_figures(score.relative_error, np.asarray(errors), rel=rel)


def relative_error(a: Array, b: Array) -> float:
    """‖a − b‖ / ‖a‖, NaN where ‖a‖ is 0."""
    clean, moved = a.astype(np.float64), b.astype(np.float64)
    norm = np.linalg.norm(clean)
    return float(np.linalg.norm(clean - moved) / norm) if norm > 0 else float("nan")


def spread(scores: Sequence[LayerScore], some: int) -> list[LayerScore]:
    """So many of them, from the first to the last."""
    places = np.unique(np.linspace(0, len(scores) - 1, min(some, len(scores))).astype(int))
    return [scores[place] for place in places]
