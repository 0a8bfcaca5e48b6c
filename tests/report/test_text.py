"""Figures and names as text."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from lsa_onnx.report import text
from lsa_onnx.report.document import Accuracy
from tests.report.examples import HOSTILE_NAMES
from tests.report.parts import distribution


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("/conv1/Relu_output_0", "/conv1/Relu_output_0"),
        ("名前 é", "名前 é"),
        ("a\x1b[31m\r\n\x00", r"a\x1b[31m\r\n\x00"),
        ("right\u202eto", r"right\u202eto"),
        ("line\u2028end", r"line\u2028end"),
        ("lone\udc80", r"lone\udc80"),
        ("tag\U000e0041", r"tag\U000e0041"),
    ],
)
def test_visible(value: str, expected: str) -> None:
    assert text.visible(value) == expected


@given(st.text(st.characters()))
def test_visible_text_can_be_printed_and_encoded(value: str) -> None:
    shown = text.visible(value)
    shown.encode("utf-8")
    assert not {unicodedata.category(c) for c in shown} & {"Cc", "Cf", "Cs", "Zl", "Zp"}


@given(st.text(max_size=60), st.integers(4, 40))
def test_shortened_text_fits_and_keeps_both_ends(value: str, width: int) -> None:
    short = text.shorten(value, width, cell_len)
    assert cell_len(short) <= width
    if short != value:
        start, end = short.split("…", 1) if value.count("…") == 0 else ("", "")
        assert value.startswith(start)
        assert value.endswith(end)


def test_a_cut_name_first_loses_the_ending_of_exporters() -> None:
    assert text.short_name("/layer1/Relu_output_0", 14) == "/layer1/Relu…"
    assert text.short_name("/layer1/Relu_output_0", 21) == "/layer1/Relu_output_0"


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["/net/a/Relu", "/net/b/Relu"], ["…/a/…", "…/b/…"]),
        (["/a/Relu", "/b/Relu"], ["/a/…", "/b/…"]),
        (["a", "b"], ["a", "b"]),
        (["x/a", "x/a/b"], ["…/a", "…/a/b"]),
        (["x/y", "x/y"], ["…/y", "…/y"]),
        (["/only/Relu"], ["/only/Relu"]),
        ([], []),
    ],
)
def test_distinct_names(names: list[str], expected: list[str]) -> None:
    assert text.distinct_names(names) == expected


@given(st.lists(st.text("ab/", max_size=8), unique=True, max_size=6))
def test_distinct_names_of_different_names_differ(names: list[str]) -> None:
    assert len(set(text.distinct_names(names))) == len(names)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, "—"),
        (0.0, "0"),
        (0.94249, "0.942"),
        (-0.5, "-0.500"),
        (12.345, "12.35"),
        (1234.5, "1234"),
        (2.1e-7, "2.1e-7"),
        (-3.2e12, "-3.2e12"),
    ],
)
def test_figure(value: float | None, expected: str) -> None:
    assert text.figure(value) == expected


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (None, "—"),
        (0, "0 bytes"),
        (1023, "1023 bytes"),
        (1 << 20, "1.0 MiB"),
        (5 << 40, "5120.0 GiB"),
    ],
)
def test_size(count: int | None, expected: str) -> None:
    assert text.size(count) == expected


def test_shape_shows_names_and_free_dimensions() -> None:
    assert text.shape(["batch", 3, None, "h\n"]) == r"batch×3×?×h\n"
    assert text.shape(None) == "unknown"
    assert text.shape([]) == "scalar"


def test_interval_and_share() -> None:
    assert text.interval(distribution(0.5)) == "0.489–0.511"
    assert text.interval(distribution(None)) == "—"
    assert text.share(0.9844) == "98.4 %"
    assert text.share(None) == "—"


def test_parameters_leave_out_what_is_not_set() -> None:
    values = {"eps": 8 / 255, "steps": 20, "momentum": None, "random_start": True, "x\x1b": "\n"}
    assert text.parameters(values) == r"eps 0.0313725, steps 20, random_start yes, x\x1b \n"
    assert text.parameters({"images": False, "share": 0.0}) == "images no, share 0"
    assert text.parameters({}) == ""


def test_accuracy_and_shares() -> None:
    value = Accuracy(0.325, 1200, (0.3, 0.3512))
    assert text.accuracy(value) == "32.5 % (95 % interval 30.0–35.1 %, n = 1,200)"
    assert text.accuracy(None) == "—"
    assert text.shares((0.0, 1.0)) == "0.0–100.0 %"


def test_strength_is_a_share_of_255_where_it_is_one() -> None:
    assert text.strength(8 / 255, (0.0, 1.0)) == "8/255"
    assert text.strength(8.0, (0.0, 255.0)) == "8/255"
    assert text.strength(4 / 255, (-1.0, 1.0)) == "2/255"
    assert text.strength(0.3, (0.0, 1.0)) == "0.3"
    assert text.strength(25.5, (0.0, 255.0)) == "25.5"
    assert text.strength(0.0, (0.0, 1.0)) == "0"


def test_command_line_is_quoted_and_visible() -> None:
    assert text.command_line(["lsa-onnx", "a b", "c\x1b"]) == r"lsa-onnx 'a b' 'c\x1b'"


def test_every_hostile_name_differs_when_shown() -> None:
    assert len({text.visible(name) for name in HOSTILE_NAMES}) == len(HOSTILE_NAMES)
