"""What the commands that train have in common: the extra they need, the run, and its results."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lsa_cli.output import require_writable, same_file
from lsa_cli.processes import is_first_process
from lsa_cli.rescan import print_movement
from lsa_cli.terminal import results
from lsa_cli.training_terminal import TrainingTerminal
from lsa_onnx.errors import DataError, GateFailed, LsaError
from lsa_onnx.report import (
    Hardening,
    Report,
    dumps,
    print_hardening,
    write_hardening_html,
    write_json,
)
from lsa_onnx.stored import read_stored
from lsa_trainer.folder import RESULT
from lsa_trainer.writeback.locations import final_locations

if TYPE_CHECKING:
    from lsa_onnx.scanning import ScanOptions
    from lsa_trainer.options import HardenOptions

INSTALL = "pip install 'lsa-onnx[train]'"
_NEEDED = ("torch", "lightning_fabric", "safetensors", "tomli_w")


@dataclass(frozen=True)
class Targets:
    """Where results go.

    Attributes:
        output: The new model.
        json: File of the result, ``-`` for stdout, ``None`` for none.
        html: File of the page, ``None`` for none.
    """

    output: str
    json: str | None = None
    html: str | None = None

    @property
    def flags(self) -> dict[str, str | None]:
        """Each under the flag that names it."""
        return {"--json": self.json, "--html": self.html, "-o": self.output}

    @property
    def reports(self) -> dict[str, str]:
        """Files beside the new model, each under its flag."""
        named = {"--json": self.json, "--html": self.html}
        return {flag: path for flag, path in named.items() if path not in (None, "-")}

    @property
    def folder(self) -> Path:
        """Where the run keeps its checkpoints, log, configuration and result."""
        return Path(f"{self.output}.run")


def missing_packages() -> list[str]:
    """What training needs and is not installed."""
    return [name for name in _NEEDED if find_spec(name) is None]


def require_training() -> None:
    """Refuse to go on without the extra.

    Raises:
        DataError: A package that training needs is not installed.
    """
    missing = missing_packages()
    if missing:
        raise DataError(
            f"training needs {', '.join(missing)}, which this Python does not have; "
            f"install it with: {INSTALL}"
        )


def default_output(model: str) -> str:
    """``MODEL.hardened.onnx`` in the current folder."""
    return f"{Path(model).stem}.hardened.onnx"


@contextmanager
def training_terminal(*, quiet: bool, verbose: bool) -> Iterator[TrainingTerminal]:
    """Progress on stderr, in the first process alone."""
    terminal = TrainingTerminal(quiet or not is_first_process(), verbose)
    with terminal:
        yield terminal


def require_targets(
    model: str, targets: Targets, options: HardenOptions, config: str | None = None
) -> None:
    """Fail before a long run if a result cannot be written, or would replace something else.

    Raises:
        DataError: Two of the files are one, or one cannot be written or is the run's own.
    """
    for flag, path in targets.reports.items():
        if _is_within(path, targets.folder):
            raise DataError(
                f"{path!r} is in {str(targets.folder)!r}, where the run keeps files of its own; name "
                f"another file with {flag}"
            )
    named = [path for path in (options.report, config) if path is not None]
    require_writable(targets.flags, [model], [*options.files, *named])
    # A model that is exported anew has its weights inside.
    if targets.reports and not options.reexport:
        _require_apart(model, targets)


def _is_within(path: str, folder: Path) -> bool:
    real, of_run = (Path(os.path.realpath(each)) for each in (path, folder))
    return of_run == real or of_run in real.parents


def _require_apart(model: str, targets: Targets) -> None:
    """Refuse a report where weights are going to lie beside the new model.

    Raises:
        DataError: There is one.
    """
    written = _new_data_files(model, targets.output)
    for flag, path in targets.reports.items():
        if any(same_file(path, file) for file in written):
            raise DataError(
                f"{path!r} is where the new model keeps weights; name another file with {flag}"
            )


def _new_data_files(model: str, output: str) -> list[Path]:
    target = Path(os.path.realpath(output))
    try:
        locations = final_locations(read_stored(model), target)
    except LsaError:
        # The run says what is wrong with the model.
        return []
    return [target.parent / location for location in locations.values()]


def single_names(model: str, texts: tuple[str, ...]) -> tuple[str, ...]:
    """The names of ``--mvl``: lists are taken apart at commas, save where a name holds them itself."""
    if not any("," in text for text in texts):
        return texts
    # Reads the model, and with it onnx.
    from lsa_onnx.model import load_model
    from lsa_onnx.rewrite.graph import local_names

    known = local_names(load_model(model).proto.graph)
    found: list[str] = []
    for text in texts:
        found += [text] if text in known else [part.strip() for part in text.split(",")]
    return tuple(name for name in found if name)


def run_hardening(
    model: str,
    targets: Targets,
    options: HardenOptions,
    terminal: TrainingTerminal,
    scanning: ScanOptions | None = None,
) -> Hardening:
    """Harden a file. torch is loaded here and not before."""
    from lsa_trainer.hardening import harden

    # It tells of every process and precision that it sets up.
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    return harden(
        model,
        targets.output,
        options,
        folder=targets.folder,
        scanning=scanning,
        listener=terminal,
    )


def deliver_hardening(
    hardening: Hardening, targets: Targets, before: Report | None, after: Report | None
) -> None:
    """Files as asked for; then JSON alone on stdout for ``json == "-"``, else the terminal view.

    As for scans, results appear also where a file cannot be written.

    Raises:
        DataError: A file cannot be written; what was there before is intact.
        GateFailed: The new model is not better.
    """
    if not is_first_process():
        return
    failure: DataError | None = None
    try:
        if targets.json not in (None, "-"):
            write_json(hardening, str(targets.json))
        if targets.html is not None and before is not None:
            write_hardening_html(hardening, before, after, targets.html)
    except DataError as error:
        failure = error
    if targets.json == "-":
        click.echo(dumps(hardening), nl=False)
    else:
        print_hardening(hardening, results())
        if before is not None and after is not None and hardening.layers:
            print_movement(before, after, hardening.layers, results())
    if failure is not None:
        raise failure
    _require_better(hardening, targets)


def _require_better(hardening: Hardening, targets: Targets) -> None:
    if hardening.objection is not None and hardening.output is None:
        raise GateFailed(
            f"{targets.output!r} is not written, for it would not be better: {hardening.objection}; "
            f"see {str(targets.folder / RESULT)!r}, train longer or otherwise, or give --force"
        )
