"""The check of a model by another process: what is a finding, what is not, and that nothing stays behind."""

from __future__ import annotations

import os
import sys
import tempfile
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest

from lsa_onnx.checking import Checker, Limits, check_model, process
from lsa_onnx.errors import UnsafeModelError
from tests import graphs
from tests.graphs import node, value

SECONDS = Limits(seconds=60.0)
posix = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
linux = pytest.mark.skipif(sys.platform != "linux", reason="bounds and states of Linux")


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary files go; a check leaves none, whatever becomes of it."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A good one, with its weights in another file."""
    return graphs.save_external(graphs.conv_net(), tmp_path / "net.onnx")


def of(tmp_path: Path, *nodes: object, **weights: object) -> Path:
    proto = graphs.model(
        nodes,  # type: ignore[arg-type]
        [value("x", ["N", 4])],
        [value("y", None)],
        {name: np.array(array) for name, array in weights.items()},
    )
    return graphs.save(proto, tmp_path / "model.onnx")


def pretend(monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    """Put another program in the child's place; it gets as far as it tells."""
    preamble = "import os, signal, subprocess, sys, time\nsys.stdin.readline()\n"
    monkeypatch.setattr(process, "_START", preamble + textwrap.dedent(code))


def test_a_good_model_passes(model: Path, temporary: Path) -> None:
    before = sorted(path.name for path in model.parent.iterdir())
    check_model(model, SECONDS)
    assert sorted(path.name for path in model.parent.iterdir()) == before
    assert list(temporary.iterdir()) == []


def test_a_relative_path_counts_from_the_working_directory_of_the_parent(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(model.parent)
    bomb(model.parent)
    with pytest.raises(UnsafeModelError, match=r"^'\./model\.onnx' is not opened"):
        check_model("./model.onnx", Limits(seconds=60.0, memory_bytes=1 << 31))


@pytest.mark.parametrize("content", [None, b"no model"])
def test_what_is_no_model_is_no_finding(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "model.onnx"
    if content is not None:
        path.write_bytes(content)
    check_model(path, SECONDS)


def bomb(folder: Path) -> Path:
    """256 GiB of zeros, made of two numbers."""
    nodes = [
        node("ConstantOfShape", ["s"], ["c"]),
        node("ReduceSum", ["c"], ["r"], keepdims=0),
        node("Add", ["x", "r"], ["y"]),
    ]
    return of(folder, *nodes, s=[2**18, 2**18])


@linux
def test_memory_that_the_bound_does_not_allow(tmp_path: Path) -> None:
    said = r"needed more than 2\.0 GiB of memory while ONNX Runtime ran it on zeros; add --no-check"
    with pytest.raises(UnsafeModelError, match=said):
        check_model(bomb(tmp_path), Limits(seconds=60.0, memory_bytes=2 << 30))


@posix
def test_a_file_that_crashes_shape_inference(tmp_path: Path, temporary: Path) -> None:
    # onnx 1.23 looks at the type of an input that is not there.
    path = of(tmp_path, node("EyeLike", [""], ["y"], dtype=1))
    said = r"model\.onnx' is not opened.* crashed \(SIGSEGV\) while onnx inferred its shapes"
    with pytest.raises(UnsafeModelError, match=said):
        check_model(path, SECONDS)
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("print('begin READING', flush=True); os.kill(os.getpid(), signal.SIGABRT)",
         r"crashed \(SIGABRT\) while the file was read"),
        ("print('begin CHECKER', flush=True); os.kill(os.getpid(), signal.SIGKILL)",
         r"was killed by the system \(SIGKILL\) while onnx\.checker looked at it"),
        ("print('begin LOADING', flush=True); os.kill(os.getpid(), signal.SIGXCPU)",
         r"crashed \(SIGXCPU\) while ONNX Runtime loaded it"),
        ("print('begin LOADING', flush=True); os._exit(3)",
         r"ended with exit code 3 while ONNX Runtime loaded it"),
        ("print('begin RUNNING', flush=True); os._exit(0)",
         r"ended with exit code 0 while ONNX Runtime ran it"),
        ("print('begin SHAPES\\nexhausted 1073741824', flush=True)",
         r"needed more than 1\.0 GiB of memory while onnx inferred its shapes"),
    ],
    ids=["abort", "kill", "time", "exit", "silence", "memory"],
)  # fmt: skip
@posix
def test_how_the_process_ends(
    model: Path, monkeypatch: pytest.MonkeyPatch, temporary: Path, code: str, said: str
) -> None:
    pretend(monkeypatch, code)
    with pytest.raises(UnsafeModelError, match=said):
        check_model(model, SECONDS)
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize(
    "code",
    [
        "sys.exit('no module of this name')",
        "print('begin READING', flush=True); os.write(2, b'no module of this name'); os._exit(70)",
    ],
    ids=["no start", "a defect"],
)
def test_a_defect_of_the_check_is_told_from_one_of_the_model(
    model: Path, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    pretend(monkeypatch, code)
    with pytest.raises(RuntimeError, match="no module of this name"):
        check_model(model, SECONDS)


@linux
def test_a_process_that_does_not_end_is_killed_with_all_that_it_started(
    model: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, temporary: Path
) -> None:
    told = tmp_path / "pid"
    pretend(
        monkeypatch,
        f"""
        other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        open({str(told)!r}, "w").write(str(other.pid))
        print("begin READING", flush=True)
        time.sleep(600)
        """,
    )
    with pytest.raises(
        UnsafeModelError, match="did not come to an end in 2 seconds while the file"
    ):
        check_model(model, Limits(seconds=2.0, seconds_per_gib=0.0))
    assert has_ended(int(told.read_text()))
    assert list(temporary.iterdir()) == []


def has_ended(pid: int) -> bool:
    """Whether a process is gone; one that nobody has waited for yet is, too."""
    for _ in range(100):
        try:
            os.kill(pid, 0)
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2]
        except (ProcessLookupError, FileNotFoundError):
            return True
        if state.startswith("Z"):
            return True
        time.sleep(0.05)
    return False


@posix
def test_a_larger_model_gets_more_time(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = "print('size 1073741824', flush=True); time.sleep(1.5); print('begin READING'); print('done')"
    pretend(monkeypatch, code)
    check_model(model, Limits(seconds=1.0, seconds_per_gib=60.0))


def test_the_child_sees_nothing_of_the_terminal(
    model: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    pretend(monkeypatch, "os.write(2, b'noise'); print('begin READING'); print('done')")
    check_model(model, SECONDS)
    assert capfd.readouterr() == ("", "")


def test_a_checker_that_nobody_asks_ends(temporary: Path) -> None:
    with Checker() as checker:
        assert checker._process.poll() is None
    assert checker._process.returncode is not None
    assert list(temporary.iterdir()) == []


@posix
def test_an_interrupt_while_waiting_ends_the_child(
    model: Path, monkeypatch: pytest.MonkeyPatch, temporary: Path
) -> None:
    pretend(monkeypatch, "os.kill(os.getppid(), signal.SIGINT); time.sleep(600)")
    checker = Checker()
    with pytest.raises(KeyboardInterrupt), checker:
        checker.check(model, SECONDS)
    assert checker._process.returncode is not None
    assert list(temporary.iterdir()) == []
