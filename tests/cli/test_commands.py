"""What each command prints, writes and returns."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import jsonschema
import onnx
import onnxruntime as ort
import pytest

from lsa_cli.main import COMMANDS, main
from lsa_onnx._version import __version__
from lsa_onnx.demo.assets import digits_data, digits_model
from lsa_onnx.report import load_schema, read_report

Run = Callable[..., tuple[str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Call the command line in this process and expect success: (stdout, stderr)."""

    def call(*arguments: object) -> tuple[str, str]:
        monkeypatch.setattr(sys, "argv", ["lsa-onnx", *map(str, arguments)])
        with pytest.raises(SystemExit) as left:
            main()
        out, err = capsys.readouterr()
        assert not left.value.code, err
        return out, err

    return call


def test_json_stands_alone_on_stdout(run: Run) -> None:
    out, err = run("scan", digits_model(), "--data", digits_data(), "--samples", 20, "--json", "-")
    document = json.loads(out)
    jsonschema.validate(document, load_schema())
    assert document["accuracy"]["n"] == 20
    assert document["run"]["command"][:2] == ["lsa-onnx", "scan"]
    assert "clean accuracy" in err


def test_reports_are_written_where_asked(tmp_path: Path, run: Run) -> None:
    page, document = tmp_path / "r.html", tmp_path / "r.json"
    out, _ = run("scan", digits_model(), "--samples", 8, "--html", page, "--json", document)
    assert read_report(document).data.synthetic
    assert page.read_text(encoding="utf-8").lstrip().lower().startswith("<!doctype html>")
    assert "conv1.relu" in out


def test_piped_output_has_no_control_characters(run: Run) -> None:
    out, err = run("scan", digits_model(), "--data", digits_data(), "--samples", 8)
    assert "\x1b" not in out + err
    assert "\r" not in out + err


def test_quiet_says_nothing_on_stderr(run: Run) -> None:
    _, err = run("scan", digits_model(), "--samples", 8, "--quiet")
    assert err == ""


def test_synthetic_inputs_are_announced(run: Run) -> None:
    out, err = run("scan", digits_model(), "--samples", 8)
    assert "SYNTHETIC" in err
    assert "synthetic-data" in out


def test_layers_lists_every_tensor(run: Run) -> None:
    out, _ = run("layers", digits_model(), "--json", "-")
    listed = json.loads(out)
    assert [layer["tensor"] for layer in listed["layers"]] == [
        "conv1.relu",
        "conv2.relu",
        "conv3.relu",
        "fc1.relu",
    ]
    graph = onnx.load(digits_model()).graph
    made = {name for node in graph.node for name in node.output}
    named = [item["tensor"] for item in (*listed["layers"], *listed["not_scored"])]
    assert sorted(named) == sorted(made)
    assert all(item["reason"] for item in listed["not_scored"])
    assert "conv1.relu" in run("layers", digits_model())[0]


def test_expose_writes_a_model_for_any_runtime(tmp_path: Path, run: Run) -> None:
    target = tmp_path / "exposed.onnx"
    run("expose", digits_model(), "-o", target, "--layers", "activations")
    onnx.checker.check_model(target, full_check=True)
    session = ort.InferenceSession(target, providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_outputs()]
    assert names == ["logits", "conv1.relu", "conv2.relu", "conv3.relu", "fc1.relu"]


def test_doctor_checks_the_machine_and_a_model(run: Run) -> None:
    out, _ = run("doctor", digits_model())
    for text in ("Python", "CPUExecutionProvider", "works", "4 layers", "conv1.relu"):
        assert text in out
    assert "This machine" in run("doctor")[0]


def test_the_demo_leaves_a_page(tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    out, err = run("demo")
    page = tmp_path / "lsa-onnx-demo.html"
    assert page.stat().st_size > 10_000
    assert str(page) in err
    assert "lsa-onnx scan" in err
    assert "most vulnerable" in out


def test_help_names_every_command_and_exit_code(run: Run) -> None:
    out, _ = run("--help")
    assert all(name in out for name in COMMANDS)
    assert "130 interrupted" in out


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name: str, run: Run) -> None:
    out, _ = run(name, "-h")
    assert out.startswith(f"Usage: lsa-onnx {name}")


def test_the_version_is_the_package_s(run: Run) -> None:
    assert __version__ in run("--version")[0]
