"""docs/python.md: its table says how every command is had in Python."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

import pytest

from lsa_cli.main import COMMANDS

PAGE = Path(__file__).resolve().parents[1] / "docs/python.md"
ROWS = {
    command: re.findall(r"`([\w.]+)`", entries)
    for command, entries in re.findall(
        r"^\| `([\w-]+)` \| (.+) \|$", PAGE.read_text("utf-8"), re.MULTILINE
    )
}


# What no program needs.
OF_A_SHELL = {"completion"}


def test_every_command_has_its_entry_in_python() -> None:
    missing = {command for command in COMMANDS if not ROWS.get(command)}
    assert missing <= OF_A_SHELL
    assert set(ROWS) >= set(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_entry_is_a_function_that_says_what_it_does(command: str) -> None:
    pytest.importorskip("torch")
    for entry in ROWS[command]:
        module, _, name = entry.rpartition(".")
        function = getattr(import_module(module), name)
        assert callable(function)
        assert function.__doc__
