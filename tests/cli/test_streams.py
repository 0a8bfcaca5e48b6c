"""What goes to a file is text alone, whatever names say; what goes to a terminal has colours only if wanted."""

from __future__ import annotations

import os
import re
import select
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from lsa_cli.main import COMMANDS
from lsa_onnx.report import write_json
from tests import graphs
from tests.cli.command_line import Cli, Outcome
from tests.cli.training import SHORT
from tests.report.examples import hostile_report
from tests.trainer import fragile

if TYPE_CHECKING:
    import onnx

ROOT = Path(__file__).resolve().parents[2]
PATH = os.pathsep.join(str(folder) for folder in (ROOT, ROOT / "cli", ROOT / "trainer"))
# A colour, a title of the window, the start of the line, a bell, a backspace, text that runs the other way.
EVIL = "\x1b[31m\x1b]0;t\x07\r\b\x9b\u202e"
_CONTROL = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e]")


def renamed(proto: onnx.ModelProto) -> onnx.ModelProto:
    """The model with such a name in place of each of its inner tensors, of its input and its output."""
    graph = proto.graph
    weights = {tensor.name for tensor in graph.initializer}
    for node in graph.node:
        for names in (node.input, node.output):
            names[:] = [name if name in weights or not name else name + EVIL for name in names]
    for each in (*graph.input, *graph.output):
        each.name += EVIL
    return proto


@pytest.fixture
def there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with such files, the current one."""
    place = tmp_path / f"f{EVIL}"
    place.mkdir()
    monkeypatch.chdir(place)
    graphs.save(renamed(graphs.conv_net()), place / f"m{EVIL}.onnx")
    x = graphs.samples(0, 20, 3, 5, 7)
    np.savez(place / f"d{EVIL}.npz", x=x, y=np.arange(20) % 6)
    proto = graphs.model(
        [graphs.node("Gemm", ["x", "w"], ["y"])],
        [graphs.value("x", ["N", 2])],
        [graphs.value("y", ["N", 2])],
        {"w": np.array([[0, 1], [0, -1]], np.float32)},
    )
    graphs.save(renamed(proto), place / f"two{EVIL}.onnx")
    np.savez(place / f"two{EVIL}.npz", x=graphs.samples(0, 40, 2), y=np.arange(40) % 2)
    for name in (R, S):
        write_json(hostile_report(), place / name)
    graphs.save(fragile.mlp(), place / f"p{EVIL}.onnx")
    fragile.save_data(place / f"p{EVIL}.npz", fragile.data(100))
    return place


M, D, P, Q = f"m{EVIL}.onnx", f"d{EVIL}.npz", f"p{EVIL}.onnx", f"p{EVIL}.npz"
R, S = f"r{EVIL}.json", f"s{EVIL}.json"
CPU = ("--device", "cpu")
RUNS: dict[str, tuple[object, ...]] = {
    "scan": (M, "--data", D, *CPU, "-vv", "--html", f"r{EVIL}.html"),
    "evaluate": (M, "--data", D, *CPU, "-vv", "--json", f"r{EVIL}.json"),
    "landscape": (M, "--data", D, *CPU, "-vv", "--points", 3),
    "decision-boundary": (
        f"two{EVIL}.onnx",
        "--data",
        f"two{EVIL}.npz",
        *CPU,
        "-vv",
        "--points",
        5,
    ),
    "harden": (P, "--data", Q, *SHORT, "-vv", "--force", "-o", f"o{EVIL}.onnx"),
    "loop": (P, "--data", Q, *SHORT, "-vv", "--force", "-o", f"o{EVIL}.onnx"),
    "layers": (M, "-vv"),
    "expose": (M, "-o", f"e{EVIL}.onnx", *CPU, "-vv"),
    "diff": (M, P, "-vv"),
    "doctor": (M, "-vv"),
    "report": (R, "-vv", "--csv", f"c{EVIL}.csv"),
    "compare": (R, S, "-vv"),
    "recipe": (),
    "completion": ("bash",),
}


def assert_plain(done: Outcome) -> None:
    for stream in (done.out, done.err):
        assert [repr(line) for line in stream.split("\n") if _CONTROL.search(line)] == []


def test_no_command_is_left_out() -> None:
    # Searches and the demo are made of the others, and take longer; merging shows what a scan shows.
    assert COMMANDS.keys() - RUNS.keys() == {"tune", "demo", "merge"}


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize(
    "command", [pytest.param(c, marks=[pytest.mark.slow] if c == "loop" else []) for c in RUNS]
)
def test_a_pipe_gets_no_control_characters(cli: Cli, there: Path, command: str) -> None:
    done = cli(command, *RUNS[command])
    assert done.code == (1 if command == "diff" else 0), done.err
    assert done.out or command == "expose"
    assert_plain(done)


@pytest.mark.parametrize("command", sorted(RUNS.keys() - {"recipe", "completion"}))
def test_errors_get_none_either(cli: Cli, there: Path, command: str) -> None:
    other = [f"n{EVIL}.onnx"] if command == "diff" else []
    done = cli(command, f"none{EVIL}.onnx", *other, *(["-o", "e"] if command == "expose" else []))
    assert done.code == 2
    assert len(done.err.splitlines()) == 1
    assert_plain(done)
    assert_plain(cli(command, f"--x{EVIL}"))


def test_settings_get_none_either(cli: Cli, there: Path) -> None:
    for text in (f'"k{EVIL}" = 1', f'["t{EVIL}"]', f'device = "{EVIL}"', f'json = "../{EVIL}"'):
        toml = re.sub(_CONTROL, lambda found: f"\\u{ord(found[0]):04x}", text)
        (there / "lsa-onnx.toml").write_text(toml, "utf-8")
        done = cli("scan", M)
        assert (done.code, done.out) == (2, "")
        assert_plain(done)


@pytest.mark.parametrize("columns", ["40", "300"])
def test_a_pipe_has_lines_of_one_width(
    cli: Cli, model: Path, columns: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = cli("doctor", model).out
    monkeypatch.setenv("COLUMNS", columns)
    assert cli("doctor", model).out == usual
    assert max(map(len, usual.splitlines())) == 100


def test_colours_for_a_pipe_on_request(
    cli: Cli, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    done = cli("scan", model, *CPU)
    assert re.search(r"\x1b\[[\d;]*m", done.out)
    # A bar would move the cursor, and a file has none.
    assert not re.search(r"\x1b\[[\d;?]*[^\d;?m]", done.out + done.err)


def on_a_terminal(environment: dict[str, str], *words: object) -> str:
    """What ``lsa-onnx`` writes to a terminal."""
    pty: Any = pytest.importorskip("pty", reason="this system has no terminals to make")
    clean = {k: v for k, v in os.environ.items() if k not in {"NO_COLOR", "FORCE_COLOR", "TERM"}}
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "lsa_cli", *map(str, words)],
        env=clean | {"PYTHONPATH": PATH, "TERM": "xterm-256color"} | environment,
        stdout=slave,
        stderr=slave,
    )
    os.close(slave)
    seen = b""
    try:
        while True:
            ready, _, _ = select.select([master], [], [], 60)
            assert ready, seen
            try:
                part = os.read(master, 4096)
            except OSError:
                # How Linux says that nobody writes any more.
                break
            if not part:
                break
            seen += part
        assert process.wait(timeout=60) == 0, seen
    finally:
        os.close(master)
        process.kill()
        process.wait()
    return seen.decode()


@pytest.mark.slow
def test_a_terminal_gets_colours(model: Path) -> None:
    assert re.search(r"\x1b\[[\d;]*3\dm", on_a_terminal({}, "scan", model, *CPU))


def test_a_terminal_gets_none_if_they_are_not_wanted(model: Path) -> None:
    text = on_a_terminal({"NO_COLOR": "1"}, "scan", model, *CPU)
    assert "SYNTHETIC DATA" in text
    assert not re.search(r"\x1b\[(?:[\d;]*;)?(?:3|4|9|10)\d[\d;]*m", text)


@pytest.mark.slow
def test_a_dumb_terminal_gets_text(model: Path) -> None:
    text = on_a_terminal({"TERM": "dumb"}, "scan", model, *CPU)
    assert "SYNTHETIC DATA" in text
    assert "\x1b" not in text
    assert "\r" not in text.replace("\r\n", "\n")
