"""Attacks that cannot be carried out: one line, the value, what is accepted, what would work."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.command_line import Cli
from tests.cli.refusals import assert_one_line

PGD = ["--attack", "pgd"]
WITH_DATA = ["--data", "data.npz"]
EPS_FORMS = "a number in units of the range, 8/255 of its width, or 30%"


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--attack", "pgdd"], ["'pgdd'", "did you mean 'pgd'", "fgsm", "square", "auto"]),
        (["--attack", "PGD"], ["'PGD'", "did you mean 'pgd'"]),
        (["--norm", "l7"], ["'l7'", "linf, l2, l1"]),
        (["--attack", "square", "--norm", "l1"], ["'square'", "l1", "'pgd' and 'apgd' take"]),
        (["--attack", "auto", "--norm", "l1"], ["'auto'", "l1", "'pgd' and 'apgd' take"]),
        (["--steps", "0"], ["--steps 0", "at least 1"]),
        (["--steps", "2.5"], ["--steps", "'2.5'"]),
        (["--restarts", "0"], ["--restarts 0", "at least 1"]),
        (["--restarts", "-2"], ["--restarts -2", "at least 1"]),
        (["--momentum", "2"], ["momentum 2", "0 to 1"]),
        (["--momentum", "-0.5"], ["momentum -0.5", "0 to 1"]),
        (["--momentum", "nan"], ["momentum nan", "0 to 1"]),
        (["--objective", "loss"], ["'loss'", "ce, margin, dlr, kl, output, layer:TENSOR"]),
        (["--objective", "layer:"], ["'layer:'", "layer:TENSOR"]),
        (["--objective", "layer:conv"], ["'layer:conv'", "--layers", "lsa-onnx layers MODEL"]),
        (["--decision", "least"], ["--decision", "'least'", "'max', 'min'"]),
        (["--perturb", "pixels"], ["--perturb 'pixels'", "accepted are 'x'"]),
        (["--hold", "mask=1"], ["--hold 'mask'", "accepted are none"]),
        (["--data", "other.npz"], ["label 6", "6 classes", "0..5", "--labels none"]),
    ],
)
@pytest.mark.parametrize("command", ["scan", "evaluate"])
def test_options_of_attacks(
    cli: Cli, here: Path, command: str, words: list[str], named: list[str]
) -> None:
    given = [*([] if "--attack" in words else PGD), *WITH_DATA, *words]
    outcome = cli(command, "model.onnx", *given, "--json", "report.json")
    assert_one_line(outcome, 2, *named)


@pytest.mark.parametrize(
    ("eps", "named"),
    [
        ("-1", ["eps '-1' is negative", EPS_FORMS]),
        ("-8/255", ["eps '-8/255' is negative", EPS_FORMS]),
        ("1.5", ["eps 1.5 is larger than the range's width 1", "at most 1", "declare the range"]),
        ("300/255", ["eps 1.17647", "at most 1"]),
        ("150%", ["eps 1.5", "at most 1"]),
        ("abc", ["eps 'abc' is not a finite number", EPS_FORMS]),
        ("nan", ["eps 'nan' is not a finite number", EPS_FORMS]),
        ("inf", ["eps 'inf' is not a finite number", EPS_FORMS]),
        ("8/0", ["eps '8/0' divides by 0", EPS_FORMS]),
        ("8/", ["eps '8/' is not a finite number", EPS_FORMS]),
        ("%", ["eps '%' is not a finite number", EPS_FORMS]),
    ],
)
def test_an_eps_of_no_use(cli: Cli, here: Path, eps: str, named: list[str]) -> None:
    for words in (["scan", f"--eps={eps}"], ["scan", "--attack", f"pgd={eps}"]):
        assert_one_line(cli(*words, "model.onnx", *PGD, *WITH_DATA), 2, *named)
    words = ["evaluate", f"--eps-list=0,{eps}"]
    assert_one_line(cli(*words, "model.onnx", *PGD, *WITH_DATA), 2, *named)


def test_an_eps_is_held_against_the_declared_range(cli: Cli, here: Path) -> None:
    words = ["model.onnx", *PGD, "--samples", 3, "--steps", 2, "-q", "--device", "cpu"]
    assert cli("scan", *words, "--range", "0,255", "--eps", "200").code == 0
    outcome = cli("scan", *words, "--range", "0,255", "--eps", "256")
    assert_one_line(outcome, 2, "eps 256 is larger than the range's width 255", "at most 255")


@pytest.mark.parametrize("attack", [PGD, []], ids=["named", "default"])
@pytest.mark.parametrize("objective", ["ce", "margin", "dlr", "kl"])
def test_objectives_of_classes_on_a_regressor(
    cli: Cli, here: Path, attack: list[str], objective: str
) -> None:
    words = ["regressor.onnx", *attack, "--objective", objective, "--samples", 3, "-q"]
    outcome = cli("scan", *words)
    assert_one_line(
        outcome, 3, f"objective '{objective}'", "'regressor.onnx'", "--objective output"
    )


def test_an_attack_on_one_loss_alone_on_a_regressor(cli: Cli, here: Path) -> None:
    outcome = cli("scan", "regressor.onnx", "--attack", "apgd-ce", "--samples", 3, "-q")
    assert_one_line(outcome, 3, "objective 'ce'", "--objective output")


def test_no_classes_to_evaluate(cli: Cli, here: Path) -> None:
    outcome = cli("evaluate", "regressor.onnx", "--samples", 3)
    assert_one_line(outcome, 3, "'regressor.onnx' predicts no classes", "`lsa-onnx scan`")


@pytest.mark.parametrize("command", ["scan", "evaluate"])
def test_no_differentiable_path(cli: Cli, here: Path, command: str) -> None:
    outcome = cli(command, "rounds.onnx", *PGD, "--samples", 3, "-q", "--device", "cpu")
    named = ["Round 'n_a'", "--attack square", "--straight-through"]
    assert_one_line(outcome, 3, "no differentiable path", "input 'x'", *named)
    # And what it says would work does.
    for words in (["--attack", "square"], [*PGD, "--straight-through"]):
        given = ["rounds.onnx", *words, "--samples", 3, "--steps", 3, "-q", "--device", "cpu"]
        assert cli(command, *given).code == 0


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--attack", "salt"], ["'salt' is a noise", "`lsa-onnx scan` applies noises"]),
        (["--attack", "pgd=0.1"], ["'pgd=0.1'", "give --attack pgd", "--eps-list"]),
        (["--eps-list", ","], ["--eps-list such as 0,2/255,8/255"]),
        (["--eps-list", "0", "--save-adversarial", "new.npz"], ["'new.npz'", "eps above 0"]),
        (["--json", "data.npz"], ["'data.npz' is an input"]),
        (["--eps", "0.1"], ["--eps", "--eps-list"]),
        (["--perturbed", "pairs.npz"], ["--perturbed"]),
    ],
)
def test_words_that_evaluate_has_no_use_for(
    cli: Cli, here: Path, words: list[str], named: list[str]
) -> None:
    assert_one_line(cli("evaluate", "model.onnx", *WITH_DATA, *words), 2, *named)
    assert not Path("new.npz").exists()


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--hold", "b"], ["'b' is not NAME=FILE", "mask=mask.npy"]),
        (["--hold", "b=absent.npy"], ["b=absent.npy: no such file", "a number"]),
        (["--hold", "b=b5.npy"], ["5 rows", "12 samples", "one row per sample"]),
        (["--hold", "b=b4.npy"], ["b=b4.npy", "4", "the model takes 3"]),
        (["--hold", "b=text.onnx"], ["text.onnx", "npy"]),
        (["--hold", "b=nothing"], ["nothing", "npy"]),
        (["--hold", "c=1"], ["--hold 'c'", "accepted are 'b'"]),
        (["--hold", "a=1"], ["--hold 'a'", "accepted are 'b'"]),
        (["--perturb", "c"], ["--perturb 'c'", "accepted are 'a', 'b'"]),
        ([], ["holds nothing for 'b'", "--hold NAME=FILE"]),
        (["--hold", "b=b.npy", "--json", "b.npy"], ["'b.npy' is an input", "another file"]),
        (["--hold", "b=b.npy", "--save-adversarial", "b.npy"], ["'b.npy' is an input"]),
    ],
)
@pytest.mark.parametrize("command", ["scan", "evaluate"])
def test_inputs_that_are_held(
    cli: Cli, here: Path, command: str, words: list[str], named: list[str]
) -> None:
    before = Path("b.npy").read_bytes()
    outcome = cli(command, "two.onnx", "--data", "a.npz", *words)
    assert_one_line(outcome, 2, *named)
    assert Path("b.npy").read_bytes() == before


@pytest.mark.parametrize("held", ["b=b.npy", "b=0.5"])
def test_inputs_that_are_held_well(cli: Cli, here: Path, held: str) -> None:
    words = ["two.onnx", "--data", "a.npz", "--hold", held, "--steps", 2, "-q", "--device", "cpu"]
    assert cli("scan", *words).code == 0
    assert cli("evaluate", *words).code == 0
