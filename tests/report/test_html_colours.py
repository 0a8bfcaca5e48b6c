"""Colours of the pages: text and marks stand out enough in both themes, by WCAG's formula."""

from __future__ import annotations

import re

import pytest

from lsa_onnx.report.html_colours import DARK, LIGHT, colour_rules

THEMES = {"light": LIGHT, "dark": DARK}
TEXT = 4.5  # WCAG 2.2, 1.4.3 (AA)
MARK = 3.0  # WCAG 2.2, 1.4.11 (AA)

WRITTEN = [
    ("ink", "page"), ("ink", "panel"), ("ink", "warn-panel"), ("soft", "page"), ("soft", "panel"),
    ("soft", "warn-panel"), ("accent", "page"), ("accent", "panel"), ("good", "page"), ("good", "panel"),
    ("warn", "page"), ("warn", "panel"), ("warn", "warn-panel"), ("focus", "page"), ("focus", "panel"),
    ("page", "ink"),
]  # fmt: skip


def channels(colour: str) -> list[float]:
    """Red, green, blue and opacity, 0 to 1."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in range(1, len(colour), 2)]
    return parts if len(parts) == 4 else [*parts, 1.0]


def over(colour: str, ground: str) -> list[float]:
    """What a colour looks like on an opaque ground."""
    *shown, opacity = channels(colour)
    return [
        opacity * a + (1 - opacity) * b for a, b in zip(shown, channels(ground)[:3], strict=True)
    ]


def luminance(shown: list[float]) -> float:
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in shown]
    return sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(one: list[float], other: list[float]) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_contrast_of_known_colours() -> None:
    black, white, grey = (channels(c)[:3] for c in ("#000000", "#ffffff", "#767676"))
    assert contrast(black, white) == pytest.approx(21)
    assert contrast(grey, white) == pytest.approx(4.54, abs=0.005)
    assert over("#00000080", "#ffffff") == pytest.approx([127 / 255] * 3)


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize(("ink", "ground"), WRITTEN)
def test_text_can_be_read(theme: str, ink: str, ground: str) -> None:
    colours = THEMES[theme]
    shown, below = channels(colours[ink])[:3], channels(colours[ground])[:3]
    assert contrast(shown, below) >= TEXT


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("ink", ["ink", "soft"])
def test_figures_can_be_read_on_their_bars(theme: str, ink: str) -> None:
    colours = THEMES[theme]
    for ground in ("page", "panel"):
        bar = over(colours["bar"], colours[ground])
        assert contrast(channels(colours[ink])[:3], bar) >= TEXT


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("line", [f"c{number}" for number in range(8)])
def test_lines_of_a_chart_stand_out(theme: str, line: str) -> None:
    colours = THEMES[theme]
    for ground in ("page", "panel"):
        assert contrast(channels(colours[line])[:3], channels(colours[ground])[:3]) >= MARK


def test_both_themes_have_the_same_names_and_paper_is_light() -> None:
    assert list(LIGHT) == list(DARK)
    rules = colour_rules()
    outside = re.sub(r"@media screen[^{]*\{\n.*?\n\}", "", rules, flags=re.DOTALL)
    assert f"--page: {LIGHT['page']}" in outside
    assert DARK["page"] not in outside
    assert rules.count(f"--page: {DARK['page']}") == 2
