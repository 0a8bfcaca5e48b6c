"""``lsa-onnx expose``: write the instrumented model."""

from __future__ import annotations

import click

from lsa_cli.checks import check_option, custom_ops_option, require_safe
from lsa_cli.options import device_option, layers_option, model_argument
from lsa_cli.output import require_writable
from lsa_cli.verbosity import verbosity_options
from lsa_onnx.instrumented import write_exposed
from lsa_onnx.report.text import count, visible
from lsa_onnx.runtime.devices import resolve_device


@click.command("expose")
@model_argument
@click.option("-o", "--output", required=True, metavar="OUT.onnx", help="File to write.")
@layers_option("all")
@device_option
@custom_ops_option
@check_option
@verbosity_options(told=["quiet"])
def command(
    model: str,
    output: str,
    layers: tuple[str, ...],
    device: str,
    custom_ops: tuple[str, ...],
    *,
    quiet: bool,
) -> None:
    """Write a copy of MODEL that also returns its layers as outputs.

    The copy is an ordinary ONNX file: any runtime can run it.
    """
    require_safe(model, libraries=custom_ops)
    require_writable({"-o": output}, [model])
    names = write_exposed(model, output, layers, resolve_device(device, custom_ops))
    if not quiet:
        click.echo(visible(f"{output}: {count(len(names), 'tensor')} exposed"), err=True)
