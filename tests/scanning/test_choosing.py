"""Which perturbations a scan applies, what stands in for those it cannot, and what it says of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from lsa_onnx.attacks import Noise, Pgd, Square
from lsa_onnx.errors import DataError, ModelError
from lsa_onnx.report.document import Report, ReportWarning
from lsa_onnx.rewrite.differentiate import NotDifferentiable
from lsa_onnx.scanning import ScanOptions, choosing
from lsa_onnx.scanning.choosing import Chosen, attack_doubts, choose_perturbations
from tests import graphs
from tests.scanning.adversaries import opened
from tests.scanning.helpers import at_distance, codes_in, saved, scanned, separated, stored

FAST: dict[str, Any] = {"steps": 3, "samples": 6}


def chosen(model: Path, **given: Any) -> Chosen:
    options = ScanOptions(device="cpu", **{**FAST, **given})
    return choose_perturbations(options.made_perturbations(0, 1), opened(model, **FAST), options)


def scanned_fast(model: Path, **given: Any) -> Report:
    return scanned(model, **{**FAST, **given})


def said(warnings: list[ReportWarning], code: str) -> str:
    (found,) = [warning.message for warning in warnings if warning.code == code]
    assert "\n" not in found
    return found


def without_rules() -> onnx.ModelProto:
    """Scores behind two operators, one of another domain, that have no gradient here."""
    weights = {
        "w": graphs.weight(0, 5, 4),
        "square": np.array([-1, 2, 2]),
        "flat": np.array([-1, 4]),
        "last": np.array([1, 2]),
    }
    nodes = [
        graphs.node("MatMul", ["x", "w"], ["h"]),
        graphs.node("Reshape", ["h", "square"], ["matrix"]),
        graphs.node("Det", ["matrix"], ["volume"]),
        graphs.node("Unsqueeze", ["volume", "last"], ["factor"]),
        graphs.node("Mul", ["matrix", "factor"], ["scaled"]),
        graphs.node("Inverse", ["scaled"], ["inverse"], domain="com.microsoft"),
        graphs.node("Reshape", ["inverse", "flat"], ["y"]),
    ]
    inputs, outputs = [graphs.value("x", ["N", 5])], [graphs.value("y", ["N", 4])]
    return graphs.model(nodes, inputs, outputs, weights, imports={"com.microsoft": 1})


def rounded(op: str = "Round") -> onnx.ModelProto:
    return graphs.activated([graphs.node(op, ["h"], ["a"])])


def taken() -> onnx.ModelProto:
    """Classes by name: the row of a table that an ArgMax points to. Integers lie on the only path."""
    weights = {"w": graphs.weight(0, 5, 4), "rows": graphs.weight(1, 4, 3)}
    nodes = [
        graphs.node("MatMul", ["x", "w"], ["h"]),
        graphs.node("ArgMax", ["h"], ["best"], axis=1, keepdims=0),
        graphs.node("Gather", ["rows", "best"], ["y"], axis=0),
    ]
    return graphs.model(
        nodes, [graphs.value("x", ["N", 5])], [graphs.value("y", ["N", 3])], weights
    )


@pytest.mark.parametrize(
    ("build", "op", "node"), [(rounded, "Round", "n_a"), (taken, "ArgMax", "n_best")]
)
def test_an_attack_that_was_named_needs_its_gradient(
    tmp_path: Path, build: Any, op: str, node: str
) -> None:
    with pytest.raises(NotDifferentiable) as caught:
        scanned_fast(saved(tmp_path, build()), perturbations=("pgd",))
    assert f"every one ends at {op} '{node}'; use --attack square" in str(caught.value)
    assert caught.value.exit_code == 3


def test_every_operator_without_a_gradient_is_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(NotDifferentiable) as caught:
        scanned_fast(saved(tmp_path, without_rules()), perturbations=("pgd",))
    message = str(caught.value)
    assert "2 nodes have no gradient" in message
    assert "Inverse 'n_inverse'" in message
    assert "Det 'n_volume'" in message
    assert "use --attack square" in message
    assert {each.node.op_type for each in caught.value.nodes} == {"Inverse", "Det"}


@pytest.mark.parametrize(
    ("build", "named"), [(rounded, "Round 'n_a'"), (without_rules, "Det 'n_volume'")]
)
def test_by_default_the_black_box_stands_in_once(tmp_path: Path, build: Any, named: str) -> None:
    report = scanned_fast(saved(tmp_path, build()), eps="0.1")
    names = [found.name for found in report.perturbations]
    assert names == ["gaussian", "salt", "pepper", "speckle", "square"]
    square = report.perturbations[-1]
    assert square.attack is not None
    assert (square.attack.white_box, square.attack.vanished) == (False, None)
    assert square.attack.eps == 0.1
    message = said(report.warnings, "no-gradient")
    assert "the black-box attack stands in" in message
    assert named in message


@pytest.mark.parametrize(("given", "queries"), [({}, 1000), ({"steps": 7}, 7)])
def test_the_stand_in_takes_the_settings_of_what_it_replaces(
    tmp_path: Path, given: dict[str, Any], queries: int
) -> None:
    model, settings = saved(tmp_path, rounded()), {"steps": None, "seed": 4, "norm": "l2", **given}
    last = chosen(model, objective="kl", **settings).perturbations[-1]
    assert last == Square(eps=0.0313725490196, norm="l2", seed=4, objective="kl", queries=queries)


def test_in_the_l1_norm_nothing_stands_in(tmp_path: Path) -> None:
    found = chosen(saved(tmp_path, rounded()), norm="l1")
    assert [each.name for each in found.perturbations] == ["gaussian", "salt", "pepper", "speckle"]
    assert found.attacks == []
    assert "no attack was applied" in said(found.doubts, "no-gradient")


def test_a_black_box_attack_that_was_named_needs_no_gradient(tmp_path: Path) -> None:
    report = scanned_fast(saved(tmp_path, without_rules()), perturbations=("square",))
    assert [found.name for found in report.perturbations] == ["square"]
    assert "no-gradient" not in {warning.code for warning in report.warnings}


def test_a_model_that_serves_no_objective_gets_noise_by_default(tmp_path: Path) -> None:
    nodes = [graphs.node("Relu", ["x"], ["r"]), graphs.node("NonZero", ["r"], ["y"])]
    outputs = [graphs.value("y", [2, None], "int64")]
    model = saved(tmp_path, graphs.model(nodes, [graphs.value("x", [1, 5])], outputs))
    found = chosen(model)
    assert all(isinstance(each, Noise) for each in found.perturbations)
    assert "needs an output of floats" in said(found.doubts, "no-gradient")
    with pytest.raises(ModelError, match=r"needs an output of floats.*use noise, or --objective"):
        chosen(model, perturbations=("square",))


@pytest.mark.parametrize("perturbations", [None, ("salt",), ("pgd",)])
def test_an_objective_that_was_named_is_never_dropped(
    tmp_path: Path, perturbations: tuple[str, ...] | None
) -> None:
    model = saved(tmp_path, graphs.elu_mlp())
    with pytest.raises(ModelError, match=r"objective 'ce' needs class scores.*--objective output"):
        scanned_fast(model, objective="ce", perturbations=perturbations)
    with pytest.raises(DataError, match="unknown objective 'loss'"):
        scanned_fast(model, objective="loss", perturbations=perturbations)


@pytest.mark.parametrize("op", ["Round", "Sign", "Floor", "Ceil"])
def test_straight_through_lets_rounding_pass(tmp_path: Path, op: str) -> None:
    model = saved(tmp_path, rounded(op))
    with pytest.raises(
        NotDifferentiable, match=rf"every one ends at {op} 'n_a'.*--straight-through"
    ):
        scanned_fast(model, perturbations=("pgd",))
    report = scanned_fast(model, perturbations=("pgd",), straight_through=True)
    assert "they are estimates" in said(report.warnings, "straight-through")
    (found,) = report.perturbations
    assert found.attack is not None
    assert found.attack.white_box


def quantised() -> onnx.ModelProto:
    """``separated`` in QDQ form: its input on a grid of 1/100."""
    proto = separated()
    zero, step = np.asarray(0, np.int8), np.asarray(0.01, np.float32)
    proto.graph.initializer.append(onnx.numpy_helper.from_array(zero, "zero"))
    proto.graph.initializer.append(onnx.numpy_helper.from_array(step, "step"))
    proto.graph.node[0].input[0] = "grid"
    quantise = graphs.node("QuantizeLinear", ["x", "step", "zero"], ["q"])
    restore = graphs.node("DequantizeLinear", ["q", "step", "zero"], ["grid"])
    nodes = [quantise, restore, *proto.graph.node]
    del proto.graph.node[:]
    proto.graph.node.extend(nodes)
    return proto


def test_a_quantised_model_is_attacked_and_judged_on_its_grid(tmp_path: Path) -> None:
    """A sample at distance 0.1 needs ten steps of the grid; at eps 0.094 it gets nine."""
    away = np.repeat([0.1, -0.1, 0.09, -0.2], 2)
    data = stored(tmp_path, x=at_distance(away), y=(away > 0).astype(np.int64))
    model = saved(tmp_path, quantised())
    report = scanned(model, data, perturbations=("pgd",), eps="0.094", steps=3)
    assert "they are estimates" in said(report.warnings, "straight-through")
    (found,) = report.perturbations
    assert found.attack is not None
    assert found.attack.success is not None
    assert (found.attack.success.value, found.attack.success.n) == (0.25, 8)


def test_a_black_box_attack_is_no_estimate(tmp_path: Path) -> None:
    report = scanned_fast(saved(tmp_path, quantised()), perturbations=("square",))
    assert "straight-through" not in {warning.code for warning in report.warnings}


def test_predictions_that_stand_in_for_labels_are_mentioned(tmp_path: Path) -> None:
    model = saved(tmp_path, separated())
    with_labels = opened(model, stored(tmp_path, x=at_distance(), y=np.ones(9, np.int64)))
    without = opened(model, samples=4)
    attacks = [Pgd(eps=0.1)]
    assert attack_doubts(attacks, with_labels) == []
    assert "the model's own clean predictions" in said(
        attack_doubts(attacks, without), "predicted-labels"
    )
    assert attack_doubts([], without) == []


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (0.0, 255.0), (-1.0, 1.0)])
def test_an_eps_that_a_person_would_see(tmp_path: Path, low: float, high: float) -> None:
    adversary = opened(
        saved(tmp_path, separated()),
        stored(tmp_path, x=np.full((3, 3), low, np.float32), y=np.zeros(3, np.int64)),
        range=(low, high),
    )
    quarter = (high - low) / 4
    assert attack_doubts([Pgd(eps=quarter), Pgd(eps=9 * quarter, norm="l2")], adversary) == []
    large = [Pgd(eps=quarter * 1.2, name="one"), Pgd(eps=quarter * 1.1, name="two")]
    message = said(attack_doubts(large, adversary), "large-eps")
    assert f"one and two may change a value by {quarter * 1.2:g}" in message


def test_what_is_said_of_attacks() -> None:
    assert codes_in(choosing) == {
        "predicted-labels",
        "straight-through",
        "large-eps",
        "no-gradient",
    }
