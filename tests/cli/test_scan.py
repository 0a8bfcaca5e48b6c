"""``lsa-onnx scan``: what goes where, and what the report says."""

from __future__ import annotations

import json
import re
from pathlib import Path

import jsonschema
import pytest

from lsa_onnx import attacks
from lsa_onnx.report import load_schema, read_report
from tests import graphs
from tests.cli.command_line import Cli

CPU = ("--device", "cpu")


def test_results_go_to_stdout_and_messages_to_stderr(cli: Cli, model: Path, data: Path) -> None:
    done = cli("scan", model, "--data", data, *CPU)
    assert done.code == 0
    assert done.line == "clean accuracy 75.0 % (95 % interval 59.8–85.8 %, n = 40)"
    assert re.search(r"^\S* ?1?\s+0 relu ", done.out, re.MULTILINE)
    assert "CM = ‖φ(x) − φ(x̂)‖ / ‖φ(x)‖" in done.out
    assert "\x1b" not in done.out + done.err


def test_synthetic_inputs_are_announced_on_stderr(cli: Cli, model: Path) -> None:
    done = cli("scan", model, "--samples", 4, *CPU)
    assert done.code == 0
    assert "SYNTHETIC" in done.line
    assert "Warning synthetic-data" in done.out


def test_quiet_says_nothing_on_stderr(cli: Cli, model: Path, data: Path) -> None:
    done = cli("scan", model, "--data", data, "-q")
    assert (done.code, done.err) == (0, "")
    assert done.out


def test_json_on_stdout_is_alone(cli: Cli, model: Path, data: Path) -> None:
    done = cli("scan", model, "--data", data, "--json", "-", "--seed", 3, *CPU)
    assert done.code == 0
    document = json.loads(done.out)
    jsonschema.Draft202012Validator(load_schema()).validate(document)
    assert document["run"]["seed"] == 3
    assert document["run"]["command"][:2] == ["lsa-onnx", "scan"]
    assert done.out.isascii()
    assert done.out.endswith("}\n")


def test_files_are_written_beside_the_terminal_view(
    cli: Cli, model: Path, data: Path, tmp_path: Path
) -> None:
    report, page = tmp_path / "r.json", tmp_path / "r.html"
    done = cli("scan", model, "--data", data, "--json", report, "--html", page, "-q")
    assert done.code == 0
    assert "Layers under" in done.out
    assert read_report(report).data.samples == 40
    assert page.read_text("utf-8").startswith("<!DOCTYPE html>")


def test_options_reach_the_report(cli: Cli, model: Path, data: Path) -> None:
    done = cli(
        "scan", model, "--data", data, "--samples", 8, "--batch", 3, "--attack", "gaussian",
        "--attack", "gaussian=20%", "--layers", "op:Conv", "--layers", "relu", "--top-k", 1,
        "--range", "-1,1", "--mean", ".1,.2,.3", "--std", "1,2,3", "--layout", "NCHW",
        "--labels", "none", "--max-memory", "1GiB", "--json", "-", "-q", *CPU,
    )  # fmt: skip
    assert done.code == 0
    report = json.loads(done.out)
    assert report["data"]["samples"] == 8
    assert report["run"]["batch"] == 3
    assert report["run"]["max_memory_bytes"] == 1 << 30
    assert [found["name"] for found in report["perturbations"]] == ["gaussian=0.1", "gaussian=0.2"]
    assert [layer["tensor"] for layer in report["layers"]] == ["conv", "relu"]
    assert (report["mvl"]["rule"], len(report["mvl"]["layers"])) == ("top-k", 1)
    assert report["input"]["range"] == [-1.0, 1.0]
    assert report["input"]["mean"] == [0.1, 0.2, 0.3]
    assert report["input"]["layout"] == "NCHW"
    assert report["accuracy"] is None


def test_a_missed_gate_is_exit_code_1(cli: Cli, model: Path, data: Path, tmp_path: Path) -> None:
    report = tmp_path / "r.json"
    report.write_text("earlier")
    done = cli(
        "scan", model, "--data", data, "--expect-accuracy", 0.9, "--json", report, "-q", *CPU
    )
    assert (done.code, done.out) == (1, "")
    assert done.line.startswith("lsa-onnx: clean accuracy 0.7500 on 40 samples is below")
    assert report.read_text() == "earlier"


def test_the_default_perturbations_are_all_noises_fgsm_and_pgd(
    cli: Cli, model: Path, data: Path
) -> None:
    report = json.loads(cli("scan", model, "--data", data, "-q", "--json", "-").out)
    names = [found["name"] for found in report["perturbations"]]
    assert names == [*attacks.NOISES, "fgsm", "pgd"]
    assert [found["attack"] is not None for found in report["perturbations"]] == 4 * [0] + 2 * [1]
    assert "noise-only" not in {warning["code"] for warning in report["warnings"]}


def test_attack_options_reach_the_report(cli: Cli, model: Path, data: Path, tmp_path: Path) -> None:
    kept = tmp_path / "adv.npz"
    done = cli(
        "scan", model, "--data", data, "--samples", 8, "--attack", "pgd", "--attack", "fgsm=0.1",
        "--eps", "12%", "--norm", "l2", "--steps", 3, "--restarts", 2, "--momentum", 0.5,
        "--objective", "margin", "--save-adversarial", kept, "--json", "-", "-q", *CPU,
    )  # fmt: skip
    assert (done.code, done.err) == (0, "")
    pgd, fgsm = json.loads(done.out)["perturbations"]
    parameters = pgd["parameters"]
    assert parameters["algorithm"] == "pgd"
    assert (parameters["eps"], parameters["norm"], parameters["steps"]) == (0.12, "l2", 3)
    assert (parameters["restarts"], parameters["momentum"]) == (2, 0.5)
    assert (pgd["attack"]["objective"], pgd["attack"]["white_box"]) == ("margin", True)
    assert (fgsm["attack"]["eps"], fgsm["attack"]["norm"]) == (0.1, "l2")
    assert kept.stat().st_size > 0


def test_what_an_attack_did_is_shown(cli: Cli, model: Path, data: Path) -> None:
    done = cli("scan", model, "--data", data, "--attack", "pgd", "--eps", "0.3", "-q", *CPU)
    assert done.code == 0
    assert re.search(r"\bpgd\b.*0\.3", done.out)
    assert "Warning large-eps" in done.out


@pytest.mark.parametrize("verbose", [True, False])
def test_verbose_shows_every_layer(cli: Cli, tmp_path: Path, verbose: bool) -> None:
    deep = graphs.save(graphs.chain(60), tmp_path / "deep.onnx")
    done = cli("scan", deep, "--samples", 5, "-q", *(["-v"] if verbose else []), *CPU)
    assert done.code == 0
    shown = [name for name in (f"r{index}" for index in range(59)) if f" {name} " in done.out]
    assert (len(shown) == 59) == verbose
