"""Every wrong word or file costs one line that names it, and the documented exit code."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

import pytest

from lsa_onnx.runtime import devices
from lsa_onnx.runtime.cuda import CudaProblem
from lsa_onnx.runtime.devices import usable_providers
from tests import graphs
from tests.cli.command_line import Cli, Outcome
from tests.cli.refusals import EARLIER, assert_one_line


@pytest.mark.parametrize("command", ["scan", "evaluate", "layers", "doctor", "expose"])
@pytest.mark.parametrize(
    ("model", "code"),
    [("missing.onnx", 2), ("text.onnx", 3), ("cut.onnx", 3), ("empty.onnx", 3), ("nothing", 2)],
)
def test_unusable_model_file(cli: Cli, here: Path, command: str, model: str, code: int) -> None:
    words = ["-o", "copy.onnx"] if command == "expose" else []
    if command == "doctor":
        outcome = cli(command, model)
        # The machine's part of the answer is no less true for the model's fault.
        assert_one_line(Outcome(outcome.code, "", outcome.err), code, model)
    else:
        assert_one_line(cli(command, model, *words), code, model)
    assert not (here / "copy.onnx").exists()


@pytest.mark.parametrize(
    ("data", "named"),
    [
        ("shape.npz", ["shape.npz", "3x4x7"]),
        ("nan.npz", ["nan.npz", "holds nan"]),
        ("range.npz", ["range.npz", "29"]),
        ("pickle.npy", ["pickle.npy"]),
        ("few.npz", ["11", "12"]),
        ("other.npz", ["label"]),
        ("nothing", ["nothing"]),
        ("missing.npz", ["missing.npz"]),
        ("text.onnx", ["text.onnx"]),
    ],
)
def test_unusable_data(cli: Cli, here: Path, data: str, named: list[str]) -> None:
    outcome = cli("scan", "model.onnx", "--data", data, "--json", "report.json")
    assert_one_line(outcome, 2, *named)


WITH_DATA = ["--data", "data.npz"]


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--layers", "nosuch_layer"], ["nosuch_layer"]),
        (["--layers", "op:Nonsense"], ["op:Nonsense"]),
        (["--eta", "abc"], ["--eta", "abc"]),
        (["--eta", "nan"], ["--eta", "nan"]),
        (["--top-k", "0"], ["--top-k", "0"]),
        (["--samples", "0"], ["--samples", "0"]),
        (["--batch", "-3"], ["--batch", "-3"]),
        (["--seed", "-1"], ["--seed", "-1"]),
        (["--seed", "4294967296"], ["--seed", "4294967296"]),
        (["--range", "1,0"], ["--range", "1,0"]),
        (["--range", "a"], ["--range", "a"]),
        (["--mean", "0.1,x,0.3"], ["--mean", "x"]),
        (["--std", "0,1,1"], ["0"]),
        (["--layout", "CHWN"], ["--layout", "CHWN"]),
        (["--max-memory", "much"], ["--max-memory", "much"]),
        (["--max-memory", "1k"], ["--max-memory", "1.0 KiB"]),
        (["--attack", "nonsense"], ["nonsense"]),
        (["--attack", "gaussian=2"], ["gaussian", "2"]),
        (["--attack", "gaussian=much"], ["gaussian=much"]),
        (["--perturbed", "missing.npy"], ["missing.npy"]),
        (["--labels", "missing.npy"], ["missing.npy"]),
        (["--labels", "labels.npy"], ["5", "12"]),
        (["--x-key", "pixels"], ["pixels"]),
        (["--device", "gpu"], ["gpu"]),
        (["--expect-accuracy", "2"], ["--expect-accuracy", "2"]),
        (["--labels", "none", "--expect-accuracy", "0.5"], ["--expect-accuracy", "0.5"]),
        (["--json", "absent/r.json"], ["absent/r.json"]),
        (["--json", "nothing"], ["nothing"]),
        (["--html", "absent/r.html"], ["absent/r.html"]),
        (["--html", "-"], ["--html", "-"]),
        (["--json", "data.npz"], ["data.npz"]),
        (["--html", "model.onnx"], ["model.onnx"]),
        (["--json", "same", "--html", "same"], ["same"]),
        (["--save-adversarial", "absent/adv.npz"], ["absent/adv.npz", "create the folder"]),
        (["--save-adversarial", "nothing"], ["nothing", "name a file inside it"]),
        (["--save-adversarial", "data.npz"], ["'data.npz' is an input", "name another file"]),
        (["--save-adversarial", "model.onnx"], ["'model.onnx' is an input"]),
        (
            ["--save-adversarial", "new", "--json", "new"],
            ["--json and --save-adversarial", "'new'"],
        ),
        (["--save-adversarial", "new", "--html", "./new"], ["--save-adversarial", "new"]),
        (["--save-adversarial", "new", "--attack", "salt"], ["'new'", "--attack pgd"]),
        (["--jsn", "r.json"], ["--jsn"]),
        (["surplus"], ["surplus"]),
    ],
)
def test_unusable_word(cli: Cli, here: Path, words: list[str], named: list[str]) -> None:
    before = {path.name: path.read_bytes() for path in here.iterdir() if path.is_file()}
    outcome = cli("scan", "model.onnx", *WITH_DATA, *words)
    assert_one_line(outcome, 2, *named)
    assert {path.name: path.read_bytes() for path in here.iterdir() if path.is_file()} == before


def test_a_target_of_no_use_is_noticed_before_anything_is_read(cli: Cli, here: Path) -> None:
    assert_one_line(cli("scan", "missing.onnx", "--json", "absent/r.json"), 2, "absent/r.json")
    words = ["--data", "missing.npz", "--save-adversarial", "absent/adv.npz"]
    assert_one_line(cli("evaluate", "missing.onnx", *words), 2, "absent/adv.npz")


@pytest.mark.parametrize(
    ("command", "words", "flag"),
    [
        ("scan", ["--samples", "3"], "--json"),
        ("scan", ["--samples", "3"], "--html"),
        ("scan", ["--data", "data.npz", "--attack", "fgsm"], "--save-adversarial"),
        ("evaluate", ["--data", "data.npz"], "--json"),
        ("layers", [], "--json"),
        ("expose", [], "-o"),
    ],
)
def test_files_of_the_model_are_not_overwritten(
    cli: Cli, here: Path, command: str, words: list[str], flag: str
) -> None:
    graphs.save_external(graphs.conv_net(), here / "ext.onnx")
    (here / "ext.lsa.toml").write_text("[input]\n", encoding="utf-8")
    for name in ("ext.onnx", "weights.data", "ext.lsa.toml"):
        before = (here / name).read_bytes()
        outcome = cli(command, "ext.onnx", *words, flag, name)
        assert_one_line(outcome, 2, f"'{name}' is an input of this run", f"with {flag}")
        assert (here / name).read_bytes() == before


def test_a_sidecar_that_is_not_there_is_not_made(cli: Cli, here: Path) -> None:
    """It would be no declaration, and every later run would end with it."""
    outcome = cli("scan", "model.onnx", *WITH_DATA, "--json", "model.lsa.toml")
    assert_one_line(outcome, 2, "'model.lsa.toml' is an input")
    assert not Path("model.lsa.toml").exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no device that is full")
@pytest.mark.parametrize("words", [[], ["layers", "missing.onnx"], ["scna"]])
def test_messages_that_cannot_be_written_do_not_change_the_exit_code(words: list[str]) -> None:
    with Path("/dev/full").open("w") as full:
        ran = subprocess.run([sys.executable, "-m", "lsa_cli", *words], stderr=full)
    assert ran.returncode == 2


def test_a_broken_expression_is_explained(cli: Cli, here: Path) -> None:
    outcome = cli("scan", "model.onnx", *WITH_DATA, "--layers", "re:(")
    assert (outcome.code, outcome.out) == (2, "")
    assert "--layers 're:(' is not a regular expression: missing )" in outcome.line


@pytest.mark.parametrize(
    "words",
    [["--labels", "right.npy"], ["--perturbed", "data.npz"], ["--expect-accuracy", "0.5"]],
)
def test_what_belongs_to_data_needs_data(cli: Cli, here: Path, words: list[str]) -> None:
    assert_one_line(cli("scan", "model.onnx", *words), 2, words[0], words[1], "--data")


def test_cuda_that_does_not_work_has_its_own_exit_code(
    cli: Cli, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    problem = CudaProblem("libcudart.so.13 is not found", "install CUDA 13")
    monkeypatch.setattr(devices, "cuda_problem", lambda index: problem)
    outcome = cli("scan", "model.onnx", "--device", "cuda")
    assert_one_line(outcome, 4, "libcudart.so.13", "install CUDA 13")


def test_a_device_that_is_absent(cli: Cli, here: Path) -> None:
    if any(each.provider == "CUDAExecutionProvider" and each.usable for each in usable_providers()):
        pytest.skip("CUDA works on this machine")
    outcome = cli("scan", "model.onnx", "--device", "cuda", "--json", "report.json")
    assert_one_line(outcome, 4, "cuda")


def test_labels_that_the_model_does_not_predict(cli: Cli, here: Path) -> None:
    words = [*WITH_DATA, "--labels", "wrong.npy", "--expect-accuracy", "0.9"]
    outcome = cli("scan", "model.onnx", "-q", *words, "--json", "report.json")
    assert_one_line(outcome, 1, "0.0000", "0.9", "12 samples")


def test_labels_that_the_model_predicts(cli: Cli, here: Path) -> None:
    words = [*WITH_DATA, "--labels", "right.npy", "--expect-accuracy", "1"]
    assert cli("scan", "model.onnx", "-q", *words).code == 0


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (["scan", "--json", "report.json"], "relu"),
        (["scan", "--html", "report.json"], "relu"),
        (["evaluate", "--steps", "2", "--json", "report.json"], "pgd"),
    ],
)
def test_full_disk(
    cli: Cli, here: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], shown: str
) -> None:
    def full(descriptor: int) -> NoReturn:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    outcome = cli(*words, "model.onnx", "-q", *WITH_DATA)
    # The results of the finished run still appear.
    assert shown in outcome.out
    assert_one_line(Outcome(outcome.code, "", outcome.err), 2, "report.json", "disk is full")
    assert not list(here.glob(".lsa-onnx-*"))


@pytest.mark.parametrize("words", [["expose", "model.onnx"], ["layers"], ["scan"]])
def test_missing_words(cli: Cli, here: Path, words: list[str]) -> None:
    assert_one_line(cli(*words), 2, "-o" if words[0] == "expose" else "MODEL")


def test_unknown_command_names_the_nearest(cli: Cli, here: Path) -> None:
    assert_one_line(cli("scna", "model.onnx"), 2, "'scna'", "'scan'")


def test_unknown_command_without_a_near_one_names_all(cli: Cli, here: Path) -> None:
    assert_one_line(
        cli("xyzzy"),
        2,
        "'xyzzy'",
        "harden, loop, tune, recipe, layers, expose, compare, diff, demo",
    )


def test_unknown_option_names_the_nearest(cli: Cli, here: Path) -> None:
    assert_one_line(cli("scan", "model.onnx", "--sample", "3"), 2, "--sample", "--samples")


def test_interrupt(cli: Cli, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> NoReturn:
        raise KeyboardInterrupt

    monkeypatch.setattr("lsa_onnx.scanning.books.measured", interrupted)
    outcome = cli("scan", "model.onnx", "-q", *WITH_DATA, "--json", "report.json")
    assert (outcome.code, outcome.out) == (130, "")
    assert outcome.err.splitlines()[-1] == "lsa-onnx: interrupted"
    assert Path("report.json").read_text(encoding="utf-8") == EARLIER


def test_memory_that_runs_out(cli: Cli, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def exhausted(*_: object) -> NoReturn:
        raise MemoryError("cannot allocate 7 GiB")

    monkeypatch.setattr("lsa_onnx.scanning.books.measured", exhausted)
    outcome = cli("scan", "model.onnx", "-q", *WITH_DATA)
    assert_one_line(outcome, 2, "cannot allocate 7 GiB", "--batch")


def test_defects_keep_their_traceback(
    cli: Cli, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def defect(*_: object) -> NoReturn:
        raise ZeroDivisionError("a bug of ours")

    monkeypatch.setattr("lsa_onnx.scanning.books.measured", defect)
    monkeypatch.setattr(sys, "argv", ["lsa-onnx", "scan", "model.onnx", "-q", *WITH_DATA])
    with pytest.raises(ZeroDivisionError, match="a bug of ours"):
        cli("scan", "model.onnx", "-q", *WITH_DATA)


def test_names_from_outside_stay_on_one_line(cli: Cli, here: Path) -> None:
    outcome = cli("scan", "model.onnx", "--data", "a\nb\x1b[31m.npz")
    assert_one_line(outcome, 2, "a\\nb\\x1b[31m.npz")
    assert "\x1b" not in outcome.err
