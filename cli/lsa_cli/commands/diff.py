"""``lsa-onnx diff``: what differs between two model files."""

from __future__ import annotations

import dataclasses
import json as json_format

import click
from rich.table import Table
from rich.text import Text

from lsa_cli.checks import check_option, require_safe
from lsa_cli.output import require_writable
from lsa_cli.terminal import results
from lsa_cli.verbosity import verbosity_options
from lsa_onnx.differences import MetadataChange, ModelDifference, TensorChange, diff_models
from lsa_onnx.errors import GateFailed
from lsa_onnx.files import write_atomically
from lsa_onnx.report.text import MISSING, count, figure, shape, shorten, visible

_SHOWN_LINES = 20
_VALUE_WIDTH = 60


@click.command("diff")
@click.argument("old", type=click.Path())
@click.argument("new", type=click.Path())
@click.option("--json", metavar="FILE|-", help="Write the differences as JSON; - for stdout.")
@check_option
@verbosity_options(told=())
def command(old: str, new: str, json: str | None) -> None:
    """Compare two model files: weights tensor by tensor, metadata, and everything else.

    Exit code 0 if NEW is OLD with at most other weights, metadata or packaging; 1 if the graph
    itself differs.
    """
    require_safe(old, new)
    require_writable({"--json": json}, [old, new])
    found = diff_models(old, new)
    text = json_format.dumps(
        {"same_graph": found.same_graph, **dataclasses.asdict(found)}, indent=2
    )
    if json == "-":
        click.echo(text)
    else:
        if json is not None:
            write_atomically(json, f"{text}\n".encode())
        _print(found)
    if not found.same_graph:
        raise GateFailed(
            f"{new!r} is not {old!r} with other weights: its graph has "
            f"{count(len(found.graph), 'difference')}, the first: {found.graph[0]}"
        )


def _print(found: ModelDifference) -> None:
    console = results()
    compared, changed = count(found.compared_tensors, "tensor"), len(found.changed_tensors)
    same = "the same graph" if found.same_graph else "another graph"
    console.print(Text(f"{same}; {changed:,} of {compared} changed"))
    if changed:
        console.print(_weights(found.changed_tensors))
    sections = {
        "Untied": list(found.untied),
        "Metadata": _metadata(found.metadata),
        "Graph": list(found.graph),
        "Packaging": list(found.packaging),
    }
    for title, lines in sections.items():
        if lines:
            console.print(Text(title, style="bold"))
            for line in _first(lines):
                console.print(Text(f"  {visible(line)}"), soft_wrap=True)


def _weights(changes: tuple[TensorChange, ...]) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("Tensor", overflow="fold")
    for title in ("Type", "Shape", "Changed", "Largest change", "Relative change"):
        table.add_column(title, justify="right", no_wrap=True)
    for change in changes:
        table.add_row(
            Text(visible(change.name + change.scope)),
            change.dtype,
            shape(change.shape),
            f"{change.changed_elements:,} of {change.elements:,}",
            figure(change.max_difference),
            figure(change.relative_change),
        )
    return table


def _metadata(change: MetadataChange) -> list[str]:
    lines = [f"{key}: {_brief(value)} (new)" for key, value in change.added.items()]
    lines += [f"{key}: {_brief(value)} (gone)" for key, value in change.removed.items()]
    for key, (old, new) in change.changed.items():
        lines.append(f"{key}: {_brief(new)} instead of {_brief(old)}")
    return lines


def _brief(value: str) -> str:
    return shorten(" ".join(value.split()), _VALUE_WIDTH) or MISSING


def _first(lines: list[str]) -> list[str]:
    rest = len(lines) - _SHOWN_LINES
    return lines if rest <= 0 else [*lines[:_SHOWN_LINES], f"and {rest:,} more (see --json)"]
