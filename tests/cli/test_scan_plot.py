"""``lsa-onnx scan --plot``: the figure beside the report, never instead of it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from lsa_onnx.errors import DataError
from lsa_onnx.report import read_report
from lsa_onnx.report.figures import layers
from tests.cli.command_line import Cli

QUICK = ("--samples", 4, "--attack", "gaussian", "--device", "cpu", "-q")


def test_the_report_is_drawn(cli: Cli, model: Path, data: Path, tmp_path: Path) -> None:
    plot = tmp_path / "layers.svg"
    done = cli("scan", model, "--data", data, "--plot", plot, *QUICK)
    assert (done.code, done.err) == (0, "")
    assert plot.read_bytes().startswith(b"<?xml")
    assert "gaussian" in done.out


@pytest.mark.parametrize("name", ["layers.jpg", "layers", "-"])
def test_another_ending_is_refused_before_anything_runs(
    cli: Cli, model: Path, tmp_path: Path, name: str
) -> None:
    report = tmp_path / "r.json"
    done = cli("scan", model, "--plot", name, "--json", report, *QUICK)
    assert done.code == 2
    assert done.line.endswith("(.pdf, .png, .svg); name a file such as figure.png")
    assert repr(name) in done.line
    assert not report.exists()


def test_a_missing_library_is_told_before_anything_runs(
    cli: Cli, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    done = cli("scan", model, "--plot", tmp_path / "x.png", *QUICK)
    assert (done.code, done.out) == (2, "")
    assert "pip install 'lsa-onnx[plot]'" in done.line


def test_a_figure_that_fails_costs_no_report(
    cli: Cli, model: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise DataError("cannot write 'x.png': the disk is full")

    monkeypatch.setattr(layers, "draw_layers", full)
    report, page = tmp_path / "r.json", tmp_path / "r.html"
    targets = ("--json", report, "--html", page, "--plot", tmp_path / "x.png")
    done = cli("scan", model, "--data", data, *targets, *QUICK)
    assert done.code == 2
    assert "the disk is full" in done.err
    assert read_report(report).data.samples == 4
    assert page.exists()
    assert "gaussian" in done.out


def test_the_figure_is_never_written_over_an_input_or_another_result(
    cli: Cli, model: Path, tmp_path: Path
) -> None:
    same = tmp_path / "x.png"
    done = cli("scan", model, "--html", same, "--plot", same, *QUICK)
    assert done.code == 2
    assert "--html and --plot are both" in done.line
