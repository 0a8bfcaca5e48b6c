"""The page of a scan as people use it: with keys, on a phone, in the dark, on paper, with a screen reader."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from lsa_onnx.report.document import Report
from lsa_onnx.report.html import write_html
from lsa_onnx.report.html_boxes import FIGURES
from lsa_onnx.report.html_colours import DARK, LIGHT
from lsa_onnx.report.html_comparison import render_comparison_html
from lsa_onnx.report.html_evaluation import render_evaluation_html
from lsa_onnx.report.html_hardening import render_hardening_html
from tests.report.browser import needs_browser
from tests.report.comparisons import all_comparisons
from tests.report.devtools import Tab, opened
from tests.report.evaluations import all_documents
from tests.report.examples import all_reports, extended_report, large_report
from tests.report.hardenings import all_pages

pytestmark = needs_browser
AXE = os.environ.get("LSA_ONNX_AXE")
FOCUS = "document.activeElement.id"
# Pixels by which the page is wider than the screen.
OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
GROUND = "getComputedStyle(document.body).backgroundColor"


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    with opened(tmp_path_factory.mktemp("browser")) as tab:
        yield tab


def shown(tab: Tab, folder: Path, report: Report, width: int = 1280, *, dark: bool = False) -> None:
    write_html(report, folder / "report.html")
    tab.complaints.clear()
    tab.show(width, 812, dark=dark)
    tab.open(folder / "report.html")


def rgb(colour: str) -> str:
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgb({red}, {green}, {blue})"


def choose(tab: Tab, select: str, value: str) -> None:
    """Choose an entry of a list, or type into a field, and tell the page."""
    tab.evaluate(
        f"((field) => {{ field.value = '{value}'; field.dispatchEvent(new Event('change'));"
        f"field.dispatchEvent(new Event('input')); }})(document.getElementById('{select}'))"
    )


def focused_in_time(tab: Tab, wanted: str) -> bool:
    """Whether an element has the focus within two seconds: following a link is no matter of one task."""
    asked = f"""new Promise((done) => {{
        const ask = (left) => {FOCUS} === "{wanted}" ? done(true)
            : left ? setTimeout(ask, 20, left - 1) : done(false);
        ask(100);
    }})"""
    return bool(tab.evaluate(asked))


def residual() -> Report:
    """The small report, its third layer being the sum of the first two."""
    report = extended_report()
    third = dataclasses.replace(report.layers[2], previous=[x.tensor for x in report.layers[:2]])
    return dataclasses.replace(report, layers=[*report.layers[:2], third, report.layers[3]])


def test_keys_walk_the_graph_and_the_theme_can_be_changed(tab: Tab, tmp_path: Path) -> None:
    shown(tab, tmp_path, residual())
    tab.evaluate("document.getElementById('node-0').focus()")
    walked = []
    for key in (
        "ArrowDown",
        "ArrowRight",
        "ArrowLeft",
        "ArrowUp",
        "ArrowRight",
        "End",
        "Home",
        "m",
    ):
        tab.press(key)
        walked.append(tab.evaluate(FOCUS))
    # Of two layers that feed one, the nearer comes first; of two that are fed, too.
    assert [int(each.removeprefix("node-")) for each in walked] == [1, 2, 1, 0, 1, 3, 0, 1]
    card = "document.getElementById('layer-card').innerText"
    assert "1 /conv2/Relu_output_0" in tab.evaluate(card)
    assert (
        tab.evaluate("document.querySelectorAll('#graph-list a:not([tabindex=\"-1\"])').length")
        == 3
    )
    tab.press("Enter")
    assert focused_in_time(tab, "row-1")
    assert tab.evaluate(GROUND) == rgb(LIGHT["page"])
    tab.evaluate("document.getElementById('theme').click()")
    assert tab.evaluate(GROUND) == rgb(DARK["page"])
    tab.show(375, 812)
    assert tab.evaluate(OVERFLOW) == 0
    assert not tab.complaints


@pytest.mark.slow
@pytest.mark.parametrize("name", all_reports())
@pytest.mark.parametrize("dark", [False, True])
def test_every_page_fits_a_phone(tab: Tab, tmp_path: Path, name: str, *, dark: bool) -> None:
    for width in (375, 768):
        shown(tab, tmp_path, all_reports()[name], width, dark=dark)
        assert tab.evaluate(OVERFLOW) == 0
        assert tab.evaluate(GROUND) == rgb((DARK if dark else LIGHT)["page"])
    assert not tab.complaints


@pytest.mark.slow
@pytest.mark.parametrize("name", ["evaluation", "hardening", "comparison"])
def test_pages_of_other_documents_share_the_look(tab: Tab, tmp_path: Path, name: str) -> None:
    rendered = {
        "evaluation": render_evaluation_html(all_documents()["everything"]),
        "hardening": render_hardening_html(*all_pages()["hostile"]),
        "comparison": render_comparison_html(all_comparisons()["hostile"]),
    }
    (tmp_path / "page.html").write_text(rendered[name], encoding="utf-8")
    tab.complaints.clear()
    tab.show(375, 812)
    tab.open(tmp_path / "page.html")
    assert tab.evaluate(OVERFLOW) == 0
    tab.evaluate("document.getElementById('theme').click()")
    assert tab.evaluate(GROUND) == rgb(DARK["page"])
    assert tab.evaluate("document.querySelectorAll('.copy').length") == 1
    assert not tab.complaints


@pytest.mark.slow
def test_the_chosen_theme_wins_over_the_preferred_one(tab: Tab, tmp_path: Path) -> None:
    shown(tab, tmp_path, extended_report(), dark=True)
    pressed = "document.getElementById('theme').getAttribute('aria-pressed')"
    assert (tab.evaluate(GROUND), tab.evaluate(pressed)) == (rgb(DARK["page"]), "true")
    tab.evaluate("document.getElementById('theme').click()")
    assert (tab.evaluate(GROUND), tab.evaluate(pressed)) == (rgb(LIGHT["page"]), "false")


@pytest.mark.slow
def test_keys_tell_the_numbers_of_a_chart_and_zoom(tab: Tab, tmp_path: Path) -> None:
    report = large_report(200)
    shown(tab, tmp_path, report)
    readout = "document.querySelector('#figure ~ figure .readout').textContent"
    window = "document.querySelector('#figure ~ figure .zoom span').textContent"
    tab.evaluate("document.getElementById('chart').focus()")
    tab.press("End")
    assert tab.evaluate(readout).startswith(
        "199 /features/stage16/block.7/Relu_output_0 · Relu · pgd:"
    )
    tab.press("+", "+")
    assert tab.evaluate(window) == "75 to 125 of 199"
    tab.press("Home")
    assert tab.evaluate(readout).startswith("0 /features/stage0/block.0")
    assert tab.evaluate(window) == "0 to 50 of 199"
    tab.press("PageDown", "0")
    assert tab.evaluate(readout).startswith("10 /features/stage0/block.10")
    assert tab.evaluate(window) == ""
    tab.press("Enter")
    assert tab.evaluate(FOCUS) == "node-10"
    assert not tab.complaints


@pytest.mark.slow
def test_one_choice_of_perturbation_changes_graph_boxes_and_table(tab: Tab, tmp_path: Path) -> None:
    report = large_report()
    shown(tab, tmp_path, report)
    choose(tab, "boxes-which", "2")
    values = tab.evaluate("[...document.querySelectorAll('.which')].map(({ value }) => value)")
    assert values == ["2", "2", "2"]
    assert tab.evaluate("document.getElementById('details-title').textContent") == "Under gaussian"
    marked = tab.evaluate(
        "[...document.querySelectorAll('#graph-list .in-mvl .node b')].map((b) => Number(b.textContent))"
    )
    numbers = {info.tensor: number for number, info in enumerate(report.layers)}
    assert marked == sorted(numbers[tensor] for tensor in report.perturbations[2].mvl.layers)
    score = report.perturbations[2].layers[0]
    told = []
    for place, (field, _, _) in enumerate(FIGURES):
        choose(tab, "boxes-figure", str(place))
        tab.evaluate("document.getElementById('boxes').focus()")
        tab.press("Home")
        readout = tab.evaluate(
            "document.querySelector('#distributions ~ figure .readout').textContent"
        )
        found = re.search(r"median ([\d.]+), mean ([\d.]+)", readout)
        assert found is not None
        shown_figure = getattr(score, field)
        told.append([float(found[1]), float(found[2])])
        assert told[-1] == pytest.approx([shown_figure.median, shown_figure.mean], rel=6e-3)
    assert len({tuple(pair) for pair in told}) == len(FIGURES)
    assert not tab.complaints


@pytest.mark.slow
def test_a_link_to_a_row_shows_it_whatever_is_searched_for(tab: Tab, tmp_path: Path) -> None:
    shown(tab, tmp_path, large_report())
    visible = "document.querySelectorAll('#layer-table tbody tr:not([hidden])').length"
    choose(tab, "search", "nothing")
    assert tab.evaluate(visible) == 0
    tab.evaluate("document.getElementById('node-7').focus()")
    tab.press("Enter")
    assert focused_in_time(tab, "row-7")
    assert tab.evaluate(visible) == 60


@pytest.mark.slow
def test_a_command_is_copied(tab: Tab, tmp_path: Path) -> None:
    shown(tab, tmp_path, extended_report())
    tab.evaluate("document.querySelector('.copy').click()")
    told = tab.evaluate(
        "new Promise((done) => setTimeout(() => done(document.querySelector('.copy').textContent), 100))"
    )
    assert told in ("Copied", "Select it")
    assert not tab.complaints


@pytest.mark.slow
@pytest.mark.parametrize("name", ["extended", "large"])
def test_the_dark_page_is_printed_light_on_a4(tab: Tab, tmp_path: Path, name: str) -> None:
    shown(tab, tmp_path, all_reports()[name], dark=True)
    found = tab.evaluate(
        "dispatchEvent(new Event('beforeprint')); [getComputedStyle(document.documentElement)"
        ".getPropertyValue('--page'), [...document.querySelectorAll('details')].every(({ open }) => open),"
        "document.getElementById('chart').width, document.getElementById('chart').style.width]"
    )
    assert found == [LIGHT["page"], True, 1725, "690px"]
    tab.evaluate("dispatchEvent(new Event('afterprint'))")
    assert tab.evaluate(GROUND) == rgb(DARK["page"])
    sheets = re.findall(rb"/MediaBox \[0 0 ([\d.]+) ([\d.]+)\]", tab.paper())
    assert len(sheets) > 1
    assert {(round(float(width)), round(float(height))) for width, height in sheets} == {(595, 842)}
    assert not tab.complaints


@pytest.mark.slow
@pytest.mark.skipif(
    AXE is None, reason="LSA_ONNX_AXE does not name the axe.min.js of axe-core (npm)"
)
@pytest.mark.parametrize("name", all_reports())
def test_axe_finds_nothing(tab: Tab, tmp_path: Path, name: str) -> None:
    for width, dark in ((1280, False), (1280, True), (375, False)):
        shown(tab, tmp_path, all_reports()[name], width, dark=dark)
        tab.evaluate(Path(str(AXE)).read_text("utf-8") + "; 0")
        found = tab.evaluate(
            "axe.run().then(({ violations }) => violations.map(({ id, nodes }) => [id, nodes[0].html]))"
        )
        assert found == []
