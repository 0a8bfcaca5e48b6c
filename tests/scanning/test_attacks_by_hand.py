"""Scans with attacks of models whose weak samples are known: what is counted, and on which model.

An optimal attack of strength eps breaks the samples of ``separated`` that are nearer to its boundary
than eps, and no other.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lsa_onnx.report.document import AttackOutcome
from tests import graphs
from tests.scanning.helpers import (
    AWAY,
    REACH,
    Array,
    at_distance,
    attack_of,
    result,
    saved,
    scanned,
    separated,
    separated_labels,
    stored,
)

if TYPE_CHECKING:
    import onnx

Norm = Literal["linf", "l2", "l1"]
STEPS = {"steps": 3}


def counts(found: AttackOutcome) -> tuple[int, int, int, int]:
    """Broken of initially right samples, and still right of all samples."""
    assert found.success is not None
    assert found.robust_accuracy is not None
    success, robust = found.success, found.robust_accuracy
    return (
        round(success.value * success.n),
        success.n,
        round(robust.value * robust.n),
        robust.n,
    )


def by_hand(eps: float, away: Array = AWAY) -> tuple[int, int, int, int]:
    """The same for samples of which the last has a wrong label."""
    broken = int((np.abs(away[:-1]) < eps).sum())
    right = len(away) - 1
    return broken, right, right - broken, len(away)


def labelled(folder: Path, away: Array = AWAY) -> Path:
    return stored(folder, x=at_distance(away), y=separated_labels(away))


@pytest.mark.parametrize("eps", [0.04, 0.12, 0.22, 0.33])
@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
@pytest.mark.parametrize("name", ["fgsm", "pgd"])
def test_exactly_the_samples_within_reach_are_broken(
    tmp_path: Path, name: str, norm: Norm, eps: float
) -> None:
    # All changes of a norm's best direction stay inside the range: l1 moves one value alone.
    eps = eps if norm != "l1" else eps / 2
    model, data = saved(tmp_path, separated()), labelled(tmp_path)
    report = scanned(
        model, data, perturbations=(name,), norm=norm, eps=str(eps * REACH[norm]), **STEPS
    )
    found = attack_of(report, name)
    assert counts(found) == by_hand(eps)
    assert (found.norm, found.labels, found.objective, found.white_box) == (
        norm,
        "given",
        "ce",
        True,
    )
    accuracy = result(report, name).accuracy
    assert accuracy is not None
    assert round(accuracy.value * 9) == by_hand(eps)[2]


def test_robust_accuracy_never_counts_a_sample_that_was_wrong(tmp_path: Path) -> None:
    """An attack that knows no labels moves the mislabelled sample, so near the boundary, to its label."""
    report = scanned(
        saved(tmp_path, separated()),
        labelled(tmp_path),
        perturbations=("pgd",),
        objective="kl",
        eps="0.04",
        restarts=10,
        **STEPS,
    )
    assert report.accuracy is not None
    assert (report.accuracy.value, report.accuracy.n) == (8 / 9, 9)
    assert counts(attack_of(report)) == (0, 8, 8, 9)
    found = result(report, "pgd")
    assert found.flips == pytest.approx(1 / 9)
    assert found.accuracy is not None
    assert found.accuracy.value == 1


@pytest.mark.parametrize("objective", ["ce", "margin", "dlr", "kl"])
@pytest.mark.parametrize("decision", ["max", "min"])
def test_every_objective_serves_models_of_scores_and_of_costs(
    tmp_path: Path, objective: str, decision: Literal["max", "min"]
) -> None:
    scale = 1 if decision == "max" else -1
    report = scanned(
        saved(tmp_path, separated(scale=scale)),
        labelled(tmp_path),
        perturbations=("pgd",),
        objective=objective,
        decision=decision,
        eps="0.22",
        steps=8,
        # The divergence grows on both sides of a sample, less so on its own.
        restarts=12 if objective == "kl" else 1,
    )
    assert counts(attack_of(report)) == by_hand(0.22)
    assert attack_of(report).objective == objective
    assert ("the lowest score wins" in report.model.logits_found) == (decision == "min")


def test_reading_costs_as_scores_is_noticed(tmp_path: Path) -> None:
    report = scanned(saved(tmp_path, separated(scale=-1)), labelled(tmp_path), **STEPS)
    assert report.accuracy is not None
    assert report.accuracy.value == pytest.approx(1 / 9)
    assert "accuracy-near-chance" in {warning.code for warning in report.warnings}


@pytest.mark.parametrize("batch", ["N", 1, 3, 4])
def test_the_file_is_judged_at_the_batch_it_was_exported_with(
    tmp_path: Path, batch: int | str
) -> None:
    report = scanned(
        saved(tmp_path, separated(batch)), labelled(tmp_path), eps="0.22", batch=5, **STEPS
    )
    for name in ("fgsm", "pgd"):
        assert counts(attack_of(report, name)) == by_hand(0.22)
    assert report.observer.label_flips == 0


def without_a_batch() -> onnx.ModelProto:
    """The mean over four rows of ``separated``'s scores: the leading dimension counts no samples."""
    proto = separated(4)
    proto.graph.node[0].output[0] = "rows"
    proto.graph.node.append(
        graphs.node("ReduceMean", ["rows"], ["y"], axes=[0], keepdims=1, name="mean")
    )
    proto.graph.output[0].CopyFrom(graphs.value("y", [1, 2]))
    return proto


def test_a_model_without_a_batch_axis(tmp_path: Path) -> None:
    x = np.repeat(at_distance()[:, None], 4, axis=1)
    data = stored(tmp_path, x=x, y=separated_labels())
    report = scanned(saved(tmp_path, without_a_batch()), data, eps="0.22", batch=4, **STEPS)
    assert (report.run.batch_mode, report.run.batch) == ("native", 1)
    for name in ("fgsm", "pgd"):
        assert counts(attack_of(report, name)) == by_hand(0.22)


def images(low: float, high: float) -> tuple[onnx.ModelProto, Array]:
    """``separated`` on images of 3×1×2 that are normalised outside of the model."""
    mean, std = np.array([0.4, 0.5, 0.3]), np.array([0.2, 0.25, 0.5])
    half = np.array([1, -1, 2]) / 2
    rows = np.repeat(half * std, 2)
    weights = {
        "w": np.stack([0 * rows, rows], 1).astype(np.float32),
        "b": np.array([0, 2 * half @ mean - 1], np.float32),
    }
    nodes = [graphs.node("Flatten", ["x"], ["f"]), graphs.node("Gemm", ["f", "w", "b"], ["y"])]
    inputs, outputs = [graphs.value("x", ["N", 3, 1, 2])], [graphs.value("y", ["N", 2])]
    pixels = np.repeat(at_distance()[:, :, None, None], 2, axis=3)
    return graphs.model(nodes, inputs, outputs, weights), low + (high - low) * pixels


@pytest.mark.parametrize(("low", "high", "eps"), [(0, 1, "0.22"), (0, 255, "22%"), (-1, 1, "0.44")])
def test_normalisation_outside_of_the_model_is_part_of_the_attack(
    tmp_path: Path, low: float, high: float, eps: str
) -> None:
    proto, x = images(low, high)
    report = scanned(
        saved(tmp_path, proto),
        stored(tmp_path, x=x.astype(np.float32), y=separated_labels()),
        range=(low, high),
        mean=(0.4, 0.5, 0.3),
        std=(0.2, 0.25, 0.5),
        eps=eps,
        **STEPS,
    )
    for name in ("fgsm", "pgd"):
        found = attack_of(report, name)
        assert counts(found) == by_hand(0.22)
        assert found.eps == pytest.approx(0.22 * (high - low))
    assert result(report, "fgsm").input_linf.maximum == pytest.approx(0.22 * (high - low), rel=1e-5)


def test_confident_answers_are_attacked_all_the_same(tmp_path: Path) -> None:
    """Cross-entropies of these logits are 0, and so are their gradients."""
    report = scanned(saved(tmp_path, separated(scale=1e4)), labelled(tmp_path), eps="0.22", **STEPS)
    assert counts(attack_of(report)) == by_hand(0.22)
    # All but the mislabelled sample, whose cross-entropy is large.
    assert attack_of(report).vanished == pytest.approx(8 / 9)
    (said,) = [w.message for w in report.warnings if w.code == "vanishing-gradient"]
    assert "For 88.9% of samples" in said


def test_noise_of_the_same_norm_breaks_less(tmp_path: Path) -> None:
    """No noise of eps 0.12 reaches a boundary that is 0.15 away, and some signs reach 0.05."""
    report = scanned(saved(tmp_path, separated()), labelled(tmp_path), eps="0.12", **STEPS)
    found, base = result(report, "pgd"), attack_of(report).baseline
    assert base is not None
    assert base.accuracy is not None
    assert base.flips is not None
    assert found.flips is not None
    assert base.flips <= 3 / 9
    assert found.flips == pytest.approx(2 / 9)
    assert base.accuracy.value >= 6 / 9
    assert len(base.layers) == len(report.layers)


@settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    away=st.lists(
        st.floats(0.01, 0.45).flatmap(lambda a: st.sampled_from([a, -a])), min_size=2, max_size=6
    ),
    eps=st.floats(0.01, 0.45),
    batch=st.integers(1, 4),
)
def test_any_samples_at_any_eps(tmp_path: Path, away: list[float], eps: float, batch: int) -> None:
    distances = np.array(away)
    # Where rounding decides there is nothing to predict.
    distances = np.where(np.abs(np.abs(distances) - eps) < 1e-4, distances * 1.01, distances)
    report = scanned(
        saved(tmp_path, separated()),
        labelled(tmp_path, distances),
        perturbations=("pgd",),
        eps=repr(eps),
        batch=batch,
        **STEPS,
    )
    assert counts(attack_of(report)) == by_hand(eps, distances)


@pytest.mark.parametrize("build", [graphs.conv_net, graphs.fixed_batch_net])
def test_attacks_do_not_depend_on_the_batch(
    tmp_path: Path, build: Callable[[], onnx.ModelProto]
) -> None:
    model, data = saved(tmp_path, build()), stored(tmp_path, x=graphs.samples(2, 7, 3, 5, 7))
    chosen: dict[str, Any] = {"perturbations": ("pgd", "square"), "eps": "0.2", **STEPS}
    whole, parts = (scanned(model, data, batch=size, **chosen) for size in (7, 3))
    for name in ("pgd", "square"):
        one, other = result(whole, name), result(parts, name)
        assert one.flips == other.flips
        assert one.attack is not None
        assert other.attack is not None
        assert one.attack.success == other.attack.success
        assert one.input_l2.mean == pytest.approx(other.input_l2.mean, rel=1e-4)
