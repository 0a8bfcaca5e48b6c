"""What gates find in documents whose figures are known."""

from __future__ import annotations

import dataclasses

import pytest

from lsa_onnx.errors import DataError, GateFailed
from lsa_onnx.gates import judge, parse_gate, require_all_passed, require_passed
from lsa_onnx.report.document import Partial, Report
from lsa_onnx.report.evaluation import Evaluation
from lsa_onnx.report.sections import GateOutcome
from tests.report.evaluations import curve, hopeless, unlabelled
from tests.report.examples import empty_report, large_report, small_report, synthetic_report


def outcome(text: str, document: Report | Evaluation) -> GateOutcome:
    return judge(parse_gate(text), document)


# Mean CM of the four layers: pgd .94 .92 .81 .61, fgsm .75 .70 .62 .55, gaussian .46 .43 .38 .33.
@pytest.mark.parametrize(
    ("text", "status", "value", "measured"),
    [
        ("accuracy<98%", "passed", 0.9844, "clean accuracy"),
        ("accuracy<99%", "failed", 0.9844, "clean accuracy"),
        ("accuracy@pgd<10%", "failed", 0.0292, "accuracy under pgd at eps 0.3"),
        ("accuracy@pgd:30%<2%", "passed", 0.0292, "accuracy under pgd at eps 0.3"),
        ("cm>0.93", "failed", 0.94, "mean CM of '/conv1/Relu_output_0' under pgd at eps 0.3"),
        ("cm@fgsm>0.8", "passed", 0.75, "mean CM of '/conv1/Relu_output_0' under fgsm at eps 0.3"),
        ("cm<0.34", "failed", 0.33, "mean CM of '/fc1/Relu' under gaussian of 0.3"),
        ("cm:fc1@pgd>60%", "failed", 0.61, "mean CM of '/fc1/Relu' under pgd at eps 0.3"),
        ("cm:2>0.8", "failed", 0.81, "mean CM of '/conv3/Relu_output_0' under pgd at eps 0.3"),
        (
            "cm:/conv?/*@pgd<0.9",
            "failed",
            0.81,
            "mean CM of '/conv3/Relu_output_0' under pgd at eps 0.3",
        ),
        ("mu@pgd>0.8", "failed", 0.82, "mean CM over all layers under pgd at eps 0.3"),
        # μ + ½ σ of pgd = 0.82 + 0.5 · 0.1314 = 0.886: two layers.
        ("mvl>2", "passed", 2, "layers in the MVL list under pgd"),
        ("mvl>=2", "failed", 2, "layers in the MVL list under pgd"),
        ("mvl@gaussian>1", "failed", 2, "layers in the MVL list under gaussian of 0.3"),
        ("mvl:conv2>0", "failed", 1, "layers 'conv2' in the MVL list under pgd"),
        ("mvl:fc1>0", "passed", 0, "layers 'fc1' in the MVL list under pgd"),
        ("warnings>0", "passed", 0, "warnings"),
    ],
)
def test_a_scan(text: str, status: str, value: float, measured: str) -> None:
    found = outcome(text, small_report())
    assert (found.expression, found.status, found.measured) == (text, status, measured)
    assert found.value == pytest.approx(value)


def test_success_and_flips_of_a_scan() -> None:
    report = small_report()
    success = {
        r.name: r.attack.success.value
        for r in report.perturbations
        if r.attack and r.attack.success
    }
    assert outcome("success@fgsm>0", report).value == success["fgsm"]
    # Without a name it is asked of every attack, and of no noise.
    assert outcome("success>0", report).value == max(success.values())
    assert outcome("flips@gaussian>0", report).value == report.perturbations[2].flips
    assert outcome("flips<100%", report).value == min(r.flips or 0 for r in report.perturbations)


def test_warnings_are_counted_by_code() -> None:
    report = large_report()
    assert outcome("warnings>1", report).status == "failed"
    assert outcome("warnings:few-samples>0", report).value == 1
    assert outcome("warnings:empty-mvl>0", report).value == 0


@pytest.mark.parametrize(
    ("text", "status", "value"),
    [
        ("accuracy<99%", "passed", 0.99),
        ("accuracy@pgd:8/255<40%", "failed", 0.325),
        ("accuracy@pgd<0.02", "failed", 0.015),
        ("accuracy@pgd>=0.99", "failed", 0.99),
        ("success@pgd:0.3>98%", "failed", 195 / 198),
        ("success@square:30%>98%", "passed", 178 / 198),
        ("r&g@pgd<133", "passed", 133),
        ("r&g<134", "failed", 133),
    ],
)
def test_an_evaluation(text: str, status: str, value: float) -> None:
    found = outcome(text, curve())
    assert found.status == status
    assert found.value == pytest.approx(value)


@pytest.mark.parametrize(
    ("text", "document", "why"),
    [
        ("accuracy<50%", synthetic_report(), "undefined: there are no labels, or"),
        ("accuracy@pgd<50%", synthetic_report(), "undefined: there are no labels, or"),
        ("accuracy<50%", unlabelled(), "undefined: there are no labels"),
        ("success@fgsm>50%", hopeless(), "undefined: no sample was right without the attack"),
        ("r&g@fgsm<100", hopeless(), "undefined: 0 is not among the strengths"),
        ("cm:58@pgd>1", large_report(), "undefined: it is undefined for '/features/stage4"),
        ("cm>1", empty_report(), "undefined: no attack was run"),
    ],
)
def test_what_is_undefined_is_no_pass(text: str, document: Report | Evaluation, why: str) -> None:
    found = outcome(text, document)
    assert (found.status, found.value) == ("failed", None)
    assert (found.note or "").startswith(why)
    with pytest.raises(DataError, match="a gate cannot be judged: "):
        require_passed([found])


def test_what_is_undefined_beside_figures_is_left_out_and_named() -> None:
    found = outcome("cm@pgd>2", large_report())
    assert found.status == "passed"
    assert (found.note or "").startswith("undefined and left out: mean CM of '/features/stage4")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("r&g@pgd<1", "gate 'r&g@pgd<1': a scan measures no r&g; give one of accuracy, success"),
        ("cm@apgd>1", "unknown perturbation in gate 'cm@apgd>1': 'apgd'; did you mean 'pgd'?"),
        ("cm@pgd:8/255>1", "pgd is not run at 8/255 = 0.0313725; give one of its strengths, 0.3"),
        ("cm@pgd:x>1", "gate 'cm@pgd:x>1': eps 'x' is not a finite number"),
        ("success@gaussian>0", "success is a figure of attacks, and 'gaussian' is none"),
        ("cm:conv9>1", "gate 'cm:conv9>1': there is no layer 'conv9'"),
    ],
)
def test_what_a_document_does_not_hold_is_refused(text: str, words: str) -> None:
    with pytest.raises(DataError, match=words):
        outcome(text, small_report())


def test_an_evaluation_has_no_layers() -> None:
    with pytest.raises(DataError, match=r"an evaluation measures no cm; give one of accuracy, "):
        outcome("cm>1", curve())


@pytest.mark.parametrize(
    ("text", "judged"),
    [
        ("cm@pgd>0.5", True),
        ("cm@gaussian>0.5", False),
        ("cm@fgsm>0.5", False),
        ("cm>0.5", False),
        ("accuracy<50%", True),
        ("warnings>9", True),
    ],
)
def test_a_scan_that_ended_early_passes_nothing_that_it_did_not_see(
    text: str, judged: bool
) -> None:
    report = small_report()
    partial = Partial("interrupted", "fgsm", 128, 256, ["gaussian"])
    kept = [each for each in report.perturbations if each.name != "gaussian"]
    cut = dataclasses.replace(report, perturbations=kept, partial=partial)
    found = outcome(text, cut)
    assert (found.value is not None) == judged
    assert judged or found.note == "the scan ended before it was through with fgsm, gaussian"


def test_a_gate_that_failed_no_less_before_is_known() -> None:
    report = small_report()
    gate = parse_gate("cm@pgd>0.9")
    assert judge(gate, report, report) == GateOutcome(
        "cm@pgd>0.9",
        "mean CM of '/conv1/Relu_output_0' under pgd at eps 0.3",
        0.94,
        "known",
        "0.94 in the baseline",
    )


def moved(report: Report, factor: float) -> Report:
    """The report with every mean CM under pgd times ``factor``."""
    first, *rest = report.perturbations
    layers = [
        dataclasses.replace(
            score,
            relative_error=dataclasses.replace(
                score.relative_error, mean=factor * (score.relative_error.mean or 0)
            ),
        )
        for score in first.layers
    ]
    return dataclasses.replace(
        report, perturbations=[dataclasses.replace(first, layers=layers), *rest]
    )


@pytest.mark.parametrize(
    ("text", "factor", "status"),
    [
        # Worse before: known. Better before, or not failed at all: failed. Passed now: passed.
        ("cm@pgd>0.9", 1.1, "known"),
        ("cm@pgd>0.9", 0.99, "failed"),
        ("cm@pgd>0.9", 0.5, "failed"),
        ("cm@pgd>0.95", 1.1, "passed"),
        # Rounding is no regression.
        ("cm@pgd>0.9", 0.99999, "known"),
        # Smaller is worse.
        ("cm@pgd<0.7", 0.9, "known"),
        ("cm@pgd<0.7", 1.1, "failed"),
    ],
)
def test_a_baseline_decides_by_value(text: str, factor: float, status: str) -> None:
    report = small_report()
    assert judge(parse_gate(text), report, moved(report, factor)).status == status


def test_one_line_names_every_gate_that_failed() -> None:
    texts = ("accuracy@pgd<10%", "mvl>9", "mvl>1")
    outcomes = [outcome(text, small_report()) for text in texts]
    words = (
        r"^2 of 3 gates failed: accuracy@pgd<10% \(accuracy under pgd at eps 0\.3 = 0\.0292\); "
        r"mvl>1 \(layers in the MVL list under pgd = 2\)$"
    )
    with pytest.raises(GateFailed, match=words):
        require_passed(outcomes)
    with pytest.raises(GateFailed, match=r"^the gate failed: mvl>1 "):
        require_passed(outcomes[2:])
    require_passed(outcomes[1:2])
    require_passed([])


def test_of_several_models_each_is_named() -> None:
    failed, passed = (outcome(text, small_report()) for text in ("mvl>1", "mvl>9"))
    with pytest.raises(GateFailed, match=r"^1 of 2 gates failed: 'b\.onnx': mvl>1 \(layers"):
        require_all_passed({"a.onnx": [passed], "b.onnx": [failed]})
