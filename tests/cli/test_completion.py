"""What a shell is offered: by the protocol of click, and by a real bash on a terminal."""

from __future__ import annotations

import os
import re
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from click.shell_completion import BashComplete

from lsa_cli.main import COMMANDS
from lsa_onnx.attacks import ATTACKS, NOISES
from tests.cli.command_line import Cli

ROOT = Path(__file__).resolve().parents[2]
PATH = os.pathsep.join(str(folder) for folder in (ROOT, ROOT / "cli", ROOT / "trainer"))

Ask = Callable[[str], list[str]]


def words_and(last: str) -> dict[str, str]:
    """The environment in which bash asks about the last word of a line."""
    return {
        "COMP_WORDS": last,
        "COMP_CWORD": str(len(last.split(" ")) - 1),
        "_LSA_ONNX_COMPLETE": "bash_complete",
    }


@pytest.fixture
def ask(cli: Cli, here: Path, monkeypatch: pytest.MonkeyPatch) -> Ask:
    """What is offered for the last word of a line, each as ``TYPE,VALUE``."""
    # It tells whether bash is new enough in another process.
    monkeypatch.setattr(BashComplete, "_check_version", lambda *_: None)

    def offers(line: str) -> list[str]:
        for name, value in words_and(line).items():
            monkeypatch.setenv(name, value)
        done = cli()
        assert (done.code, done.err) == (0, "")
        return done.out.split()

    return offers


def test_commands_without_importing_one() -> None:
    code = "import sys; from lsa_cli.main import main\ntry: main()\nfinally: print(sorted(sys.modules))"
    ran = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": PATH} | words_and("lsa-onnx "),
        capture_output=True,
        text=True,
    )
    *offered, modules = ran.stdout.splitlines()
    assert offered == [f"plain,{name}" for name in COMMANDS]
    for heavy in ("numpy", "onnx", "onnxruntime", "torch", "rich", "lsa_cli.commands.scan"):
        assert f"'{heavy}'" not in modules


def test_words(ask: Ask) -> None:
    assert ask("lsa-onnx ha") == ["plain,harden"]
    assert ask("lsa-onnx scan --attack ") == [f"plain,{name}" for name in (*NOISES, *ATTACKS)]
    assert ask("lsa-onnx scan --decision m") == ["plain,max", "plain,min"]
    assert ask("lsa-onnx scan --save-a") == ["plain,--save-adversarial"]
    assert ask("lsa-onnx harden --base at-f") == ["plain,at-fgsm", "plain,at-fast"]


def test_files(ask: Ask, here: Path) -> None:
    for name in ("z.onnx", "z2.ONNX", "z.npz", "z.txt", "z.json"):
        (here / name).touch()
    (here / "z.folder.onnx").mkdir()
    assert ask("lsa-onnx scan z") == ["plain,z.onnx", "plain,z2.ONNX", "dir,z"]
    assert ask("lsa-onnx scan z.onnx --data z") == ["plain,z.npz", "dir,z"]
    assert ask(f"lsa-onnx scan {here}/z.o") == [f"plain,{here}/z.onnx", f"dir,{here}/z.o"]
    assert ask("lsa-onnx scan none/z") == ["dir,none/z"]
    assert ask("lsa-onnx scan z.onnx --json z") == ["plain,z.json", "dir,z"]


def test_nothing_is_read_and_nothing_fails(ask: Ask, here: Path) -> None:
    (here / "lsa-onnx.toml").write_text("no toml at all", "utf-8")
    assert ask("lsa-onnx scan --no-ch") == ["plain,--no-check"]
    assert ask("lsa-onnx nope --x") == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_scripts(cli: Cli, here: Path, shell: str) -> None:
    # A new shell asks for it in any folder.
    (here / "lsa-onnx.toml").write_text("no toml at all", "utf-8")
    done = cli("completion", shell)
    assert (done.code, done.err) == (0, "")
    assert f"_LSA_ONNX_COMPLETE={shell}_complete" in done.out
    assert done.out.endswith("\n")


def test_help_says_how_to_install_it(cli: Cli) -> None:
    said = cli("completion", "--help").out
    for each in ("~/.bashrc", "~/.zshrc", "~/.config/fish/completions/lsa-onnx.fish"):
        assert each in said
    done = cli("completion", "tcsh")
    assert done.code == 2
    assert "'tcsh' is not one of 'bash', 'zsh', 'fish'" in done.line


@pytest.mark.skipif(shutil.which("bash") is None, reason="this system has no bash")
def test_a_real_bash(here: Path) -> None:
    pty = pytest.importorskip("pty", reason="this system has no terminals to make")
    program = here / "bin" / "lsa-onnx"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m lsa_cli "$@"\n', "utf-8")
    program.chmod(0o755)
    (here / "only one.toml").touch()
    (here / "sub folder").mkdir()
    (here / "sub folder" / "inner.toml").touch()
    environment = os.environ | {
        "PYTHONPATH": PATH, "PATH": f"{program.parent}:{os.environ['PATH']}", "PS1": "$ ", "TERM": "dumb",
    }  # fmt: skip
    master, slave = pty.openpty()
    shell = subprocess.Popen(
        ["bash", "--norc", "--noprofile", "-i"],
        env=environment, cwd=here, stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
    )  # fmt: skip
    os.close(slave)
    try:
        typed(master, 'eval "$(lsa-onnx completion bash)"; echo rea""dy\n', "ready")
        typed(master, "echo lsa; lsa-onnx lay\t", "lsa-onnx layers ")
        typed(master, "\x15lsa-onnx --config-file on\t", "only\\ one.toml ")
        typed(master, "\x15lsa-onnx --config-file sub\t", "sub\\ folder/")
        typed(master, "inn\t", "inner.toml ")
    finally:
        os.close(master)
        shell.kill()
        shell.wait()


def typed(master: int, text: str, expected: str) -> None:
    """Type, and wait for what the shell makes of it."""
    os.write(master, text.encode())
    seen, end = "", time.monotonic() + 20
    while expected not in re.sub(r"\x1b\[[\d;?]*[a-zA-Z]|\r|\x07", "", seen):
        ready, _, _ = select.select([master], [], [], max(end - time.monotonic(), 0))
        assert ready, seen
        seen += os.read(master, 4096).decode()
