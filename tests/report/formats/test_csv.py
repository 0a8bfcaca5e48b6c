"""The table of layers and perturbations: tidy, complete, and no formula in it."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lsa_onnx.report.document import Report
from lsa_onnx.report.formats.csv import COLUMNS, escaped, original, render
from tests.report.examples import HOSTILE_NAMES, all_reports, hostile_report, small_report

PAGE = Path(__file__).parents[3] / "docs" / "formats.md"


def rows(report: Report) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(render(report), newline="")))


@given(st.text(st.characters(), max_size=30))
@example("=1+1")
@example("\t=cmd|' /C calc'!A0")
@example("'=1")
@example("''")
@example(r"\x1b is no escape, \\ neither")
@example("\r\n\x00\ud800\U000e0001")
@example(" ＝HYPERLINK()")
def test_a_cell_is_no_formula_and_gives_its_text_back(text: str) -> None:
    cell = escaped(text)
    assert original(cell) == text
    assert cell.strip()[:1] not in set("=+-@＝＋－＠")
    assert not set("\t\r\n\x00") & set(cell)


def test_plain_names_are_as_they_are() -> None:
    assert escaped("/conv1/Relu_output_0") == "/conv1/Relu_output_0"
    assert escaped("a-b=c") == "a-b=c"


@pytest.mark.parametrize("name", all_reports())
def test_a_row_for_each_layer_and_perturbation(name: str) -> None:
    report = all_reports()[name]
    found = rows(report)
    pairs = [(r.name, s.tensor) for r in report.perturbations for s in r.layers]
    assert [(original(x["perturbation"]), original(x["tensor"])) for x in found] == pairs
    assert render(report).splitlines()[0] == ",".join(column.name for column in COLUMNS)
    # Also a hostile name is one line, so that tools of the shell can read it.
    assert len(render(report).split("\r\n")) == len(pairs) + 2


def test_figures_are_those_of_the_report() -> None:
    report = small_report()
    first = rows(report)[0]
    score = report.perturbations[0].layers[0]
    assert score.relative_error.interval is not None
    expected = {
        "perturbation": "pgd", "kind": "attack", "norm": "linf", "layer": "0", "mvl_rank": "1",
        "status": "ok", "reason": "", "body": "", "tensor": score.tensor, "cm_n": "256",
    }  # fmt: skip
    assert {name: first[name] for name in expected} == expected
    numbers = {
        "eps": 0.3,
        "cm_mean": score.relative_error.mean,
        "cm_low": score.relative_error.interval[0],
        "cm_high": score.relative_error.interval[1],
        "cm_q05": score.relative_error.quantiles["0.05"],
        "cm_q95": score.relative_error.quantiles["0.95"],
        "cosine_mean": score.cosine.mean,
        "absolute_mean": score.absolute_error.mean,
        "amplification_mean": score.amplification.mean,
        "growth": score.growth,
        "stability": 1.0,
    }
    # To the last digit: a table is read again.
    assert {name: float(first[name]) for name in numbers} == numbers
    attack = report.perturbations[0].attack
    assert attack is not None
    assert attack.baseline is not None
    assert float(first["cm_noise"]) == attack.baseline.layers[0]
    assert rows(report)[-1]["eps"] == ""


def test_an_undefined_figure_is_an_empty_cell_with_a_reason() -> None:
    spoiled = rows(hostile_report())[3]
    assert (spoiled["status"], spoiled["cm_mean"], spoiled["cm_low"]) == ("undefined", "", "")
    assert original(spoiled["reason"]) == HOSTILE_NAMES[0]


def test_every_column_is_documented() -> None:
    documented = re.findall(
        r"^\| `(\w+)` \| (.*?) \| (.*) \|$", PAGE.read_text("utf-8"), re.MULTILINE
    )
    wanted = [(column.name, column.unit or "—", column.meaning) for column in COLUMNS]
    assert documented[-len(wanted) :] == wanted
