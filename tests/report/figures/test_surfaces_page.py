"""The page of surfaces: numbers and no names reach plotly, and nothing else gets in or out."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from lsa_onnx.errors import DataError
from lsa_onnx.report.figures import surfaces_html
from lsa_onnx.report.landscape import Axis, Curvature, Landscape
from lsa_onnx.report.sections import ReportWarning
from tests.report.browser import BROWSER, needs_browser
from tests.report.examples import HOSTILE_NAMES
from tests.report.figures.records import ALPHA, BETA, landscape, surface
from tests.report.pages import Page, outside

LIBRARY = "/* plotly.js */ 'use strict';"


@pytest.fixture(autouse=True)
def small_library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A few bytes instead of five million, but where a browser runs them."""
    if "slow" not in request.keywords:
        monkeypatch.setattr(surfaces_html, "plotly_source", lambda: LIBRARY)


def hostile() -> Landscape:
    first, second, third, *_ = HOSTILE_NAMES
    template = "%{x}<br><a href='javascript:1'>$x$</a>"
    return landscape(
        surface(proposal=first, gammas={second: 0.3, template: 1.0}),
        surface(model=1, curvatures=[Curvature(template, second, 1.0, None, 1)]),
        models=(second, template),
        objective=third,
        axes=(Axis(second, ALPHA), Axis(template, BETA)),
        warnings=[ReportWarning(first, second)],
        created=second,
    )


def test_the_script_reads_the_numbers_of_the_record() -> None:
    found = landscape(surface(), surface(3.0, accuracy=None))
    data = json.loads(Page(surfaces_html.render_surfaces(found)).scripts[0])
    assert (data["alpha"], data["beta"]) == (ALPHA, BETA)
    first, second = data["surfaces"]
    for j in range(len(BETA)):
        for i in range(len(ALPHA)):
            assert first["loss"][j][i] == first["heights"][j][i] == found.surfaces[0].loss[i][j]
            assert second["loss"][j][i] == found.surfaces[1].loss[i][j]
    assert second["accuracy"] is None
    assert first["accuracy"][1][2] == 0.9
    assert (data["low"], data["high"]) == (0.1, pytest.approx(0.1 + 3 * 0.13))


def test_what_is_not_finite_is_null_and_said() -> None:
    rows: list[list[float | None]] = [list(row) for row in surface().loss]
    rows[4][0] = None
    page = Page(surfaces_html.render_surfaces(landscape(surface(loss=rows))))
    (only,) = json.loads(page.scripts[0])["surfaces"]
    assert only["loss"][0][4] is only["heights"][0][4] is None
    assert "holes are where the loss is not finite" in page.text


def test_a_logarithmic_scale_keeps_the_losses_for_the_pointer() -> None:
    steep = landscape(surface(loss=[[10.0 ** (i - 2)] * 3 for i in range(5)]))
    page = Page(surfaces_html.render_surfaces(steep))
    data = json.loads(page.scripts[0])
    assert data["surfaces"][0]["loss"][0] == pytest.approx([0.01, 0.1, 1, 10, 100])
    assert data["surfaces"][0]["heights"][0] == pytest.approx([-2, -1, 0, 1, 2])
    assert data["labels"][data["ticks"].index(0)] == "1"
    assert "the scale of the loss is logarithmic" in page.text


def test_the_policy_lets_only_the_scripts_of_the_page_run() -> None:
    page = Page(surfaces_html.render_surfaces(hostile()))
    _, *scripts = page.scripts
    (policy,) = [attrs["content"] or "" for _, attrs in page.tags if "http-equiv" in attrs]
    hashes = [base64.b64encode(hashlib.sha256(s.encode()).digest()).decode() for s in scripts]
    assert scripts[1] == LIBRARY
    assert len(scripts) == 3
    assert policy == (
        "default-src 'none'; base-uri 'none'; form-action 'none'; style-src 'unsafe-inline'; img-src data:; script-src "
        + " ".join(f"'sha256-{each}'" for each in hashes)
    )


def test_names_are_text_of_the_page_and_unknown_to_the_script() -> None:
    found = hostile()
    html = surfaces_html.render_surfaces(found)
    page = Page(html)
    assert len(page.scripts) == 4
    assert not page.attribute("onerror")
    assert not [tag for tag, _ in page.tags if tag in ("img", "b")]
    assert not outside(page)
    for name in (found.models[0].file.path, found.axes[1].name, found.objective):
        assert name in page.text
    data = page.scripts[0]
    assert set(re.findall(r'"([^"]*)"', data)) <= {
        "alpha", "beta", "low", "high", "step", "ticks", "labels", "surfaces", "heights", "loss",
        "accuracy", *json.loads(data)["labels"],
    }  # fmt: skip


def test_controls_are_shown_as_escapes() -> None:
    found = landscape(surface(), models=(HOSTILE_NAMES[3],), objective=HOSTILE_NAMES[4])
    html = surfaces_html.render_surfaces(found)
    assert "\x1b" not in html
    assert "\u202e" not in html
    assert "\\u202e" in html


def test_it_says_how_it_was_measured_and_how_sharply_it_bends() -> None:
    found = landscape(surface(proposal="/conv1 alone", gammas={"/conv1/Relu": 0.3}), surface(2.0))
    page = Page(surfaces_html.render_surfaces(found))
    said = " ".join(page.text.split())
    for fact in (
        found.models[0].file.sha256, "Seed7", "Samples64", "pgd, eps 0.3", "lsa-onnx landscape a.onnx",
        "64 samples are few.", "the eigenvalue of the Hessian", "2.000 1.500–2.500 64",
        "/conv1/Relu (γ 0.300)", "a.onnx · /conv1 alone", "a.onnx · no layer regularised",
    ):  # fmt: skip
        assert fact.replace(" ", "") in said.replace(" ", ""), fact


def test_one_surface_has_no_choice_and_none_has_no_plot() -> None:
    one = Page(surfaces_html.render_surfaces(landscape(surface(curvatures=[]))))
    assert [attrs["id"] for tag, attrs in one.tags if tag == "select"] == ["left"]
    assert "both sides" not in one.text
    assert "Curvature" not in one.text
    none = Page(surfaces_html.render_surfaces(landscape()))
    assert not [tag for tag, _ in none.tags if tag == "select"]


def test_a_file_is_only_replaced_by_a_complete_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.html"
    surfaces_html.write_surfaces(landscape(surface()), path)
    before = path.read_bytes()
    assert before.decode("utf-8") == surfaces_html.render_surfaces(landscape(surface()))

    def missing() -> str:
        raise DataError("plotly is not here")

    monkeypatch.setattr(surfaces_html, "plotly_source", missing)
    with pytest.raises(DataError, match="plotly is not here"):
        surfaces_html.write_surfaces(landscape(surface()), path)
    assert path.read_bytes() == before


# Turns the left surface and tells, in the title, what there is to see.
USE = """
addEventListener("load", () => setTimeout(async () => {
  const [left, right] = ["left-solid", "right-solid"].map((id) => document.getElementById(id));
  const eye = { x: 2, y: 1, z: 1 };
  await Plotly.relayout(left, { "scene.camera": { eye, center: { x: 0, y: 0, z: 0 }, up: { x: 0, y: 0, z: 1 } } });
  const choice = document.getElementById("right");
  choice.value = "0";
  choice.dispatchEvent(new Event("change"));
  await new Promise((done) => setTimeout(done, 1000));
  document.title = JSON.stringify({
    drawn: document.querySelectorAll("canvas").length,
    lines: document.querySelectorAll("#left-flat .contourlines path").length,
    eye: right.layout.scene.camera.eye.x,
    loss: right.data[0].text[1][2],
    buttons: [...new Set([...document.querySelectorAll(".modebar-btn")].map((each) => each.dataset.title))],
    links: document.querySelectorAll("a[href]:not([href^='#'])").length,
  });
}, 2000));
"""


@pytest.mark.slow
@needs_browser
def test_a_browser_draws_and_turns_the_surfaces_under_the_policy(tmp_path: Path) -> None:
    found = landscape(surface(), surface(3.0), models=(HOSTILE_NAMES[1],))
    html = surfaces_html.render_surfaces(found)
    digest = base64.b64encode(hashlib.sha256(USE.encode()).digest()).decode()
    html = html.replace("script-src ", f"script-src 'sha256-{digest}' ", 1)
    page = tmp_path / "x.html"
    page.write_text(html.replace("</body>", f"<script>{USE}</script></body>"), encoding="utf-8")
    said, complaints = _browse(page)
    assert {key: said[key] for key in ("eye", "loss", "links")} == {
        "eye": 2,
        "loss": "α 0<br>β 0<br>loss 0.1<br>accuracy 90.0 %",
        "links": 0,
    }
    assert said["drawn"] >= 2
    assert said["lines"] > 5
    assert said["buttons"] == ["Reset camera to default", "Zoom", "Pan", "Reset axes"]
    assert not [line for line in complaints if "Security" in line or "rror" in line]


def _browse(page: Path) -> tuple[dict[str, Any], list[str]]:
    """What the page's title holds after its scripts ran, and what the browser said of it."""
    options = """--headless --no-sandbox --use-gl=swiftshader --enable-unsafe-swiftshader
        --disable-background-networking --no-first-run --enable-logging=stderr
        --virtual-time-budget=20000 --dump-dom"""
    profile = f"--user-data-dir={page.parent / 'profile'}"
    command = [str(BROWSER), *options.split(), profile, page.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
    shutil.rmtree(page.parent / "profile", ignore_errors=True)
    title = re.search("<title>(.*?)</title>", done.stdout)
    assert title is not None
    return json.loads(unescape(title[1])), [x for x in done.stderr.splitlines() if "CONSOLE" in x]
