"""The summary for pull requests: it renders as meant, and foreign text in it is inert."""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from lsa_onnx.report.document import GateOutcome, ReportWarning
from lsa_onnx.report.formats.markdown import MARKER, MOST_CHARACTERS, render
from lsa_onnx.report.formats.markdown_text import code, prose
from tests.report.examples import all_reports, extended_report, large_report, small_report
from tests.report.parts import layer_info

if TYPE_CHECKING:
    from markdown_it.token import Token

PARSER = MarkdownIt("commonmark", {"html": True}).enable("table")
OURS = re.compile(
    rf"\s*({MARKER}|<details><summary>Mean CM of [\d,]+ layers?</summary>|</details>)\s*"
)
ATTACKS = [
    "@everyone", "see #1 and GH-2", "octo/repo#3", "!4 $5 ~bug %1.0", "www.evil.example",
    "https://evil.example", "a@b.example", "[x](javascript:alert(1))", "![x](y)", "<b onload=x>",
    "`` ` ``", "`</details>`", "a|b\\|c", "**bold** _it_ ~~gone~~", "# head", "- list", "1. one",
    "> quote", "/close", "&lt;script&gt;", "line\n\n# two", "\\", "`", "|", "", " ", "***", "---",
    "[ref]: https://evil.example", ":+1:", "$x^2$", "deadbeef1", "<!-- x -->", "+", "=", "a\\`b",
]  # fmt: skip
TEXTS = st.one_of(
    st.sampled_from(ATTACKS),
    st.text(max_size=40),
    st.text(r"ab1 `|\<>[]()@#!*_~-+=.:/&$", max_size=30),
)


def tokens(document: str) -> list[Token]:
    """All tokens, those within lines in place of the lines."""
    return [inner for token in PARSER.parse(document) for inner in token.children or [token]]


def texts(document: str) -> list[str]:
    """What a reader sees that is not code."""
    return [token.content for token in tokens(document) if token.type == "text"]


def assert_inert(found: list[Token]) -> None:
    kinds = {token.type for token in found}
    assert not kinds & {"link_open", "image", "html_inline", "fence", "code_block", "s_open"}
    for token in found:
        if token.type == "html_block":
            assert all(OURS.fullmatch(line) for line in token.content.splitlines() if line)
        elif token.type == "text":
            assert not re.search(r"[@#<>`|\\~$&_\[\]{}]|\w[/:]\w|\w\.[a-z]|www\.", token.content)


@given(TEXTS, TEXTS)
@example("|", "`")
def test_a_name_is_one_code_span_also_in_a_table(name: str, other: str) -> None:
    document = f"| a | b | c |\n| --- | --- | --- |\n| {code(name)} | {code(other)} | end |\n"
    inner = tokens(document)
    assert_inert(inner)
    spans = [token for token in inner if token.type in {"code_inline", "text"}]
    assert len(spans) == 6
    assert spans[-1].content == "end"
    assert_inert(tokens(f"- {code(name)}: {code(other)}"))


@given(TEXTS, TEXTS)
@example("1.", "1)")
@example("(see", "conv1.weight):")
def test_a_sentence_is_one_paragraph_of_words_and_code(text: str, more: str) -> None:
    found = tokens(f"{prose(f'{text} {more}')}\n")
    assert_inert(found)
    assert {token.type for token in found} <= {
        "paragraph_open", "paragraph_close", "text", "code_inline"
    }  # fmt: skip


def test_what_is_plain_stays_plain() -> None:
    sentence = (
        "2 of 4 layers (50%) move by 0.3–0.5 under pgd, 98.1% → 3%, it's η = 1: more than the rest."
    )
    assert prose(sentence) == sentence
    assert prose("first /conv1/Relu_output_0: then (fc.1).") == (
        "first `/conv1/Relu_output_0`: then (`fc.1`)."
    )


@pytest.mark.parametrize("name", all_reports())
def test_every_report_renders_inert(name: str) -> None:
    document = render(all_reports()[name])
    assert document.startswith(f"{MARKER}\n## ")
    assert_inert([t for t in tokens(document) if t.type != "text"])
    verdict = all_reports()[name].verdict.headline
    shown = re.sub("[|`]", "", verdict).split()[0]
    assert shown in document


def test_the_summary_says_what_a_reviewer_asks() -> None:
    document = render(extended_report())
    assert "**Verdict:** 2 of 4 layers move more than the rest under pgd:" in document
    assert "### Gates: 1 of 3 failed" in document
    gates = re.findall(r"^\| `(.+?)` \| (\S+) \|.* \| (\S+) \|$", document, re.MULTILINE)[:3]
    assert gates == [
        ("accuracy@pgd<0.4", "**failed**", "0.03"), ("mvl>3", "passed", "1"),
        ("cm:0>0.9", "known", "0.94"),
    ]  # fmt: skip
    assert "- `partial`: The scan was interrupted: gaussian was not begun." in document
    assert "| `pgd`, linf, eps 0.3 | 2.9 % | 2.8–4.0 % | 256 | 96.1 % |" in document
    assert (
        "| 1 | `/conv1/Relu_output_0` | `Relu` | 0 | 0.940 | 0.919–0.961 | 100 % | 4.000 |"
        in document
    )
    assert document.count("<details>") == document.count("</details>") == 1
    assert "| 3 | `/fc1/Relu` | `Relu` | 0.610 | 0.550 |" in document


def test_without_attacks_nothing_is_compared_with_noise() -> None:
    report = small_report()
    plain = [dataclasses.replace(result, attack=None) for result in report.perturbations]
    document = render(dataclasses.replace(report, perturbations=plain))
    assert "× random" in render(report)
    assert "× random" not in document
    assert "| 1 | `/conv1/Relu_output_0` | `Relu` | 0 | 0.940 | 0.919–0.961 | 100 % |\n" in document


def test_nothing_to_show_leaves_no_empty_sections() -> None:
    document = render(all_reports()["empty"])
    assert re.findall("^#.*", document, re.MULTILINE)[1:] == ["### Predictions"]
    assert "<details>" not in document


def test_a_comment_has_an_end() -> None:
    report = large_report(300)
    many = [GateOutcome(f"g{i}", "x", None, "passed", "y" * 5000) for i in range(500)]
    report = dataclasses.replace(
        report,
        gates=[*many, GateOutcome("last", "x", 1.0, "failed", None)],
        warnings=[ReportWarning(f"w{i}", "z" * 5000) for i in range(500)],
    )
    document = render(report)
    assert len(document) <= MOST_CHARACTERS
    assert "and 471 more" in document
    assert "- and 470 more" in document
    # The failed one comes first.
    assert document.index("`last`") < document.index("`g0`")
    assert document.count("<details>") == document.count("</details>")


def test_a_large_table_is_cut_and_says_so() -> None:
    layers = [layer_info(f"/net/{'x' * 60}{i}", i, []) for i in range(2000)]
    report = dataclasses.replace(small_report(), layers=layers)
    document = render(report)
    assert MOST_CHARACTERS - 1000 < len(document) <= MOST_CHARACTERS
    left = re.search(r"^The JSON report has the other ([\d,]+) layers\.$", document, re.MULTILINE)
    assert left is not None
    shown = len(re.findall("^\\| \\d+ \\| `/net", document, re.MULTILINE))
    assert shown + int(left[1].replace(",", "")) == 2000
