"""The page of a hardening: complete, self-contained, every foreign name only text, and it works."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import re
from html import unescape
from pathlib import Path

import pytest

from lsa_onnx.errors import DataError
from lsa_onnx.report.document import FileDigest, Report
from lsa_onnx.report.html_before_after import Scans, perturbations, scanned, summary
from lsa_onnx.report.html_hardening import render_hardening_html, write_hardening_html
from lsa_onnx.report.text import visible
from tests.report.browser import browse, needs_browser
from tests.report.examples import HOSTILE_NAMES, empty_report, large_report, small_report
from tests.report.hardenings import (
    AFTER_SHA256,
    SHA256,
    all_pages,
    fitted,
    hardened,
    hardening,
    unsure,
)
from tests.report.pages import ALLOWED_TAGS, Page, chart_data, outside

PAGES = all_pages()


def rendered(name: str) -> str:
    return render_hardening_html(*PAGES[name])


@pytest.mark.parametrize("name", PAGES)
def test_page_refers_to_nothing_outside(name: str) -> None:
    html = rendered(name)
    page = Page(html)
    assert {tag for tag, _ in page.tags} <= ALLOWED_TAGS
    assert not outside(page)
    assert not [key for _, attrs in page.tags for key in attrs if key.startswith("on")]
    style = html[html.index("<style>") : html.index("</style>")]
    assert not re.search(r"url\(|@import|https?:", style)


@pytest.mark.parametrize("name", ["better", "hostile"])
def test_security_policy_allows_exactly_the_scripts_of_the_page(name: str) -> None:
    page = Page(rendered(name))
    policy = next(a["content"] for t, a in page.tags if a.get("http-equiv"))
    hashes = [base64.b64encode(hashlib.sha256(s.encode()).digest()).decode() for s in page.scripts]
    assert policy is not None
    assert policy.startswith("default-src 'none'")
    assert re.findall(r"'sha256-([^']+)'", policy) == hashes[1:]
    assert len(hashes) == 4


def test_hostile_names_are_text() -> None:
    html = rendered("hostile")
    for name in HOSTILE_NAMES:
        assert visible(name) in Page(html).text
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f\u200b\u202e]", html)
    embedded = re.search(r'id="data">(.*?)</script>', html, re.DOTALL)
    assert embedded is not None
    assert not re.search("[<>&]", embedded[1])


def test_the_verdict_and_its_figures_are_shown() -> None:
    text = Page(rendered("better")).text.replace("\N{NO-BREAK SPACE}", " ")
    for fact in (
        "More robust: under attack 46.9 % of the samples stay right, 25.4 % did before",
        "Written to mnist-b-robust.onnx.",
        "Robust accuracy25.4 → 46.9 %+21.5 points",
        "Robust accuracy25.4 %20.4–31.1 %, n = 256 46.9 %40.9–53.0 %, n = 256 +21.5 points",
        "Clean accuracy99.2 %97.2–99.8 %, n = 256 98.8 %96.6–99.6 %, n = 256 −0.4 points",
        "Robust: under auto, linf eps 10%. Labels: given with the data.",
        "/conv1/Relu_output_0 γ 2.464",
        "lsa-onnx harden mnist-b.onnx --data 'my images/x.npz'",
        SHA256,
        AFTER_SHA256,
        small_report().data.fingerprint,
        "mnist-b-robust.onnx.run",
        "lr0.001",
        "flipno",
        "holdnone",
        "weights of step 54 of 81 chosen",
    ):
        assert fact in text


def test_layers_stand_side_by_side() -> None:
    page = Page(rendered("better"))
    assert re.search(
        r"0/conv1/Relu_output_0Relu · γ 2\.464●1 0\.9400\.919–0\.9610\.4700\.460–0\.480−50\.0 %",
        page.text,
    )
    assert "Most vulnerable before: /conv1/Relu_output_0, /conv2/Relu_output_0." in page.text
    assert "Mean CM over all layers: 0.820 before, 0.421 after." in page.text
    assert page.attribute("data-layer") == ["0", "1", "2", "3"]


def test_the_charts_hold_the_figures_of_the_documents() -> None:
    found, before, after = PAGES["large"]
    assert after is not None
    data = chart_data(render_hardening_html(found, before, after))
    for series, report in zip(data["layers"]["series"], (before, after), strict=True):
        means = [score.relative_error.mean for score in report.perturbations[0].layers]
        assert series["mean"] == [m if m is None else pytest.approx(m, rel=1e-4) for m in means]
        listed = [
            n for n, rank in zip(data["layers"]["names"], series["rank"], strict=True) if rank
        ]
        assert sorted(listed) == sorted(report.mvl.layers)
    assert sum(data["layers"]["regularised"]) == len(before.mvl.layers)
    assert data["history"]["steps"] == [0, 27, 54, 81]
    assert data["history"]["chosen"] == [False, False, True, False]
    assert [series["values"][0] for series in data["history"]["series"]] == [0.9922, 0.6797, 0.3242]


def test_perturbations_before_and_after() -> None:
    text = Page(rendered("better")).text.replace("\N{NO-BREAK SPACE}", " ")
    assert re.search(
        r"gaussianeps 0\.394\.2 %91\.4–98\.0 %, n = 256 96\.5 %93\.6–100\.0 %, n = 256 "
        r"4\.8 → 2\.5 %0\.400 → 0\.205",
        text,
    )


def test_without_a_scan_after_there_are_no_columns_for_it() -> None:
    html = rendered("unsure")
    text = Page(html).text
    assert "There is no scan of the model after hardening." in text
    assert "CM after" not in text
    assert "Accuracy after" not in text
    assert "→" not in text[text.index("Under each perturbation") :]
    assert len(chart_data(html)["layers"]["series"]) == 1


def test_what_there_is_not_is_left_out() -> None:
    text = Page(render_hardening_html(unsure(), empty_report())).text
    assert "Validations during training" not in text
    assert "How far each layer moves" not in text
    assert "Under each perturbation" not in text
    assert "How far the weights moved" not in text
    assert "No layer (--gamma 0: no layer-wise term)." in text
    assert "called from a program" in text


def test_a_fit_has_no_percentages() -> None:
    html = render_hardening_html(fitted(), small_report())
    assert "Robust fit−0.250n = 256 0.614n = 256 +0.864" in Page(html).text
    assert chart_data(html)["history"]["measure"] == "fit"


def test_doubts_and_notes_stand_in_front() -> None:
    text = Page(rendered("unsure")).text
    assert text.index("No labels were used") < text.index("stopped early: no gain")
    assert text.index("stopped early: no gain") < text.index("Before and after")
    assert "Notes" not in Page(rendered("better")).text


def with_sha256(report: Report, sha256: str) -> Report:
    file = FileDigest("other.onnx", sha256, 1)
    return dataclasses.replace(report, model=dataclasses.replace(report.model, file=file))


def test_a_scan_of_another_model_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    small = small_report()
    with pytest.raises(
        DataError, match=r"scan before is of .* SHA-256 abababababab…, and 'mnist-b"
    ):
        write_hardening_html(hardening(), with_sha256(small, "ab" * 32), None, path)
    with pytest.raises(DataError, match=r"scan after is of 'mnist-b\.onnx', which is not what"):
        write_hardening_html(hardening(), small, small, path)
    assert not path.exists()


def test_what_keeps_the_scans_from_being_compared_is_told() -> None:
    before = small_report()
    after = hardened(before)
    assert (
        len(scanned(Scans(before, after), "run")) == len(scanned(Scans(before, None), "run")) == 2
    )
    first = dataclasses.replace(after.perturbations[0], parameters={"eps": 0.1})
    other = dataclasses.replace(
        after,
        perturbations=[first, *after.perturbations[1:]],
        data=dataclasses.replace(after.data, fingerprint="0" * 64),
    )
    assert scanned(Scans(before, other), "run")[2:] == [
        "The scan after ran on other samples than the scan before.",
        "The scan after ran pgd with eps 0.1.",
    ]


def test_a_perturbation_of_one_scan_only_has_a_gap() -> None:
    before = small_report()
    after = hardened(before)
    fewer = dataclasses.replace(after, perturbations=after.perturbations[1:])
    rows = {row["name"]: row for row in perturbations(Scans(before, fewer))}
    assert list(rows) == ["pgd", "fgsm", "gaussian"]
    assert rows["pgd"]["accuracy"][1] == ("—", [], "0")
    assert rows["pgd"]["flips"] == "96.1 → —"
    only_before = summary(Scans(before, fewer))
    assert only_before[-1] == "Mean CM over all layers: 0.820 before."
    assert [row["name"] for row in perturbations(Scans(fewer, before))] == [
        "fgsm",
        "gaussian",
        "pgd",
    ]


def test_a_long_list_is_cut_in_the_summary() -> None:
    report = large_report()
    more = len(report.mvl.layers) - 3
    assert more > 0
    assert summary(Scans(report, None))[0].endswith(f" and {more} more.")


def test_the_same_documents_give_the_same_page() -> None:
    assert rendered("large") == rendered("large")


@needs_browser
@pytest.mark.slow
@pytest.mark.parametrize("name", ["better", "hostile"])
def test_a_browser_draws_the_page_without_complaint(tmp_path: Path, name: str) -> None:
    write_hardening_html(*PAGES[name], tmp_path / "page.html")
    document = browse(tmp_path / "page.html")
    # Two lines of layers, three of validations.
    assert document.count('aria-pressed="true"') == 5
    assert re.search(r'<canvas id="layer-chart"[^>]* width="\d{3,}"', document)
    assert re.search(r'<canvas id="history-chart"[^>]* width="\d{3,}"', document)


USE = """
const found = {};
const chart = (id) => Chart.getChart(document.getElementById(id));
const told = (id) => [chart(id).tooltip.title, chart(id).tooltip.body.map(({ lines }) => lines[0])];
const press = (id, key) => document.getElementById(id).dispatchEvent(new KeyboardEvent("keydown", { key }));
press("layer-chart", "Home"); found.layer = told("layer-chart");
press("history-chart", "Home"); press("history-chart", "ArrowRight"); press("history-chart", "ArrowRight");
found.step = told("history-chart");
const button = document.querySelector("#layer-legend button");
button.click();
found.hidden = [button.textContent, [0, 1, 2, 3].map((place) => chart("layer-chart").isDatasetVisible(place))];
dispatchEvent(new Event("beforeprint"));
found.open = [...document.querySelectorAll("details")].every((element) => element.open);
dispatchEvent(new Event("afterprint"));
found.closed = [...document.querySelectorAll("details")].filter((element) => element.open).length;
document.title = JSON.stringify(found);
"""


@needs_browser
@pytest.mark.slow
def test_the_charts_can_be_used(tmp_path: Path) -> None:
    html = re.sub(r"<meta http-equiv[^>]*>", "", rendered("better"))
    page = tmp_path / "page.html"
    page.write_text(html.replace("</body>", f"<script>{USE}</script></body>"), encoding="utf-8")
    title = re.search("<title>(.*?)</title>", browse(page))
    assert title is not None
    assert json.loads(unescape(title[1])) == {
        "layer": [
            ["0 /conv1/Relu_output_0"],
            [" before: 0.940 (0.919–0.961)  ● MVL 1", " after: 0.470 (0.460–0.480)"],
        ],
        "step": [["step 54 (chosen)"], [" clean: 98.4 %", " one step: 77.7 %", " robust: 55.1 %"]],
        "hidden": ["─▲─before", [False, False, False, True]],
        "open": True,
        "closed": 1,
    }


@pytest.mark.parametrize(("where", "seen"), [("run", False), ("elsewhere", True)])
def test_samples_of_the_run_itself_were_kept_from_training(where: str, seen: bool) -> None:
    before = small_report()
    data = dataclasses.replace(before.data, source=f"{where}/verification.npz")
    before = dataclasses.replace(before, data=data)
    found = dataclasses.replace(hardening(), folder="run")
    html = Page(render_hardening_html(found, before)).text
    assert ("Training may have used them" in html) is seen
    assert ("Training never saw them" in html) is not seen
