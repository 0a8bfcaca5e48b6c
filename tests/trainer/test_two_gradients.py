"""Torch's gradients are those that adjoint rules write down: neither knows of the other."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest
import torch

from lsa_onnx.rewrite.graph import copy_model
from lsa_trainer.ops import registry
from tests.conformance.cases import Case, folder_cases, light_cases, node_cases
from tests.conformance.two_gradients import apart
from tests.graphs import model, node, samples, value
from tests.rewrite.whole_models import CASES, SMALL


def differing(cases: Iterable[Case]) -> tuple[dict[str, dict[str, str]], int]:
    """Those that differ, and how many were compared."""
    found = {case.name: apart(case) for case in cases}
    return {name: texts for name, texts in found.items() if texts}, sum(
        texts is not None for texts in found.values()
    )


def logits(case: Case) -> Case:
    """The network without its softmax, which with random weights is all but constant."""
    proto = copy_model(case.model)
    last = proto.graph.node[-1]
    if last.op_type == "Softmax":
        del proto.graph.output[:]
        proto.graph.output.append(value(last.input[0], None))
        proto.graph.node.pop()
    return Case(case.name, case.group, proto, case.feeds)


@pytest.mark.conformance
def test_the_models_that_onnx_keeps_as_files() -> None:
    found, compared = differing(folder_cases())
    assert found == {}
    assert compared >= 85


@pytest.mark.conformance
@pytest.mark.slow
def test_cases_of_single_operators() -> None:
    found, compared = differing(node_cases())
    assert found == {}
    assert compared >= 1100


@pytest.mark.conformance
@pytest.mark.slow
def test_networks_of_the_zoo() -> None:
    # With random weights, the gradient of this one vanishes to 1e-19: what is left is rounding.
    cases = (case for case in light_cases() if case.name != "light_inception_v2")
    found, compared = differing(map(logits, cases))
    assert found == {}
    assert compared == 5


@pytest.mark.parametrize("name", [*CASES, *SMALL])
def test_whole_models(name: str) -> None:
    case = {**CASES, **SMALL}[name]()
    assert apart(Case(name, "whole", case.proto, case.feeds)) == {}


# The comparison itself


def elementwise(kind: str) -> Case:
    x, y = value("x", ["N", 3]), value("y", ["N", 3])
    feeds = {"x": samples(0, 2, 3) - 0.5}
    return Case("a case", kind, model([node(kind, ["x"], ["y"])], [x], [y]), feeds)


@pytest.mark.parametrize("factor", [-1, 1.01])
def test_a_wrong_gradient(factor: float, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(x: torch.Tensor) -> torch.Tensor:
        y = torch.tanh(x)
        return y.detach() + factor * (y - y.detach())

    monkeypatch.setitem(registry._TABLE, ("", "Tanh"), [registry.Entry(wrong, 1, 99)])
    assert list(apart(elementwise("Tanh")) or {}) == ["x"]


def test_a_gradient_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    cut = [registry.Entry(lambda x: torch.tanh(x.detach()), 1, 99)]
    monkeypatch.setitem(registry._TABLE, ("", "Tanh"), cut)
    assert apart(elementwise("Tanh")) == {"x": "apart by 1"}


def test_points_on_kinks_are_moved() -> None:
    """At 0, torch and the rules may choose different slopes of |x|."""
    case = elementwise("Abs")
    assert apart(Case(case.name, "Abs", case.model, {"x": np.zeros((2, 3), np.float32)})) == {}


def test_nothing_to_compare() -> None:
    x, y = value("x", [2], "int64"), value("y", [1], "int64")
    proto = model([node("Shape", ["x"], ["y"])], [x], [y])
    assert apart(Case("a case", "Shape", proto, {"x": np.ones(2, np.int64)})) is None


def test_what_has_no_adjoint_is_not_compared() -> None:
    proto = model([node("Det", ["x"], ["y"])], [value("x", [2, 3, 3])], [value("y", [2])], opset=22)
    assert apart(Case("a case", "Det", proto, {"x": samples(0, 2, 3, 3)})) is None
