"""A comparison to JSON and back, and what every view says of it."""

from __future__ import annotations

import dataclasses
import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from rich.cells import cell_len
from rich.console import Console

from lsa_onnx.errors import DataError
from lsa_onnx.report import comparison_view as view
from lsa_onnx.report.comparison import Comparison
from lsa_onnx.report.json_file import (
    dumps,
    read_comparison,
    read_report,
    read_scan_or_evaluation,
    write_json,
)
from lsa_onnx.report.markdown_comparison import (
    code,
    escaped,
    render_comparison_markdown,
    write_comparison_markdown,
)
from lsa_onnx.report.terminal_comparison import print_comparison
from lsa_onnx.report.text import visible
from tests.report.comparisons import all_comparisons, better, evaluated, made, worse
from tests.report.evaluations import beside, curve
from tests.report.examples import HOSTILE_NAMES, large_report, small_report
from tests.report.strategies import values_of

EXAMPLES = all_comparisons()
each_example = pytest.mark.parametrize("name", EXAMPLES)


def shown(found: Comparison, width: int = 100, **options: Any) -> list[str]:
    file = io.StringIO()
    print_comparison(found, Console(file=file, width=width), **options)
    return [line.rstrip() for line in file.getvalue().split("\n")]


@settings(max_examples=40, suppress_health_check=list(HealthCheck), deadline=None)
@given(found=values_of(Comparison))
def test_any_comparison_survives_the_round_trip(found: Comparison) -> None:
    read = Comparison.from_dict(json.loads(dumps(found)))
    assert read == found
    assert read.to_dict() == found.to_dict()


@each_example
def test_a_written_comparison_reads_back_equal(tmp_path: Path, name: str) -> None:
    write_json(EXAMPLES[name], tmp_path / "c.json")
    assert read_comparison(tmp_path / "c.json") == EXAMPLES[name]


def test_it_is_not_taken_for_another_document(tmp_path: Path) -> None:
    write_json(better(), tmp_path / "c.json")
    with pytest.raises(DataError, match=r"this is a comparison, not a report; .*-onnx scan`"):
        read_report(tmp_path / "c.json")
    write_json(small_report(), tmp_path / "r.json")
    with pytest.raises(DataError, match=r"this is a report, not a comparison; .*-onnx compare`"):
        read_comparison(tmp_path / "r.json")


def test_either_document_is_read_as_what_it_is(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    write_json(small_report(), path)
    assert read_scan_or_evaluation(path) == small_report()
    write_json(curve(), path)
    assert read_scan_or_evaluation(path).to_dict() == curve().to_dict()
    write_json(beside(), path)
    with pytest.raises(DataError, match="this is the evaluations of several models, not a report"):
        read_scan_or_evaluation(path)
    path.write_text("[]")
    with pytest.raises(DataError, match=r"cannot read document .*x\.json'"):
        read_scan_or_evaluation(path)


@pytest.mark.parametrize(
    ("name", "status", "headline"),
    [
        (
            "better",
            "better",
            "Nothing is worse beyond chance. Better: accuracy under pgd eps 0.3.",
        ),
        (
            "worse",
            "worse",
            (
                "Worse: accuracy under pgd at 0.3 fell from 50.0 % to 2.9 % (95 % interval of the difference "
                "−53.1 to −41.0 points); 1 further regression."
            ),
        ),
        (
            "mixed",
            "worse",
            (
                "Worse: layer '/conv3/Relu_output_0' entered the MVL list under pgd at 0.3: its mean CM rose from "
                "0.810 (0.792–0.828) to 0.970 (0.949–0.991). Better: accuracy under pgd eps 0.3."
            ),
        ),
        ("same", "same", "Nothing is worse beyond chance, and no accuracy is better."),
    ],
)
def test_the_result_in_one_sentence(name: str, status: str, headline: str) -> None:
    assert view.status(EXAMPLES[name]) == status
    assert view.headline(EXAMPLES[name]) == headline


def test_the_terminal_view() -> None:
    lines = shown(better())
    assert lines[0] == "Nothing is worse beyond chance. Better: accuracy under pgd eps 0.3."
    assert "Before before.json · mnist-b.onnx · SHA-256 3f9ab0c13f9a…" in lines
    (row,) = [line for line in lines if line.startswith("pgd eps 0.3")]
    assert row.endswith("2.9 % (2.8–4.0 %) 50.0 % (44.0–56.0 %) +47.1 (+41.0 to +53.1) better")
    (row,) = [line for line in lines if line.startswith("0 /conv1/Relu_output_0")]
    figures = "●1 0.940 (0.919–0.961) 0.009 (0.009–0.010) −99.0 % −10.0 % better"
    assert " ".join(row.split()[2:]) == figures
    assert "New in the MVL list: /conv3/Relu_output_0." in lines
    assert "Gone from it: /conv1/Relu_output_0." in lines
    note = (
        "/conv1/Relu_output_0: CM is 0.01 times what it was, ‖Δφ‖ 0.9 times: that is mostly a clean"
    )
    assert note in " ".join(lines)
    assert "Both models say the same of 99.6 % of the 256 clean samples (97.8–99.9 %)." in lines
    assert lines[-6:-2] == [
        "Gates: 2 passed, 1 known",
        "  known  mvl>0      layers in the MVL list under pgd: 2 (2 in the baseline)",
        "  passed cm@pgd>2   mean CM of '/conv2/Relu_output_0' under pgd at eps 0.3: 0.46",
        "  passed regression regressions against 'before.json': 0",
    ]


def test_gates_are_told_with_what_they_measured() -> None:
    text = "\n".join(shown(worse(), 200))
    assert "Gates: 2 failed" in text
    assert re.search(
        r"failed accuracy@pgd<40% +accuracy under pgd at eps 0\.3: 0\.0292 \(0\.5 in", text
    )
    assert re.search(
        r"failed regression +regressions against 'before\.json': 2 \(accuracy un", text
    )


def test_of_many_layers_those_that_changed_are_shown() -> None:
    found = made(large_report(), large_report(seed=9))
    few, all_of_them = ("\n".join(shown(found, 140, verbose=v)) for v in (False, True))
    assert re.search(
        r"^\d+ of 60 layers are shown, those that changed; -v shows all$", few, re.MULTILINE
    )
    assert "layers are shown" not in all_of_them
    assert len(re.findall("block", all_of_them)) > len(re.findall("block", few))


def test_evaluations_have_scores_and_no_layers() -> None:
    lines = shown(evaluated())
    assert any(re.match(r"R&G of pgd +133\.0 +123\.0 +−10\.0 \(−1", line) for line in lines)
    assert not any("Mean CM" in line for line in lines)


@each_example
@pytest.mark.parametrize("width", [60, 100, 200])
def test_every_line_fits_and_no_name_has_an_effect(name: str, width: int) -> None:
    lines = shown(EXAMPLES[name], width)
    assert all(cell_len(line) <= width for line in lines)
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f\u200b\u202e]", "\n".join(lines))


@each_example
def test_markdown_is_whole_and_no_name_is_markup(name: str) -> None:
    text = render_comparison_markdown(EXAMPLES[name])
    assert text.startswith(f"## {escaped(view.headline(EXAMPLES[name]))}\n\n")
    assert text.endswith("\n")
    assert not text.endswith("\n\n")
    rows = [line for line in text.splitlines() if line.startswith("|")]
    widths = {len(re.findall(r"(?<!\\)\|", row)) for row in rows}
    # Tables of accuracies, of layers and of gates.
    assert widths <= {6, 8}
    bare = re.sub(r"(`+)(?!`).*?(?<!`)\1(?!`)", "", text).replace("<!-- -->", "")
    assert not re.search(r"(?<!\\)[<>\[\]]", bare)


def test_markdown_holds_the_figures() -> None:
    text = render_comparison_markdown(worse())
    assert "| 🔴 worse |" in text
    assert "- layer '/conv1/Relu\\_output\\_0' entered the MVL list under pgd at 0.3" in text
    assert "| 0 | `/conv1/Relu_output_0` | 0.009 (0.009–0.010) | **●1** 0.940 (" in text
    assert "| ❌ failed | `accuracy@pgd<40%` | accuracy under pgd at eps 0.3 | 0.0292" in text


def test_markdown_is_written_whole(tmp_path: Path) -> None:
    write_comparison_markdown(better(), tmp_path / "c.md")
    assert (tmp_path / "c.md").read_text("utf-8") == render_comparison_markdown(better())


@pytest.mark.parametrize(
    ("name", "as_code", "as_text"),
    [
        ("plain", "`plain`", "plain"),
        ("a|b", "`a\\|b`", "a\\|b"),
        ("`x`", "`` `x` ``", "\\`x\\`"),
        ("<img>", "`<img>`", "\\<img\\>"),
        ("@all [x](y)", "`@all [x](y)`", "@<!-- -->all \\[x\\]\\(y\\)"),
        ("two\nlines", "`two\\nlines`", "two\\\\nlines"),
    ],
)
def test_names_in_markdown(name: str, as_code: str, as_text: str) -> None:
    assert code(name) == as_code
    assert escaped(name) == as_text


def test_hostile_names_stay_readable() -> None:
    text = "\n".join(shown(EXAMPLES["hostile"], 4000, verbose=True))
    for name in HOSTILE_NAMES:
        assert visible(name) in text


def test_without_layers_or_accuracies_there_is_still_a_document() -> None:
    empty = dataclasses.replace(better(), perturbations=[], clean=None, headline=None)
    assert shown(empty)[0] == "Nothing is worse beyond chance, and no accuracy is better."
    assert "###" not in render_comparison_markdown(dataclasses.replace(empty, gates=[]))
