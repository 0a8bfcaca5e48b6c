"""The other commands, help, and how the process itself behaves."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from lsa_cli.main import COMMANDS
from lsa_onnx._version import __version__
from tests import graphs
from tests.cli.command_line import Cli

ROOT = Path(__file__).resolve().parents[2]


def start(*arguments: object, **more: Any) -> subprocess.Popen[str]:
    path = os.pathsep.join(str(folder) for folder in (ROOT, ROOT / "cli", ROOT / "trainer"))
    environment = {**os.environ, "PYTHONPATH": path, **more.pop("env", {})}
    return subprocess.Popen(
        [sys.executable, "-m", "lsa_cli", *map(str, arguments)],
        env=environment,
        stdout=more.pop("stdout", subprocess.PIPE),
        stderr=subprocess.PIPE,
        text=True,
        **more,
    )


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help_lists_the_options(cli: Cli, name: str, flag: str) -> None:
    done = cli(name, flag)
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith(f"Usage: lsa-onnx {name} ")
    expected = {
        "scan": ("--data", "--labels", "--range", "--mean", "--layout", "--attack", "--perturbed",
                 "--layers", "--eta", "--top-k", "--max-memory", "--device", "--expect-accuracy",
                 "--json", "--html", "--samples", "--seed", "--batch", "--quiet", "--eps", "--norm",
                 "--steps", "--restarts", "--momentum", "--objective", "--straight-through",
                 "--save-adversarial", "--perturb", "--hold", "--decision", "fgsm", "auto",
                 "--csv", "--markdown", "--sarif", "--junit", "--netron", "--annotate",
                 "--fail-on", "--baseline"),
        "merge": ("--json", "--html", "--plot", "--fail-on", "--baseline"),
        "report": ("--html", "--plot", "--csv", "--markdown", "--sarif", "--junit", "--netron",
                   "--annotate", "--model", "--no-check"),
        "evaluate": ("--data", "--labels", "--range", "--mean", "--layout", "--attack", "--eps-list",
                     "--norm", "--steps", "--restarts", "--momentum", "--objective", "--decision",
                     "--straight-through", "--save-adversarial", "--perturb", "--hold", "--device",
                     "--max-memory", "--expect-accuracy", "--json", "--samples", "--seed", "--batch",
                     "--quiet", "--html", "--plot", "fgsm", "auto"),
        "tune": ("--data", "--output", "--trials", "--timeout", "--search", "--seeds", "--score",
                 "--eps-list", "--held-out", "--page", "--json", "--base", "--eps", "--epochs"),
        "recipe": ("--output", "--list", "--data", "--seeds", "--rows", "--scale", "--page", "--device"),
        "landscape": ("--data", "--labels", "--range", "--space", "--extent", "--points", "--objective",
                      "--proposals", "--report", "--mvl", "--gamma", "--attack", "--eps", "--steps",
                      "--decision", "--device", "--json", "--html", "--plot", "--quiet"),
        "decision-boundary": ("--data", "--range", "--decision", "--points", "--extent", "--eps",
                              "--device", "--json", "--plot", "--quiet"),
        "harden": ("--output", "--config", "--data", "--report", "--mvl", "--base", "--gamma", "--eps",
                   "--epochs", "--batch-size", "--lr", "--bn", "--precision", "--compile", "--fresh",
                   "--validation", "--verification", "--verify-attack", "--max-clean-drop", "--force",
                   "--reexport", "--allow-frozen", "--tensorboard", "--json", "--html", "--quiet",
                   "Training attack:", "Verdict:"),
        "loop": ("--output", "--config", "--data", "--attack", "--top-k", "--report", "--html", "--json"),
        "layers": ("--layers", "--device", "--json"),
        "expose": ("--output", "--layers", "--device"),
        "compare": ("--data", "--attack", "--fail-on", "--json", "--html", "--markdown"),
        "diff": ("--json",),
        "demo": ("--html", "--json", "--open"),
        "doctor": ("--range", "--mean", "--std", "--layout"),
    }[name]  # fmt: skip
    assert [option for option in expected if option not in done.out] == []


def test_the_help_of_all_lists_every_command(cli: Cli) -> None:
    done = cli("--help")
    assert done.code == 0
    for name, (_, text) in COMMANDS.items():
        assert f"  {name} " in done.out
        assert text in done.out
    assert "Exit codes: 0 done; 1 a gate failed;" in done.out


def test_no_arguments_show_the_help_as_an_error(cli: Cli) -> None:
    done = cli()
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("Usage: lsa-onnx")


def test_version(cli: Cli) -> None:
    assert cli("--version").out == f"lsa-onnx, version {__version__}\n"


@pytest.mark.parametrize(
    ("given", "said"),
    [("scna", "no command 'scna'; did you mean 'scan'?"), ("zzz", "'zzz'; accepted are scan, ")],
)
def test_an_unknown_command(cli: Cli, given: str, said: str) -> None:
    done = cli(given)
    assert done.code == 2
    assert said in done.line


def test_a_missing_argument(cli: Cli) -> None:
    done = cli("scan")
    assert done.code == 2
    assert done.line == "lsa-onnx: Missing argument 'MODEL...'. Try 'lsa-onnx scan --help'."


def test_layers_lists_points_and_reasons(cli: Cli, model: Path) -> None:
    done = cli("layers", model)
    assert (done.code, done.err) == (0, "")
    assert "relu" in done.out
    assert "not chosen by --layers" in done.out


def test_layers_as_json(cli: Cli, model: Path, tmp_path: Path) -> None:
    done = cli("layers", model, "--json", "-", "--layers", "learnable")
    found = json.loads(done.out)
    assert [layer["tensor"] for layer in found["layers"]] == ["conv", "y"]
    assert {item["tensor"] for item in found["not_scored"]} == {"relu", "flat"}
    target = tmp_path / "layers.json"
    written = cli("layers", model, "--json", target, "--layers", "learnable")
    assert (written.code, written.out) == (0, "")
    assert json.loads(target.read_text("utf-8")) == found


def test_layers_refuse_to_replace_the_model(cli: Cli, model: Path) -> None:
    done = cli("layers", model, "--json", model)
    assert done.code == 2
    assert f"'{model}' is an input of this run" in done.line


def test_expose_writes_a_model_that_returns_its_layers(
    cli: Cli, model: Path, tmp_path: Path
) -> None:
    target = tmp_path / "out.onnx"
    done = cli("expose", model, "-o", target, "--layers", "activations")
    assert (done.code, done.out) == (0, "")
    assert done.line == f"{target}: 1 tensor exposed"
    exposed = onnx.load(target)
    onnx.checker.check_model(exposed, full_check=True)
    x = graphs.samples(0, 3, 3, 5, 7)
    before, after = (graphs.run(proto, {"x": x}) for proto in (graphs.conv_net(), exposed))
    assert list(after) == ["y", "relu"]
    np.testing.assert_array_equal(after["y"], before["y"])


def test_expose_never_replaces_the_model(cli: Cli, model: Path) -> None:
    before = model.read_bytes()
    done = cli("expose", model, "-o", model)
    assert done.code == 2
    assert str(model) in done.line
    assert model.read_bytes() == before


def test_doctor_describes_the_machine(cli: Cli) -> None:
    done = cli("doctor")
    assert (done.code, done.err) == (0, "")
    for word in ("Python", "onnxruntime", "CPUExecutionProvider", "works", "--device auto"):
        assert word in done.out


def test_doctor_describes_a_model(cli: Cli, model: Path) -> None:
    done = cli("doctor", model, "--range", "0,255")
    assert (done.code, done.err) == (0, "")
    for word in ("SHA-256", "IR 8", "0 to 255", "Scored", "1 layer: relu", "Not scored"):
        assert word in done.out


def test_doctor_of_a_missing_model(cli: Cli) -> None:
    done = cli("doctor", "none.onnx")
    assert done.code in {2, 3}
    assert "none.onnx" in done.line


@pytest.mark.parametrize("setting", [{"NO_COLOR": "1", "FORCE_COLOR": "1"}, {"TERM": "dumb"}])
def test_pipes_and_no_color_get_no_escape_codes(
    model: Path, data: Path, setting: dict[str, str]
) -> None:
    process = start("scan", model, "--data", data, "--device", "cpu", env=setting)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0
    colours = "\x1b[3"
    assert colours not in out + err
    if "FORCE_COLOR" not in setting:
        assert "\x1b" not in out + err


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT for another process")
def test_an_interrupt_is_exit_code_130(tmp_path: Path, model: Path) -> None:
    process = start("scan", model, "--samples", 50_000, "--device", "cpu", cwd=tmp_path)
    assert process.stderr is not None
    # It is at work once it says what the inputs are.
    assert "SYNTHETIC" in process.stderr.readline()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "")
    assert err.strip().splitlines()[-1] == "lsa-onnx: interrupted"
    assert "Traceback" not in err


@pytest.mark.parametrize("arguments", [["scan", "--json", "-", "-q"], ["layers"]], ids=str)
def test_a_reader_that_leaves_is_no_error(model: Path, arguments: list[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    process = start(*arguments, model, stdout=writing)
    os.close(writing)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_stdout_on_a_full_disk_is_one_line(model: Path) -> None:
    with Path("/dev/full").open("w") as full:
        process = start("layers", model, stdout=full)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 2
    (line,) = err.splitlines()
    assert line.startswith("lsa-onnx: cannot write results: No space left on device")
