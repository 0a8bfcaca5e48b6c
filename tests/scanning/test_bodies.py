"""Layers inside of If, Loop and Scan: scored as numpy scores them, and reported by execution."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from lsa_onnx.report.document import Executions, Report
from tests import control_flow, graphs
from tests.graphs import Array
from tests.scanning.helpers import saved, scanned, score, stored

if TYPE_CHECKING:
    import onnx


def cm(clean: Array, other: Array) -> float:
    return float(np.linalg.norm(clean - other) / np.linalg.norm(clean))


def executions(report: Report, tensor: str) -> Executions:
    found = score(report, "pairs", tensor).executions
    assert found is not None
    return found


def scan_pairs(folder: Path, proto: onnx.ModelProto, x: Array, x_adv: Array) -> Report:
    return scanned(
        saved(folder, proto),
        stored(folder, x=x),
        perturbed=stored(folder, "adv.npz", x=x_adv),
        perturbations=(),
        layers=("all",),
    )


def test_a_branch_is_scored_for_the_samples_that_take_it(tmp_path: Path) -> None:
    x = graphs.samples(1, 8, 4)
    x[:, 0] = [0.9, 0.8, 0.7, 0.6, 0.4, 0.3, 0.2, 0.1]
    x_adv = np.clip(x + 0.05, 0, 1)
    # One sample leaves each branch.
    x_adv[3, 0], x_adv[4, 0] = 0.45, 0.55
    report = scan_pairs(tmp_path, control_flow.branching(), x, x_adv)
    taken = {"then_product": [0, 1, 2], "else_product": [5, 6, 7]}
    for (tensor, rows), matrix in zip(taken.items(), (control_flow.U, control_flow.V), strict=True):
        found = score(report, "pairs", tensor)
        expected = [cm(x[i] @ matrix, x_adv[i] @ matrix) for i in rows]
        assert found.relative_error.mean == pytest.approx(np.mean(expected), rel=1e-5)
        assert found.relative_error.n == 3
        assert (found.undefined_samples, found.nonfinite_samples) == (0, 0)
        ran = executions(report, tensor)
        assert (ran.minimum, ran.maximum, ran.mean) == (0, 1, 0.5)
        assert (ran.skipped_samples, ran.diverged_samples) == (5, 2)
        assert ran.relative_error == [pytest.approx(np.mean(expected), rel=1e-5)]
    assert [w.code for w in report.warnings if w.code == "control-flow-changed"]
    assert report.run.batch_mode == "native"
    assert "decide whether and how often" in report.run.batch_note


def test_a_branch_that_no_sample_takes_is_not_executed(tmp_path: Path) -> None:
    x = graphs.samples(1, 4, 4) / 3
    report = scan_pairs(tmp_path, control_flow.branching(), x, x * np.float32(0.9))
    found = score(report, "pairs", "then_out")
    assert (found.status, found.reason) == ("not executed", "no sample ran it on both sides")
    assert found.relative_error.mean is None
    assert "then_out" not in report.mvl.layers
    assert score(report, "pairs", "else_out").status == "ok"


@pytest.mark.parametrize(("batch", "mode"), [("N", "free"), (1, "rebatched")])
def test_a_loop_is_scored_round_by_round_in_a_batch(
    tmp_path: Path, batch: int | str, mode: str
) -> None:
    x = graphs.samples(1, 7, 4)
    x_adv = np.clip(x + 0.1, 0, 1)
    report = scan_pairs(tmp_path, control_flow.recurrent(batch=batch), x, x_adv)
    assert report.run.batch_mode == mode
    pairs = [
        (control_flow.moved_by_round(a), control_flow.moved_by_round(b))
        for a, b in zip(x, x_adv, strict=True)
    ]
    by_round = np.asarray([[cm(a, b) for a, b in zip(*pair, strict=True)] for pair in pairs])
    ran = executions(report, "moved")
    assert (ran.body, ran.minimum, ran.maximum) == ("n_h/body", 3, 3)
    assert ran.relative_error == pytest.approx(by_round.mean(axis=0).tolist(), rel=1e-4)
    whole = [cm(np.asarray(a), np.asarray(b)) for a, b in pairs]
    assert score(report, "pairs", "moved").relative_error.mean == pytest.approx(
        np.mean(whole), rel=1e-4
    )
    info = next(info for info in report.layers if info.tensor == "moved")
    assert (info.body, info.op, info.previous) == ("n_h/body", "Tanh", ["product"])


def test_a_loop_that_ends_by_the_values_is_compared_where_both_sides_run(tmp_path: Path) -> None:
    x = graphs.samples(1, 6, 4)
    x_adv = (x * np.linspace(0.3, 1.6, 6)[:, None]).astype(np.float32).clip(0, 1)
    until = 12.0
    report = scan_pairs(tmp_path, control_flow.recurrent(until=until), x, x_adv)
    rounds = [
        [control_flow.moved_by_round(v, until=until) for v in (a, b)]
        for a, b in zip(x, x_adv, strict=True)
    ]
    counts = np.asarray([[len(found) for found in pair] for pair in rounds])
    assert (counts[:, 0] != counts[:, 1]).any(), "the example should show a change"
    ran = executions(report, "moved")
    assert (ran.minimum, ran.maximum) == (counts[:, 0].min(), counts[:, 0].max())
    assert ran.diverged_samples == (counts[:, 0] != counts[:, 1]).sum()
    common = [(np.asarray(a[: len(b)]), np.asarray(b[: len(a)])) for a, b in rounds]
    expected = np.mean([cm(a, b) for a, b in common])
    assert score(report, "pairs", "moved").relative_error.mean == pytest.approx(expected, rel=1e-4)


def test_a_scan_node_is_scored_row_by_row(tmp_path: Path) -> None:
    x = graphs.samples(1, 5, 5, 4)
    x_adv = np.clip(x + 0.2 * graphs.samples(2, 5, 5, 4), 0, 1)
    report = scan_pairs(tmp_path, control_flow.running_mean(), x, x_adv)

    def means(sample: Array) -> Array:
        state, found = sample.mean(axis=0), []
        for row in sample:
            state = (state + row) / 2
            found.append(state)
        return np.asarray(found)

    by_row = np.asarray(
        [
            [cm(a, b) for a, b in zip(means(s), means(t), strict=True)]
            for s, t in zip(x, x_adv, strict=True)
        ]
    )
    ran = executions(report, "mean")
    assert (ran.minimum, ran.maximum, ran.diverged_samples) == (5, 5, 0)
    assert ran.relative_error == pytest.approx(by_row.mean(axis=0).tolist(), rel=1e-4)


def test_attacks_go_through_bodies(tmp_path: Path) -> None:
    model = saved(tmp_path, control_flow.recurrent())
    data = stored(tmp_path, x=graphs.samples(1, 12, 4))
    report = scanned(model, data, perturbations=("pgd",), eps="0.2")
    attack = report.perturbations[0].attack
    assert attack is not None
    assert attack.baseline is not None
    assert report.perturbations[0].flips is not None
    assert report.perturbations[0].flips >= (attack.baseline.flips or 0)
    # The paper's layers: what a learnable node in the body makes, after its activation.
    assert [(info.tensor, info.learnable) for info in report.layers] == [("moved", ["n_product"])]
