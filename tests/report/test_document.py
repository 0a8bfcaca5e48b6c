"""Report to JSON and back: the same report, or one line that names what is wrong."""

from __future__ import annotations

import json
import math
import re
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from lsa_onnx.errors import DataError
from lsa_onnx.report.document import Distribution, Report
from lsa_onnx.report.json_file import dumps
from tests.report.examples import all_reports, small_report
from tests.report.strategies import values_of


@pytest.mark.parametrize("name", all_reports())
def test_examples_survive_the_round_trip(name: str) -> None:
    report = all_reports()[name]
    assert Report.from_dict(json.loads(dumps(report))) == report
    assert Report.from_dict(report.to_dict()) == report


@settings(max_examples=40, suppress_health_check=list(HealthCheck), deadline=None)
@given(report=values_of(Report))
def test_any_report_survives_the_round_trip(report: Report) -> None:
    assert Report.from_dict(json.loads(dumps(report))) == report


def test_arrays_are_lists_so_that_a_schema_takes_them() -> None:
    values = small_report().to_dict()
    assert values["input"]["range"] == [0.0, 1.0]
    assert isinstance(values["accuracy"]["interval"], list)


def change(path: str, value: object) -> dict[str, Any]:
    values: dict[str, Any] = json.loads(dumps(small_report()))
    *parents, last = [int(part) if part.isdigit() else part for part in path.split("/")]
    place: Any = values
    for part in parents:
        place = place[part]
    place[last] = value
    return values


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("schema_version", "2.0", "schema version '2.0', this tool reads '1.3'; make the report"),
        ("schema_version", 1, "schema version 1, this tool"),
        ("schema_version", None, "field 'schema_version' is null, not a string"),
        ("surprise", 1, "unknown field 'surprise'; accepted are tool_version"),
        ("model/file/md5", 1, "unknown field 'md5' in 'model.file'; accepted are path, sha256"),
        ("run/seed", "seven", "field 'run.seed' is \"seven\", not a whole number"),
        ("run/seed", True, "field 'run.seed' is true, not a whole number"),
        ("run/seed", 1.5, "field 'run.seed' is 1.5, not a whole number"),
        ("run/seconds", True, "field 'run.seconds' is true, not a number"),
        ("run/seconds", None, "field 'run.seconds' is null, not a number"),
        ("run/seconds", math.inf, "field 'run.seconds' is inf, not a finite number"),
        ("run/seconds", 10**400, "000…, not a finite number"),
        ("run/batch_mode", "often", 'is "often", not one of "free", "rebatched", "native"'),
        ("run/command", "scan", "field 'run.command' is \"scan\", not an array"),
        ("data/synthetic", 0, "field 'data.synthetic' is 0, not true or false"),
        ("input/range", [0], "field 'input.range' is an array of 1 values, not an array of 2"),
        ("input/range", [0, "x"], "field 'input.range[1]' is \"x\", not a number"),
        ("layers/2/shape/0", 1.5, "field 'layers[2].shape[0]' is 1.5, not int or str"),
        ("layers/2/tensor", "x\ny" * 99, r"field 'layers[2].tensor'"),
        ("layers/1", 7, "field 'layers[1]' is 7, not an object"),
        ("model/opsets", [], "field 'model.opsets' is an array of 0 values, not an object"),
        ("perturbations/0/layers/3/cosine/mean", "big", "perturbations[0].layers[3].cosine.mean"),
        ("perturbations/1/parameters/eps", math.nan, "parameters.eps' is nan, not a finite number"),
        ("perturbations/1/parameters/eps", {1}, "parameters.eps' is {1}, not a JSON value"),
        ("accuracy", {}, "missing field 'value', 'n', 'interval' in 'accuracy'"),
    ],
)
def test_wrong_value_is_named(path: str, value: object, words: str) -> None:
    if path == "layers/2/tensor":
        value = [value]
    with pytest.raises(DataError, match=re.escape(words)) as caught:
        Report.from_dict(change(path, value))
    assert "\n" not in str(caught.value)
    assert "scan" in str(caught.value)


def test_missing_field_is_named() -> None:
    values = small_report().to_dict()
    del values["mvl"]["threshold"]
    with pytest.raises(DataError, match=r"missing field 'threshold' in 'mvl'"):
        Report.from_dict(values)


@pytest.mark.parametrize("value", [None, 3, "text", [1, 2]])
def test_other_documents_are_refused(value: object) -> None:
    shown = "an array of 2 values" if isinstance(value, list) else json.dumps(value)
    with pytest.raises(DataError, match=re.escape(f"the document is {shown}, not an object")):
        Report.from_dict(value)


def test_whole_numbers_become_floats() -> None:
    report = Report.from_dict(change("run/seconds", 3))
    assert isinstance(report.run.seconds, float)


def test_records_are_rebuilt_as_their_types() -> None:
    report = Report.from_dict(small_report().to_dict())
    assert isinstance(report.perturbations[0].layers[0].cosine, Distribution)
    assert isinstance(report.input.range, tuple)
