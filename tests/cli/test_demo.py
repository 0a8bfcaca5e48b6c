"""``lsa-onnx demo``: the whole loop where torch is installed, a scan where it is not."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from lsa_cli import training
from lsa_cli.commands import demo
from lsa_onnx.report import read_hardening, read_report
from tests.cli.command_line import Cli

pytestmark = pytest.mark.usefixtures("one_thread")

SHORTER = {"epochs": 6, "steps": 3, "validation_steps": 5, "gamma": "1", "verify_attack": "pgd"}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, the current one; the number of threads is left as it was."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return tmp_path


def test_the_demo_hardens_its_model(
    cli: Cli, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    monkeypatch.setattr(demo, "TRAINING", demo.TRAINING | SHORTER)
    done = cli("demo", "--open", "--json", "result.json")
    assert done.code == 0, done.err
    page = folder / "lsa-onnx-demo.html"
    assert f"report: {page}" in done.err.splitlines()
    assert opened == [page.as_uri()]
    assert page.read_text("utf-8").startswith("<!DOCTYPE html>")
    result = read_hardening("result.json")
    assert (result.output, result.objection) == ("lsa-onnx-demo.onnx", None)
    assert (folder / "lsa-onnx-demo.onnx").is_file()
    assert "More robust: under attack" in done.out
    shown = done.err.splitlines()[0]
    assert shown.startswith("$ lsa-onnx loop ")
    assert "--eps 10% --epochs 6" in shown


def test_without_torch_the_demo_is_a_scan(
    cli: Cli, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "find_spec", lambda name: None if name == "torch" else object())
    done = cli("demo", "--json", "report.json")
    assert done.code == 0
    assert "to harden the model as well: pip install 'lsa-onnx[train]'" in done.err.splitlines()
    report = read_report("report.json")
    assert report.accuracy is not None
    assert report.accuracy.value > 0.9
    assert report.verdict.headline.split()[0] in done.out
    assert (folder / "lsa-onnx-demo.html").is_file()


@pytest.mark.parametrize("missing", [(), ("torch",)], ids=["torch", "no torch"])
def test_an_unwritable_page(
    cli: Cli, folder: Path, monkeypatch: pytest.MonkeyPatch, missing: tuple[str, ...]
) -> None:
    monkeypatch.setattr(training, "find_spec", lambda name: None if name in missing else object())
    done = cli("demo", "--html", "no/such/folder/page.html")
    assert done.code == 2
    assert "'no/such/folder/page.html'" in done.line


@pytest.mark.slow
def test_the_demo_takes_less_than_two_minutes(cli: Cli, folder: Path) -> None:
    started = time.perf_counter()
    done = cli("demo", "--json", "result.json")
    assert (done.code, time.perf_counter() - started < 120) == (0, True)
    comparison = read_hardening("result.json").comparison
    assert comparison.gain > 0.15
    assert comparison.drop <= 0.05
