"""Runs blocks as a reader would: by bash and Python, in a folder."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.docs.pages import ROOT, Block

_SECONDS = 300
# Numbers are of the machine and of the run; bars are drawn to them.
_NUMBER = re.compile(r"\d[\d,]*(\.\d+)?")
_BAR = re.compile("[█▉▊▋▌▍▎▏]+")


@dataclass(frozen=True)
class Shell:
    """A folder in which ``lsa-onnx`` and ``python`` are those of this test run."""

    folder: Path

    def must(self, words: Sequence[str]) -> str:
        """What a command prints, on either stream; that it ends well is a matter of course."""
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
        assert ran.returncode == 0, f"{words} ended with {ran.returncode}:\n{ran.stdout}"
        return ran.stdout

    def bash(self, script: str) -> str:
        """What a script prints; it ends at the first command that fails."""
        return self.must(["bash", "-euo", "pipefail", "-c", script])


def _shims(folder: Path) -> None:
    folder.mkdir()
    for name, arguments in (("lsa-onnx", "-m lsa_cli"), ("python", "")):
        path = folder / name
        path.write_text(f'#!/bin/sh\nexec "{sys.executable}" {arguments} "$@"\n', encoding="utf-8")
        path.chmod(0o755)


def run(block: Block, shell: Shell) -> None:
    """Run a block; of a console's, hold what is printed to what the page shows."""
    if block.language == "sh":
        shell.bash(block.content)
    elif block.language == "python":
        shell.must(["python", "-W", "error::DeprecationWarning", "-c", block.content])
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
