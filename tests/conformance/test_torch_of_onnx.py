"""ONNX's own conformance suite gives in PyTorch what it gives on ONNX Runtime."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from lsa_trainer.ops import registry
from tests.conformance.agreement import disagreement
from tests.conformance.cases import Case, folder_cases, node_cases
from tests.conformance.gradients_table import all_cases
from tests.conformance.parity import Parity, Ran, hold
from tests.conformance.torch_table import PATH, VERSIONS, table
from tests.graphs import model, node, samples, value

BAD = {Parity.DIFFERS, Parity.ERROR}


def bad(ran: list[Ran]) -> list[Ran]:
    return [each for each in ran if each.parity in BAD]


@pytest.mark.conformance
def test_the_models_that_onnx_keeps_as_files() -> None:
    ran = [hold(case) for case in folder_cases()]
    assert bad(ran) == []
    assert Counter(each.parity for each in ran)[Parity.EQUAL] >= 90


@pytest.mark.conformance
@pytest.mark.slow
def test_a_case_of_every_operator() -> None:
    """Quicker than the whole suite; of each operator the last case has most of its inputs and attributes."""
    ran = [hold(case) for case in {case.group: case for case in node_cases()}.values()]
    assert bad(ran) == []
    assert sum(each.parity in (Parity.EQUAL, Parity.EXPECTED) for each in ran) >= 165


@pytest.mark.conformance
@pytest.mark.slow
def test_the_whole_suite_and_the_table_of_it() -> None:
    ran = [hold(case) for case in all_cases()]
    assert bad(ran) == []
    assert sum(each.parity in (Parity.EQUAL, Parity.EXPECTED) for each in ran) >= 1835
    written = PATH.read_text(encoding="utf-8")
    if VERSIONS not in written:
        pytest.skip(f"docs/torch.md is of other versions than {VERSIONS}")
    assert written == table(ran), "run python -m tests.conformance.torch_table"


# The comparison itself: it must find what is wrong.


def chain(*kinds: str) -> Case:
    """Operators of one input, one after the other."""
    names = ["x", *(f"t{index}" for index in range(len(kinds) - 1)), "y"]
    nodes = [node(kind, [names[i]], [names[i + 1]]) for i, kind in enumerate(kinds)]
    x = samples(0, 2, 3)
    return Case(
        "a case", kinds[0], model(nodes, [value("x", [2, 3])], [value("y", None)]), {"x": x}
    )


def spoil(monkeypatch: pytest.MonkeyPatch, kind: str, function: Any) -> None:
    entry = registry.Entry(function, 1, 99)
    monkeypatch.setitem(registry._TABLE, ("", kind), [entry])


def test_right_operators() -> None:
    ran = hold(chain("Tanh", "Abs", "Neg"))
    assert (ran.parity, ran.tensors) == (Parity.EQUAL, 3)


def test_a_wrong_tensor_inside(monkeypatch: pytest.MonkeyPatch) -> None:
    spoil(monkeypatch, "Tanh", lambda x: -x.tanh())
    ran = hold(chain("Tanh", "Abs"))
    assert (ran.parity, list(ran.reasons)) == (Parity.DIFFERS, ["t0"])


def test_a_function_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    spoil(monkeypatch, "Tanh", lambda x: x.reshape(7))
    ran = hold(chain("Tanh"))
    assert ran.parity is Parity.ERROR
    assert "RuntimeError: shape '[7]' is invalid" in ran.reasons["Tanh"]


def test_an_operator_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry._TABLE, ("", "Det"), [])
    x = np.eye(3, dtype=np.float32)[None]
    proto = model([node("Det", ["x"], ["y"])], [value("x", [1, 3, 3])], [value("y", [1])])
    ran = hold(Case("a case", "Det", proto, {"x": x}))
    assert (ran.parity, ran.reasons) == (Parity.UNSUPPORTED, {"Det": "not in the operator table"})


def test_random_numbers_are_held_to_their_shape(monkeypatch: pytest.MonkeyPatch) -> None:
    case = chain("RandomNormalLike")
    assert hold(case).parity is Parity.RANDOM
    spoil(monkeypatch, "RandomNormalLike", lambda x: x[:1])
    assert hold(case).reasons == {"y": "of shape (1, 3), not (2, 3)"}


def test_what_the_runtime_lacks_is_held_to_what_onnx_expects() -> None:
    case = chain("Tanh")
    for imported in case.model.opset_import:
        imported.version = 99
    lacking = Case("a case", "Tanh", case.model, case.feeds, {"y": np.tanh(case.feeds["x"])})
    assert hold(lacking).parity is Parity.EXPECTED
    wrong = Case("a case", "Tanh", case.model, case.feeds, {"y": case.feeds["x"]})
    assert hold(wrong).parity is Parity.DIFFERS


INFINITE = np.array([1, np.inf, -np.inf, np.nan], np.float32)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (np.array([1.0, 5e-5]), np.array([1.0, 0])),
        (np.zeros((2, 0)), np.zeros((2, 0))),
        (INFINITE, INFINITE),
        (np.array([-np.inf, 1]), np.array([np.finfo(np.float32).min, 1.0])),
        (np.array([3], np.int8), np.array([3], ml_dtypes.int4)),
        (np.array([1.5], ml_dtypes.float8_e5m2), np.array([62], np.uint8)),
        ([np.ones(2), None], [np.ones(2), None]),
        (np.array([1.009], ml_dtypes.bfloat16), np.array([1], ml_dtypes.bfloat16)),
    ],
)
def test_agreement(ours: Any, theirs: Any) -> None:
    assert disagreement(ours, theirs) == ""


@pytest.mark.parametrize(
    ("ours", "theirs", "text"),
    [
        (np.array([1, 0.1]), np.array([1, 0.101]), "apart by 0.001"),
        (np.array([1e-9]), np.array([0.0]), "apart by 1e-09"),
        (np.ones(2), np.ones((2, 1)), r"of shape \(2,\), not \(2, 1\)"),
        (np.ones(2), np.ones(2, np.float32), "of type float64, not float32"),
        (np.array([1, 2]), np.array([1, 3]), "other numbers"),
        (np.zeros(4, np.float32), INFINITE, "other infinities"),
        (np.array([np.inf, 1]), np.array([-np.inf, 1]), "other infinities"),
        (np.array([3.0, np.nan]), np.array([3.0, 1.0]), "apart by nan"),
        ([np.ones(2)], [np.ones(2), np.ones(2)], "no list of 2"),
        (None, np.ones(2), "one of them is None"),
    ],
)
def test_disagreement(ours: Any, theirs: Any, text: str) -> None:
    with np.errstate(all="ignore"):
        found = disagreement(ours, theirs)
    assert found
    assert re.fullmatch(text, found)


def test_the_table_counts_and_names() -> None:
    det = Ran("a", "Det", Parity.UNSUPPORTED, {"Det": "not in the operator table"})
    tanh = Ran("b", "Tanh", Parity.EQUAL, {}, 3)
    written = table([det, tanh, tanh, Ran("c", "light", Parity.EQUAL, {}, 5)])
    assert "| equal to ONNX Runtime | 3 |" in written
    assert "| all | 4 | 11 tensors compared |" in written
    assert (
        "| trigonometry | Tanh | 2 | 2 |  |" in written
        or "| activations | Tanh | 2 | 2 |  |" in written
    )
    assert "| light |  | 1 | 1 |  |" in written
    assert "| Det | 1 | not in the operator table |" in written
