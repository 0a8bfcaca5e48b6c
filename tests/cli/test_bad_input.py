"""Every wrong word or file costs one line that names it, and the documented exit code."""

from __future__ import annotations

import errno
import os
import re
import sys
from pathlib import Path
from typing import NoReturn

import pytest

from lsa_onnx.runtime.devices import usable_providers
from tests.cli.command_line import Outcome, Run, image_folder, runner

REMEDY = re.compile(
    r"\b(give|accepted|use|check|create|name|export|did you mean|allow|draw|install|"
    r"make|free|declare|pass|list|save|add|remove|scale|Try|see|must|valid)\b|--",
)
EARLIER = "an earlier report\n"


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    return runner(monkeypatch, capsys)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of ``image_folder``, also the current one, so that paths are short."""
    monkeypatch.chdir(tmp_path)
    return image_folder(tmp_path)


def assert_one_line(outcome: Outcome, code: int, *named: str) -> None:
    """One line on stderr that names each of ``named`` and a remedy; nothing on stdout."""
    assert outcome.code == code, outcome.err
    assert outcome.out == ""
    lines = outcome.err.splitlines()
    assert len(lines) == 1, outcome.err
    assert lines[0].startswith("lsa-onnx: ")
    for text in named:
        assert text in lines[0]
    assert REMEDY.search(lines[0]), lines[0]
    assert Path("report.json").read_text(encoding="utf-8") == EARLIER


@pytest.mark.parametrize("command", ["scan", "layers", "doctor", "expose"])
@pytest.mark.parametrize(
    ("model", "code"),
    [("missing.onnx", 2), ("text.onnx", 3), ("cut.onnx", 3), ("empty.onnx", 3), ("nothing", 2)],
)
def test_unusable_model_file(run: Run, here: Path, command: str, model: str, code: int) -> None:
    words = ["-o", "copy.onnx"] if command == "expose" else []
    if command == "doctor":
        outcome = run(command, model)
        # The machine's part of the answer is no less true for the model's fault.
        assert_one_line(Outcome(outcome.code, "", outcome.err), code, model)
    else:
        assert_one_line(run(command, model, *words), code, model)
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
def test_unusable_data(run: Run, here: Path, data: str, named: list[str]) -> None:
    outcome = run("scan", "model.onnx", "--data", data, "--json", "report.json")
    assert_one_line(outcome, 2, *named)


WITH_DATA = ["--data", "data.npz"]


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--layers", "nosuch_layer"], ["nosuch_layer"]),
        (["--layers", "op:Nonsense"], ["op:Nonsense"]),
        (["--layers", "re:("], ["re:("]),
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
        (["--jsn", "r.json"], ["--jsn"]),
        (["surplus"], ["surplus"]),
    ],
)
def test_unusable_word(run: Run, here: Path, words: list[str], named: list[str]) -> None:
    before = {path.name: path.read_bytes() for path in here.iterdir() if path.is_file()}
    outcome = run("scan", "model.onnx", *WITH_DATA, *words)
    assert_one_line(outcome, 2, *named)
    assert {path.name: path.read_bytes() for path in here.iterdir() if path.is_file()} == before


@pytest.mark.parametrize(
    "words",
    [["--labels", "right.npy"], ["--perturbed", "data.npz"], ["--expect-accuracy", "0.5"]],
)
def test_what_belongs_to_data_needs_data(run: Run, here: Path, words: list[str]) -> None:
    assert_one_line(run("scan", "model.onnx", *words), 2, words[0], words[1], "--data")


def test_a_device_that_is_absent(run: Run, here: Path) -> None:
    if any(each.provider == "CUDAExecutionProvider" and each.usable for each in usable_providers()):
        pytest.skip("CUDA works on this machine")
    outcome = run("scan", "model.onnx", "--device", "cuda", "--json", "report.json")
    assert_one_line(outcome, 4, "cuda")


def test_labels_that_the_model_does_not_predict(run: Run, here: Path) -> None:
    words = [*WITH_DATA, "--labels", "wrong.npy", "--expect-accuracy", "0.9"]
    outcome = run("scan", "model.onnx", "-q", *words, "--json", "report.json")
    assert_one_line(outcome, 1, "0.0000", "0.9", "12 samples")


def test_labels_that_the_model_predicts(run: Run, here: Path) -> None:
    words = [*WITH_DATA, "--labels", "right.npy", "--expect-accuracy", "1"]
    assert run("scan", "model.onnx", "-q", *words).code == 0


def test_full_disk(run: Run, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> NoReturn:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    outcome = run("scan", "model.onnx", "-q", *WITH_DATA, "--json", "report.json")
    # The results of the finished scan still appear.
    assert "relu" in outcome.out
    assert_one_line(Outcome(outcome.code, "", outcome.err), 2, "report.json", "disk is full")
    assert not list(here.glob(".lsa-onnx-*"))


@pytest.mark.parametrize("words", [["expose", "model.onnx"], ["layers"], ["scan"]])
def test_missing_words(run: Run, here: Path, words: list[str]) -> None:
    assert_one_line(run(*words), 2, "-o" if words[0] == "expose" else "MODEL")


def test_unknown_command_names_the_nearest(run: Run, here: Path) -> None:
    assert_one_line(run("scna", "model.onnx"), 2, "'scna'", "'scan'")


def test_unknown_command_without_a_near_one_names_all(run: Run, here: Path) -> None:
    assert_one_line(run("xyzzy"), 2, "'xyzzy'", "scan, layers, expose, demo, doctor")


def test_unknown_option_names_the_nearest(run: Run, here: Path) -> None:
    assert_one_line(run("scan", "model.onnx", "--sample", "3"), 2, "--sample", "--samples")


def test_interrupt(run: Run, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> NoReturn:
        raise KeyboardInterrupt

    monkeypatch.setattr("lsa_onnx.scan.run.score_perturbation", interrupted)
    outcome = run("scan", "model.onnx", "-q", *WITH_DATA, "--json", "report.json")
    assert (outcome.code, outcome.out) == (130, "")
    assert outcome.err.splitlines()[-1] == "lsa-onnx: interrupted"
    assert Path("report.json").read_text(encoding="utf-8") == EARLIER


def test_memory_that_runs_out(run: Run, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def exhausted(*_: object) -> NoReturn:
        raise MemoryError("cannot allocate 7 GiB")

    monkeypatch.setattr("lsa_onnx.scan.run.score_perturbation", exhausted)
    outcome = run("scan", "model.onnx", "-q", *WITH_DATA)
    assert_one_line(outcome, 2, "cannot allocate 7 GiB", "--batch")


def test_defects_keep_their_traceback(
    run: Run, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def defect(*_: object) -> NoReturn:
        raise ZeroDivisionError("a bug of ours")

    monkeypatch.setattr("lsa_onnx.scan.run.score_perturbation", defect)
    monkeypatch.setattr(sys, "argv", ["lsa-onnx", "scan", "model.onnx", "-q", *WITH_DATA])
    with pytest.raises(ZeroDivisionError, match="a bug of ours"):
        run("scan", "model.onnx", "-q", *WITH_DATA)


def test_names_from_outside_stay_on_one_line(run: Run, here: Path) -> None:
    outcome = run("scan", "model.onnx", "--data", "a\nb\x1b[31m.npz")
    assert_one_line(outcome, 2, "a\\nb\\x1b[31m.npz")
    assert "\x1b" not in outcome.err
