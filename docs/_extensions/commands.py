"""``{commands}``: every command and option of the command line, as ``--help`` groups and words them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import click
from docutils import nodes
from sphinx.util.docutils import SphinxDirective

from lsa_cli.main import COMMANDS, cli

if TYPE_CHECKING:
    from sphinx.application import Sphinx

PROGRAM = "lsa-onnx"


class Recorder(click.HelpFormatter):
    """Keeps the parts of a help text in place of writing them.

    ``parts`` holds ``("text", paragraph)``, ``("verbatim", lines)`` and ``("options", title, rows)``, in order.
    """

    def __init__(self) -> None:
        super().__init__(width=80)
        self.parts: list[tuple[Any, ...]] = []
        self._title = ""

    def write_heading(self, heading: str) -> None:
        """Remember it for the rows that follow."""
        self._title = heading

    def write_usage(self, prog: str, args: str = "", prefix: str | None = None) -> None:  # noqa: ARG002
        """The line that shows how the command is called."""
        self.parts.append(("verbatim", f"{prog} {args}"))

    def write_text(self, text: str) -> None:
        r"""Paragraphs; those that begin with click's ``\\b`` keep their lines."""
        for paragraph in text.split("\n\n"):
            lines = paragraph.split("\n")
            if lines[0].strip() == "\b":
                self.parts.append(("verbatim", "\n".join(lines[1:])))
            else:
                self.parts.append(("text", " ".join(line.strip() for line in lines)))

    def write_dl(self, rows: Iterable[tuple[str, str]], *_layout: object, **_more: object) -> None:
        """Names and what they mean."""
        self.parts.append(("options", self._title, list(rows)))


class Commands(SphinxDirective):
    """A section for each command."""

    has_content = False

    def run(self) -> list[nodes.Node]:
        """The program itself, then its commands in the order in which ``lsa-onnx --help`` lists them."""
        group = click.Context(cli, info_name=PROGRAM, **cli.context_settings)
        return [
            _section(PROGRAM, _recorded(cli, group)),
            *(self._command(name, group) for name in cli.list_commands(group)),
        ]

    def _command(self, name: str, group: click.Context) -> nodes.section:
        command = cli.get_command(group, name)
        if command is None:
            raise self.error(f"{PROGRAM} lists {name!r} and does not have it")
        ctx = click.Context(command, info_name=name, parent=group, **command.context_settings)
        return _section(name, _recorded(command, ctx))


def _recorded(command: click.Command, ctx: click.Context) -> Iterable[tuple[Any, ...]]:
    recorder = Recorder()
    command.format_help(ctx, recorder)
    return recorder.parts


def _section(name: str, parts: Iterable[tuple[Any, ...]]) -> nodes.section:
    section = nodes.section(ids=[name], names=[name])
    section += nodes.title(name, "", nodes.literal(name, name))
    section += list(_body(name, parts))
    return section


def _body(name: str, parts: Iterable[tuple[Any, ...]]) -> Iterator[nodes.Node]:
    for kind, *rest in parts:
        if kind == "text":
            yield nodes.paragraph("", *rest)
        elif kind == "verbatim":
            yield nodes.literal_block(rest[0], rest[0], language="text")
        else:
            title, rows = rest
            yield nodes.rubric("", title)
            yield _definitions(name, rows)


def _definitions(command: str, rows: Iterable[tuple[str, str]]) -> nodes.definition_list:
    found = nodes.definition_list(classes=["options"])
    for flags, meaning in rows:
        # A link to an option names its first flag.
        term = nodes.term("", "", _name(flags), ids=[_anchor(command, flags)])
        text = nodes.paragraph("", " ".join(meaning.split()))
        found += nodes.definition_list_item("", term, nodes.definition("", text))
    return found


def _name(flags: str) -> nodes.Node:
    """Flags as they are; a command, in the program's own list, leads to its section."""
    text = nodes.literal(flags, flags)
    return nodes.reference("", "", text, refid=flags, internal=True) if flags in COMMANDS else text


def _anchor(command: str, flags: str) -> str:
    return str(nodes.make_id(f"{command}-{flags.split()[0].rstrip(',')}"))


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    app.add_directive("commands", Commands)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
