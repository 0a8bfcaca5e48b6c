"""Evaluation to JSON and back, and the curves that its views draw."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from lsa_onnx.errors import DataError
from lsa_onnx.report.curves import Breaking, Strength, breaking, curves, strengths
from lsa_onnx.report.evaluation import Evaluation
from lsa_onnx.report.evaluations import Evaluations
from lsa_onnx.report.json_file import dumps
from tests.report.evaluations import (
    all_evaluations,
    at_eps,
    curve,
    evaluation,
    summary,
    sweep,
)
from tests.report.strategies import values_of


@settings(max_examples=60, suppress_health_check=list(HealthCheck), deadline=None)
@given(found=values_of(Evaluation))
def test_any_evaluation_survives_the_round_trip(found: Evaluation) -> None:
    read = Evaluation.from_dict(json.loads(dumps(found)))
    assert read.to_dict() == found.to_dict()
    assert Evaluation.from_dict(json.loads(dumps(read))) == read


@settings(max_examples=20, suppress_health_check=list(HealthCheck), deadline=None)
@given(found=values_of(Evaluations))
def test_any_evaluations_survive_the_round_trip(found: Evaluations) -> None:
    read = Evaluations.from_dict(json.loads(dumps(found)))
    assert read.to_dict() == found.to_dict()
    assert Evaluations.from_dict(json.loads(dumps(read))) == read


def test_of_every_sample_it_is_known_where_it_is_right() -> None:
    found = curve()
    right = found.correct_at("pgd", 0.0313725490196)
    assert right.tolist() == [True] * 65 + [False] * 135
    assert found.correct_at("square", 0.3).sum() == 20
    scores = found.scores("pgd")
    assert scores.tolist() == [3] * 3 + [2] * 62 + [1] * 133 + [0] * 2
    assert 100 * scores.mean() == pytest.approx(found.summaries[0].r_and_g)


def test_what_was_not_run_is_refused() -> None:
    with pytest.raises(
        DataError, match=r"'pgd' at eps 0\.2 is not in this evaluation; it holds pgd at 0,"
    ):
        curve().correct_at("pgd", 0.2)
    with pytest.raises(
        DataError, match="attack 'fgsm' is not in this evaluation; it holds pgd, square"
    ):
        curve().scores("fgsm")
    with pytest.raises(DataError, match="it holds no attack"):
        evaluation([]).correct_at("pgd", 0.0)


def test_the_median_counts_what_never_breaks_as_the_strongest() -> None:
    weak, strong = curve().summaries
    assert breaking(weak) == Breaking(8 / 255, [2, 133, 62], 3)
    assert breaking(strong) == Breaking(0.3, [2, 78, 100], 20)
    assert breaking(summary("pgd", 0.0, (None, 3), (0.3, 2))) == Breaking(None, [0, 0, 2], 3)
    assert breaking(summary("pgd", 0.0)) == Breaking(None, [0, 0, 0], 0)


def test_shares_are_rounded_and_nothing_else_is() -> None:
    third = at_eps(
        "pgd", "1/3", 1 / 3, 66, parameters={"value": 1 / 3}, robust_accuracy=1 / 3,
        interval=(1 / 7, 2 / 3), success_interval=None, seconds=1 / 3, clean_accuracy=2 / 3,
    )  # fmt: skip
    values = evaluation([third], clean_accuracy=2 / 3).to_dict()
    (result,) = values["results"]
    assert values["clean_accuracy"] == 0.666667
    assert result["clean_accuracy"] == 0.666667
    assert result["robust_accuracy"] == 0.333333
    assert result["interval"] == [0.142857, 0.666667]
    assert result["success_interval"] is None
    assert result["success_rate"] == 0.666667
    assert result["eps"] == result["seconds"] == result["parameters"]["value"] == 1 / 3


def test_rounding_leaves_the_record_as_it_was() -> None:
    found = evaluation([at_eps("pgd", "0.1", 0.1, 67)])
    found.to_dict()
    assert found.results[0].success_rate == 131 / 198


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (
            "schema_version",
            "0.9",
            "this evaluation has schema version '0.9', this tool reads '1.3'",
        ),
        ("kind", 3, "field 'kind' is 3, not one of \"evaluation\""),
        ("kind", "surface", 'field \'kind\' is "surface", not one of "evaluation"'),
        ("labels", "guessed", 'field \'labels\' is "guessed", not one of "given", "predicted"'),
        ("results/1/broken", 2.5, "field 'results[1].broken' is 2.5, not a whole number"),
        ("results/1/interval", None, "field 'results[1].interval' is null, not an array of 2"),
        ("run/engine", "twin", "unknown field 'engine' in 'run'; accepted are seed, device"),
        ("clean", {}, "missing field 'value', 'n', 'interval' in 'clean'"),
    ],
)
def test_wrong_value_is_named(path: str, value: object, words: str) -> None:
    values: dict[str, Any] = json.loads(dumps(sweep()))
    *parents, last = path.split("/")
    place: Any = values
    for part in parents:
        place = place[int(part) if part.isdigit() else part]
    place[last] = value
    with pytest.raises(DataError, match=re.escape(words)) as caught:
        Evaluation.from_dict(values)
    assert "\n" not in str(caught.value)
    assert "make the evaluation again with `lsa-onnx evaluate`" in str(caught.value)


@pytest.mark.parametrize("value", [None, 3, "text", [1, 2]])
def test_what_is_no_object_is_refused(value: object) -> None:
    with pytest.raises(DataError, match=r"^not an evaluation: the document is .*, not an object"):
        Evaluation.from_dict(value)


def test_strengths_go_from_weak_to_strong_within_the_norms_as_asked_for() -> None:
    found = evaluation(
        [
            at_eps("pgd", "2", 2.0, 9, norm="l2"),
            at_eps("pgd", "30%", 0.3, 9),
            at_eps("pgd", "0.5", 0.5, 9, norm="l2"),
            at_eps("fgsm", "0.3", 0.3, 9),
        ]
    )
    assert [(s.norm, s.eps) for s in strengths(found)] == [("l2", 0.5), ("l2", 2.0), ("linf", 0.3)]
    assert strengths(found)[2].text in {"30%", "0.3"}


def test_curves_have_a_point_per_strength_or_a_gap() -> None:
    weak, strong = at_eps("pgd", "0.1", 0.1, 90), at_eps("pgd", "0.2", 0.2, 20)
    other = at_eps("square", "0.2", 0.2, 50)
    found = evaluation([strong, other, weak])
    assert strengths(found) == [Strength("linf", 0.1, "0.1"), Strength("linf", 0.2, "0.2")]
    assert {curve.attack: curve.points for curve in curves(found)} == {
        "pgd": [weak, strong],
        "square": [None, other],
    }


def test_every_result_is_a_point_of_one_curve() -> None:
    for found in all_evaluations().values():
        points = [point for curve in curves(found) for point in curve.points if point]
        assert sorted(map(repr, points)) == sorted(map(repr, found.results))
