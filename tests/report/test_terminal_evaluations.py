"""Several models at a terminal: side by side, in every width, and no name has an effect."""

from __future__ import annotations

import dataclasses
import io
import re

import pytest
from rich.cells import cell_len
from rich.console import Console

from lsa_onnx.report.evaluations import Evaluations
from lsa_onnx.report.terminal_evaluations import print_evaluations
from tests.report.evaluations import all_documents, beside, curve, sweep


def shown(found: Evaluations, width: int = 100) -> list[str]:
    file = io.StringIO()
    print_evaluations(found, Console(file=file, width=width))
    return [line.rstrip() for line in file.getvalue().split("\n")]


def test_models_stand_beside_each_other() -> None:
    lines = shown(beside())
    assert lines[:23] == [
        "Accuracy (eps in units of the range 0 to 1)",
        "                            1/net.onnx           2/net.onnx       other/net.onnx",
        "─" * 80,
        "clean             99.0 % (96.4–99.7 %) 99.0 % (96.4–99.7 %) 99.0 % (96.4–99.7 %)",
        "pgd linf 0        99.0 % (96.4–99.7 %) 99.0 % (96.4–99.7 %) 99.0 % (96.4–99.7 %)",
        "pgd linf 8/255    32.5 % (26.4–39.3 %) 42.5 % (35.9–49.4 %) 32.5 % (26.4–39.3 %)",
        "pgd linf 0.3         1.5 % (0.5–4.3 %)    1.5 % (0.5–4.3 %)    1.5 % (0.5–4.3 %)",
        "pgd R&G            133.0 (123.5–142.5)  143.0 (133.5–152.5)  133.0 (123.5–142.5)",
        "square linf 0     99.0 % (96.4–99.7 %) 99.0 % (96.4–99.7 %) 99.0 % (96.4–99.7 %)",
        "square linf 8/255 60.0 % (53.1–66.5 %) 60.0 % (53.1–66.5 %) 60.0 % (53.1–66.5 %)",
        "square linf 0.3    10.0 % (6.6–14.9 %)  10.0 % (6.6–14.9 %)  10.0 % (6.6–14.9 %)",
        "square R&G         169.0 (159.5–178.5)  169.0 (159.5–178.5)  169.0 (159.5–178.5)",
        "",
        "Difference to 1/net.onnx, in percentage points, on the same samples",
        "                      2/net.onnx",
        "─" * 32,
        "pgd R&G    +10.0 (+6.5 to +14.0)",
        "pgd 0        +0.0 (+0.0 to +0.0)",
        "pgd 8/255  +10.0 (+6.5 to +14.0)",
        "square R&G   -1.2 (-3.0 to +0.5)",
        "",
        "other/net.onnx met other samples or strengths: no difference is paired",
        "in brackets 95 % intervals: Wilson's of accuracies, of differences that of a paired bootstrap",
    ]
    assert "Warning 2/net.onnx: large-eps: eps 0.3 of runs/2/net.onnx is large." in lines
    assert sum(line.startswith("Model ") for line in lines) == 3


@pytest.mark.parametrize("name", all_documents())
@pytest.mark.parametrize("width", [60, 120])
def test_no_line_is_wider_than_the_console_nor_holds_a_control(name: str, width: int) -> None:
    for line in shown(all_documents()[name], width):
        assert cell_len(line) <= width
        assert not re.search(r"[\x00-\x1f\x7f\u200b\u202e]", line)


def test_models_that_do_not_fit_get_tables_of_their_own() -> None:
    heads = [line.split() for line in shown(beside(), 79) if re.match(r" +[12o]\S*/net", line)]
    assert heads == [["1/net.onnx", "2/net.onnx"], ["other/net.onnx"], ["2/net.onnx"]]


def test_what_one_model_lacks_is_a_gap() -> None:
    models = [curve("a.onnx"), dataclasses.replace(sweep(), model=curve("b.onnx").model)]
    lines = shown(dataclasses.replace(beside(), evaluations=models, differences=[]))
    assert any(re.fullmatch(r"pgd linf 0 +99\.0 % \(96\.4–99\.7 %\) +—", line) for line in lines)
    assert any(re.fullmatch(r"pgd R&G +133\.0 \(123\.5–142\.5\) +—", line) for line in lines)


def test_other_ranges_are_told() -> None:
    wide = dataclasses.replace(
        curve("b.onnx"), input=dataclasses.replace(curve().input, range=(0.0, 255.0))
    )
    found = dataclasses.replace(beside(), evaluations=[curve("a.onnx"), wide], differences=[])
    assert shown(found)[0] == "Accuracy (eps in units of the range that each model declares)"


def test_an_ascii_terminal_gets_ascii() -> None:
    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, encoding="ascii", errors="strict")
    for found in all_documents().values():
        print_evaluations(found, Console(file=file, width=100))
    file.flush()
    assert "+10.0 (+6.5 to +14.0)" in raw.getvalue().decode("ascii")
