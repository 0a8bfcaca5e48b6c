"""What torch exports today is scanned: by both exporters, at each opset, with a batch that is free or not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lsa_onnx.report.document import Distribution, LayerScore, Report
from tests import graphs
from tests.real.whole_scans import (
    Whole,
    relative_error,
    require_figures,
    require_scores_of_numpy,
    require_sound,
    whole_scan,
)
from tests.scanning.helpers import Array, attack_of, result
from tests.trainer.layer_outputs import layer_outputs, relative_errors
from tests.trainer.scanned_nets import (
    DYNAMO,
    NETS,
    TORCHSCRIPT,
    fresh_export,
    made,
    samples,
)

SAMPLES = 9
WAYS = [*((False, opset) for opset in TORCHSCRIPT), *((True, opset) for opset in DYNAMO)]
# Attention can be exported from opset 14 on.
WITH_ATTENTION = ("encoder", "reader")
# The mean over the batch chooses a branch: only a sample alone is sure to get its own.
ONE_BY_ONE = ("if",)
# Their exports hold no batch of 1 beside that of the input, which can so be freed.
REBATCHED = ("cnn", "unet", "half", "loop")
# Of what is in a body, or in a script, neither exporter says which module made it.
UNNAMED = ("if", "loop")
# In half precision torch and ONNX Runtime round at different places.
TOLERANCES = {"half": 0.05, "bfloat16": 0.05}


def scanned(
    folder: Path,
    name: str,
    opset: int,
    *,
    dynamo: bool,
    batch: int | None = None,
    x: Array | None = None,
    **options: Any,
) -> Whole:
    """A fresh export of the network, scanned with samples of its own, or with ``x``."""
    proto = fresh_export(name, made(name), opset, dynamo=dynamo, batch=batch)
    model, data = graphs.save(proto, folder / "model.onnx"), folder / "data.npz"
    np.savez(data, x=samples(name, SAMPLES).numpy() if x is None else x)
    return whole_scan(model, data, **{"eps": NETS[name].eps, **options})


def require_scores_of_torch(found: Whole, name: str) -> None:
    """The layers of the source are there, under their names, with the scores that torch gives them."""
    module = made(name)
    clean, moved = layer_outputs(module, found.clean), layer_outputs(module, found.attacked)
    for layer in NETS[name].layers:
        errors = relative_errors(clean, moved, layer)
        norms = [np.sqrt(sum((a**2).sum() for a in calls.get(layer, []))) for calls in clean]
        distances = errors * norms
        tensors = [
            s for s in result(found.report, "pgd").layers
            if same(s.relative_error, errors, name) and same(s.absolute_error, distances, name)
        ]  # fmt: skip
        assert tensors, layer
        if name not in UNNAMED:
            assert any(layer in origin(found.report, score) for score in tensors), layer


def same(distribution: Distribution, values: Array, name: str) -> bool:
    """Whether ``require_figures`` holds."""
    try:
        require_figures(distribution, values, rel=TOLERANCES.get(name, 1e-3))
    except AssertionError:
        return False
    return True


def origin(report: Report, score: LayerScore) -> str:
    """Where in the source a tensor was made: its names, or what its exporter wrote beside it."""
    (info,) = [info for info in report.layers if info.tensor == score.tensor]
    scopes = (info.scope or "").replace("', '", ".")
    return f"{info.tensor} {info.node} {scopes}".replace("/", ".")


def require_all(found: Whole, name: str) -> None:
    require_sound(found, observer=1e-5 if name not in TOLERANCES else 0.02)
    if NETS[name].inputs(1).is_floating_point():
        require_scores_of_numpy(found, rel=TOLERANCES.get(name, 1e-4))
    require_scores_of_torch(found, name)


def test_one_export(tmp_path: Path) -> None:
    """Of all those below, what every change tries."""
    require_all(scanned(tmp_path, "half", 13, dynamo=False), "half")


@pytest.mark.slow
@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize(("dynamo", "opset"), WAYS)
def test_every_export(name: str, dynamo: bool, opset: int, tmp_path: Path) -> None:
    if name in WITH_ATTENTION and not dynamo and opset < 14:
        pytest.skip("attention can be exported from opset 14 on")
    found = scanned(tmp_path, name, opset, dynamo=dynamo)
    require_all(found, name)
    assert attack_of(found.report).success is None or success(found) > 0
    mode = "native" if name in ONE_BY_ONE else "free"
    assert found.report.run.batch_mode == mode, found.report.run.batch_note


def success(found: Whole) -> float:
    outcome = attack_of(found.report).success
    assert outcome is not None
    return outcome.value


@pytest.mark.slow
@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize(("dynamo", "opset"), [(False, 17), (True, 18), (True, 23)])
def test_the_layers_of_the_paper(name: str, dynamo: bool, opset: int, tmp_path: Path) -> None:
    """Fewer tensors, and other fusions around them: the same scores."""
    every = scanned(tmp_path, name, opset, dynamo=dynamo)
    found = scanned(tmp_path, name, opset, dynamo=dynamo, layers=("activations",))
    require_sound(found, observer=1e-5 if name not in TOLERANCES else 0.02)
    known = {s.tensor: s for s in result(every.report, "gaussian").layers}
    chosen = result(found.report, "gaussian").layers
    assert 0 < len(chosen) < len(known)
    for score in chosen:
        mean = known[score.tensor].relative_error.mean
        assert score.relative_error.mean == pytest.approx(mean, rel=TOLERANCES.get(name, 1e-3))


@pytest.mark.slow
@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize(("dynamo", "opset"), [(False, 17), (True, 20)])
def test_a_batch_of_one_that_is_baked_in(
    name: str, dynamo: bool, opset: int, tmp_path: Path
) -> None:
    found = scanned(tmp_path, name, opset, dynamo=dynamo, batch=1)
    require_all(found, name)
    expected = "rebatched" if name in REBATCHED else ("native", "rebatched")
    assert found.report.run.batch_mode in expected, found.report.run.batch_note


@pytest.mark.slow
@pytest.mark.parametrize("name", [n for n in NETS if n not in ONE_BY_ONE])
@pytest.mark.parametrize(("dynamo", "opset"), [(False, 17), (True, 20)])
def test_a_batch_of_four_that_is_baked_in(
    name: str, dynamo: bool, opset: int, tmp_path: Path
) -> None:
    """Nine samples are three runs, of which the last is filled up."""
    found = scanned(tmp_path, name, opset, dynamo=dynamo, batch=4)
    require_sound(found, observer=1e-5 if name not in TOLERANCES else 0.02)
    assert found.report.run.batch_mode == "native"
    assert "fixed batch of 4" in found.report.run.batch_note
    require_scores_of_torch(found, name)


@pytest.mark.parametrize(
    ("dynamo", "opset"), [(False, 18), pytest.param(True, 23, marks=pytest.mark.slow)]
)
def test_each_round_of_a_loop(dynamo: bool, opset: int, tmp_path: Path) -> None:
    found = scanned(tmp_path, "loop", opset, dynamo=dynamo)
    (score,) = inside(found.report, "Relu")
    executions = score.executions
    assert executions is not None
    assert executions.body.endswith("/body")
    assert (executions.minimum, executions.maximum, executions.mean) == (3, 3, 3)
    assert (executions.skipped_samples, executions.diverged_samples) == (0, 0)
    module = made("loop")
    clean, moved = layer_outputs(module, found.clean), layer_outputs(module, found.attacked)
    rounds = [[activated(sample["again"][i]) for sample in clean] for i in range(3)]
    others = [[activated(sample["again"][i]) for sample in moved] for i in range(3)]
    errors = [
        np.mean([relative_error(a, b) for a, b in zip(one, other, strict=True)])
        for one, other in zip(rounds, others, strict=True)
    ]
    assert executions.relative_error == pytest.approx(errors, rel=1e-3)


def activated(x: Array) -> Array:
    """What a ReLU makes of it."""
    positive: Array = np.maximum(x, 0)
    return positive


def inside(report: Report, op: str) -> list[LayerScore]:
    """PGD's scores of what nodes of this kind make in bodies."""
    tensors = {info.tensor for info in report.layers if info.body and info.op == op}
    return [score for score in result(report, "pgd").layers if score.tensor in tensors]


@pytest.mark.parametrize(
    ("dynamo", "opset"), [(False, 18), pytest.param(True, 23, marks=pytest.mark.slow)]
)
def test_each_branch_of_an_if_has_the_samples_that_take_it(
    dynamo: bool, opset: int, tmp_path: Path
) -> None:
    """The attack sends those in the middle another way: neither branch has both sides of them."""
    middle = np.linspace(0.3, 0.7, SAMPLES)[:, None] + np.zeros(6)
    x = (middle + graphs.samples(5, SAMPLES, 6) / 10 - 0.05).astype(np.float32)
    found = scanned(tmp_path, "if", opset, dynamo=dynamo, x=x)
    clean, moved = (x.mean(axis=1) > 0.5 for x in (found.clean, found.attacked))
    diverged = int((clean != moved).sum())
    assert 0 < diverged < SAMPLES
    for op, taken, still in (("Relu", clean, clean & moved), ("Tanh", ~clean, ~clean & ~moved)):
        (score,) = inside(found.report, op)
        executions = score.executions
        assert executions is not None
        assert (executions.minimum, executions.maximum) == (0, 1)
        assert executions.mean == pytest.approx(taken.mean())
        assert executions.diverged_samples == diverged
        assert executions.skipped_samples == SAMPLES - still.sum()
        assert score.relative_error.n == still.sum()
