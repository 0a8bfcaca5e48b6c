"""The log for code scanning: valid, within what GitHub takes, and the same alerts from run to run."""

from __future__ import annotations

import dataclasses
import json
import re
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

import jsonschema
import pytest

from lsa_onnx.report.document import Report, ReportWarning
from lsa_onnx.report.formats.sarif import file_uri, render
from lsa_onnx.report.formats.sarif_rules import GATE, MVL, level_of, warning_texts
from tests.report.examples import (
    all_reports,
    empty_report,
    extended_report,
    hostile_report,
    large_report,
    small_report,
)

SCHEMA = Path(__file__).parent / "schemas" / "sarif-schema-2.1.0.json"


@cache
def validator() -> Any:
    return jsonschema.Draft7Validator(json.loads(SCHEMA.read_text("utf-8")))


def run_of(report: Report) -> dict[str, Any]:
    (run,) = json.loads(render(report))["runs"]
    found: dict[str, Any] = run
    return found


def at(report: Report, path: str) -> Report:
    file = dataclasses.replace(report.model.file, path=path)
    return dataclasses.replace(report, model=dataclasses.replace(report.model, file=file))


@pytest.mark.parametrize("name", all_reports())
def test_every_report_is_valid(name: str) -> None:
    validator().validate(json.loads(render(all_reports()[name])))
    assert render(all_reports()[name]).isascii()


def test_the_schema_refuses_what_is_wrong() -> None:
    log = json.loads(render(small_report()))
    log["runs"][0]["results"][0]["level"] = "fatal"
    with pytest.raises(jsonschema.ValidationError, match="'fatal' is not one of"):
        validator().validate(log)


@pytest.mark.parametrize("name", all_reports())
def test_results_have_what_github_requires(name: str) -> None:
    run = run_of(all_reports()[name])
    rules = run["tool"]["driver"]["rules"]
    for rule in rules:
        assert all(rule[part]["text"] for part in ("shortDescription", "fullDescription", "help"))
        assert (
            max(len(rule[part]["text"]) for part in ("shortDescription", "fullDescription")) <= 1024
        )
        assert rule["properties"]["problem.severity"] in {"error", "warning", "recommendation"}
    for result in run["results"]:
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]
        assert result["message"]["text"]
        (location,) = result["locations"]
        physical = location["physicalLocation"]
        assert physical["region"]["startLine"] >= 1
        uri = urlsplit(physical["artifactLocation"]["uri"])
        assert (uri.scheme, uri.netloc, uri.query, uri.fragment) == ("", "", "", "")
        assert re.fullmatch(
            r"[0-9a-f]{16}:1", result["partialFingerprints"]["primaryLocationLineHash"]
        )
    known = [r["partialFingerprints"]["primaryLocationLineHash"] for r in run["results"]]
    assert len(set(known)) == len(known)


def test_an_alert_is_the_same_whatever_the_figures() -> None:
    first = run_of(large_report(seed=7))["results"]
    again = run_of(large_report(seed=8))["results"]
    moved = run_of(at(large_report(), "other.onnx"))["results"]

    def alerts(results: list[dict[str, Any]]) -> dict[str, str]:
        return {
            r["partialFingerprints"]["primaryLocationLineHash"]: r["message"]["text"]
            for r in results
        }

    both = alerts(first).keys() & alerts(again).keys()
    assert len(both) > len(first) // 2
    assert any(alerts(first)[key] != alerts(again)[key] for key in both)
    assert not alerts(first).keys() & alerts(moved).keys()


def test_layers_gates_and_warnings_are_results_by_severity() -> None:
    results = run_of(extended_report())["results"]
    assert [(r["ruleId"], r["level"]) for r in results] == [
        (GATE, "error"), (GATE, "note"), (MVL, "warning"), (MVL, "warning"), ("partial", "warning"),
    ]  # fmt: skip
    assert [len(r["suppressions"]) for r in results] == [0, 1, 0, 0, 0]
    layer = results[2]
    assert layer["message"]["text"] == (
        "Layer /conv1/Relu_output_0 (Relu) is among the most vulnerable: number 1 under pgd with a mean CM of "
        "0.940; number 1 under fgsm with a mean CM of 0.750."
    )
    logical = layer["locations"][0]["logicalLocations"]
    assert [each["kind"] for each in logical] == ["tensor", "node"]
    assert logical[0]["fullyQualifiedName"] == "/conv1/Relu_output_0"
    assert layer["properties"]["perturbations"]["pgd"]["cm"] == 0.94


def test_a_layer_that_only_another_perturbation_lists_is_a_note() -> None:
    report = small_report()
    headline = dataclasses.replace(report.mvl, layers=report.mvl.layers[:1])
    pgd = dataclasses.replace(report.perturbations[0], mvl=headline)
    report = dataclasses.replace(
        report, mvl=headline, perturbations=[pgd, *report.perturbations[1:]]
    )
    assert [r["level"] for r in run_of(report)["results"]] == ["warning", "note"]


def test_how_it_was_run() -> None:
    partial, passed = run_of(extended_report()), run_of(small_report())
    (cut,), (done,) = partial["invocations"], passed["invocations"]
    assert (cut["executionSuccessful"], cut["exitCode"]) == (False, 130)
    assert (done["executionSuccessful"], done["exitCode"]) == (True, 0)
    assert done["startTimeUtc"] == "2025-03-14T15:09:26Z"
    assert done["commandLine"].startswith("lsa-onnx scan")
    failed = dataclasses.replace(extended_report(), partial=None)
    assert run_of(failed)["invocations"][0]["exitCode"] == 1
    # The time of a hostile report is no time.
    assert "startTimeUtc" not in run_of(hostile_report())["invocations"][0]
    (artifact,) = passed["artifacts"]
    assert artifact["hashes"]["sha-256"] == small_report().model.file.sha256
    assert run_of(empty_report())["results"] == []


@pytest.mark.parametrize(
    ("path", "uri"),
    [
        ("models/net.onnx", "models/net.onnx"),
        ("./models//net.onnx", "models/net.onnx"),
        ("../net.onnx", "../net.onnx"),
        ("a b#c?d%.onnx", "a%20b%23c%3Fd%25.onnx"),
        ("c:d.onnx", "c%3Ad.onnx"),
        ("名.onnx", "%E5%90%8D.onnx"),
        ("byte\udcff.onnx", "byte%FF.onnx"),
        ("surrogate\ud800.onnx", "surrogate%3F.onnx"),
    ],
)
def test_paths_become_uris(path: str, uri: str) -> None:
    assert file_uri(path) == uri
    assert run_of(at(small_report(), path))["automationDetails"]["id"] == f"lsa-onnx/{uri}/"


def test_an_absolute_path_is_a_file_uri(tmp_path: Path) -> None:
    uri = file_uri(str(tmp_path / "a b.onnx"))
    assert uri.startswith("file:///")
    assert PurePosixPath(unquote(urlsplit(uri).path)).name == "a b.onnx"


def test_names_bring_no_links_and_no_controls() -> None:
    warning = ReportWarning("not-finite", "[click](https://evil.example) [a[b](c) x[0]\x1b\x00")
    report = dataclasses.replace(small_report(), warnings=[warning])
    assert run_of(report)["results"][-1]["message"]["text"] == (
        r"\[click](https://evil.example) \[a\[b](c) x[0]\x1b\x00"
    )


def test_warnings_have_the_help_of_their_page() -> None:
    assert {"note", "warning"} == {level_of(code) for code in warning_texts()}
    warnings = [ReportWarning("large-eps", "a"), ReportWarning("large-eps", "b")]
    run = run_of(dataclasses.replace(small_report(), warnings=warnings))
    rule = run["tool"]["driver"]["rules"][-1]
    assert rule["id"] == "large-eps"
    assert rule["fullDescription"]["text"].startswith("Raised if an attack may change a value by")
    assert rule["help"]["markdown"].startswith("**Why it matters**: a person sees such a change")
    assert rule["help"]["text"].endswith("docs/warnings.md#large-eps in the documentation.")
    assert "**" not in rule["help"]["text"]
    # Twice the same code is one rule and two alerts.
    assert [r["ruleIndex"] for r in run["results"][-2:]] == [1, 1]
