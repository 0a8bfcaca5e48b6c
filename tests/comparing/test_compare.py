"""Two documents compared: what is worse, what is better, and what cannot be compared."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from typing import Any

import pytest

from lsa_onnx.comparing import Side, compare
from lsa_onnx.errors import DataError
from lsa_onnx.report.comparison import Comparison
from lsa_onnx.report.document import (
    Accuracy,
    FileDigest,
    Partial,
    PerturbationResult,
    Report,
    Shard,
)
from lsa_onnx.report.evaluation import Evaluation
from lsa_onnx.statistics import wilson_interval
from tests.report.evaluations import at_eps, curve, evaluation, summary, sweep
from tests.report.examples import small_report, synthetic_report
from tests.report.parts import distribution, mvl_list

Change = Callable[[PerturbationResult], PerturbationResult]


def compared(before: Report | Evaluation, after: Report | Evaluation) -> Comparison:
    return compare(Side(before, "before.json"), Side(after, "after.json"), ["lsa-onnx"])


def share(hits: int, n: int = 256) -> Accuracy:
    return Accuracy(hits / n, n, wilson_interval(hits, n))


def changed(report: Report, name: str, /, **changes: Any) -> Report:
    """The report with other fields of one perturbation."""
    results = [
        dataclasses.replace(each, **changes) if each.name == name else each
        for each in report.perturbations
    ]
    return dataclasses.replace(report, perturbations=results)


def with_means(report: Report, name: str, means: list[float]) -> Report:
    """Other mean CMs under one perturbation, with the MVL list that they make."""
    (result,) = [each for each in report.perturbations if each.name == name]
    layers = [
        dataclasses.replace(score, relative_error=distribution(mean))
        for score, mean in zip(result.layers, means, strict=True)
    ]
    found = mvl_list(name, layers, 0.5)
    report = changed(report, name, layers=layers, mvl=found)
    return dataclasses.replace(report, mvl=found) if report.mvl.perturbation == name else report


def test_a_report_equals_itself() -> None:
    found = compared(small_report(), small_report())
    assert (found.of, found.headline, found.regressions) == ("scans", "pgd", [])
    assert [each.name for each in found.perturbations] == ["pgd", "fgsm", "gaussian"]
    assert found.clean is not None
    assert (found.clean.verdict, found.clean.difference) == ("same", 0)
    for change in found.perturbations:
        assert {each.verdict for each in change.layers} == {"same"}
        assert [each.change for each in change.layers] == [0] * 4
        assert (change.newcomers, change.leavers) == ([], [])
    assert (found.unmatched, found.notes) == ([], [])


def test_a_layer_that_entered_the_list_beyond_chance_is_a_regression() -> None:
    # Before .94 .92 .81 .61: the list holds what is above μ + ½ σ = .886, layers 0 and 1.
    worse = with_means(small_report(), "pgd", [0.94, 0.6, 0.97, 0.61])
    found = compared(small_report(), worse)
    pgd = found.perturbations[0]
    assert [each.verdict for each in pgd.layers] == ["same", "better", "worse", "same"]
    assert pgd.newcomers == ["/conv3/Relu_output_0"]
    assert pgd.leavers == ["/conv2/Relu_output_0"]
    assert [each.before.rank for each in pgd.layers] == [1, 2, None, None]
    assert [each.after.rank for each in pgd.layers] == [2, None, 1, None]
    (regression,) = found.regressions
    assert (regression.perturbation, regression.layer) == ("pgd at 0.3", "/conv3/Relu_output_0")
    assert regression.told == (
        "layer '/conv3/Relu_output_0' entered the MVL list under pgd at 0.3: its mean CM rose from 0.810 "
        "(0.792–0.828) to 0.970 (0.949–0.991)"
    )


@pytest.mark.parametrize(
    "means",
    [
        # Worse than before, and in the list already.
        [0.99, 0.92, 0.81, 0.61],
        # New in the list, for the others fell: its own interval overlaps.
        [0.5, 0.4, 0.81, 0.4],
        # Far worse than before, and not in the list.
        [0.94, 0.92, 0.81, 0.70],
    ],
)
def test_one_of_the_two_conditions_is_none(means: list[float]) -> None:
    assert compared(small_report(), with_means(small_report(), "pgd", means)).regressions == []


def test_layers_are_judged_under_the_headline_alone() -> None:
    worse = with_means(small_report(), "fgsm", [0.2, 0.2, 0.9, 0.2])
    assert compared(small_report(), worse).regressions == []
    headlined = dataclasses.replace(worse, mvl=dataclasses.replace(worse.mvl, perturbation="fgsm"))
    found = compared(small_report(), headlined)
    assert found.headline == "fgsm"
    assert [each.layer for each in found.regressions] == ["/conv3/Relu_output_0"]


def test_accuracies_that_fell_beyond_chance_are_regressions() -> None:
    before = dataclasses.replace(small_report(), accuracy=share(250))
    before = changed(before, "pgd", accuracy=share(100))
    after = dataclasses.replace(before, accuracy=share(246))
    after = changed(after, "pgd", accuracy=share(60))
    found = compared(before, after)
    assert [(each.perturbation, each.layer) for each in found.regressions] == [("pgd at 0.3", None)]
    assert found.regressions[0].told == (
        "accuracy under pgd at 0.3 fell from 39.1 % to 23.4 % (95 % interval of the difference −23.4 to "
        "−7.6 points)"
    )
    assert compared(after, before).regressions == []


def test_perturbations_of_other_settings_are_not_compared() -> None:
    after = changed(small_report(), "pgd", parameters={"eps": 0.3, "steps": 50})
    after = changed(after, "gaussian", name="salt")
    found = compared(small_report(), after)
    assert [each.name for each in found.perturbations] == ["fgsm"]
    assert found.notes == [
        "Not compared: pgd at eps 0.3 was run with steps 20 and with 50.",
        "Not compared, for it was run before alone: gaussian of 0.3.",
        "Not compared, for it was run after alone: salt of 0.3.",
    ]
    # The headline of both is not in both alike.
    assert found.headline is None


def test_another_seed_is_no_other_setting() -> None:
    after = changed(small_report(), "pgd", parameters={"eps": 0.3, "steps": 20, "seed": 3})
    assert compared(small_report(), after).notes == []


@pytest.mark.parametrize(
    ("after", "words"),
    [
        (sweep(), "one is a scan and one an evaluation; give two of a kind"),
        (
            synthetic_report(),
            "the samples are others: 256 with fingerprint 9c1185a59c11… and 256 with",
        ),
        (
            dataclasses.replace(
                small_report(), shard=Shard(1, 2, 0, 256, 512, FileDigest("r.npz", "ab" * 32, 9))
            ),
            "they are of all samples and of samples 0 to 255",
        ),
        (
            dataclasses.replace(
                small_report(), partial=Partial("interrupted", None, 0, 256, ["salt"])
            ),
            "the second is of a scan that ended early",
        ),
        (
            dataclasses.replace(small_report(), perturbations=[]),
            "no perturbation was run alike by both: pgd at eps 0.3, fgsm at eps 0.3, gaussian of 0.3, and none",
        ),
    ],
)
def test_what_cannot_be_compared_is_one_line(after: Report | Evaluation, words: str) -> None:
    with pytest.raises(DataError, match=re.escape(words)) as caught:
        compared(small_report(), after)
    assert str(caught.value).startswith("'before.json' and 'after.json' cannot be compared: ")


def test_layers_of_one_model_alone_are_listed_and_in_no_pair() -> None:
    after = small_report()
    renamed = dataclasses.replace(
        after.layers[1], tensor="other", node="elsewhere", learnable=["new"]
    )
    score = dataclasses.replace(after.perturbations[0].layers[1], tensor="other")
    layers = [after.perturbations[0].layers[0], score, *after.perturbations[0].layers[2:]]
    found = mvl_list("pgd", layers, 0.5)
    after = changed(after, "pgd", layers=layers, mvl=found)
    after = dataclasses.replace(
        after, layers=[after.layers[0], renamed, *after.layers[2:]], mvl=found
    )
    result = compared(small_report(), after)
    assert [(each.side, each.tensor) for each in result.unmatched] == [
        ("before", "/conv2/Relu_output_0"),
        ("after", "other"),
    ]
    assert [each.number for each in result.perturbations[0].layers] == [0, 2, 3]
    assert result.perturbations[0].newcomers == ["other"]
    assert result.perturbations[0].leavers == ["/conv2/Relu_output_0"]


def test_evaluations_are_compared_sample_by_sample() -> None:
    # Of 200 samples 65 are right before and 45 after, each of them among the 65: −10 points, and a bootstrap
    # of 20 losses among 200 has a standard deviation of √(0.1 · 0.9 / 200) = 2.1 points.
    found = compared(curve(), curve(left=45))
    assert (found.of, found.headline) == ("evaluations", None)
    assert found.clean is not None
    assert (found.clean.method, found.clean.verdict) == ("paired bootstrap", "same")
    assert [(e.name, round(e.strength or 0, 3)) for e in found.perturbations] == [
        ("pgd", 0.031),
        ("pgd", 0.3),
        ("square", 0.031),
        ("square", 0.3),
    ]
    change = found.perturbations[0].accuracy
    assert change is not None
    assert (change.method, change.verdict) == ("paired bootstrap", "worse")
    assert change.difference == pytest.approx(-0.1)
    assert change.interval == pytest.approx((-0.142, -0.058), abs=0.006)
    assert [each.told.partition(" (")[0] for each in found.regressions] == [
        "accuracy under pgd at 0.0314 fell from 32.5 % to 22.5 %"
    ]
    (pgd, square) = found.scores
    assert (pgd.attack, pgd.before, pgd.after) == ("pgd", 133, 123)
    assert pgd.difference == pytest.approx(-10)
    assert pgd.verdict == "worse"
    assert (square.difference, square.verdict) == (0, "same")


def test_without_a_strength_of_0_the_clean_accuracy_is_a_share() -> None:
    found = compared(sweep(), sweep())
    assert found.clean is not None
    assert found.clean.method == "Newcombe"
    assert found.scores == []


def test_scores_over_other_strengths_are_not_compared() -> None:
    results = [at_eps("pgd", "0", 0.0, 198), at_eps("pgd", "0.3", 0.3, 3)]
    shorter = dataclasses.replace(
        summary("pgd", 100.5, (0.3, 195), (None, 3), (0.0, 2)), eps=[0.0, 0.3]
    )
    found = compared(curve(), evaluation(results, summaries=[shorter]))
    assert found.scores == []
    assert [each.strength for each in found.perturbations] == [0.3]
