"""JUnit XML: valid by Jenkins' schema, whatever the names hold, and failed where a gate failed."""

from __future__ import annotations

import dataclasses
from functools import cache
from pathlib import Path
from xml.etree import ElementTree as Xml

import pytest
import xmlschema
from hypothesis import given
from hypothesis import strategies as st

from lsa_onnx.report.document import GateOutcome, Report
from lsa_onnx.report.formats.junit import render
from tests.report.examples import all_reports, extended_report, small_report

SCHEMA = Path(__file__).parent / "schemas" / "junit-10.xsd"


@cache
def schema() -> xmlschema.XMLSchema:
    return xmlschema.XMLSchema(str(SCHEMA))


def suite_of(report: Report) -> Xml.Element:
    root = Xml.fromstring(render(report))  # noqa: S314 - our own
    (suite,) = root
    for name in ("tests", "failures", "errors"):
        assert root.get(name) == suite.get(name)
    assert suite.get("tests") == str(len(suite.findall("testcase")))
    assert suite.get("failures") == str(len(suite.findall("testcase/failure")))
    assert suite.get("errors") == str(len(suite.findall("testcase/error")))
    assert suite.get("skipped") == str(len(suite.findall("testcase/skipped")))
    return suite


@pytest.mark.parametrize("name", all_reports())
def test_every_report_is_valid(name: str) -> None:
    schema().validate(render(all_reports()[name]))
    suite_of(all_reports()[name])


def test_the_schema_refuses_what_is_wrong() -> None:
    with pytest.raises(xmlschema.XMLSchemaValidationError, match="name"):
        schema().validate("<testsuite/>")


@given(st.text(st.characters(), max_size=30))
def test_any_name_is_xml(name: str) -> None:
    gate = GateOutcome(name, name, 0.5, "failed", name)
    case = suite_of(dataclasses.replace(small_report(), gates=[gate])).findall("testcase")[1]
    assert case.get("name") is not None
    failure = case.find("failure")
    assert failure is not None
    assert (failure.get("message") or "").startswith("gate ")


def test_gates_are_test_cases() -> None:
    suite = suite_of(dataclasses.replace(extended_report(), partial=None))
    scan, passed, failed, known = suite.findall("testcase")
    assert (scan.get("name"), scan.get("classname")) == ("scan", "mnist-b.onnx")
    assert passed.findtext("system-out") == "layers in the MVL list: 1"
    failure = failed.find("failure")
    assert failure is not None
    assert failure.get("message") == "gate accuracy@pgd<0.4 failed: accuracy under pgd: 0.03"
    skipped = known.find("skipped")
    assert skipped is not None
    assert skipped.get("message") == (
        "known from the baseline: mean CM of layer 0: 0.94; 0.95 in the baseline"
    )
    assert suite.get("errors") == "0"


def test_an_undefined_value_is_said() -> None:
    gate = GateOutcome("g", "what", None, "failed", None)
    failure = suite_of(dataclasses.replace(small_report(), gates=[gate])).find("testcase/failure")
    assert failure is not None
    assert failure.text == "gate g failed: what: undefined"


def test_a_partial_scan_is_an_error_and_warnings_are_told() -> None:
    suite = suite_of(extended_report())
    error = suite.find("testcase/error")
    assert error is not None
    assert "a part (128 of 256 samples)" in (error.get("message") or "")
    for told in (suite.findtext("system-out"), suite.findtext("testcase/system-out")):
        assert told is not None
        assert told.splitlines()[0].startswith("2 of 4 layers move more")
        assert told.splitlines()[-1] == (
            "Warning partial: The scan was interrupted: gaussian was not begun."
        )
