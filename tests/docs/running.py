"""Runs blocks as a reader would: by bash and Python, in a folder."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from tests.docs.pages import ROOT, Block

_SECONDS = 600
_EXIT_CODE = re.compile(r"^# exit code (\d+)$", re.MULTILINE)
# Numbers are of the machine and of the run; bars are drawn to them.
_NUMBER = re.compile(r"\d[\d,]*(\.\d+)?")
_BAR = re.compile("[█▉▊▋▌▍▎▏]+")


@dataclass(frozen=True)
class Shell:
    """A folder in which ``lsa-onnx`` and ``python`` are those of this test run."""

    folder: Path

    def must(self, words: Sequence[str], code: int = 0) -> str:
        """What a command prints, on either stream, that must end with an exit code."""
        binaries = self.folder / ".bin"
        if not binaries.is_dir():
            _shims(binaries)
        path = os.pathsep.join([str(binaries), os.environ.get("PATH", "")])
        packages = os.pathsep.join(str(ROOT / part) for part in ("", "trainer", "cli"))
        threads = {"OMP_NUM_THREADS": "1", "COLUMNS": "100"}
        ran = subprocess.run(
            words,
            cwd=self.folder,
            env=os.environ | threads | {"PATH": path, "PYTHONPATH": packages},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=_SECONDS,
        )
        assert ran.returncode == code, f"{words} ended with {ran.returncode}:\n{ran.stdout}"
        return ran.stdout

    def bash(self, script: str) -> str:
        """What a script prints; it ends at the first command that fails.

        A line ``# exit code 1`` says that it must end so.
        """
        said = _EXIT_CODE.search(script)
        code = int(said.group(1)) if said is not None else 0
        return self.must(["bash", "-euo", "pipefail", "-c", script], code)


def _shims(folder: Path) -> None:
    folder.mkdir()
    for name, arguments in (("lsa-onnx", "-m lsa_cli"), ("python", "")):
        path = folder / name
        path.write_text(f'#!/bin/sh\nexec "{sys.executable}" {arguments} "$@"\n', encoding="utf-8")
        path.chmod(0o755)


def run_all(blocks: Iterable[Block], shell: Shell) -> None:
    """Run blocks in order; Python blocks that follow each other are one program."""
    for is_python, each in groupby(blocks, lambda block: block.language == "python"):
        if is_python:
            _run_python(list(each), shell)
        else:
            for block in each:
                _run(block, shell)


def _run_python(parts: Sequence[Block], shell: Shell) -> None:
    lines: list[str] = []
    for block in parts:
        # A traceback then names the line of the page.
        lines += [""] * (block.line - 1 - len(lines))
        lines += block.content.splitlines()
    shell.must(["python", "-W", "error::DeprecationWarning", "-c", "\n".join(lines)])


def _run(block: Block, shell: Shell) -> None:
    """Run a block; of a console's, hold what is printed to what the page shows."""
    if block.file:
        (shell.folder / block.file).write_text(block.content, encoding="utf-8")
    elif block.language == "sh":
        shell.bash(block.content)
    elif block.language == "console":
        for command, shown in dialogue(block.content):
            missing = not_printed(shown, shell.bash(command).splitlines())
            assert not missing, f"{block}: {command!r} does not print {missing[0]!r}"


def dialogue(content: str) -> Iterator[tuple[str, list[str]]]:
    """The commands of a console, which begin with ``$``, and the lines shown for each."""
    command: list[str] = []
    shown: list[str] = []
    for line in content.splitlines():
        if line.startswith("$ "):
            if command:
                yield "\n".join(command), shown
            command, shown = [line[2:]], []
        elif command and command[-1].endswith("\\"):
            command.append(line)
        else:
            shown.append(line)
    if command:
        yield "\n".join(command), shown


def not_printed(shown: Sequence[str], printed: Sequence[str]) -> list[str]:
    """The lines shown that do not occur in order among those printed, but for numbers and ``…``.

    A line of ``…`` alone stands for any number of lines; within one it stands for any text.
    """
    rest = iter([_shape(line) for line in printed])
    return [line for line in shown if line.strip("… ") and not _occurs(line, rest)]


def _occurs(line: str, rest: Iterator[str]) -> bool:
    pattern = ".*".join(re.escape(_shape(part)) for part in line.split("…"))
    return any(re.fullmatch(pattern, each) for each in rest)


def _shape(line: str) -> str:
    return " ".join(_NUMBER.sub("0", _BAR.sub("", line)).split())
