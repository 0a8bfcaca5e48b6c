"""``lsa-onnx completion``: what lets a shell complete commands, options, names and files."""

from __future__ import annotations

import click

from lsa_cli.completion import SHELLS, script

INSTALL = """\b
Install:
  bash  lsa-onnx completion bash > ~/.local/share/bash-completion/completions/lsa-onnx
        (with the package bash-completion; without, add this to ~/.bashrc:
        eval "$(lsa-onnx completion bash)")
  zsh   lsa-onnx completion zsh > "${fpath[1]}/_lsa-onnx"
        (or add this to ~/.zshrc, behind compinit: eval "$(lsa-onnx completion zsh)")
  fish  lsa-onnx completion fish > ~/.config/fish/completions/lsa-onnx.fish
"""


@click.command("completion", epilog=INSTALL)
@click.argument("shell", type=click.Choice(SHELLS))
def command(shell: str) -> None:
    """Print the script that lets SHELL complete commands, options, names of attacks, models and data.

    It takes effect in the next shell. bash needs version 4.4 or newer.
    """
    click.echo(script(shell), nl=False)
