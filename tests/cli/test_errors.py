"""Bad input ends in one line that names the value and the remedy, and in the documented exit code."""

from __future__ import annotations

import errno
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest

from lsa_cli.main import main
from lsa_onnx.demo.assets import digits_data, digits_model

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Call the command line in this process: (exit code, stdout, stderr)."""

    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["lsa-onnx", *map(str, arguments)])
        with pytest.raises(SystemExit) as left:
            main()
        out, err = capsys.readouterr()
        return int(left.value.code or 0), out, err

    return call


@pytest.fixture
def bad(tmp_path: Path) -> Path:
    """A folder of files that are of no use."""
    good = digits_model().read_bytes()
    x = np.zeros((4, 8, 8), np.float32)
    (tmp_path / "text.onnx").write_text("hello")
    (tmp_path / "cut.onnx").write_bytes(good[: len(good) // 2])
    (tmp_path / "void.onnx").write_bytes(b"")
    (tmp_path / "folder").mkdir()
    np.savez(tmp_path / "shape.npz", x=np.zeros((4, 5), np.float32))
    np.savez(tmp_path / "nan.npz", x=np.full_like(x, np.nan))
    np.savez(tmp_path / "range.npz", x=x + 300)
    np.savez(tmp_path / "labels.npz", x=x, y=np.zeros(3, np.int64))
    np.savez(tmp_path / "class.npz", x=x, y=np.full(4, 10))
    np.save(tmp_path / "pickle.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    return tmp_path


def assert_one_line(code: int, expected: int, out: str, err: str, *named: str) -> None:
    assert code == expected, err
    assert out == ""
    assert err.count("\n") == 1
    assert err.startswith("lsa-onnx: ")
    assert "Traceback" not in err
    for text in named:
        assert text in err


@pytest.mark.parametrize(
    ("name", "code", "named"),
    [
        ("none.onnx", 2, "none.onnx"),
        ("text.onnx", 3, "text.onnx"),
        ("cut.onnx", 3, "cut.onnx"),
        ("void.onnx", 3, "0 bytes"),
        ("folder", 2, "folder"),
    ],
)
@pytest.mark.parametrize("command", ["scan", "layers", "doctor"])
def test_models_of_no_use(
    command: str, name: str, code: int, named: str, bad: Path, run: Run
) -> None:
    found, out, err = run(command, bad / name)
    assert_one_line(found, code, out if command != "doctor" else "", err, named)


@pytest.mark.parametrize(
    ("name", "named"),
    [
        ("shape.npz", "4x5|5"),
        ("nan.npz", "nan|NaN"),
        ("range.npz", "300"),
        ("labels.npz", "3"),
        ("class.npz", "10"),
        ("pickle.npy", "pickle"),
        ("folder", "folder"),
        ("none.npz", "none.npz"),
    ],
)
def test_data_of_no_use(name: str, named: str, bad: Path, run: Run) -> None:
    found, out, err = run("scan", digits_model(), "--data", bad / name)
    assert_one_line(found, 2, out, err)
    assert re.search(named, err)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--layers", "no_such_layer"], "no_such_layer"),
        (["--layers", "re:("], "re:("),
        (["--eta", "abc"], "abc"),
        (["--eta", "nan"], "nan"),
        (["--top-k", "0"], "0"),
        (["--samples", "0"], "0"),
        (["--batch", "-1"], "-1"),
        (["--seed", "-1"], "-1"),
        (["--attack", "nonsense"], "nonsense"),
        (["--attack", "gaussian=2"], "2"),
        (["--attack", "gaussian=x"], "x"),
        (["--device", "gpu"], "gpu"),
        (["--range", "1,0"], "1,0"),
        (["--mean", "a"], "a"),
        (["--std", "0"], "0"),
        (["--layout", "CHWN"], "CHWN"),
        (["--max-memory", "lots"], "lots"),
        (["--max-memory", "1k"], "too little"),
        (["--expect-accuracy", "0.9"], "--data"),
        (["--perturbed", "x.npz"], "x.npz"),
        (["--no-such-option"], "--no-such-option"),
    ],
)
def test_options_of_no_use(arguments: list[str], named: str, run: Run) -> None:
    assert_one_line(*_ordered(run("scan", digits_model(), *arguments), 2), named)


def _ordered(result: tuple[int, str, str], expected: int) -> tuple[int, int, str, str]:
    code, out, err = result
    return code, expected, out, err


def test_an_unknown_command_is_named(run: Run) -> None:
    assert_one_line(*_ordered(run("scann"), 2), "scann")


def test_cuda_that_does_not_work_has_its_own_exit_code(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lsa_onnx.runtime import devices
    from lsa_onnx.runtime.cuda import CudaProblem

    problem = CudaProblem("libcudart.so.13 is not found", "install CUDA 13")
    monkeypatch.setattr(devices, "cuda_problem", lambda index: problem)
    found = run("scan", digits_model(), "--device", "cuda")
    assert_one_line(*_ordered(found, 4), "libcudart.so.13", "install CUDA 13")


def test_an_accuracy_below_the_expected_one_fails_the_gate(run: Run) -> None:
    data = ["--data", digits_data(), "--expect-accuracy", "0.999", "--quiet"]
    assert_one_line(*_ordered(run("scan", digits_model(), *data), 1), "0.97", "0.999")


def test_a_missing_folder_for_the_report_is_found_before_the_run(tmp_path: Path, run: Run) -> None:
    target = tmp_path / "no" / "such" / "report.json"
    assert_one_line(
        *_ordered(run("scan", tmp_path / "none.onnx", "--json", target), 2), "report.json"
    )


@pytest.mark.parametrize("kind", ["--json", "--html"])
def test_a_full_disk_leaves_the_earlier_report(
    kind: str, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "report"
    target.write_text("earlier")

    def full(descriptor: int) -> NoReturn:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    code, _, err = run("scan", digits_model(), "--samples", 4, kind, target, "--quiet")
    assert code == 2
    assert err.count("\n") == 1
    assert "disk is full" in err
    assert target.read_text() == "earlier"
    assert list(tmp_path.iterdir()) == [target]


def test_the_model_is_never_overwritten(tmp_path: Path, run: Run) -> None:
    model = tmp_path / "model.onnx"
    model.write_bytes(digits_model().read_bytes())
    assert_one_line(*_ordered(run("expose", model, "-o", model), 2), "model.onnx")
    assert model.read_bytes() == digits_model().read_bytes()


def test_an_interrupt_has_its_own_exit_code(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*arguments: object) -> NoReturn:
        raise KeyboardInterrupt

    monkeypatch.setattr("lsa_cli.commands.scan.scan", interrupted)
    code, out, err = run("scan", digits_model())
    # click ends the line on which the terminal showed ^C.
    assert_one_line(code, 130, out, err.removeprefix("\n"), "interrupted")


def test_a_defect_keeps_its_traceback(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*arguments: object) -> NoReturn:
        raise ZeroDivisionError

    monkeypatch.setattr("lsa_cli.commands.scan.scan", broken)
    monkeypatch.setattr(sys, "argv", ["lsa-onnx", "scan", str(digits_model())])
    with pytest.raises(ZeroDivisionError):
        main()
