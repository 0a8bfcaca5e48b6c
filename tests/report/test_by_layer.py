"""The scores of a report by layer."""

from __future__ import annotations

import dataclasses

import pytest

from lsa_onnx.report.by_layer import scores_by_layer
from tests.report.examples import all_reports, small_report


@pytest.mark.parametrize("name", all_reports())
def test_every_score_is_there_once(name: str) -> None:
    report = all_reports()[name]
    found = scores_by_layer(report)
    assert list(found) == [info.tensor for info in report.layers]
    scored = [(each.result.name, each.score) for scores in found.values() for each in scores]
    wanted = [(result.name, score) for result in report.perturbations for score in result.layers]
    assert sorted(scored, key=str) == sorted(wanted, key=str)


def test_ranks_are_those_of_each_perturbation() -> None:
    report = small_report()
    first, second, third, _ = (info.tensor for info in report.layers)
    lists = [[second, first], [third], []]
    report = dataclasses.replace(
        report,
        perturbations=[
            dataclasses.replace(result, mvl=dataclasses.replace(result.mvl, layers=layers))
            for result, layers in zip(report.perturbations, lists, strict=True)
        ],
    )
    ranks = [[each.rank for each in scores] for scores in scores_by_layer(report).values()]
    assert ranks == [[2, None, None], [1, None, None], [None, 1, None], [None, None, None]]


def test_a_score_of_no_layer_is_left_out() -> None:
    report = small_report()
    found = scores_by_layer(dataclasses.replace(report, layers=report.layers[1:]))
    assert report.layers[0].tensor not in found
    assert len(found) == 3
