"""``lsa-onnx doctor``: what works here, and what a scan or a hardening of a model would do."""

from __future__ import annotations

import dataclasses
import json as json_format
import platform
from collections import Counter
from collections.abc import Mapping
from functools import partial
from importlib.metadata import PackageNotFoundError, version

import click
from rich.table import Table
from rich.text import Text

from lsa_cli.checks import check_option, custom_ops_option, require_safe
from lsa_cli.main import COMMANDS, load
from lsa_cli.options import decision_option, input_options
from lsa_cli.output import require_writable
from lsa_cli.settings_file import NOT_THERE, Found, find_settings
from lsa_cli.settings_view import Survey, Told, survey_settings
from lsa_cli.terminal import results
from lsa_cli.training import INSTALL, missing_packages
from lsa_cli.verbosity import verbosity_options
from lsa_onnx._version import __version__
from lsa_onnx.attacks import Pgd
from lsa_onnx.errors import DataError, ModelError
from lsa_onnx.files import write_atomically
from lsa_onnx.prediction import Head, model_head
from lsa_onnx.report.text import count, shape, visible
from lsa_onnx.runtime.devices import (
    Device,
    both_wheels_installed,
    resolve_device,
    thread_count,
    usable_providers,
)
from lsa_onnx.scanning import Listener, ScanOptions, Subject, open_subject
from lsa_onnx.scanning.adversary import open_adversary
from lsa_onnx.scanning.clean import run_clean
from lsa_onnx.scanning.describe import how_read
from lsa_onnx.scanning.instrument import Groundwork, Instrument, build_instrument, lay_groundwork
from lsa_onnx.scanning.options import AttackOptions

Rows = list[tuple[str, str]]

_PACKAGES = ("onnx", "onnxruntime-gpu", "onnxruntime", "numpy", "torch")


@click.command("doctor")
@click.argument("model", type=click.Path(), required=False)
@input_options
@decision_option
@custom_ops_option
@check_option
@click.option("--json", metavar="FILE|-", help="Write all of it as JSON; - for stdout, alone.")
@verbosity_options(told=())
@click.pass_context
def command(
    ctx: click.Context,
    /,
    model: str | None,
    range_: tuple[float, float] | None,
    custom_ops: tuple[str, ...],
    json: str | None,
    **spec: object,
) -> None:
    """Check this machine, and what is set by files and variables.

    With MODEL, also what a scan of it would score, and whether it can be hardened.
    """
    require_writable({"--json": json}, [] if model is None else [model])
    machine = _machine()
    found, survey = _settings(ctx)
    if json != "-":
        _print("This machine", machine)
        _print("Settings", _told(found, survey))
    rows = None if model is None else _examined(model, range_, custom_ops, spec)
    if rows is not None and json != "-":
        _print(f"Model {model}", rows)
    if json is not None:
        _write_json(json, machine, found, survey, rows)


def _examined(
    model: str,
    range_: tuple[float, float] | None,
    custom_ops: tuple[str, ...],
    spec: Mapping[str, object],
) -> Rows:
    """What there is to say of a model."""
    require_safe(model, libraries=custom_ops)
    options = ScanOptions(samples=2, range=range_, custom_ops=custom_ops, **spec)  # type: ignore[arg-type]
    subject = open_subject(model, options)
    head = model_head(subject.model, options.decision)
    device = resolve_device(options.device, custom_ops)
    ground = lay_groundwork(subject, options, device)
    instrument = build_instrument(subject, ground, device)
    rows = [*_model(subject, instrument), ("Class", how_read(subject, head, options.decision))]
    rows.append(("Gradient", _gradient(subject, head, ground, device)))
    rows.append(("Training", _training(subject)))
    return rows


def _machine() -> Rows:
    rows = [
        ("lsa-onnx", __version__),
        ("Python", f"{platform.python_version()} on {platform.platform()}"),
        ("Threads", f"{thread_count()} (the CPUs this process may use)"),
        *((name, _installed(name)) for name in _PACKAGES),
    ]
    rows += [
        (status.provider, "works" if status.usable else f"no: {status.problem}")
        for status in usable_providers()
    ]
    repair = both_wheels_installed()
    if repair is not None:
        problem = f"onnxruntime and onnxruntime-gpu are both installed; run: {repair}"
        rows.append(("Problem", problem))
    device = resolve_device("auto")
    return [*rows, ("--device auto", f"{device.name}{f' ({device.note})' if device.note else ''}")]


def _settings(ctx: click.Context) -> tuple[Found, Survey]:
    """The files that were looked for, and what they and the environment say to all commands."""
    group = ctx.find_root()
    commands = {name: partial(load, name) for name in COMMANDS}
    found = find_settings(group.params.get("config_file"))
    return found, survey_settings(found.file, commands, ctx)


def _told(found: Found, survey: Survey) -> Rows:
    rows = [(told.option, _of(told, survey)) for told in survey.told]
    rows += [("Problem", problem) for problem in survey.problems]
    # Of folders above without such files there is nothing to tell.
    files = [look for look in found.looked if look.found != NOT_THERE] or list(found.looked[:2])
    return [*rows, *(("File", f"{look.path}: {look.found}") for look in files)]


def _of(told: Told, survey: Survey) -> str:
    """A value, who gave it, and which commands it is for, where that are not all that have the option."""
    text = f"{told.value} ({told.where})"
    if told.commands != survey.everywhere[told.option]:
        text += f", for {', '.join(told.commands)}"
    return text if told.problem is None else f"{text}: not usable, {told.problem}"


def _write_json(path: str, machine: Rows, found: Found, survey: Survey, model: Rows | None) -> None:
    document = {
        "machine": _records(machine),
        "settings": [dataclasses.asdict(told) for told in survey.told],
        "problems": list(survey.problems),
        "files": [dataclasses.asdict(look) for look in found.looked],
        "model": None if model is None else _records(model),
    }
    text = json_format.dumps(document, indent=2)
    if path == "-":
        click.echo(text)
    else:
        write_atomically(path, f"{text}\n".encode())


def _records(rows: Rows) -> list[dict[str, str]]:
    return [{"name": name, "value": value} for name, value in rows]


def _installed(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def _model(subject: Subject, instrument: Instrument) -> Rows:
    proto, spec = subject.loaded.proto, subject.spec
    opsets = ", ".join(f"{o.domain or 'ai.onnx'} {o.version}" for o in proto.opset_import)
    rows = [
        ("SHA-256", subject.model.file.sha256),
        ("Format", f"IR {proto.ir_version}, {opsets}, by {proto.producer_name or 'unknown'}"),
    ]
    for kind, values in (("Input", subject.loaded.inputs), ("Output", subject.loaded.outputs)):
        for value in values:
            text = f"{value.name} {shape(value.shape)} {value.dtype}, leading axis {value.batch}"
            rows.append((kind, text))
    normalised = "" if spec.is_identity else f", mean {spec.mean}, std {spec.std}"
    rows += [
        ("Range", f"{spec.low:g} to {spec.high:g}{normalised} (from {spec.source})"),
        (
            "Batch",
            f"{instrument.ground.plan.mode}: {instrument.ground.plan.note} (on synthetic inputs)",
        ),
        ("Engine", instrument.session.engine),
        ("Scored", f"{count(len(instrument.layers), 'layer')}: {_few(instrument)}"),
    ]
    reasons = Counter(item.reason for item in instrument.not_scored)
    rows += [("Not scored", f"{count(n, 'tensor')}: {text}") for text, n in reasons.most_common()]
    return rows


def _gradient(subject: Subject, head: Head | None, ground: Groundwork, device: Device) -> str:
    """Whether white-box attacks work on the model, and if not, every reason."""
    alone = ground.plan.fixed_batch == 1
    clean = run_clean(subject, head, device, 1, one_by_one=alone, listener=Listener())
    options = AttackOptions()
    adversary = open_adversary(subject, ground.attacked, head, clean, ground.probe, device, options)
    try:
        adversary.prepare(Pgd(eps=0.0))
    except ModelError as error:
        return f"no: {error}"
    return f"yes: attacks maximise {adversary.default!r}"


def _training(subject: Subject) -> str:
    """Whether ``lsa-onnx harden`` can train the model, and if not, every reason."""
    missing = missing_packages()
    if missing:
        return f"needs {', '.join(missing)}: {INSTALL}"
    # torch, for this answer alone.
    from lsa_trainer.hardening.prepare import require_weights
    from lsa_trainer.hardening.trainable import require_own_input
    from lsa_trainer.module import from_model

    try:
        require_own_input(subject)
        module = from_model(subject.model, promote_half=True)
        require_weights(module, allow_frozen=False)
    except (DataError, ModelError) as error:
        return f"no: {error}"
    constants = module.constants
    total = sum(weight.elements for weight in constants.weights)
    return f"yes: {constants.trainable:,} of {total:,} weights ({constants.share:.0%})"


def _few(instrument: Instrument, shown: int = 5) -> str:
    names = [info.tensor for info in instrument.layers]
    return ", ".join(names[:shown]) + (", …" if len(names) > shown else "")


def _print(title: str, rows: Rows) -> None:
    table = Table(title=Text(visible(title)), title_justify="left", show_header=False, box=None)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, text in rows:
        table.add_row(Text(name), Text(visible(text)))
    results().print(table)
