"""``--fail-on`` and ``--baseline``: what fails a run, when, and what is written all the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import numpy_helper

from tests import graphs
from tests.cli.command_line import Cli
from tests.cli.refusals import EARLIER, assert_one_line

SCAN = ("--attack", "gaussian", "--attack", "fgsm", "--device", "cpu", "-q")
EVALUATE = ("--eps-list", "0,8/255", "--steps", 3, "--device", "cpu", "-q")


@pytest.fixture
def broken(model: Path) -> Path:
    """``model`` with other signs in its last layer, so that the worst class wins."""
    proto = onnx.load(model)
    for weights in proto.graph.initializer[1:3]:
        negated = numpy_helper.from_array(-numpy_helper.to_array(weights), weights.name)
        weights.CopyFrom(negated)
    return graphs.save(proto, model.with_name("broken.onnx"))


def gates_of(path: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(path.read_text("utf-8"))["gates"]
    return found


def test_a_failed_gate_is_exit_code_1_after_the_report(
    cli: Cli, model: Path, data: Path, tmp_path: Path
) -> None:
    report, page = tmp_path / "r.json", tmp_path / "r.html"
    gates = ("--fail-on", "accuracy<70%", "--fail-on", "accuracy < 80%", "--fail-on", "cm:0>9")
    done = cli("scan", model, "--data", data, *SCAN, *gates, "--json", report, "--html", page)
    assert done.code == 1
    assert done.line == ("lsa-onnx: 1 of 3 gates failed: accuracy < 80% (clean accuracy = 0.75)")
    assert [(gate["expression"], gate["status"]) for gate in gates_of(report)] == [
        ("accuracy<70%", "passed"),
        ("accuracy < 80%", "failed"),
        ("cm:0>9", "passed"),
    ]
    assert "Gates: 2 passed, 1 failed" in done.out
    assert page.exists()


def test_json_on_stdout_stays_alone(cli: Cli, model: Path, data: Path) -> None:
    done = cli("scan", model, "--data", data, *SCAN, "--fail-on", "accuracy<80%", "--json", "-")
    assert done.code == 1
    (gate,) = json.loads(done.out)["gates"]
    assert (gate["measured"], gate["value"]) == ("clean accuracy", 0.75)


def test_gates_that_pass_are_exit_code_0(cli: Cli, model: Path, data: Path) -> None:
    done = cli("scan", model, "--data", data, *SCAN, "--fail-on", "accuracy@fgsm:8/255<1%")
    assert (done.code, done.err) == (0, "")
    assert "passed accuracy@fgsm:8/255<1%" in done.out


@pytest.mark.parametrize(
    ("gate", "words"),
    [
        ("acuracy<1", "did you mean 'accuracy'?"),
        ("cm@pgd>1", "unknown perturbation in gate 'cm@pgd>1': 'pgd'"),
        ("cm@fgsm:9/255>1", "fgsm is not run at 9/255"),
        ("cm:rely>1", "there is no layer 'rely'; did you mean 'relu'"),
        ("regression", "gate 'regression' needs an earlier result; give one with --baseline"),
    ],
)
def test_a_gate_that_cannot_be_judged_is_refused_before_anything_is_written(
    cli: Cli, here: Path, gate: str, words: str
) -> None:
    words_of_run = ("--data", "data.npz", *SCAN[:-1], "--json", "report.json", "--fail-on", gate)
    assert_one_line(cli("scan", "model.onnx", *words_of_run), 2, words)


def test_nor_is_accuracy_without_labels(cli: Cli, here: Path) -> None:
    run = ("scan", "model.onnx", *SCAN[:-1], "--json", "report.json")
    done = cli(*run, "--fail-on", "accuracy<50%", "--data", "data.npz", "--labels", "none")
    assert_one_line(done, 2, "gate 'accuracy<50%' needs labels; give --labels")


def test_what_is_undefined_is_exit_code_2_after_the_report(cli: Cli, tmp_path: Path) -> None:
    model = graphs.save(graphs.elu_mlp(), tmp_path / "mlp.onnx")
    report = tmp_path / "r.json"
    words = ("--samples", 4, "--attack", "gaussian", "--json", report, "-q", "--device", "cpu")
    done = cli("scan", model, *words, "--fail-on", "flips@gaussian>50%")
    assert done.code == 2
    assert done.line.startswith(
        "lsa-onnx: a gate cannot be judged: flips@gaussian>50% (flips under gaussian of 0.1: undefined: "
        "the model predicts no classes)"
    )
    (gate,) = gates_of(report)
    assert (gate["status"], gate["value"]) == ("failed", None)


def test_a_baseline_lets_pass_what_failed_no_less(
    cli: Cli, model: Path, broken: Path, data: Path, tmp_path: Path
) -> None:
    base = tmp_path / "base.json"
    run = ("--data", data, *SCAN)
    assert cli("scan", model, *run, "--json", base).code == 0
    held = (*run, "--baseline", base)
    known = cli("scan", model, *held, "--fail-on", "accuracy<80%")
    assert known.code == 0
    assert "known accuracy<80% clean accuracy: 0.75 (0.75 in the baseline)" in known.out
    failed = cli("scan", broken, *held, "--fail-on", "accuracy<80%")
    assert failed.code == 1
    assert "(clean accuracy = 0" in failed.line
    assert failed.line.endswith(": 0.75 in the baseline)")


def test_a_baseline_alone_fails_what_is_worse(
    cli: Cli, model: Path, broken: Path, data: Path, tmp_path: Path
) -> None:
    base, report = tmp_path / "base.json", tmp_path / "r.json"
    run = ("--data", data, *SCAN)
    cli("scan", model, *run, "--json", base)
    assert cli("scan", model, *run, "--baseline", base).code == 0
    done = cli("scan", broken, *run, "--baseline", base, "--json", report)
    assert done.code == 1
    assert done.line.startswith(
        f"lsa-onnx: the gate failed: regression (regressions against '{base}' = "
    )
    assert "clean accuracy fell from 75.0 % to " in done.line
    assert gates_of(report)[0]["status"] == "failed"


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("--samples", 9), "the samples are others: 12 with fingerprint"),
        (("--layers", "all"), "is scored by the second alone"),
    ],
)
def test_a_baseline_of_another_run_is_refused(
    cli: Cli, here: Path, words: tuple[object, ...], named: str
) -> None:
    run = ("scan", "model.onnx", "--data", "data.npz", *SCAN)
    assert cli(*run, "--json", "base.json").code == 0
    done = cli(*run, *words, "--baseline", "base.json", "--json", "report.json")
    if "second" in named:
        # Which layers can be read shows once the model is scored: the report is written then.
        assert (done.code, named in done.line) == (2, True)
        assert Path("report.json").read_text("utf-8") != EARLIER
    else:
        assert_one_line(done, 2, "--baseline 'base.json' cannot be compared with this run", named)


def test_a_baseline_is_never_overwritten(cli: Cli, here: Path) -> None:
    run = ("scan", "model.onnx", "--data", "data.npz", *SCAN)
    cli(*run, "--json", "base.json")
    before = Path("base.json").read_bytes()
    done = cli(*run, "--baseline", "base.json", "--json", "base.json")
    assert_one_line(done, 2, "'base.json' is an input of this run")
    assert Path("base.json").read_bytes() == before
    done = cli(*run, "--baseline", "report.json", "--json", "other.json")
    assert_one_line(done, 2, "--baseline: cannot read report 'report.json'")


def test_evaluations_have_gates_and_baselines(
    cli: Cli, model: Path, broken: Path, data: Path, tmp_path: Path
) -> None:
    base, page = tmp_path / "base.json", tmp_path / "e.html"
    run = ("--data", data, *EVALUATE)
    done = cli("evaluate", model, *run, "--json", base, "--fail-on", "r&g@pgd<151")
    assert done.code == 1
    assert done.line.startswith("lsa-onnx: the gate failed: r&g@pgd<151 (R&G score under pgd = 1")
    assert "failed r&g@pgd<151" in done.out
    assert cli("evaluate", model, *run, "--baseline", base).code == 0
    worse = cli("evaluate", broken, *run, "--baseline", base, "--html", page)
    assert worse.code == 1
    assert "clean accuracy fell from 75.0 % to " in worse.line
    assert '<li class="failed"><b>' in page.read_text("utf-8")


def test_of_several_models_each_is_held_to_the_gates(
    cli: Cli, model: Path, broken: Path, data: Path, tmp_path: Path
) -> None:
    run = ("--data", data, *EVALUATE)
    done = cli("evaluate", model, broken, *run, "--fail-on", "accuracy<50%")
    assert done.code == 1
    assert f"1 of 2 gates failed: '{broken}': accuracy<50% (clean accuracy = 0." in done.line
    assert "Gates of net.onnx: 1 passed" in done.out
    assert "Gates of broken.onnx: 1 failed" in done.out
    done = cli("evaluate", model, broken, *run, "--baseline", tmp_path / "x.json")
    assert done.code == 2
    assert "is one file, and 2 models are given, each with a past of its own" in done.line


def test_a_gate_of_an_evaluation_names_an_attack_of_it(cli: Cli, model: Path, data: Path) -> None:
    done = cli("evaluate", model, "--data", data, *EVALUATE, "--fail-on", "accuracy@fgsm<1")
    assert done.code == 2
    assert "unknown perturbation in gate 'accuracy@fgsm<1': 'fgsm'; accepted are pgd" in done.line
    done = cli("evaluate", model, "--data", data, *EVALUATE, "--fail-on", "accuracy@pgd:2/255<1")
    assert (
        "pgd is not run at 2/255 = 0.00784314; give one of its strengths, 0, 0.03137" in done.line
    )


def test_gates_are_for_the_whole_and_not_for_a_shard(cli: Cli, here: Path) -> None:
    run = ("scan", "model.onnx", "--data", "data.npz", *SCAN, "--batch", 4)
    done = cli(*run, "--shard", "1/2", "--json", "report.json", "--fail-on", "accuracy<50%")
    assert_one_line(done, 2, "--fail-on is about all samples, and --shard 1/2 sees a part of them")
    for number in (1, 2):
        part = f"part{number}.json"
        assert cli(*run, "--shard", f"{number}/2", "--json", part).code == 0
    refused = cli(
        "merge", "part1.json", "part2.json", "--json", "report.json", "--fail-on", "cm@pgd>1"
    )
    assert_one_line(refused, 2, "unknown perturbation in gate 'cm@pgd>1': 'pgd'")
    done = cli("merge", "part1.json", "part2.json", "--json", "all.json", "--fail-on", "mvl<9")
    assert done.code == 1
    assert done.line.startswith(
        "lsa-onnx: the gate failed: mvl<9 (layers in the MVL list under fgsm = "
    )
    assert [gate["status"] for gate in gates_of(Path("all.json"))] == ["failed"]
