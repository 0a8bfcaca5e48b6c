"""``lsa-onnx harden``: what is written, what is said, and when nothing is."""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

import jsonschema
import numpy as np
import onnx
import pytest

from lsa_cli import training
from lsa_cli.training_terminal import TrainingTerminal
from lsa_onnx.differences import diff_models
from lsa_onnx.errors import DataError
from lsa_onnx.report import load_schema, read_hardening
from lsa_trainer.options import HardenOptions
from tests import graphs
from tests.cli.command_line import Cli
from tests.cli.training import HELPFUL, SHORT, USELESS, assert_refused, same_weights

pytestmark = pytest.mark.usefixtures("one_thread")

WITH_DATA = ["--data", "data.npz"]


def test_a_better_file_is_the_same_graph_with_other_weights(cli: Cli, tmp_path: Path) -> None:
    output = tmp_path / "out.onnx"
    done = cli("harden", *HELPFUL, "-o", output)
    assert done.code == 0, done.err
    assert done.out.startswith("More robust: under attack ")
    assert f"Written to {output}." in done.out.replace("\n", "")
    assert "\x1b" not in done.out + done.err
    assert re.search(r"^before training: clean \d", done.err, re.MULTILINE)
    assert (
        len(re.findall(r"^step \d+: clean .* robust .*\(validation\)$", done.err, re.MULTILINE))
        == 2
    )
    found = diff_models(HELPFUL[0], output)
    assert found.same_graph
    assert len(found.changed_tensors) == 10
    result = read_hardening(f"{output}.run/result.json")
    assert (result.output, result.objection) == (str(output), None)
    assert result.comparison.gain > 0
    assert list(result.layers.values()) == [1.0] * len(result.layers)


@pytest.mark.slow
def test_the_saved_configuration_repeats_the_run(cli: Cli, tmp_path: Path) -> None:
    first, again = tmp_path / "first.onnx", tmp_path / "again.onnx"
    words = (*HELPFUL, "--epochs", 2, "--mvl", "fc1.relu", "--force", "-q")
    assert cli("harden", *words, "-o", first).code == 0
    assert not same_weights(HELPFUL[0], first)
    config = Path(f"{first}.run/config.toml")
    assert cli("harden", HELPFUL[0], "--config", config, "-o", again, "-q").code == 0
    assert same_weights(first, again)
    assert Path(f"{again}.run/config.toml").read_bytes() == config.read_bytes()


def test_a_file_that_is_not_better_is_not_written(
    cli: Cli, model: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ("--mvl", "relu", *SHORT, *USELESS, "-q", "--json", "r.json", "--html", "p.html")
    done = cli("harden", model, "--data", data, *words)
    assert done.code == 1
    named = [
        "'net.hardened.onnx' is not written",
        "robust accuracy under pgd at eps 8/255 went from",
    ]
    for text in (*named, "net.hardened.onnx.run/result.json", "--force"):
        assert text in done.line
    assert "Not better: robust accuracy" in done.out
    assert "No file was written." in done.out
    assert not Path("net.hardened.onnx").exists()
    assert read_hardening("r.json").objection is not None
    assert Path("p.html").read_text("utf-8").startswith("<!DOCTYPE html>")
    assert cli("harden", model, "--data", data, *words, "--force").code == 0
    onnx.checker.check_model("net.hardened.onnx", full_check=True)


def test_json_on_stdout_is_alone(cli: Cli, model: Path, data: Path, tmp_path: Path) -> None:
    words = ("--gamma", 0, *SHORT, "--json", "-", "-o", tmp_path / "o.onnx", "--force", "-q")
    done = cli("harden", model, "--data", data, *words)
    assert (done.code, done.err) == (0, "")
    document = json.loads(done.out)
    jsonschema.Draft202012Validator(load_schema("hardening")).validate(document)
    assert document["command"][:2] == ["lsa-onnx", "harden"]
    assert document["layers"] == {}


def test_without_labels_the_model_teaches(
    cli: Cli, model: Path, data: Path, tmp_path: Path
) -> None:
    words = ("--labels", "none", "--gamma", 0, *SHORT, "--force", "-v", "-o", tmp_path / "o.onnx")
    done = cli("harden", model, "--data", data, *words)
    assert done.code == 0
    assert "no labels: the model's own clean predictions teach" in done.err
    assert re.search(r"^step 1 of 1: loss [\d.e-]+, robust .* %, lr ", done.err, re.MULTILINE)
    assert "100.0 %" in done.out


def test_lists_of_layers_are_taken_apart_at_commas(tmp_path: Path) -> None:
    proto = graphs.conv_net()
    for node in proto.graph.node:
        node.output[:] = [{"conv": "a,b"}.get(name, name) for name in node.output]
        node.input[:] = [{"conv": "a,b"}.get(name, name) for name in node.input]
    path = str(graphs.save(proto, tmp_path / "commas.onnx"))
    assert training.single_names(path, ("relu, flat", "a,b")) == ("relu", "flat", "a,b")
    assert training.single_names("none.onnx", ("relu", "flat")) == ("relu", "flat")


def test_an_interrupted_run_says_how_to_go_on(
    cli: Cli, model: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, listener: TrainingTerminal, **__: object) -> NoReturn:
        listener.training(50, 20)
        listener.stepped(21, {"loss": 1.5, "lr": 0.1})
        raise KeyboardInterrupt

    monkeypatch.setattr("lsa_trainer.hardening.harden", interrupted)
    done = cli("harden", model, "--data", data, "-o", tmp_path / "o.onnx")
    assert (done.code, done.out) == (130, "")
    assert done.err.splitlines() == [
        "stopped at step 21 of 50; the same command goes on from the last checkpoint",
        "",
        "lsa-onnx: interrupted",
    ]


def test_only_the_first_of_several_processes_reports(
    cli: Cli, model: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", "1")
    words = ("--gamma", 0, *SHORT, *USELESS, "-o", tmp_path / "o.onnx", "--html", tmp_path / "p")
    done = cli("harden", model, "--data", data, *words)
    assert (done.code, done.out, done.err) == (0, "", "")
    assert not (tmp_path / "p").exists()


class TestWeightsInAFileOfTheirOwn:
    @pytest.fixture
    def external(self, tmp_path: Path) -> Path:
        (tmp_path / "ext").mkdir()
        return graphs.save_external(graphs.conv_net(), tmp_path / "ext/net.onnx", "net.bin")

    @pytest.mark.parametrize("flag", ["--json", "--html", "-o"])
    def test_they_are_not_overwritten(
        self, cli: Cli, external: Path, data: Path, tmp_path: Path, flag: str
    ) -> None:
        target = external.with_name("net.bin")
        before = target.read_bytes()
        words = ("--gamma", 0, *SHORT, "-o", tmp_path / "o.onnx", flag, target)
        outcome = cli("harden", external, "--data", data, *words)
        assert_refused(outcome, 2, f"'{target}' is an input of this run", f"with {flag}")
        assert target.read_bytes() == before
        assert not (tmp_path / "o.onnx.run").exists()

    @pytest.mark.parametrize(("there", "written"), [((), "net.bin"), (("net.bin",), "o.onnx.data")])
    @pytest.mark.parametrize("flag", ["--json", "--html"])
    def test_nor_those_of_the_new_model(
        self,
        cli: Cli,
        external: Path,
        data: Path,
        tmp_path: Path,
        there: tuple[str, ...],
        written: str,
        flag: str,
    ) -> None:
        """Where somebody's file is in the way, they get another name."""
        for name in there:
            (tmp_path / name).write_bytes(b"somebody's")
        output, target = tmp_path / "o.onnx", tmp_path / "ext/.." / written
        words = ("--gamma", 0, *SHORT, "-o", output, flag, target)
        outcome = cli("harden", external, "--data", data, *words)
        assert_refused(
            outcome, 2, f"'{target}' is where the new model keeps weights", f"with {flag}"
        )
        assert not (tmp_path / "o.onnx.run").exists()

    def test_a_model_exported_anew_has_them_inside(self, external: Path, tmp_path: Path) -> None:
        targets = training.Targets(str(tmp_path / "o.onnx"), str(tmp_path / "net.bin"))
        options = HardenOptions(data=tmp_path / "x.npz")
        training.require_targets(
            str(external), targets, dataclasses.replace(options, reexport=True)
        )
        with pytest.raises(DataError, match=r"net.bin' is where the new model keeps weights"):
            training.require_targets(str(external), targets, options)


class TestFolderOfTheRun:
    @pytest.fixture
    def earlier(self, here: Path) -> Path:
        """What a run has left, reached by a link as well."""
        folder = here / "o.onnx.run"
        folder.mkdir()
        (folder / "state.json").write_text("{}", encoding="utf-8")
        (here / "link").symlink_to(folder)
        return folder

    @pytest.mark.parametrize("flag", ["--json", "--html"])
    @pytest.mark.parametrize("name", ["o.onnx.run/state.json", "o.onnx.run/new", "link/lock"])
    def test_it_is_the_runs_alone(
        self, cli: Cli, here: Path, earlier: Path, name: str, flag: str
    ) -> None:
        outcome = cli("harden", "model.onnx", *WITH_DATA, "-o", "o.onnx", flag, name)
        assert_refused(outcome, 2, f"{name!r} is in 'o.onnx.run'", f"another file with {flag}")
        assert [path.name for path in earlier.iterdir()] == ["state.json"]
        assert (earlier / "state.json").read_text("utf-8") == "{}"

    @pytest.mark.parametrize("name", ["o.onnx.run", "./o.onnx.run/r.json"])
    def test_also_before_it_is_there(self, cli: Cli, here: Path, name: str) -> None:
        outcome = cli("loop", "model.onnx", *WITH_DATA, "-o", "o.onnx", "--json", name)
        assert_refused(outcome, 2, f"{name!r} is in 'o.onnx.run'")
        assert not Path("o.onnx.run").exists()


@pytest.mark.parametrize("command", ["harden", "loop"])
def test_without_the_extra_it_says_what_to_install(
    cli: Cli, here: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    absent = ("torch", "safetensors")
    monkeypatch.setattr(training, "find_spec", lambda name: None if name in absent else object())
    outcome = cli(command, "model.onnx", *WITH_DATA)
    assert_refused(
        outcome, 2, "torch, safetensors, which", "install it with: pip install 'lsa-onnx[train]'"
    )


def test_help_needs_no_torch() -> None:
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from lsa_cli.main import load\n"
        "for name in ('harden', 'loop', 'demo'): load(name)\n"
    )
    path = ":".join(map(str, sys.path))
    ran = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": path}, capture_output=True
    )
    assert (ran.returncode, ran.stderr) == (0, b"")


REPORTED = ["--report", "report.json"]


@pytest.mark.parametrize(
    ("words", "code", "named"),
    [
        ([], 2, ["--data train.npz"]),
        (["--data", "none.npz"], 2, ["none.npz"]),
        (["--data", "other.npz"], 2, ["label", "0..5"]),
        (["--data", "nan.npz"], 2, ["nan.npz", "holds nan"]),
        ([*WITH_DATA, "--eps", "much"], 2, ["eps 'much'", "8/255"]),
        ([*WITH_DATA, "--eps", "-1"], 2, ["eps '-1' is negative"]),
        ([*WITH_DATA, "--step-size", "big"], 2, ["eps 'big'"]),
        ([*WITH_DATA, "--base", "at-pdg"], 2, ["'at-pdg'", "did you mean 'at-pgd'?"]),
        ([*WITH_DATA, "--norm", "l7"], 2, ["'l7'", "linf, l2, l1"]),
        ([*WITH_DATA, "--bn", "thawed"], 2, ["batch-norm 'thawed'", "frozen, clean, all"]),
        ([*WITH_DATA, "--steps", "0"], 2, ["--steps 0", "1 or more"]),
        ([*WITH_DATA, "--epochs", "2.5"], 2, ["--epochs", "'2.5'"]),
        ([*WITH_DATA, "--lr", "nan"], 2, ["--lr nan", "more than 0"]),
        ([*WITH_DATA, "--max-clean-drop", "150%"], 2, ["--max-clean-drop 1.5", "0 to 1"]),
        ([*WITH_DATA, "--max-clean-drop", "few"], 2, ["--max-clean-drop", "'few'", "2%"]),
        ([*WITH_DATA, "--norm", "l1", "--verify-attack", "auto"], 2, ["'auto'", "l1", "pgd"]),
        ([*WITH_DATA, "--verify-attack", "fsgm"], 2, ["'fsgm'", "did you mean 'fgsm'?"]),
        ([*WITH_DATA, "--gamma", "heavy", "--mvl", "relu"], 2, ["gamma 'heavy'"]),
        ([*WITH_DATA, "--mvl", "relu,rleu"], 2, ["layer 'rleu'", "`lsa-onnx layers MODEL`"]),
        ([*WITH_DATA, "--report", "none.json"], 2, ["none.json"]),
        (
            [
                *WITH_DATA,
                "--labels",
                "wrong.npy",
                "--gamma",
                "0",
                "--expect-accuracy",
                "0.5",
                "-o",
                "n.onnx",
            ],
            1,
            ["0.0000", "0.5"],
        ),
        ([*WITH_DATA, *REPORTED], 2, ["report.json"]),
        ([*WITH_DATA, "-o", "model.onnx"], 2, ["'model.onnx' is an input", "another file with -o"]),
        ([*WITH_DATA, "-o", "data.npz"], 2, ["'data.npz' is an input", "another file with -o"]),
        ([*WITH_DATA, "-o", "model.lsa.toml"], 2, ["'model.lsa.toml' is an input", "with -o"]),
        ([*WITH_DATA, "--json", "model.lsa.toml"], 2, ["is an input", "with --json"]),
        ([*WITH_DATA, "-o", "absent/o.onnx"], 2, ["absent/o.onnx", "create the folder"]),
        ([*WITH_DATA, "-o", "nothing"], 2, ["nothing", "name a file inside it"]),
        ([*WITH_DATA, "-o", "o", "--html", "o"], 2, ["--html and -o are both 'o'"]),
        ([*WITH_DATA, "--json", "data.npz"], 2, ["'data.npz' is an input"]),
        ([*WITH_DATA, "--config", "none.toml"], 2, ["--config 'none.toml'", "check the path"]),
        ([*WITH_DATA, "--config", "report.json"], 2, ["'report.json' is not TOML"]),
        (["--config", "run.toml"], 2, ["'epoch'", "'run.toml'", "did you mean 'epochs'?"]),
        ([*WITH_DATA, "--epoch", "3"], 2, ["--epoch", "--epochs"]),
    ],
)
def test_what_is_of_no_use(
    cli: Cli, here: Path, words: list[str], code: int, named: list[str]
) -> None:
    Path("run.toml").write_text("data = 'data.npz'\nepoch = 3\n", encoding="utf-8")
    before = {path.name: path.read_bytes() for path in here.iterdir() if path.is_file()}
    outcome = cli("harden", "model.onnx", *words, "--device", "cpu", "-q")
    assert_refused(outcome, code, *named)
    assert {path.name: path.read_bytes() for path in here.iterdir() if path.is_file()} == before


def test_a_report_of_another_model(cli: Cli, here: Path) -> None:
    scanned = cli("scan", "regressor.onnx", "--samples", 3, "--json", "scan.json", "-q")
    assert scanned.code == 0
    outcome = cli("harden", "model.onnx", *WITH_DATA, "--report", "scan.json", "-q")
    assert_refused(outcome, 2, "'scan.json' is of a model with SHA-256", "leave --report out")


def test_every_operator_that_torch_cannot_run_is_named(cli: Cli, here: Path) -> None:
    nodes = [
        graphs.node("SequenceConstruct", ["h"], ["s"]),
        graphs.node("SequenceAt", ["s", "zero"], ["a"]),
    ]
    proto = graphs.activated(nodes)
    proto.graph.initializer.append(onnx.numpy_helper.from_array(np.array(0), "zero"))
    graphs.save(proto, here / "sequence.onnx")
    outcome = cli("harden", "sequence.onnx", "--data", "a.npz", "-o", "new.onnx", "-q")
    assert_refused(outcome, 3, "SequenceConstruct", "SequenceAt")
    assert not list(here.glob("new.onnx*"))
