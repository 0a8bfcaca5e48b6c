"""The HTML page in a real browser: its scripts run, its policy lets them, and its controls work."""

from __future__ import annotations

import json
import re
from html import unescape
from pathlib import Path

import pytest

from lsa_onnx.report.html import render_html, write_html
from lsa_onnx.report.text import interval
from tests.report.browser import browse, needs_browser
from tests.report.examples import all_reports, large_report


@needs_browser
@pytest.mark.parametrize("name", [pytest.param("large", marks=pytest.mark.slow), "hostile"])
def test_a_browser_draws_the_page_without_complaint(tmp_path: Path, name: str) -> None:
    report = all_reports()[name]
    write_html(report, tmp_path / "report.html")
    document = browse(tmp_path / "report.html")
    # One for each line: those of the perturbations and that of random noise.
    assert document.count('aria-pressed="true"') == len(report.perturbations) + 1
    assert re.search(r'<canvas id="chart"[^>]* width="\d{3,}"', document)


USE = """
const rows = () => [...document.querySelectorAll("#layer-table tbody tr")];
const first = () => rows().filter((row) => !row.hidden)[0].dataset.layer;
const heads = document.querySelectorAll("#layer-table thead tr:last-child button");
const set = (id, value, event) => {
  document.getElementById(id).value = value;
  document.getElementById(id).dispatchEvent(new Event(event));
};
const found = {};
heads[0].click(); found.rank = first();
heads[4].click(); found.mean = first();
heads[1].click(); heads[1].click(); found.number = first();
set("search", "BLOCK.11/", "input");
found.matches = rows().filter((row) => !row.hidden).length;
found.status = document.getElementById("count").textContent;
set("search", "", "input");
set("details", "2", "change");
found.title = document.getElementById("details-title").textContent;
found.interval = rows().find((row) => row.dataset.layer === "0").querySelector(".d").textContent;
const note = rows().find((row) => row.dataset.layer === "58").querySelector(".note");
found.note = note.textContent.slice(0, 9);
set("details", "1", "change");
found.random = rows().find((row) => row.dataset.layer === "0").querySelectorAll(".d")[1].textContent;
document.querySelector("#legend button").click();
found.pressed = document.querySelector("#legend button").getAttribute("aria-pressed");
const noise = [...document.querySelectorAll("#legend button")].at(-1);
noise.click();
found.noise = [noise.textContent, noise.getAttribute("aria-pressed")];
document.getElementById("log").click();
const key = new KeyboardEvent("keydown", { key: "End" });
document.getElementById("chart").dispatchEvent(key);
dispatchEvent(new Event("beforeprint"));
found.open = [...document.querySelectorAll("details")].every((element) => element.open);
dispatchEvent(new Event("afterprint"));
found.closed = [...document.querySelectorAll("details")].every((element) => !element.open);
document.title = JSON.stringify(found);
"""


@needs_browser
@pytest.mark.slow
def test_table_and_chart_can_be_used(tmp_path: Path) -> None:
    report = large_report()
    html = re.sub(r"<meta http-equiv[^>]*>", "", render_html(report))
    page = tmp_path / "report.html"
    page.write_text(html.replace("</body>", f"<script>{USE}</script></body>"), encoding="utf-8")
    title = re.search("<title>(.*?)</title>", browse(page))
    assert title is not None
    top = next(n for n, layer in enumerate(report.layers) if layer.tensor == report.mvl.layers[0])
    assert json.loads(unescape(title[1])) == {
        "rank": str(top),
        "mean": str(top),
        "number": "59",
        "matches": 5,
        "status": "5 of 60 layers",
        "title": "Under gaussian",
        "interval": interval(report.perturbations[2].layers[0].relative_error),
        "note": "undefined",
        "random": "4.000",
        "pressed": "false",
        "noise": ["╌╌╌random noise of the same norm (random signs)", "false"],
        "open": True,
        "closed": True,
    }
