"""The terminal view: readable at every width, plain where it must be, and no name has an effect."""

from __future__ import annotations

import dataclasses
import io
import re
from typing import TYPE_CHECKING

import pytest
from rich.cells import cell_len
from rich.console import Console

from lsa_onnx.report.terminal import print_layers, print_report
from tests.report.examples import (
    HOSTILE_NAMES,
    all_reports,
    hostile_report,
    large_report,
    small_report,
    synthetic_report,
)

if TYPE_CHECKING:
    from lsa_onnx.report.document import Report


def shown(report: Report, width: int = 80, *, verbose: bool = False) -> str:
    file = io.StringIO()
    print_report(report, Console(file=file, width=width), verbose=verbose)
    return file.getvalue()


@pytest.mark.parametrize("name", all_reports())
@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_no_line_is_wider_than_the_console_nor_holds_a_control(name: str, width: int) -> None:
    for line in shown(all_reports()[name], width).split("\n"):
        assert cell_len(line) <= width
        assert not re.search(r"[\x00-\x1f\x7f\u200b\u202e]", line)


def test_verdict_comes_first() -> None:
    assert shown(small_report()).startswith(small_report().verdict.headline[:40])


def test_a_row_holds_all_figures() -> None:
    rows = [line for line in shown(small_report()).split("\n") if "/conv1/Relu" in line]
    assert re.search(r"●1 +0 /conv1/Relu… +0.940 █+ 0.919–0.961 +4.000 3.854 +1.469 100 %", rows[1])
    assert re.search(r"●1 +0 /conv1/Relu… +0.750 +0.460", rows[2])


def test_without_an_attack_there_is_no_column_of_its_baseline() -> None:
    report = small_report()
    noises = [dataclasses.replace(result, attack=None) for result in report.perturbations]
    text = shown(dataclasses.replace(report, perturbations=noises))
    assert "random" not in text
    assert "Attacks" not in text
    assert re.search(r"●1 +0 /conv1/Relu_output_0 0.940 █+ 0.919–0.961 3.854 +1.469 100 %", text)


def test_a_narrow_console_leaves_out_columns_rather_than_digits() -> None:
    text = shown(small_report(), 60)
    assert re.search(r"^●1  0 /conv1/Relu… +0.940 █+ 0.919–0.961  4.000$", text, re.MULTILINE)
    assert "stab. =" not in text
    assert "× random = CM over" in " ".join(text.split())


def test_a_wide_console_has_one_table() -> None:
    text = shown(small_report(), 120)
    assert "other perturbations" not in text
    assert re.search(r"/conv1/Relu_output_0 +0.750 +0.460 0.940 █+ +0.919–0.961", text)


def test_many_perturbations_are_spread_over_tables() -> None:
    report = small_report()
    first = report.perturbations[0]
    more = [dataclasses.replace(first, name=f"perturbation-{i:02}") for i in range(20)]
    text = shown(dataclasses.replace(report, perturbations=[first, *more]))
    assert text.count("Mean CM under the other perturbations") > 1
    assert all(f"on-{i:02}" in text for i in range(20))


def test_layers_are_in_graph_order() -> None:
    numbers = [
        int(n) for n in re.findall(r"^ *(?:●\d+)? +(\d+) …/", shown(large_report()), re.MULTILINE)
    ]
    main = numbers[: len(numbers) // 2]
    assert main == sorted(main)
    assert len(main) == 20


def test_many_layers_show_the_mvl_list_and_a_count() -> None:
    report = large_report()
    text = shown(report, 200)
    assert "20 of 60 layers are shown" in text
    assert all(re.search(rf"●{rank} ", text) for rank in range(1, len(report.mvl.layers) + 1))
    everything = shown(report, 200, verbose=True)
    assert "layers are shown" not in everything
    assert all(layer.tensor in everything for layer in report.layers)


def test_layers_without_figures_say_why() -> None:
    text = shown(large_report(12), 120)
    assert re.search(r" 10 …/block.10/… .*— +undefined", text)
    assert "undefined: the clean norm is below 1e-12 for all 256 samples" in text
    assert "not finite: all 256 samples hold a NaN or an infinity" in text


def test_samples_left_out_are_told() -> None:
    report = small_report()
    first = report.perturbations[0]
    score = dataclasses.replace(first.layers[0], undefined_samples=1200, nonfinite_samples=3)
    layers = [score, *first.layers[1:]]
    result = dataclasses.replace(first, layers=layers)
    text = shown(dataclasses.replace(report, perturbations=[result]), 120)
    assert "samples left out: 1,200 undefined, 3 not finite" in text


def test_not_scored_is_counted_by_reason() -> None:
    text = shown(large_report())
    assert "14 tensors not scored" in text
    assert re.search(r"^ +9 integers: no norm", text, re.MULTILINE)


def test_synthetic_data_is_loud() -> None:
    assert shown(synthetic_report()).startswith("SYNTHETIC DATA")
    assert "Clean accuracy" not in shown(synthetic_report())
    assert "Clean accuracy 98.4 %" in shown(small_report())


def test_markup_in_names_is_text() -> None:
    text = shown(hostile_report(), 200)
    assert HOSTILE_NAMES[2] in text
    assert r"esc\x1b[31mape\r\n\x07\x00bell" in text


def test_colour_only_where_the_terminal_wants_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def coloured() -> str:
        file = io.StringIO()
        print_report(small_report(), Console(file=file, force_terminal=True, width=80))
        return file.getvalue()

    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert re.search(r"\x1b\[[\d;]*3\dm", coloured())
    monkeypatch.setenv("NO_COLOR", "1")
    assert not re.search(r"\x1b\[[\d;]*3\dm", coloured())
    assert "\x1b" not in shown(small_report())


def test_an_ascii_terminal_gets_ascii() -> None:
    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, encoding="ascii", errors="strict")
    for report in (small_report(), hostile_report()):
        print_report(report, Console(file=file, width=100))
    file.flush()
    text = raw.getvalue().decode("ascii")
    assert re.search(r"\*1 +0 /conv1/Relu_output_0 .*0.940 #+ +0.919-0.961", text)


@pytest.mark.parametrize("width", [80, 140])
def test_layers_in_a_pipe_have_one_line_each_with_the_whole_name(width: int) -> None:
    report = hostile_report()
    file = io.StringIO()
    print_layers(report.layers, report.not_scored, Console(file=file, width=width))
    lines = [line.rstrip() for line in file.getvalue().split("\n")]
    assert sum(HOSTILE_NAMES[7] in line for line in lines) == 2
    assert len(lines) == len(report.layers) + len(report.not_scored) + 2 * 3 + 2
    assert lines[0] == "8 layers scored, in graph order"


def test_layers_on_a_terminal_are_folded() -> None:
    report = large_report(3)
    file = io.StringIO()
    console = Console(file=file, width=60, force_terminal=True, no_color=True)
    print_layers(report.layers, report.not_scored, console)
    text = re.sub(r"\x1b\[[\d;]*m", "", file.getvalue())
    assert all(cell_len(line) <= 60 for line in text.split("\n"))
    assert "14 tensors not scored" in text


def test_layers_without_anything_to_list() -> None:
    file = io.StringIO()
    print_layers([], [], Console(file=file, width=80))
    assert file.getvalue().startswith("0 layers scored")
