"""The untouched file: run at any batch it allows, and caught when it draws random numbers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from lsa_onnx.prediction import find_head
from lsa_onnx.scanning import ScanOptions, open_subject
from lsa_onnx.scanning.deployed import Deployed
from tests import graphs
from tests.scanning.helpers import (
    AWAY,
    CPU,
    at_distance,
    saved,
    scanned,
    separated,
    separated_labels,
    stored,
)

if TYPE_CHECKING:
    import onnx


def deployed(model: Path, data: Path, *, one_by_one: bool = False) -> Deployed:
    subject = open_subject(str(model), ScanOptions(data=data))
    return Deployed(subject, find_head(subject.model.proto), CPU, one_by_one=one_by_one)


@pytest.mark.parametrize(
    ("batch", "one_by_one"), [("N", False), (1, True), (1, False), (4, False), (9, False)]
)
def test_any_batch_gives_every_sample_its_own_row(
    tmp_path: Path, batch: int | str, one_by_one: bool
) -> None:
    x = at_distance()
    run = deployed(saved(tmp_path, separated(batch)), stored(tmp_path, x=x), one_by_one=one_by_one)
    found = run.run({"x": x})["y"].reshape(9, 2)
    np.testing.assert_allclose(found, np.stack([0 * AWAY, 4 * AWAY], 1), atol=1e-6)
    classes = run.classes({"x": x})
    assert classes is not None
    assert classes.tolist() == (AWAY > 0).astype(int).tolist()


def test_a_model_without_classes_has_none(tmp_path: Path) -> None:
    x = graphs.samples(0, 3, 2)
    run = deployed(saved(tmp_path, graphs.elu_mlp()), stored(tmp_path, x=x))
    assert run.classes({"x": x}) is None
    assert run.run({"x": x})["y"].shape == (3, 1)


def noisy(scale: float) -> onnx.ModelProto:
    """``separated`` with normal numbers of that deviation added to its input."""
    proto = separated()
    nodes = [
        graphs.node("RandomNormalLike", ["x"], ["noise"], scale=scale),
        graphs.node("Add", ["x", "noise"], ["noisy"]),
        *proto.graph.node,
    ]
    nodes[-1].input[0] = "noisy"
    del proto.graph.node[:]
    proto.graph.node.extend(nodes)
    return proto


@pytest.mark.parametrize("perturbations", [None, ("salt",), ("pgd",)])
def test_a_model_that_draws_random_numbers_is_noticed(
    tmp_path: Path, perturbations: tuple[str, ...] | None
) -> None:
    data = stored(tmp_path, x=at_distance(), y=separated_labels())
    model = saved(tmp_path, noisy(0.1))
    report = scanned(model, data, perturbations=perturbations, steps=2)
    (said,) = [w.message for w in report.warnings if w.code == "random-outputs"]
    assert "Two runs of the untouched model on the same inputs differ" in said


def test_draws_too_small_to_show_are_none(tmp_path: Path) -> None:
    report = scanned(saved(tmp_path, noisy(1e-9)), samples=4, perturbations=("salt",))
    assert "random-outputs" not in {warning.code for warning in report.warnings}


@pytest.mark.parametrize("name", ["conv_net", "fixed_batch_net", "transformer", "lstm_net"])
def test_a_model_that_draws_none_is_not_accused(tmp_path: Path, name: str) -> None:
    model = saved(tmp_path, getattr(graphs, name)())
    report = scanned(model, samples=5, perturbations=("salt",), layers=("all",))
    assert "random-outputs" not in {warning.code for warning in report.warnings}
