"""``harden``: the whole job, from a file to a better file."""

from __future__ import annotations

import dataclasses
import datetime as dt
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tomli_w

from lsa_onnx._version import __version__
from lsa_onnx.errors import DataError
from lsa_onnx.files import check_writable, write_atomically
from lsa_onnx.report import Hardening, Report, write_json
from lsa_onnx.report.hardening import Comparison, Validation
from lsa_onnx.scan import ScanOptions, scan
from lsa_trainer import folder as folders
from lsa_trainer.hardening.choosing import Chosen, choose_layers
from lsa_trainer.hardening.delivery import COMPARED, Delivery
from lsa_trainer.hardening.facts import announce
from lsa_trainer.hardening.parity import differences, require_parity, tolerance
from lsa_trainer.hardening.prepare import Prepared, open_trainable, prepare
from lsa_trainer.hardening.reexport import reexported_model
from lsa_trainer.hardening.verdict import (
    compare_files,
    compare_fits,
    evaluate_file,
    fit_of,
    held_out,
    inputs_of,
)
from lsa_trainer.listener import TrainingListener
from lsa_trainer.options import HardenOptions
from lsa_trainer.training import checkpoint as checkpoints
from lsa_trainer.training.loop import Trained, train
from lsa_trainer.training.setup import launch, made_once
from lsa_trainer.writeback import provenance

if TYPE_CHECKING:
    import torch
    from lightning_fabric import Fabric

# Samples on which layers are ranked.
_SCANNED = 256
_PERTURBATIONS = ("gaussian", "fgsm", "pgd")


@dataclass(frozen=True)
class _Run:
    """What the stages of a run share."""

    model: Path
    output: Path
    folder: Path
    options: HardenOptions
    fabric: Fabric
    listener: TrainingListener
    started: float


def harden(
    model: str | Path,
    output: str | Path,
    options: HardenOptions,
    *,
    folder: str | Path | None = None,
    scanning: ScanOptions | None = None,
    listener: TrainingListener | None = None,
) -> Hardening:
    """Retrain a model file with AT-LR (Khalooei et al. 2023, Alg. 3) and write it with its new weights.

    A run that was interrupted is gone on with by the same call. The new file appears only if it is better on
    samples that training never saw, under a stronger attack than that of training.

    Args:
        model: The file; it is never changed.
        output: The file to write.
        options: What to do.
        folder: For checkpoints, the log, the configuration and the result; beside ``output`` by default.
        scanning: How to find layers to regularise where ``options`` name neither layers nor a report.
        listener: Told of progress.

    Raises:
        LsaError: Bad input, or training failed; the subclass carries the exit code.
    """
    started = time.perf_counter()
    target = Path(output)
    check_writable(target)
    _require_other_file(Path(model), target)
    work = Path(folder) if folder is not None else target.with_name(f"{target.name}.run")
    subject, module = open_trainable(model, options)
    fabric = launch(options, options.device)
    checkpoints.make_folder(work)
    if options.fresh:
        checkpoints.clear(work)
    run = _Run(Path(model), target, work, options, fabric, listener or TrainingListener(), started)
    chosen = choose_layers(subject, module, options, lambda: _scanned(run, scanning))
    if chosen.report is not None and options.report is None:
        # What is told of this run leads to the same list, whatever another scan would find.
        found_in = work / folders.SCAN
        run = dataclasses.replace(run, options=dataclasses.replace(options, report=found_in))
    prepared = prepare(subject, module, chosen, options, fabric)
    found = differences(module, run.model, inputs_of(prepared, prepared.per_run(COMPARED)))
    require_parity(found, tolerance(subject.model.proto))
    if options.reexport:
        # What torch cannot export is better known before a long training.
        reexported_model(prepared)
    run.listener.message(f"hardening of {run.model}")
    announce(run.listener, prepared, chosen, options)
    return _trained(run, prepared, chosen)


def _require_other_file(model: Path, target: Path) -> None:
    if model.exists() and target.exists() and model.samefile(target):
        raise DataError(
            f"{str(target)!r} is the model itself, which is never overwritten; name another file with -o"
        )


def _scanned(run: _Run, scanning: ScanOptions | None) -> Report:
    """The report of a scan of the model, kept in the folder of the run."""
    how = scanning or run.options.scan_options(_SCANNED, perturbations=_PERTURBATIONS)

    def kept() -> Report:
        run.listener.message(f"scan of {run.model}")
        report = scan(run.model, how, run.listener)
        write_json(report, run.folder / folders.SCAN)
        return report

    return made_once(run.fabric, kept)


def _trained(run: _Run, prepared: Prepared, chosen: Chosen) -> Hardening:
    options, record = run.options, _record(prepared, chosen, run.options)
    if run.fabric.is_global_zero:
        config = tomli_w.dumps(options.to_record()).encode("utf-8")
        write_atomically(run.folder / folders.CONFIG, config)
    original = {name: p.detach().clone() for name, p in prepared.job.parameters.items()}
    fit = None if prepared.job.classes else fit_of(prepared, options)
    trained = train(
        prepared.job,
        prepared.material,
        options,
        fabric=run.fabric,
        folder=run.folder,
        record=record,
        listener=run.listener,
    )
    return made_once(run.fabric, lambda: _written(run, prepared, chosen, trained, original, fit))


def _record(prepared: Prepared, chosen: Chosen, options: HardenOptions) -> dict[str, Any]:
    """What tells one run from another: a checkpoint is gone on with only under the same."""
    kept = options.to_record()
    for name in (
        "force",
        "reexport",
        "report",
        "mvl",
        "tensorboard",
        "verify_attack",
        "verify_steps",
    ):
        kept.pop(name, None)
    return {
        **kept,
        "model": prepared.subject.model.file.sha256,
        "samples of the data": prepared.subject.dataset.fingerprint,
        "layers": list(chosen.layers),
    }


def _written(
    run: _Run,
    prepared: Prepared,
    chosen: Chosen,
    trained: Trained,
    original: Mapping[str, torch.Tensor],
    fit: tuple[float, float] | None,
) -> Hardening:
    config = run.options.to_record()
    sha256 = prepared.subject.model.file.sha256
    delivery = Delivery(run.model, run.output, prepared, reexported=run.options.reexport)
    with delivery.draft(provenance(sha256, config, {})) as draft:
        delivery.verify(draft)
        comparison = _compared(run, prepared, draft.path, fit)
    objection = comparison.objection(run.options.max_clean_drop)
    better = objection is None or run.options.force
    result = Hardening(
        tool_version=__version__,
        created=dt.datetime.now(dt.timezone.utc).isoformat(timespec="seconds"),
        model=str(run.model),
        model_sha256=sha256,
        output=str(run.output) if better else None,
        files=[],
        objection=objection,
        max_clean_drop=run.options.max_clean_drop,
        layers=dict(trained.gammas),
        layers_from=chosen.origin,
        trainable=prepared.module.constants.trainable,
        weights=sum(w.elements for w in prepared.module.constants.weights),
        best_step=trained.best_step,
        steps=trained.steps,
        comparison=comparison,
        changes=_changes(prepared, original),
        history=[Validation(**entry) for entry in trained.history],
        notes=trained.notes,
        config=config,
        folder=str(run.folder),
        command=list(run.options.command),
        seconds=time.perf_counter() - run.started,
    )
    if better:
        scores = dataclasses.asdict(comparison)
        files = delivery.publish(provenance(sha256, config, scores))
        result = dataclasses.replace(result, files=files)
    write_json(result, run.folder / folders.RESULT)
    return result


def _compared(
    run: _Run, prepared: Prepared, path: Path, fit: tuple[float, float] | None
) -> Comparison:
    options = run.options
    if fit is not None:
        return compare_fits(fit, fit_of(prepared, options), prepared, options)
    data = run.folder / folders.VERIFICATION
    np.savez(data, allow_pickle=False, **held_out(prepared))
    before, after = (
        evaluate_file(file, prepared, options, data, run.listener) for file in (run.model, path)
    )
    return compare_files(before, after, options, taught=prepared.taught)


def _changes(prepared: Prepared, original: Mapping[str, torch.Tensor]) -> dict[str, float]:
    """How far each weight moved: ‖W′ − W‖ over ‖W‖, or over 1 where W is 0."""
    found = {}
    for name, parameter in prepared.job.parameters.items():
        was, now = (t.detach().double().cpu().numpy() for t in (original[name], parameter))
        size = float(np.linalg.norm(was))
        found[name] = float(np.linalg.norm(now - was)) / (size or 1.0)
    return found
