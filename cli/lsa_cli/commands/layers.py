"""``lsa-onnx layers``: what would be scored, and why the rest is not."""

from __future__ import annotations

import dataclasses
import json as json_format

import click

import lsa_onnx
from lsa_cli.checks import check_option, custom_ops_option, require_safe
from lsa_cli.options import device_option, layers_option, model_argument
from lsa_cli.output import require_writable
from lsa_cli.terminal import results
from lsa_cli.verbosity import verbosity_options
from lsa_onnx.files import write_atomically
from lsa_onnx.report import print_layers


@click.command("layers")
@model_argument
@layers_option("activations")
@device_option
@custom_ops_option
@check_option
@click.option("--json", metavar="FILE|-", help="Write the list as JSON; - for stdout.")
@verbosity_options(told=())
def command(
    model: str,
    layers: tuple[str, ...],
    device: str,
    custom_ops: tuple[str, ...],
    json: str | None,
) -> None:
    """List the layers of MODEL that a scan would score, and every other tensor with the reason."""
    require_safe(model, libraries=custom_ops)
    require_writable({"--json": json}, [model])
    plan = lsa_onnx.list_layers(model, layers, device=device, custom_ops=custom_ops)
    if json is None:
        print_layers(plan.layers, plan.not_scored, results())
        return
    listed = dataclasses.asdict(plan)
    # Where a layer is, its own record says too.
    del listed["sources"]
    text = json_format.dumps(listed, indent=2)
    if json == "-":
        click.echo(text)
    else:
        write_atomically(json, f"{text}\n".encode())
