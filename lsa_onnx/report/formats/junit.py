"""JUnit XML: the scan and each gate as test cases, the verdict and the warnings as output, for CI.

There is no standard; this is what Jenkins' schema (junit-10.xsd) allows, and GitLab, GitHub actions and
Azure read. The scan itself is a test case, for many readers call a file without any an error.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING
from xml.etree import ElementTree as Xml

from lsa_onnx.report import text

if TYPE_CHECKING:
    from lsa_onnx.report.document import GateOutcome, Report

# What ``visible`` lets through though XML 1.0 has no such character.
_NO_XML = re.compile("[\ufffe\uffff]")
_TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)?")


def render(report: Report) -> str:
    """The document, with an XML declaration."""
    root = Xml.Element("testsuites", {"name": "lsa-onnx", **_counts(report)})
    suite = Xml.SubElement(root, "testsuite", {"name": "lsa-onnx scan", **_counts(report)})
    suite.set("skipped", str(sum(gate.status == "known" for gate in report.gates)))
    suite.set("time", f"{report.run.seconds:.3f}")
    if _TIMESTAMP.fullmatch(report.created):
        suite.set("timestamp", report.created)
    properties = Xml.SubElement(suite, "properties")
    for name, value in _properties(report):
        Xml.SubElement(properties, "property", name=name, value=_shown(value))
    _add_scan(suite, report)
    for gate in report.gates:
        _add_gate(suite, report, gate)
    Xml.SubElement(suite, "system-out").text = "\n".join(_told(report))
    Xml.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + Xml.tostring(root, "unicode") + "\n"


def _counts(report: Report) -> dict[str, str]:
    """Attributes of what holds test cases."""
    failures = sum(gate.status == "failed" for gate in report.gates)
    errors = int(report.partial is not None)
    return {
        "tests": str(1 + len(report.gates)),
        "failures": str(failures),
        "errors": str(errors),
    }


def _properties(report: Report) -> Iterator[tuple[str, str]]:
    yield "tool_version", report.tool_version
    yield "model_sha256", report.model.file.sha256
    yield "samples", str(report.data.samples)
    if report.accuracy is not None:
        yield "accuracy", repr(report.accuracy.value)
    for result in report.perturbations:
        if result.accuracy is not None:
            yield f"accuracy.{_shown(result.name)}", repr(result.accuracy.value)


def _case(suite: Xml.Element, report: Report, name: str, seconds: float) -> Xml.Element:
    file = _shown(report.model.file.path)
    case = Xml.SubElement(suite, "testcase", classname=file, name=_shown(name))
    case.set("time", f"{seconds:.3f}")
    return case


def _add_scan(suite: Xml.Element, report: Report) -> None:
    case = _case(suite, report, "scan", report.run.seconds)
    if report.partial is not None:
        done = f"{report.partial.samples:,} of {report.partial.wanted:,} samples"
        message = f"the scan was {report.partial.reason}: its figures are of a part ({done})"
        Xml.SubElement(case, "error", type="partial", message=message)
    # Once more beside the case: GitLab shows what cases say, and not what suites do.
    Xml.SubElement(case, "system-out").text = "\n".join(_told(report))


def _add_gate(suite: Xml.Element, report: Report, gate: GateOutcome) -> None:
    case = _case(suite, report, gate.expression, 0)
    value = "undefined" if gate.value is None else text.brief(gate.value)
    note = f"; {_shown(gate.note)}" if gate.note else ""
    said = f"{_shown(gate.measured)}: {value}{note}"
    if gate.status == "failed":
        message = f"gate {_shown(gate.expression)} failed: {said}"
        Xml.SubElement(case, "failure", type="gate", message=message).text = message
    elif gate.status == "known":
        Xml.SubElement(case, "skipped", message=f"known from the baseline: {said}")
    else:
        Xml.SubElement(case, "system-out").text = said


def _told(report: Report) -> Iterator[str]:
    yield from map(_shown, (report.verdict.headline, *report.verdict.details))
    yield from (f"Warning {_shown(w.code)}: {_shown(w.message)}" for w in report.warnings)


def _shown(value: str) -> str:
    """Foreign text on one line, of characters that XML has."""
    return _NO_XML.sub(lambda c: f"\\u{ord(c[0]):04x}", text.visible(value))
