"""What ``lsa-onnx doctor`` says of training, and of settings."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import onnx
import pytest

from lsa_cli import training
from lsa_onnx._version import __version__
from tests import graphs
from tests.cli.command_line import Cli


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("LSA_ONNX_")]:
        monkeypatch.delenv(name)


def answer(out: str) -> str:
    """All of the row on training, whatever lines it takes."""
    _, _, rest = out.partition("\n Training ")
    return " ".join(rest.split())


def test_a_model_that_can_be_trained(cli: Cli, model: Path) -> None:
    done = cli("doctor", model)
    assert (done.code, done.err) == (0, "")
    # 4·3·3·3 of the convolution, 6·60 and 6 of the Gemm.
    assert answer(done.out) == "yes: 474 of 474 weights (100%)"


def test_every_operator_without_a_translation_is_named(cli: Cli, tmp_path: Path) -> None:
    nodes = [
        graphs.node("SequenceConstruct", ["h"], ["s"]),
        graphs.node("SequenceAt", ["s", "zero"], ["a"]),
    ]
    proto = graphs.activated(nodes)
    proto.graph.initializer.append(onnx.numpy_helper.from_array(np.array(0), "zero"))
    done = cli("doctor", graphs.save(proto, tmp_path / "sequence.onnx"))
    assert done.code == 0, done.err
    said = answer(done.out)
    assert said.startswith("no: ")
    assert "SequenceConstruct" in said
    assert "SequenceAt" in said


def test_without_torch_it_says_what_to_install(
    cli: Cli, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "find_spec", lambda name: None if name == "torch" else object())
    done = cli("doctor", model)
    assert done.code == 0
    assert answer(done.out) == "needs torch: pip install 'lsa-onnx[train]'"


def settings(out: str) -> str:
    """All rows on settings, in one line."""
    _, _, rest = out.partition("\nSettings ")
    return " ".join(rest.split())


def test_without_settings_it_tells_where_it_looked(cli: Cli, here: Path) -> None:
    done = cli("doctor")
    assert (done.code, done.err) == (0, "")
    assert settings(done.out) == "File lsa-onnx.toml: not there File pyproject.toml: not there"


def test_each_setting_with_its_origin(
    cli: Cli, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (here / "lsa-onnx.toml").write_text("range = [0, 1]\nseed = 1\n[scan]\neta = 0.5\n", "utf-8")
    monkeypatch.setenv("LSA_ONNX_SCAN_SEED", "2")
    done = cli("doctor", "--range", "-1,1")
    said = settings(done.out)
    assert "seed 2 (LSA_ONNX_SCAN_SEED), for scan" in said
    assert (
        "seed 1 (lsa-onnx.toml: seed), for evaluate, landscape, decision-boundary, harden," in said
    )
    assert "eta 0.5 (lsa-onnx.toml: scan.eta), for scan" in said
    assert "range -1,1 (flag), for doctor" in said
    assert "range 0,1 (lsa-onnx.toml: range), for scan, " in said
    assert "File lsa-onnx.toml: read" in said
    assert "Problem" not in said


def test_settings_as_json(cli: Cli, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LSA_ONNX_TRIALS", "7")
    done = cli("doctor", "--json", "-")
    assert (done.code, done.err) == (0, "")
    found = json.loads(done.out)
    assert [each for each in found["settings"] if each["where"] != "flag"] == [
        {"option": "trials", "value": "7", "where": "LSA_ONNX_TRIALS", "commands": ["tune"],
         "problem": None}
    ]  # fmt: skip
    assert found["files"][0] == {"path": "lsa-onnx.toml", "found": "not there"}
    assert {"name": "lsa-onnx", "value": __version__} in found["machine"]
    assert (found["model"], found["problems"]) == (None, [])
    written = cli("doctor", "--json", here / "doctor.json")
    found["settings"][-1]["value"] = str(here / "doctor.json")
    assert "This machine" in written.out
    assert json.loads((here / "doctor.json").read_text("utf-8")) == found


def test_the_report_never_replaces_the_model(cli: Cli, model: Path) -> None:
    before = model.read_bytes()
    done = cli("doctor", model, "--json", model)
    assert (done.code, done.out) == (2, "")
    assert "is an input of this run" in done.line
    assert model.read_bytes() == before


def test_what_is_wrong_for_other_commands(
    cli: Cli, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (here / "lsa-onnx.toml").write_text('samples = "few"\n[harden]\nepoch = 3\n', "utf-8")
    for name in ("LSA_ONNX_DEVCE", "LSA_ONNX_CUSTOM_OPS", "LSA_ONNX_QQQ", "LSA_ONNX_SHARED"):
        monkeypatch.setenv(name, "x")
    done = cli("doctor")
    assert done.code == 0
    said = settings(done.out)
    assert "few (lsa-onnx.toml: samples), for scan, " in said
    assert "not usable, 'few' is not a valid integer" in said
    assert "lsa-onnx.toml: harden.epoch: harden has no such option; did you mean 'epochs'?" in said
    assert "LSA_ONNX_DEVCE sets nothing; did you mean LSA_ONNX_DEVICE?" in said
    assert "LSA_ONNX_CUSTOM_OPS sets nothing: --custom-ops is for the command line alone" in said
    assert "QQQ" not in said
    assert "SHARED" not in said


def test_a_hostile_value_is_shown_as_text(cli: Cli, here: Path) -> None:
    (here / "lsa-onnx.toml").write_text('split = "\\u001b[31m[bold]\\u202e"\n', "utf-8")
    done = cli("doctor")
    assert "\\x1b[31m[bold]\\u202e" in done.out
    assert "\x1b" not in done.out
