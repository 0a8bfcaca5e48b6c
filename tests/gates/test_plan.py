"""Gates before a run, and baselines: what is refused, and when."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest

from lsa_onnx.errors import DataError
from lsa_onnx.gates import Baseline, parse_gates, read_baseline
from lsa_onnx.report.conditions import Conditions, conditions_of
from lsa_onnx.report.document import Accuracy, Report, ValueDescription
from lsa_onnx.report.json_file import write_json
from tests.report.evaluations import curve, unlabelled
from tests.report.examples import small_report


def conditions(**changes: Any) -> Conditions:
    return dataclasses.replace(conditions_of(small_report()), **changes)


def test_a_baseline_alone_asks_for_no_regression() -> None:
    baseline = Baseline(small_report(), "base.json")
    assert parse_gates([], baseline).regression
    assert not parse_gates(["mvl>3"], baseline).regression
    assert parse_gates(["mvl>3", " regression "], baseline).regression
    assert not parse_gates([])
    with pytest.raises(DataError, match=r"'regression' needs an earlier result; give one with"):
        parse_gates(["regression"])
    assert parse_gates(["regression"], always=True)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("cm@apgd>1", "unknown perturbation in gate 'cm@apgd>1': 'apgd'; did you mean 'pgd'?"),
        ("r&g@pgd<1", "a scan measures no r&g"),
    ],
)
def test_what_is_not_asked_for_is_refused_before_the_model_is_opened(text: str, words: str) -> None:
    with pytest.raises(DataError, match=re.escape(words)):
        parse_gates([text]).require_asked("report", ["gaussian", "pgd"])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "accuracy@pgd:8/255<1",
            "pgd is not run at 8/255 = 0.0313725; give one of its strengths, 0.3",
        ),
        ("cm@gaussian:20%>1", "gaussian is not run at 20% = 0.2"),
        ("cm:conv9>1", "there is no layer 'conv9'"),
        ("success@gaussian>0", "'gaussian' is none"),
    ],
)
def test_what_a_run_cannot_answer_is_refused_before_it_begins(text: str, words: str) -> None:
    with pytest.raises(DataError, match=re.escape(words)):
        parse_gates([text]).require_possible(conditions())


def test_a_strength_is_one_in_units_of_the_declared_range() -> None:
    wide = conditions(range=(0.0, 255.0))
    parse_gates(["cm@pgd:30%>1"]).require_possible(conditions())
    with pytest.raises(DataError, match=re.escape("30% = 76.5; give one of its strengths, 0.3")):
        parse_gates(["cm@pgd:30%>1"]).require_possible(wide)


def test_accuracy_needs_labels_but_for_an_evaluation_under_attack() -> None:
    gates = parse_gates(["accuracy@pgd<1"])
    with pytest.raises(DataError, match="gate 'accuracy@pgd<1' needs labels; give --labels"):
        gates.require_possible(conditions(labels=False))
    without = dataclasses.replace(conditions_of(unlabelled()), labels=False)
    gates.require_possible(without)
    with pytest.raises(DataError, match="gate 'accuracy<1' needs labels"):
        parse_gates(["accuracy<1"]).require_possible(without)


FGSM, PGD = conditions().applied[1], conditions().applied[0]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"fingerprint": "ab" * 32}, "the samples are others: 256 with fingerprint 9c1185a59c11…"),
        ({"samples": 9}, "and 9 with 9c1185a59c11…"),
        ({"labels": False}, "only the first has labels"),
        ({"range": (0.0, 255.0)}, "the declared ranges are 0 to 1 and 0 to 255"),
        ({"interface": {}}, "the input 'input' of the models differs: float32 1×28×28 and none"),
        (
            {"layers": conditions().layers[1:]},
            "layer '/conv1/Relu_output_0' is scored by the first",
        ),
        ({"layers": conditions().layers[::-1]}, "the same layers are scored in another order"),
        (
            {"applied": (dataclasses.replace(PGD, strength=0.2),)},
            "it holds pgd at eps 0.3, fgsm at eps 0.3, gaussian of 0.3, and no pgd at eps 0.2",
        ),
        (
            {"applied": (dataclasses.replace(PGD, settings={"eps": 0.3, "steps": 50}),)},
            "pgd at eps 0.3 was run with steps 20 and with 50",
        ),
    ],
)
def test_a_baseline_of_another_run_is_refused(changes: dict[str, Any], words: str) -> None:
    gates = parse_gates([], Baseline(small_report(), "base.json"))
    with pytest.raises(DataError, match=re.escape(words)) as caught:
        gates.require_possible(conditions(**changes))
    assert str(caught.value).startswith("--baseline 'base.json' cannot be compared with this run: ")


def test_a_baseline_may_hold_more_and_another_seed() -> None:
    gates = parse_gates([], Baseline(small_report(), "base.json"))
    gates.require_possible(conditions())
    seeded = dataclasses.replace(PGD, settings={**PGD.settings, "seed": 7})
    gates.require_possible(conditions(applied=(seeded,)))


def test_a_layer_that_may_turn_out_unreadable_is_no_difference_yet() -> None:
    gates = parse_gates([], Baseline(small_report(), "base.json"))
    extra = dataclasses.replace(conditions().layers[0], tensor="extra")
    more = (*conditions().layers, extra)
    gates.require_possible(conditions(layers=more, settled=False))
    with pytest.raises(DataError, match="layer 'extra' is scored by the second alone"):
        gates.require_possible(conditions(layers=more))


def test_a_free_dimension_has_no_name() -> None:
    def model(*shape: int | str | None) -> Report:
        report = small_report()
        inputs = [ValueDescription("input", [*shape], "float32", "free")]
        return dataclasses.replace(report, model=dataclasses.replace(report.model, inputs=inputs))

    gates = parse_gates([], Baseline(model("n", 3, "h"), "base.json"))
    gates.require_possible(conditions_of(model("batch", 3, None)))
    with pytest.raises(DataError, match=re.escape("float32 3×? and float32 3×7")):
        gates.require_possible(conditions_of(model("n", 3, 7)))


def test_documents_that_are_no_baseline(tmp_path: Path) -> None:
    path = tmp_path / "base.json"
    write_json(curve(), path)
    with pytest.raises(DataError, match=r"--baseline: cannot read report .* this is an evaluation"):
        read_baseline(path, "report")
    assert read_baseline(path, "evaluation").document.to_dict() == curve().to_dict()
    path.write_text('{"schema_version": "1.0"}')
    with pytest.raises(DataError, match=r"--baseline: .* schema version '1.0', this tool reads"):
        read_baseline(path, "report")


def test_regressions_are_an_outcome() -> None:
    before = small_report()
    worse = dataclasses.replace(before, accuracy=Accuracy(0.5, 256, (0.44, 0.56)))
    gates = parse_gates([], Baseline(before, "base.json"))
    (same,) = gates.judge(before)
    assert (same.expression, same.status, same.value) == ("regression", "passed", 0)
    (found,) = gates.judge(worse)
    assert (found.status, found.value) == ("failed", 1)
    assert found.measured == "regressions against 'base.json'"
    assert (found.note or "").startswith("clean accuracy fell from 98.4 % to 50.0 % (95 % interval")


def test_what_turns_out_impossible_after_the_run_is_an_outcome_not_an_error() -> None:
    report = small_report()
    other = dataclasses.replace(report, layers=report.layers[1:])
    gates = parse_gates(["cm:conv1@pgd>1", "regression"], Baseline(report, "base.json"))
    layer, regression = gates.judge(other)
    assert (layer.status, layer.value) == ("failed", None)
    assert "there is no layer 'conv1'" in (layer.note or "")
    assert (regression.status, regression.value) == ("failed", None)
    assert "'/conv1/Relu_output_0' is scored by the first alone" in (regression.note or "")
