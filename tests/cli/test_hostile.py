"""A hostile file costs one line and an exit code: see ``docs/hostile.md``, which is made of the same cases."""

from __future__ import annotations

import functools
import hashlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest

from lsa_cli import checks
from lsa_onnx.checking import Checker, Limits
from tests.cli.command_line import Cli, Outcome
from tests.cli.hostile_cases import CASES, Case
from tests.cli.hostile_models import OUTSIDE
from tests.cli.hostile_table import PATH, table

resource = pytest.importorskip("resource", reason="pipes, devices and limits of POSIX")

# Far less than a user would wait, and far more than any case takes on a machine that is busy.
_PATIENCE_S = 60
# A process of tests has some models in memory already.
_MEMORY_BYTES = 8 << 30
_REPOSITORY = Path(__file__).parents[2]
# Whatever a terminal takes for a command, save the ends of lines, and a mark that reverses text.
_CONTROL = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]")

each_case = pytest.mark.parametrize(
    "case",
    [pytest.param(c, id=c.name, marks=[pytest.mark.slow] if c.slow else []) for c in CASES],
)


@pytest.fixture(autouse=True)
def bounded() -> Iterator[None]:
    """What is to be refused may neither fill memory nor wait for what never comes."""

    def late(*_: object) -> NoReturn:
        raise TimeoutError(f"no answer in {_PATIENCE_S} seconds")

    before = resource.getrlimit(resource.RLIMIT_DATA)
    handler = signal.signal(signal.SIGALRM, late)
    resource.setrlimit(resource.RLIMIT_DATA, (_MEMORY_BYTES, before[1]))
    signal.alarm(_PATIENCE_S)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, handler)
    resource.setrlimit(resource.RLIMIT_DATA, before)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty one, the current one; beside it lies what is none of a model's business."""
    (tmp_path / OUTSIDE).write_bytes(b"S" * 4096)
    made = tmp_path / "given"
    made.mkdir()
    monkeypatch.chdir(made)
    return made


def contents(folder: Path) -> dict[str, str]:
    """Every entry below a folder: its kind and rights, and of files a digest."""
    found = {}
    for path in sorted(folder.rglob("*")):
        plain = path.is_file() and not path.is_symlink()
        digest = hashlib.sha256(path.read_bytes()).hexdigest() if plain else ""
        found[str(path)] = f"{path.lstat().st_mode:o} {digest}"
    return found


def hold(case: Case, outcome: Outcome, seconds: float) -> None:
    """What every case has in common."""
    assert outcome.code == case.code, outcome.err
    assert seconds < _PATIENCE_S
    assert not _CONTROL.search(outcome.out + outcome.err)
    if not case.code:
        assert outcome.err == ""
        return
    assert outcome.out == ""
    assert outcome.line.startswith("lsa-onnx: ")
    assert re.search(".*".join(map(re.escape, case.parts)), outcome.line), outcome.line


def made(before: dict[str, str], folder: Path) -> list[str]:
    """Names of what is new below ``folder``; all else is as it was."""
    after = contents(folder)
    assert {path: after.get(path) for path in before} == before
    return sorted(Path(path).name for path in after.keys() - before.keys())


@each_case
def test_hostile_file(cli: Cli, folder: Path, monkeypatch: pytest.MonkeyPatch, case: Case) -> None:
    if case.checked:
        monkeypatch.setattr(checks, "start", Checker)
        # A loop without end is to be found soon.
        soon = functools.partialmethod(Checker.check, limits=Limits(seconds=8.0))
        monkeypatch.setattr(Checker, "check", soon)
    case.make(folder)
    before, started = contents(folder.parent), time.perf_counter()
    outcome = cli(*case.command.split())
    hold(case, outcome, time.perf_counter() - started)
    # The one case that is no refusal writes what it was told to.
    assert made(before, folder.parent) == ([] if case.code else ["page.html", "report.json"])


@pytest.mark.slow
@each_case
def test_hostile_file_in_a_process_of_its_own(folder: Path, case: Case) -> None:
    """As a user meets it: with the check, from start to end, which leaves no temporary file either."""
    if "without end" in case.name and case.checked:
        pytest.skip("takes the two minutes that a check may")
    case.make(folder)
    temporary = folder.parent / "tmp"
    temporary.mkdir()
    before, started = contents(folder.parent), time.perf_counter()
    places = os.pathsep.join(str(_REPOSITORY / name) for name in ("", "cli", "trainer"))
    ran = subprocess.run(
        [sys.executable, "-m", "lsa_cli", *case.command.split()],
        env=os.environ | {"PYTHONPATH": places, "TMPDIR": str(temporary)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_PATIENCE_S,
    )
    hold(case, Outcome(ran.returncode, ran.stdout, ran.stderr), time.perf_counter() - started)
    assert made(before, folder.parent) == ([] if case.code else ["page.html", "report.json"])


def test_markup_in_names_is_text_in_the_page(cli: Cli, folder: Path) -> None:
    (case,) = (each for each in CASES if not each.code)
    case.make(folder)
    assert cli(*case.command.split()).code == 0
    page = (folder / "page.html").read_text(encoding="utf-8")
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert not _CONTROL.search(page)
    assert (folder / "report.json").read_text(encoding="utf-8").isascii()


def test_the_document_is_current() -> None:
    assert PATH.read_text(encoding="utf-8") == table()
