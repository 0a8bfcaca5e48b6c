"""The HTML page: complete, self-contained, and every foreign name in it is only text."""

from __future__ import annotations

import base64
import dataclasses
import errno
import hashlib
import os
import re
from pathlib import Path

import pytest

from lsa_onnx.errors import DataError
from lsa_onnx.report.document import Report
from lsa_onnx.report.html import render_html, write_html
from lsa_onnx.report.text import visible
from tests.report.examples import (
    HOSTILE_NAMES,
    all_reports,
    hostile_report,
    large_report,
    small_report,
    synthetic_report,
)
from tests.report.pages import ALLOWED_TAGS, Page, chart_data, outside


@pytest.mark.parametrize("name", all_reports())
def test_page_refers_to_nothing_outside(name: str) -> None:
    html = render_html(all_reports()[name])
    page = Page(html)
    assert {tag for tag, _ in page.tags} <= ALLOWED_TAGS
    assert not outside(page)
    assert not [name for _, attrs in page.tags for name in attrs if name.startswith("on")]
    style = html[html.index("<style>") : html.index("</style>")]
    assert not re.search(r"url\(|@import|https?:", style)
    assert "sourceMappingURL" not in html


@pytest.mark.parametrize("name", ["small", "hostile"])
def test_security_policy_allows_exactly_the_scripts_of_the_page(name: str) -> None:
    page = Page(render_html(all_reports()[name]))
    policy = next(a["content"] for t, a in page.tags if a.get("http-equiv"))
    hashes = [base64.b64encode(hashlib.sha256(s.encode()).digest()).decode() for s in page.scripts]
    assert policy is not None
    assert policy.startswith("default-src 'none'")
    assert re.findall(r"'sha256-([^']+)'", policy) == hashes[1:]
    assert "script-src 'unsafe" not in policy
    types = [attrs.get("type") for tag, attrs in page.tags if tag == "script"]
    assert types == ["application/json", None, None, None, None]


def test_hostile_names_are_text() -> None:
    page = Page(render_html(hostile_report()))
    for name in HOSTILE_NAMES:
        assert visible(name) in page.text
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f\u200b\u202e]", render_html(hostile_report()))


def test_embedded_data_cannot_end_its_element() -> None:
    html = render_html(hostile_report())
    embedded = re.search(r'id="data">(.*?)</script>', html, re.DOTALL)
    assert embedded is not None
    assert not re.search("[<>&]", embedded[1])
    assert chart_data(html)["layers"][1]["name"] == HOSTILE_NAMES[1]


@pytest.mark.parametrize(
    "name", ["small", pytest.param("large", marks=pytest.mark.slow), "hostile", "synthetic"]
)
def test_every_layer_is_in_the_table_and_the_chart(name: str) -> None:
    report = all_reports()[name]
    html = render_html(report)
    data = chart_data(html)
    names = [visible(layer.tensor) for layer in report.layers]
    rows = [int(v) for v in Page(html).attribute("data-layer")]
    assert rows == list(range(len(names)))
    assert [layer["name"] for layer in data["layers"]] == names
    assert [series["name"] for series in data["series"]] == [
        visible(result.name) for result in report.perturbations
    ]
    assert all(name in Page(html).text for name in names)


def test_chart_holds_the_figures_of_the_report() -> None:
    report = large_report()
    data = chart_data(render_html(report))
    for series, result in zip(data["series"], report.perturbations, strict=True):
        for place, score in enumerate(result.layers):
            mean = score.relative_error.mean
            assert series["mean"][place] == (
                mean if mean is None else pytest.approx(mean, rel=1e-4)
            )
        listed = [r.tensor for r, rank in zip(result.layers, series["rank"], strict=True) if rank]
        assert sorted(listed) == sorted(result.mvl.layers)
    assert data["threshold"] == pytest.approx(report.mvl.threshold)
    assert data["series"][0]["details"][58][-1].startswith("undefined: the clean norm")


def test_table_rows_hold_the_figures() -> None:
    page = Page(render_html(small_report()))
    assert re.search(
        r"●10/conv1/Relu_output_0Relu · .*?2,3200.9400.7500.4600.919–0.9614.000", page.text
    )


def noise_only() -> Report:
    report = small_report()
    noises = [dataclasses.replace(result, attack=None) for result in report.perturbations]
    return dataclasses.replace(report, perturbations=noises)


def test_attacks_are_told_beside_random_noise() -> None:
    text = Page(render_html(small_report())).text
    for fact in (
        "linf, eps 0.3",
        "white box",
        "97.2 % (95 % interval 94.4–98.6 %, n = 252)",
        "random signs: 98.0 % (95 % interval 95.5–99.1 %, n = 256) right, 0.8 % of labels flipped",
        "μ = 0.210",
        "the gradient vanishes for 3.1 % of the clean samples",
        "Robust accuracy under pgd2.9 %linf, eps 0.3; 95 % interval 2.8–4.0 %, n = 256",
        "Attack success under pgd97.2 %linf, eps 0.3; 95 % interval 94.4–98.6 %, n = 252",
    ):
        assert fact in text


def test_the_chart_has_the_baseline_of_the_headline_attack() -> None:
    report = small_report()
    data = chart_data(render_html(report))
    assert data["baseline"] == {
        "name": "random noise of the same norm (random signs)",
        "mean": [0.235, 0.20444, 0.162, 0.11091],
    }
    # In the details too: for each attack its own ratio, for noise none.
    ratios = [[details[1] for details in series["details"]] for series in data["series"]]
    assert ratios == [["4.000", "4.500", "5.000", "5.500"]] * 2 + [["—"] * 4]


def test_without_an_attack_there_is_neither_column_nor_line_of_noise() -> None:
    html = render_html(noise_only())
    page, data = Page(html), chart_data(html)
    assert data["baseline"] is None
    assert "random" not in page.text
    assert page.text.count("Attacks") == 0
    assert "Accuracy under pgd2.9 %eps 0.3, steps 20" in page.text
    assert {len(details) for series in data["series"] for details in series["details"]} == {5}


@pytest.mark.parametrize("report", [small_report(), noise_only()], ids=["attacks", "noise"])
def test_titles_cells_and_details_of_the_table_agree(report: Report) -> None:
    html = render_html(report)
    table = html[html.index('<table id="layer-table">') :]
    head, body = table.split("</thead>")[0], table.split("<tbody>")[1].split("</tbody>")[0]
    groups, titles = head.split("</tr>")[:2]
    spans = sum(map(int, re.findall(r'colspan="(\d+)"', groups)))
    rows = [row for row in body.split("</tr>") if "<tr" in row]
    cells = {len(re.findall(r"<t[hd][ >]", row)) for row in rows}
    details = {len(d) for series in chart_data(html)["series"] for d in series["details"]}
    assert cells == {spans} == {len(re.findall(r"<th ", titles))}
    assert details == {len(re.findall(r'class="[^"]*\bd\b', rows[0]))}


@pytest.mark.parametrize("count", [200])
def test_page_of_a_deep_network_stays_below_two_megabytes(count: int) -> None:
    assert len(render_html(large_report(count)).encode()) < 2_000_000


def test_what_is_needed_to_repeat_the_scan_is_told() -> None:
    report = small_report()
    text = Page(render_html(report)).text
    for value in (
        "lsa-onnx scan mnist-b.onnx --data 'my images/x.npz' --eps 0.3",
        report.model.file.sha256,
        report.data.fingerprint,
        "0 to 1: eps is in these units",
        "64 samples, free: the model's batch dimension is free",
        "changes final outputs by at most 2.9e-6",
        "98.4 %",
        "eps 0.3, steps 20",
    ):
        assert value in text


def test_synthetic_data_has_a_banner() -> None:
    assert "Synthetic data." in Page(render_html(synthetic_report())).text
    assert "Synthetic data." not in Page(render_html(small_report())).text


def test_a_scan_without_layers_has_no_chart() -> None:
    page = Page(render_html(all_reports()["empty"]))
    assert len(page.scripts) == 1
    assert "canvas" not in {tag for tag, _ in page.tags}
    assert "No tensor of this model could be scored." in page.text
    assert "9: integers: no norm" in page.text


def test_the_same_report_gives_the_same_page() -> None:
    assert render_html(large_report()) == render_html(large_report())


def test_top_k_rule_is_explained() -> None:
    report = small_report()
    mvl = dataclasses.replace(report.mvl, rule="top-k", top_k=2)
    html = render_html(dataclasses.replace(report, mvl=mvl))
    assert "the 2 layers with the largest mean CM" in Page(html).text
    assert chart_data(html)["threshold"] is None


def test_full_disk_keeps_the_earlier_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "report.html"
    write_html(small_report(), path)
    earlier = path.read_bytes()

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DataError, match=r"report\.html': the disk is full"):
        write_html(hostile_report(), path)
    assert path.read_bytes() == earlier
