"""SARIF 2.1.0: warnings, vulnerable layers and failed gates as results, for code scanning.

Only a failed gate is an error: that is what a user chose to fail on. A layer is one result, whichever
perturbations list it, and fingerprints hold no figure, so that an alert stays the same from run to run.
"""

from __future__ import annotations

import hashlib
import json
import os
import posixpath
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from lsa_onnx.report import text
from lsa_onnx.report.by_layer import Scored, scores_by_layer
from lsa_onnx.report.formats.sarif_rules import GATE, METHOD_URI, MVL, level_of, rules
from lsa_onnx.report.text import figure, visible

if TYPE_CHECKING:
    from lsa_onnx.report.document import LayerInfo, Report

SCHEMA = (
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
)

_UTC = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
# What a viewer would make a link of; names bring no links.
_LINK_START = re.compile(r"\[(?=[^\]]*\]\()")
# Required by GitHub of every result, though a line means nothing in a model file.
_REGION = {"startLine": 1, "startColumn": 1, "endLine": 1, "endColumn": 1}
_KNOWN = {
    "kind": "external",
    "justification": "The gate failed no less in the baseline.",
}

Json = dict[str, Any]


def render(report: Report) -> str:
    """The log as JSON, ASCII only."""
    log = {"$schema": SCHEMA, "version": "2.1.0", "runs": [_run(report)]}
    return json.dumps(log, indent=2, allow_nan=False) + "\n"


def file_uri(path: str) -> str:
    """A path as a URI: relative where the path is, percent-encoded, without ``.`` segments."""
    if Path(path).is_absolute():
        return "file://" + _encoded("/" + Path(path).as_posix().lstrip("/"))
    return _encoded(posixpath.normpath(Path(path).as_posix()))


def _encoded(path: str) -> str:
    try:
        return quote(os.fsencode(path))
    except UnicodeEncodeError:  # a surrogate that stands for no byte, which a report can hold
        return quote(path, errors="replace")


def _run(report: Report) -> Json:
    found = list(_results(report))
    listed = rules(result["ruleId"] for result in found)
    index = {rule["id"]: place for place, rule in enumerate(listed)}
    for result in found:
        result["ruleIndex"] = index[result["ruleId"]]
    driver = {
        "name": "lsa-onnx",
        "version": visible(report.tool_version),
        "informationUri": METHOD_URI,
        "rules": listed,
    }
    uri = file_uri(report.model.file.path)
    return {
        "tool": {"driver": driver},
        # GitHub replaces earlier results of the same name, so each model has one of its own.
        "automationDetails": {"id": f"lsa-onnx/{uri}/"},
        "invocations": [_invocation(report)],
        "artifacts": list(_artifacts(report)),
        "results": found,
        "properties": _summary(report),
    }


def _invocation(report: Report) -> Json:
    failed = any(gate.status == "failed" for gate in report.gates)
    invocation: Json = {
        "executionSuccessful": report.partial is None,
        "commandLine": text.command_line(report.run.command),
        "arguments": [visible(word) for word in report.run.command[1:]],
        "exitCode": 130 if report.partial is not None else int(failed),
    }
    if _UTC.fullmatch(report.created):
        invocation["startTimeUtc"] = report.created
    return invocation


def _artifacts(report: Report) -> Iterator[Json]:
    """The model; its weights files are not named, for their paths are relative to it."""
    file = report.model.file
    yield {
        "location": {"uri": file_uri(file.path)},
        "length": file.size_bytes,
        "roles": ["analysisTarget"],
        "hashes": {"sha-256": visible(file.sha256)},
    }


def _summary(report: Report) -> Json:
    summary: Json = {
        "verdict": visible(report.verdict.headline),
        "status": report.verdict.status,
        "samples": report.data.samples,
    }
    if report.accuracy is not None:
        summary["accuracy"] = report.accuracy.value
    accuracies = {
        visible(result.name): result.accuracy.value
        for result in report.perturbations
        if result.accuracy is not None
    }
    return {**summary, "accuracyUnder": accuracies}


def _results(report: Report) -> Iterator[Json]:
    yield from _gates(report)
    yield from _layers(report)
    yield from _warnings(report)


def _gates(report: Report) -> Iterator[Json]:
    """Those that failed, or would have but for the baseline; GitHub would alert to passed ones, too."""
    for gate in report.gates:
        if gate.status == "passed":
            continue
        value = "undefined" if gate.value is None else text.brief(gate.value)
        note = f" ({visible(gate.note)})" if gate.note else ""
        said = f"Gate {visible(gate.expression)}: {visible(gate.measured)} is {value}{note}."
        known = gate.status == "known"
        yield {
            **_result(report, GATE, gate.expression, said),
            "level": "note" if known else "error",
            "properties": {"status": gate.status, "value": gate.value},
            **({"suppressions": [_KNOWN]} if known else {}),
        }


def _layers(report: Report) -> Iterator[Json]:
    """Every layer of an MVL list, those of the headline list first, most vulnerable first."""
    infos, scores = {info.tensor: info for info in report.layers}, scores_by_layer(report)
    headline = frozenset(report.mvl.layers)
    lists = [report.mvl, *(result.mvl for result in report.perturbations)]
    for tensor in dict.fromkeys(tensor for mvl in lists for tensor in mvl.layers):
        found = scores.get(tensor, [])
        if all(each.rank is None for each in found):
            continue
        info = infos[tensor]
        result = _result(report, MVL, tensor, _layer_message(info, found))
        result["locations"][0]["logicalLocations"] = _logical(info)
        yield {
            **result,
            "level": "warning" if tensor in headline else "note",
            "properties": {"perturbations": {visible(s.result.name): _figures(s) for s in found}},
        }


def _layer_message(info: LayerInfo, scores: list[Scored]) -> str:
    places = "; ".join(
        f"number {rank} under {visible(result.name)} with a mean CM of {figure(score.relative_error.mean)}"
        for result, score, rank in scores
        if rank is not None
    )
    return (
        f"Layer {visible(info.tensor)} ({visible(info.op)}) is among the most vulnerable: {places}."
    )


def _figures(scored: Scored) -> Json:
    result, score, rank = scored
    return {
        "cm": score.relative_error.mean,
        "interval": score.relative_error.interval,
        "threshold": result.mvl.threshold,
        "rank": rank,
        "stability": score.stability,
    }


def _logical(info: LayerInfo) -> list[Json]:
    """The tensor and the node that makes it; inside a body, behind the body's path."""
    inside = f"{visible(info.body)}/" if info.body is not None else ""
    named = (("tensor", visible(info.tensor)), ("node", visible(info.node)))
    return [
        {"kind": kind, "name": name, "fullyQualifiedName": f"{inside}{name}"}
        for kind, name in named
    ]


def _warnings(report: Report) -> Iterator[Json]:
    seen: Counter[str] = Counter()
    for warning in report.warnings:
        # A code may come up several times; its figures change, its turn hardly does.
        turn = seen[warning.code]
        seen[warning.code] += 1
        rule = visible(warning.code)
        result = _result(report, rule, str(turn), visible(warning.message))
        yield {**result, "level": level_of(rule)}


def _result(report: Report, rule: str, subject: str, message: str) -> Json:
    """A result at the model file; rule, file and ``subject`` tell it from the others."""
    uri = file_uri(report.model.file.path)
    identity = json.dumps([rule, uri, subject]).encode("ascii")
    known = hashlib.sha256(identity).hexdigest()
    location = {"artifactLocation": {"uri": uri, "index": 0}, "region": dict(_REGION)}
    return {
        "ruleId": rule,
        "message": {"text": _LINK_START.sub(r"\\[", message)},
        "locations": [{"physicalLocation": location}],
        # GitHub reads the first key alone.
        "partialFingerprints": {
            "primaryLocationLineHash": f"{known[:16]}:1",
            "lsaOnnxResult/v1": known,
        },
        # The standard wants it on all results or on none.
        "suppressions": [],
    }
