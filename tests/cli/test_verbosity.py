"""``-q``, ``-v`` and ``-vv``: alike on all commands, and results as they are."""

from __future__ import annotations

import logging
import re
from pathlib import Path

import click
import pytest

from lsa_cli.main import COMMANDS, load
from tests.cli.command_line import Cli

# What does nothing that takes time.
SILENT = {"completion"}


@pytest.fixture(autouse=True)
def _plain_loggers() -> None:
    for name in ("lsa_onnx", "lsa_trainer", "lsa_cli"):
        assert logging.getLogger(name).handlers == []


@pytest.mark.parametrize("name", sorted(COMMANDS.keys() - SILENT))
def test_every_command_has_them(name: str) -> None:
    flags = {
        flag
        for param in load(name).params
        for flag in param.opts
        if isinstance(param, click.Option)
    }
    assert {"-q", "--quiet", "-v", "--verbose"} <= flags


@pytest.mark.parametrize("command", ["scan", "evaluate"])
def test_messages_alone_differ(cli: Cli, command: str, model: Path, data: Path) -> None:
    words = (command, model, "--data", data, "--device", "cpu")
    ran = {flag: cli(*words, *flag.split()) for flag in ("", "-q", "-v", "-vv")}
    assert {each.code for each in ran.values()} == {0}
    usual, quiet, verbose, debug = ran.values()
    assert quiet.err == ""
    assert "clean accuracy" in usual.err
    # The time that a run took is part of its results.
    assert re.sub(r" *\d+\.\d\b", "", quiet.out) == re.sub(r" *\d+\.\d\b", "", usual.out)
    assert re.search(r"^clean: 40 in \d+\.\d\d s$", verbose.err, re.MULTILINE)
    assert "lsa_onnx." not in verbose.err
    assert re.search(
        r"^[\d:]{8} lsa_onnx\.scanning\.instrument: batch \d+, ", debug.err, re.MULTILINE
    )
    assert "lsa_onnx.runtime.session: CPUExecutionProvider" in debug.err
    assert "memory beyond a plain session: about " in debug.err


def test_quiet_wins(cli: Cli, model: Path) -> None:
    for flags in (["-q", "-vv"], ["-vv", "-q"]):
        done = cli("scan", model, "--device", "cpu", *flags)
        assert (done.code, done.err) == (0, "")


def test_errors_are_told_however_quiet(cli: Cli, model: Path) -> None:
    done = cli("scan", model, "-q", "--seed", "-1")
    assert (done.code, done.out) == (2, "")
    assert "--seed -1" in done.line


def test_loggers_are_left_as_they_were(cli: Cli, model: Path) -> None:
    before = logging.getLogger("lsa_onnx").level
    assert cli("layers", model, "-vv").code == 0
    assert cli("scan", model, "-vv", "--samples", "few").code == 2
    assert logging.getLogger("lsa_onnx").handlers == []
    assert logging.getLogger("lsa_onnx").level == before


def test_what_others_log_stays_out(cli: Cli, model: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert "lsa_onnx.runtime.session: " in cli("layers", model, "-vv").err
    assert cli("layers", model).err == ""


def test_expose_can_be_quiet(cli: Cli, model: Path, tmp_path: Path) -> None:
    done = cli("expose", model, "-o", tmp_path / "out.onnx", "-q")
    assert (done.code, done.out, done.err) == (0, "", "")


def test_names_in_detail_are_shown_as_text(cli: Cli, model: Path, tmp_path: Path) -> None:
    hostile = tmp_path / "\x1b[31mnet\u202e.onnx"
    hostile.write_bytes(model.read_bytes())
    done = cli("scan", hostile, "-vv", "--device", "cpu")
    assert "\\x1b[31mnet\\u202e.onnx" in done.err
    assert "\x1b" not in done.err
