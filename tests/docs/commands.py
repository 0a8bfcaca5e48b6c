"""The commands of ``lsa-onnx`` in a script, and whether the program would take them."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

import click

from lsa_cli.main import cli
from lsa_onnx.errors import LsaError
from tests.docs.pages import tokens
from tests.docs.running import dialogue

_REDIRECTIONS = frozenset({">", ">>", "<", "2>", "&>"})


def commands(language: str, content: str) -> Iterator[list[str]]:
    """The words of each command behind ``lsa-onnx`` or ``-m lsa_cli``."""
    script = "\n".join(c for c, _ in dialogue(content)) if language == "console" else content
    for line in script.replace("\\\n", " ").splitlines():
        for words in _simple_commands(line):
            if words[0] == "lsa-onnx":
                yield words[1:]
            elif "lsa_cli" in words:
                yield words[words.index("lsa_cli") + 1 :]


def sentence_commands(page: str) -> Iterator[tuple[str, list[str]]]:
    """Code within the sentences of a page that begins with ``lsa-onnx``, and its words."""
    for token in tokens(page):
        for child in token.children or []:
            if child.type == "code_inline" and child.content.startswith("lsa-onnx "):
                for words in commands("sh", child.content):
                    yield child.content, words


def _simple_commands(line: str) -> Iterator[list[str]]:
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    words: list[str] = []
    for word in [*lexer, ";"]:
        if set(word) <= set(";|&()") and words:
            yield _without_redirections(words)
            words = []
        elif not set(word) <= set(";|&()"):
            words.append(word)


def _without_redirections(words: list[str]) -> list[str]:
    kept = []
    rest = iter(words)
    for word in rest:
        if word in _REDIRECTIONS:
            next(rest, None)
        else:
            kept.append(word)
    return kept


def objection(words: list[str]) -> str | None:
    """What the program would say against the name, the options or their values; nothing is opened or run."""
    group = click.Context(cli, info_name="lsa-onnx", **cli.context_settings)
    try:
        if not words or words[0].startswith("-"):
            return None
        command = cli.get_command(group, words[0])
        assert command is not None
        with command.make_context(words[0], words[1:], parent=group):
            return None
    except click.exceptions.Exit:
        return None  # --help and --version end there
    except click.ClickException as error:
        return error.format_message()
    except LsaError as error:
        return str(error)
