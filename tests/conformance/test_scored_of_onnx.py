"""Every tensor of ONNX's own conformance suite is scored or explained, and nothing is changed by that."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np
import pytest
from onnx import TensorProto, helper

from lsa_onnx.errors import ModelError
from lsa_onnx.layers import LayerPlan
from lsa_onnx.rewrite import Comparison
from lsa_onnx.runtime.scoring import ScoringSession
from tests.conformance import scored_subject
from tests.conformance.cases import Case, folder_cases
from tests.conformance.scored_examine import examine
from tests.conformance.scored_outcomes import DEFECTS, Account, Fate
from tests.conformance.scored_table import PATH, VERSIONS, all_cases, row, table
from tests.graphs import model, node, samples, value

if TYPE_CHECKING:
    import onnx


def defects(accounts: list[Account]) -> list[Account]:
    return [account for account in accounts if account.fate in DEFECTS]


def written() -> str:
    """The document, as far as it is of the versions that are installed."""
    text = PATH.read_text(encoding="utf-8")
    if VERSIONS not in text:
        pytest.skip(f"docs/conformance.md is of other versions than {VERSIONS}")
    return text


@pytest.mark.conformance
def test_the_simple_models_that_onnx_keeps_as_files() -> None:
    accounts = [examine(case) for case in folder_cases() if case.group == "simple"]
    assert defects(accounts) == []
    assert row("simple", accounts) in written(), "run python -m tests.conformance.scored_table"


@pytest.mark.conformance
@pytest.mark.slow
def test_the_whole_suite_and_the_table_of_it() -> None:
    accounts = [examine(case) for case in all_cases()]
    assert defects(accounts) == []
    assert written() == table(accounts), "run python -m tests.conformance.scored_table"


# The examination itself: it must find what is wrong.


def chain(
    *kinds: str, dtype: str = "float32", shape: tuple[int, ...] = (2, 3), **more: Any
) -> Case:
    """Operators of one input, one after the other."""
    names = ["x", *(f"t{index}" for index in range(len(kinds) - 1)), "y"]
    nodes = [node(kind, [names[i]], [names[i + 1]]) for i, kind in enumerate(kinds)]
    x = samples(0, *shape, dtype="float32" if dtype == "bfloat16" else dtype)
    proto = model(nodes, [value("x", shape, dtype)], [value("y", shape, dtype)], **more)
    return Case("a case", kinds[0], proto, {"x": x})


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [((3,), "float32"), ((1, 4), "float64"), ((2, 3), "float16"), ((2, 3, 5), "float32")],
)
def test_a_model_of_which_every_tensor_is_scored(shape: tuple[int, ...], dtype: str) -> None:
    account = examine(chain("Relu", "Softmax", "Neg", dtype=dtype, shape=shape))
    assert (account.fate, account.reason, account.exposed) == (Fate.SCORED, "", 3)
    assert account.not_scored == {}
    assert account.exact


def test_reasons_are_counted_by_kind() -> None:
    nodes = [
        node("Relu", ["x"], ["a"]),
        node("Shape", ["a"], ["b"]),
        node("Shape", ["x"], ["c"]),
        node("Add", ["a", "w"], ["y"]),
    ]
    proto = model(nodes, [value("x", [2, 3])], [value("y", [2, 3])], {"w": samples(1, 3)})
    account = examine(Case("a case", "Add", proto, {"x": samples(0, 2, 3)}))
    assert (account.fate, account.exposed) == (Fate.SCORED, 2)
    assert account.not_scored == {"constant: it does not depend on the input": 2}


def test_a_model_of_which_no_tensor_can_be_scored() -> None:
    proto = model([node("Shape", ["x"], ["y"])], [value("x", [3])], [value("y", [1], "int64")])
    account = examine(Case("a case", "Shape", proto, {"x": samples(0, 3)}))
    assert (account.fate, account.exposed) == (Fate.EXPLAINED, 0)
    assert sum(account.not_scored.values()) == 1


def test_a_model_that_draws_random_numbers() -> None:
    account = examine(chain("Relu", "RandomNormalLike", shape=(3,)))
    assert (account.fate, account.exposed) == (Fate.RANDOM, 1)


def test_a_model_without_an_input_to_perturb() -> None:
    account = examine(chain("Neg", dtype="int64"))
    assert account.fate is Fate.NO_INPUT
    assert account.reason == "no float input to perturb in …"
    assert account.not_scored == {"not floating point (int64)": 1}


def test_a_model_that_fails_with_noise() -> None:
    nodes = [node("Cast", ["x"], ["n"], to=7), node("Reshape", ["w", "n"], ["y"])]
    proto = model(nodes, [value("x", [2])], [value("y", None)], {"w": samples(1, 6)})
    account = examine(Case("a case", "Reshape", proto, {"x": np.array([2, 3], np.float32)}))
    assert (account.fate, account.reason) == (
        Fate.NO_INPUT,
        "the model fails at its inputs with noise",
    )


def test_a_model_that_cannot_be_fed() -> None:
    case = chain("Identity", dtype="bfloat16")
    fed = {"x": case.feeds["x"].astype(ml_dtypes.bfloat16)}
    account = examine(dataclasses.replace(case, feeds=fed))
    assert (account.fate, account.reason) == (Fate.NO_ARRAY, "an input or output of bfloat16")


@pytest.mark.parametrize(
    ("case", "reason"),
    [
        (chain("Wibble", imports={"a.b": 1}), "not valid to its checks"),
        (chain("Tanh", opset=99), "an opset that it does not know"),
        (chain("Not"), "not valid to its checks"),
    ],
)
def test_a_model_that_the_runtime_refuses(case: Case, reason: str) -> None:
    account = examine(case)
    assert (account.fate, account.reason) == (Fate.NOT_RUN, reason)


def test_a_model_that_the_scanner_refuses() -> None:
    output = helper.make_tensor_sequence_value_info("y", TensorProto.FLOAT, None)
    proto = model([node("SplitToSequence", ["x"], ["y"])], [value("x", [2, 3])], [output])
    account = examine(Case("a case", "SplitToSequence", proto, {"x": samples(0, 2, 3)}))
    assert (account.fate, account.reason) == (Fate.REFUSED, "no output of … is a tensor")
    assert (account.exposed, account.not_scored) == (0, {})


def spoil(monkeypatch: pytest.MonkeyPatch, name: str, how: Callable[[Any], Any]) -> None:
    """Change what a function that the subject is made with returns."""
    original = getattr(scored_subject, name)
    monkeypatch.setattr(scored_subject, name, lambda *given: how(original(*given)))


def test_an_output_that_exposing_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    def other(proto: onnx.ModelProto) -> onnx.ModelProto:
        proto.graph.node[-1].op_type = "Abs"
        return proto

    spoil(monkeypatch, "expose", other)
    account = examine(chain("Relu", "Neg"))
    assert (account.fate, account.reason) == (Fate.CHANGED, "exposed, output 'y' is apart by 2")


def test_a_sum_that_the_twin_gets_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    def swapped(twin: Comparison) -> Comparison:
        sums = {
            name: dataclasses.replace(parts, difference=parts.clean)
            for name, parts in twin.sums.items()
        }
        return dataclasses.replace(twin, sums=sums)

    spoil(monkeypatch, "compare", swapped)
    account = examine(chain("Relu", "Neg"))
    assert account.fate is Fate.CHANGED
    assert account.reason.startswith("the sums of squares of 't0' are [")


def test_an_output_that_the_twin_gets_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    def swapped(twin: Comparison) -> Comparison:
        return dataclasses.replace(twin, perturbed_outputs={"y": "y"})

    spoil(monkeypatch, "compare", swapped)
    account = examine(chain("Relu", "Neg"))
    assert account.fate is Fate.CHANGED
    assert account.reason.startswith("in the twin, perturbed output 'y' is apart by ")


@pytest.mark.parametrize("part", ["sums", "clean", "perturbed"])
def test_a_session_of_the_scanner_that_is_wrong(monkeypatch: pytest.MonkeyPatch, part: str) -> None:
    run = ScoringSession.run

    def wrong(self: ScoringSession, feeds: Any, perturbed: Any) -> Any:
        batch = run(self, feeds, perturbed)
        if part == "sums":
            sums = dataclasses.replace(batch.sums, clean=batch.sums.clean * 1.01)
            return dataclasses.replace(batch, sums=sums)
        getattr(batch, part)["y"] += 1
        return batch

    monkeypatch.setattr(ScoringSession, "verify", lambda *_: {})
    monkeypatch.setattr(ScoringSession, "run", wrong)
    account = examine(chain("Relu", "Neg"))
    assert account.fate is Fate.CHANGED
    assert ("sums of squares" if part == "sums" else "in the scan, output 'y'") in account.reason


@pytest.mark.parametrize("how", ["missing", "twice", "without a reason"])
def test_a_tensor_that_is_not_accounted_for(monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    def other(plan: LayerPlan) -> LayerPlan:
        first, last = plan.not_scored
        lists = {
            "missing": [last],
            "twice": [first, first, last],
            "without a reason": [dataclasses.replace(first, reason=""), last],
        }
        return dataclasses.replace(plan, not_scored=lists[how])

    spoil(monkeypatch, "plan_layers", other)
    account = examine(chain("Neg", "Abs", dtype="int64"))
    assert (account.fate, account.reason) == (Fate.UNACCOUNTED, "['t0']")


def test_a_scan_that_breaks_what_the_runtime_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> Any:
        raise ModelError("ONNX Runtime failed to run the model: wrong rank") from ValueError()

    monkeypatch.setattr(scored_subject, "build_instrument", broken)
    account = examine(chain("Relu"))
    assert (account.fate, account.reason) == (
        Fate.ERROR,
        "ModelError: ONNX Runtime failed to run the model: wrong rank",
    )


def test_an_exception(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: Any) -> Any:
        raise KeyError("t0")

    spoil(monkeypatch, "make_readable", fail)
    account = examine(chain("Relu"))
    assert (account.fate, account.reason) == (Fate.ERROR, "KeyError: 't0'")
