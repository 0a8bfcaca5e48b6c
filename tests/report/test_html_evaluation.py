"""The page of an evaluation, of one model or of several: complete, self-contained, names only text."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import re
from pathlib import Path

import pytest

from lsa_onnx.errors import DataError
from lsa_onnx.report.evaluations import Evaluations
from lsa_onnx.report.html_evaluation import render_evaluation_html, write_evaluation_html
from lsa_onnx.report.text import visible
from tests.report.browser import browse, needs_browser
from tests.report.evaluations import all_documents, beside, curve, evaluation
from tests.report.examples import HOSTILE_NAMES
from tests.report.pages import ALLOWED_TAGS, Page, chart_data, outside

PAGES = all_documents()


def words(found: Evaluations) -> str:
    """The text of the page, with one plain space between cells and words."""
    return " ".join(Page(render_evaluation_html(found).replace("<", " <")).text.split())


@pytest.mark.parametrize("name", PAGES)
def test_page_refers_to_nothing_outside(name: str) -> None:
    html = render_evaluation_html(PAGES[name])
    page = Page(html)
    assert {tag for tag, _ in page.tags} <= ALLOWED_TAGS
    assert not outside(page)
    assert not [key for _, attrs in page.tags for key in attrs if key.startswith("on")]


@pytest.mark.parametrize("name", ["curve", "beside", "hostile"])
def test_security_policy_allows_exactly_the_scripts_of_the_page(name: str) -> None:
    page = Page(render_evaluation_html(PAGES[name]))
    policy = next(a["content"] for t, a in page.tags if a.get("http-equiv"))
    hashes = [base64.b64encode(hashlib.sha256(s.encode()).digest()).decode() for s in page.scripts]
    assert policy is not None
    assert policy.startswith("default-src 'none'")
    assert re.findall(r"'sha256-([^']+)'", policy) == hashes[1:]
    assert len(hashes) == 4


def test_one_model_is_told_by_what_is_left_of_it() -> None:
    text = words(PAGES["curve"])
    assert "1.5 % of samples stay right under pgd at eps 0.3, 99.0 % without" in text
    assert "R&G under pgd 133.0 of 300; 95 % interval 123.5–142.5" in text
    assert "pgd 99.0 % 96.4–99.7 % 32.5 % 26.4–39.3 % 1.5 % 0.5–4.3 % 133.0 123.5–142.5" in text
    assert "Difference to" not in text
    assert "pgd 8/255 2 1.0 % 133 66.5 % 62 31.0 % 3 1.5 %" in text
    assert "square 0.3 2 1.0 % 78 39.0 % 100 50.0 % 20 10.0 %" in text
    assert "white box, steps 20, restarts 1, objective margin 198 → 65 67.2 %" in text
    assert "large-eps : eps 0.3 of mnist-b.onnx is large." in text
    assert "Restarts 1, of which the worst counts per sample" in text


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        ((65, 65), "2 models keep the same under pgd: R&G 133.0"),
        ((65, 85, 85), "b.onnx and c.onnx keep the most under pgd: R&G 143.0"),
        ((85, 65), "a.onnx keeps the most under pgd: R&G 143.0"),
    ],
)
def test_models_that_keep_the_same_are_no_winner(broken: tuple[int, ...], said: str) -> None:
    models = [curve(f"{name}.onnx", left) for name, left in zip("abc", broken, strict=False)]
    found = dataclasses.replace(beside(), evaluations=models, differences=[])
    assert said in words(found)


def test_several_models_are_told_apart_and_compared_with_the_first() -> None:
    text = words(beside())
    # The attack that leaves less is the one to believe: under square all three are alike.
    assert "2/net.onnx keeps the most under pgd: R&G 143.0" in text
    assert "Difference to 1/net.onnx" in text
    assert "pgd 2/net.onnx +10.0 +6.5 to +14.0 +0.0 +0.0 to +0.0 +10.0 +6.5 to +14.0" in text
    assert "square 2/net.onnx -1.2 -3.0 to +0.5 — —" in text
    assert (
        "other/net.onnx met other samples or strengths than 1/net.onnx: no difference is paired"
        in text
    )
    assert text.index("pgd 1/net.onnx 99.0 %") < text.index("pgd other/net.onnx 99.0 %")
    assert text.index("pgd other/net.onnx 99.0 %") < text.index("square 1/net.onnx 99.0 %")
    assert "lsa-onnx evaluate runs/1/net.onnx runs/2/net.onnx other/net.onnx" in text


def test_the_chart_has_a_line_per_attack_and_model() -> None:
    data = chart_data(render_evaluation_html(beside()))
    assert [each["name"] for each in data["series"]] == [
        f"{attack} · {model}"
        for attack in ("pgd", "square")
        for model in ("1/net.onnx", "2/net.onnx", "other/net.onnx")
    ]
    assert data["eps"] == [0.0, 8 / 255, 0.3]
    assert data["texts"] == ["ε 0", "ε 8/255", "ε 0.3"]
    assert data["series"][1]["mean"] == [0.99, 0.425, 0.015]
    for each in data["series"]:
        for low, mean, high in zip(each["low"], each["mean"], each["high"], strict=True):
            assert low < mean < high


def test_models_of_other_ranges_share_an_axis() -> None:
    wide = dataclasses.replace(
        curve("wide.onnx"),
        input=dataclasses.replace(curve().input, range=(0.0, 255.0)),
        results=[dataclasses.replace(r, eps=255 * r.eps) for r in curve().results],
        summaries=[],
    )
    both = dataclasses.replace(beside(), evaluations=[curve(), wide], differences=[])
    data = chart_data(render_evaluation_html(both))
    assert data["eps"] == [0.0, 0.031372549, 0.3]
    assert all(None not in each["mean"] for each in data["series"])
    assert "share of the width of the range that each model declares" in data["unit"]


def test_one_strength_is_a_table_and_no_chart() -> None:
    found = dataclasses.replace(
        beside(), evaluations=[evaluation(curve().results[:1])], differences=[]
    )
    page = Page(render_evaluation_html(found))
    assert len(page.scripts) == 1
    assert "canvas" not in {tag for tag, _ in page.tags}
    assert "pgd 99.0 % 96.4–99.7 % —" in words(found)


def test_hostile_names_are_text() -> None:
    html = render_evaluation_html(PAGES["hostile"])
    for name in HOSTILE_NAMES:
        assert visible(name) == name or name not in html
    assert json.loads(json.dumps(chart_data(html)))["series"]


def test_an_unwritable_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="missing"):
        write_evaluation_html(beside(), tmp_path / "missing" / "page.html")
    write_evaluation_html(beside(), tmp_path / "page.html")
    assert (tmp_path / "page.html").read_text("utf-8") == render_evaluation_html(beside())


@needs_browser
@pytest.mark.slow
@pytest.mark.parametrize("name", ["curve", "beside", "everything"])
def test_a_browser_draws_the_page_without_complaint(tmp_path: Path, name: str) -> None:
    page = tmp_path / "page.html"
    write_evaluation_html(PAGES[name], page)
    shown = browse(page)
    series = chart_data(render_evaluation_html(PAGES[name]))["series"]
    assert shown.count('aria-pressed="true"') == len(series)
    assert re.search(r'<canvas id="chart"[^>]* width="\d{3,}"', shown)
