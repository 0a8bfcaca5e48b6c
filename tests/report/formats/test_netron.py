"""The attachment for Netron, read as Netron 9.3 reads it (``metadata.Attachment`` in its view.js)."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from lsa_onnx.errors import DataError
from lsa_onnx.report.document import Report
from lsa_onnx.report.formats.netron import render, require_openable
from tests.report.examples import all_reports, large_report, small_report

Entries = dict[str, dict[str, Any]]


def opened(report: Report) -> Entries:
    """Kind and target → name → value: a later entry of the same name takes the place of an earlier one."""
    data = json.loads(render(report))
    assert data["signature"] == "netron:attachment"
    entries: Entries = {}
    for item in data["metrics"]:
        assert item["kind"] in {"node", "value"}
        assert isinstance(item["value"], (int, float, str))
        entries.setdefault(f"{item['kind']}::{item['target']}", {})[item["name"]] = item["value"]
    return entries


def looked_up(entries: Entries, kind: str, name: str) -> dict[str, Any]:
    # By the first line of a name; what has no name is not looked up.
    return entries.get(f"{kind}::{name.split(chr(10))[0]}", {}) if name else {}


@pytest.mark.parametrize("name", all_reports())
def test_netron_finds_the_scores_of_every_layer(name: str) -> None:
    report = all_reports()[name]
    entries = opened(report)
    for number, info in enumerate(report.layers):
        found = looked_up(entries, "value", info.tensor)
        assert found["LSA layer"] == number
        assert len(found) > len(report.perturbations)
        assert looked_up(entries, "node", info.node) == found
    assert bool(entries) == bool(report.layers)


def test_the_scores_are_those_of_the_report() -> None:
    entries = opened(small_report())
    assert looked_up(entries, "value", "/conv2/Relu_output_0") == {
        "LSA layer": 1, "CM pgd": 0.92, "MVL rank pgd": 2, "CM fgsm": 0.7, "MVL rank fgsm": 2,
        "CM gaussian": 0.43, "MVL rank gaussian": 2,
    }  # fmt: skip


def test_an_undefined_score_says_why() -> None:
    entries = opened(large_report())
    said = [
        value for found in entries.values() for value in found.values() if isinstance(value, str)
    ]
    assert any(text.startswith("undefined: the clean norm is below") for text in said)


def test_outputs_of_one_node_are_told_apart() -> None:
    report = small_report()
    first, second, *rest = report.layers
    shared = [dataclasses.replace(info, node="lstm") for info in (first, second)]
    entries = opened(dataclasses.replace(report, layers=[*shared, *rest]))
    found = looked_up(entries, "node", "lstm")
    assert found["CM pgd of /conv1/Relu_output_0"] == 0.94
    assert found["CM pgd of /conv2/Relu_output_0"] == 0.92
    assert looked_up(entries, "value", first.tensor)["CM pgd"] == 0.94


@pytest.mark.parametrize("path", ["scores.json", "SCORES.JSON", "a/b.netron.json", "-"])
def test_netron_opens_files_by_their_ending(path: str) -> None:
    require_openable(path)


@pytest.mark.parametrize("path", ["scores.txt", "json", ""])
def test_other_endings_are_refused(path: str) -> None:
    with pytest.raises(DataError, match=f"--netron '{path}' does not end in .json"):
        require_openable(path)
