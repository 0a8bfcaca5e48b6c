"""The gradients of ONNX's own conformance suite are the derivatives of its models."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

import numpy as np
import pytest

from tests.conformance import comparison, running
from tests.conformance.cases import Case, folder_cases
from tests.conformance.examine import examine
from tests.conformance.gradients_table import PATH, VERSIONS, all_cases, table
from tests.conformance.outcomes import Finding, Outcome
from tests.conformance.running import Run
from tests.graphs import Array, model, node, value

BAD = {Outcome.DISAGREES, Outcome.ERROR, Outcome.NOT_SMOOTH}


def bad(findings: list[Finding]) -> list[Finding]:
    return [finding for finding in findings if finding.outcome in BAD]


@pytest.mark.conformance
@pytest.mark.slow
def test_the_models_that_onnx_keeps_as_files() -> None:
    findings = [examine(case) for case in folder_cases()]
    assert bad(findings) == []
    assert Counter(f.outcome for f in findings)[Outcome.CHECKED] >= 85


@pytest.mark.conformance
@pytest.mark.slow
def test_the_whole_suite_and_the_table_of_it() -> None:
    findings = [examine(case) for case in all_cases()]
    assert bad(findings) == []
    assert Counter(f.outcome for f in findings)[Outcome.CHECKED] >= 1250
    written = PATH.read_text(encoding="utf-8")
    if VERSIONS not in written:
        pytest.skip(f"docs/gradients.md is of other versions than {VERSIONS}")
    assert written == table(findings), "run python -m tests.conformance.gradients_table"


# The examination itself: it must find what is wrong.


def spoil(monkeypatch: pytest.MonkeyPatch, how: Callable[[Array], Array]) -> None:
    """Change every gradient that is computed."""

    def spoiled(run: Run, feeds: Mapping[str, Any]) -> dict[str, Any] | None:
        found = running.answer(run, feeds)
        return found and {n: how(x) if n.startswith("gradient") else x for n, x in found.items()}

    monkeypatch.setattr(comparison, "answer", spoiled)


def case(kind: str, feeds: dict[str, Array], opset: int = 18, **attributes: Any) -> Case:
    inputs = [value(name, array.shape, str(array.dtype)) for name, array in feeds.items()]
    output = value("y", None, str(next(iter(feeds.values())).dtype))
    nodes = [node(kind, list(feeds), ["y"], **attributes)]
    return Case("a case", kind, model(nodes, inputs, [output], opset=opset), feeds)


def ramp(*shape: int, dtype: str = "float32") -> Array:
    return (np.arange(np.prod(shape)).reshape(shape) / 7 - 0.4).astype(dtype)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_a_right_gradient(dtype: str) -> None:
    finding = examine(case("Tanh", {"x": ramp(2, 3, dtype=dtype)}))
    assert finding.outcome is Outcome.CHECKED
    assert list(finding.inputs) == ["x"]


@pytest.mark.parametrize("factor", [0.9, 1.05])
@pytest.mark.parametrize("shape", [(2, 3), (3, 150, 160)])
def test_a_wrong_gradient(
    factor: float, shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil(monkeypatch, lambda gradient: gradient * np.float32(factor))
    assert examine(case("Tanh", {"x": ramp(*shape) % 1})).outcome is Outcome.DISAGREES


def test_a_gradient_wrong_in_one_of_many_elements(monkeypatch: pytest.MonkeyPatch) -> None:
    def spoiled(gradient: Array) -> Array:
        gradient[1, 4] *= -1
        return gradient

    spoil(monkeypatch, spoiled)
    assert examine(case("Tanh", {"x": ramp(4, 6)})).outcome is Outcome.DISAGREES


@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_a_gradient_that_is_not_finite(number: float, monkeypatch: pytest.MonkeyPatch) -> None:
    spoil(monkeypatch, lambda gradient: gradient * np.float32(number))
    finding = examine(case("Tanh", {"x": ramp(2, 3)}))
    assert finding.inputs["x"].reason == "not finite"
    assert finding.outcome is Outcome.DISAGREES


def test_a_gradient_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    # The package has a function of the module's name.
    module = import_module("lsa_onnx.rewrite.vjp.sweep")
    monkeypatch.setattr(module, "ZERO_GRADIENT", {"Tanh"})
    finding = examine(case("Tanh", {"x": ramp(2, 3)}))
    assert finding.outcome is Outcome.DISAGREES
    assert finding.inputs["x"].reason.startswith("0, not ")


def test_a_point_on_a_kink_is_moved() -> None:
    assert examine(case("Relu", {"x": np.zeros((2, 3), np.float32)})).outcome is Outcome.CHECKED


def test_steps_are_flat() -> None:
    finding = examine(case("Round", {"x": np.full((2, 3), 0.5, np.float32)}))
    assert finding.outcome is Outcome.ZERO
    assert finding.inputs["x"].reason == "Round"


def test_what_is_refused_names_the_operator() -> None:
    finding = examine(case("Det", {"x": np.eye(3, dtype=np.float32)}, opset=22))
    assert finding.outcome is Outcome.REFUSED
    assert finding.inputs["x"].reason == "Det: it has no adjoint rule"


def test_random_models() -> None:
    finding = examine(case("RandomNormalLike", {"x": ramp(2, 3)}))
    assert finding.outcome is Outcome.RANDOM


def test_cases_with_nothing_to_differentiate() -> None:
    numbers = {"x": np.arange(6).reshape(2, 3)}
    assert examine(case("Abs", numbers)).outcome is Outcome.NO_INPUT
    proto = model(
        [node("ArgMax", ["x"], ["y"])], [value("x", [2, 3])], [value("y", None, "int64")], opset=18
    )
    found = examine(Case("a case", "ArgMax", proto, {"x": ramp(2, 3)}))
    assert found.outcome is Outcome.NO_OUTPUT


def test_axes_that_are_inputs_may_have_to_be_constants() -> None:
    feeds = {"x": ramp(3, 4), "starts": np.array([1]), "ends": np.array([3]), "axes": np.array([1])}
    finding = examine(case("Slice", feeds))
    assert finding.outcome is Outcome.CHECKED
    assert finding.reason == "its integers as constants"


def test_the_table_counts_and_names() -> None:
    findings = [
        examine(case("Tanh", {"x": ramp(2, 3)})),
        examine(case("Det", {"x": np.eye(3, dtype=np.float32)}, opset=22)),
        examine(case("Abs", {"x": np.arange(6)})),
    ]
    written = table(findings)
    assert "| checked | 1 |" in written
    assert "| all | 3 |" in written
    assert "| Tanh | 1 | 1 |" in written
    assert "| Det | 1 | 0 | 1 refused: Det: it has no adjoint rule |" in written
    assert re.search(r"^Only cases without .*: Abs\.$", written, re.MULTILINE)
    assert "| linear | Gemm, MatMul |" in written
