"""The page of a comparison: complete, self-contained, every foreign name only text, and it works."""

from __future__ import annotations

import base64
import hashlib
import re
from pathlib import Path

import pytest

from lsa_onnx.report.html_comparison import render_comparison_html, write_comparison_html
from lsa_onnx.report.text import visible
from tests.report.browser import browse, needs_browser
from tests.report.comparisons import all_comparisons
from tests.report.examples import HOSTILE_NAMES
from tests.report.pages import ALLOWED_TAGS, Page, chart_data, outside

PAGES = all_comparisons()
each_page = pytest.mark.parametrize("name", PAGES)


def rendered(name: str) -> str:
    return render_comparison_html(PAGES[name])


@each_page
def test_page_refers_to_nothing_outside(name: str) -> None:
    html = rendered(name)
    page = Page(html)
    assert {tag for tag, _ in page.tags} <= ALLOWED_TAGS
    assert not outside(page)
    assert not [key for _, attrs in page.tags for key in attrs if key.startswith("on")]
    ids = page.attribute("id")
    assert len(ids) == len(set(ids))
    assert set(page.attribute("aria-labelledby")) <= set(ids)


@pytest.mark.parametrize("name", ["better", "hostile"])
def test_security_policy_allows_exactly_the_scripts_of_the_page(name: str) -> None:
    page = Page(rendered(name))
    policy = next(a["content"] for t, a in page.tags if a.get("http-equiv"))
    hashes = [base64.b64encode(hashlib.sha256(s.encode()).digest()).decode() for s in page.scripts]
    assert policy is not None
    assert re.findall(r"'sha256-([^']+)'", policy) == hashes[1:]
    assert len(hashes) == 4


def test_hostile_names_are_text() -> None:
    html = rendered("hostile")
    text = Page(html).text
    for name in HOSTILE_NAMES:
        assert visible(name) in text
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f\u200b\u202e]", html)


def test_the_figures_are_shown() -> None:
    text = Page(rendered("better")).text.replace("\N{NO-BREAK SPACE}", " ")
    for fact in (
        "Nothing is worse beyond chance. Better: accuracy under pgd eps 0.3.",
        "Accuracy, pgd eps 0.32.9 → 50.0 %+41.0 to +53.1 points",
        "Same answers99.6 %clean samples",
        "Layers4of 4 move otherwise",
        "≈ known mvl>0 layers in the MVL list under pgd: 2 (2 in the baseline)",
        "pgd eps 0.3steps 202.9 %2.8–4.0 % 50.0 %44.0–56.0 % +47.1+41.0 to +53.1 better",
        "0/conv1/Relu_output_0●1 0.9400.919–0.961",
        "0.0090.009–0.010−99.0 %−10.0 %better",
        "Gone from it: /conv1/Relu_output_0.",
        "that is mostly a clean norm of 90 times its size",
        "Newcombe's, as of two sets of samples",
        "lsa-onnx compare before.json after.json",
    ):
        assert fact in text


def test_regressions_are_listed() -> None:
    page = Page(rendered("worse"))
    assert "Worse beyond chance" in page.text
    assert "layer '/conv1/Relu_output_0' entered the MVL list under pgd at 0.3" in page.text
    assert "worse" in page.attribute("class")


def test_the_chart_holds_the_figures() -> None:
    found = PAGES["large"]
    layers = chart_data(rendered("large"))["layers"]
    changes = found.perturbations[0].layers
    for series, side in zip(layers["series"], ("before", "after"), strict=True):
        means = [getattr(each, side).cm for each in changes]
        assert series["name"] == side
        assert series["mean"] == [m if m is None else pytest.approx(m, rel=1e-4) for m in means]
        assert series["rank"] == [getattr(each, side).rank for each in changes]


@pytest.mark.parametrize("name", ["evaluated", "unlike"])
def test_without_layers_there_is_no_chart_and_no_script(name: str) -> None:
    page = Page(rendered(name))
    assert len(page.scripts) == 1
    assert "canvas" not in {tag for tag, _ in page.tags}
    assert "How far each layer moves" not in page.text


@needs_browser
@pytest.mark.slow
def test_it_works_in_a_browser(tmp_path: Path) -> None:
    write_comparison_html(PAGES["better"], tmp_path / "page.html")
    page = Page(browse(tmp_path / "page.html"))
    # That of the theme, and one for each line.
    pressed = [attrs.get("aria-pressed") for tag, attrs in page.tags if tag == "button"]
    assert [each for each in pressed if each is not None] == ["false", "true", "true"]
