"""``harden``: the whole job, from a file to a better file."""

from __future__ import annotations

import dataclasses
import datetime as dt
import os
import time
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime
import tomli_w

from lsa_onnx._version import __version__
from lsa_onnx.ending import ending_in_order
from lsa_onnx.errors import DataError
from lsa_onnx.files import check_writable, write_atomically
from lsa_onnx.report import Hardening, Report, write_json
from lsa_onnx.report.hardening import Validation
from lsa_onnx.scanning import ScanOptions, scan
from lsa_onnx.scanning.subject import Subject
from lsa_onnx.stored import read_stored
from lsa_trainer import folder as folders
from lsa_trainer.hardening.before import kept_standing
from lsa_trainer.hardening.choosing import Chosen, choose_layers
from lsa_trainer.hardening.delivery import COMPARED, Delivery
from lsa_trainer.hardening.drafts import remove_drafts
from lsa_trainer.hardening.facts import announce
from lsa_trainer.hardening.gate import require_expected
from lsa_trainer.hardening.parity import differences, require_parity, tolerance
from lsa_trainer.hardening.prepare import Prepared, open_trainable, prepare
from lsa_trainer.hardening.reexport import reexported_model
from lsa_trainer.hardening.verdict import (
    Standing,
    compare,
    evaluate_file,
    fit_of,
    inputs_of,
    save_held_out,
)
from lsa_trainer.listener import TrainingListener
from lsa_trainer.module import OnnxModule
from lsa_trainer.options import HardenOptions
from lsa_trainer.training import checkpoint as checkpoints
from lsa_trainer.training.claim import claimed
from lsa_trainer.training.loop import Trained, train
from lsa_trainer.training.setup import launch, made_once
from lsa_trainer.training.state import require_same_options
from lsa_trainer.writeback import provenance
from lsa_trainer.writeback.locations import checked_target

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
    check_writable(target, regular=True)
    _require_other_file(Path(model), target)
    work = Path(folder) if folder is not None else target.with_name(f"{target.name}.run")
    subject, module = open_trainable(model, options)
    checked_target(read_stored(model), target)
    fabric = launch(options, options.device)
    run = _Run(Path(model), target, work, options, fabric, listener or TrainingListener(), started)
    # Drafts of files are made by the first process; others wait in C++, where no signal is handled.
    ending = ending_in_order() if fabric.is_global_zero else nullcontext()
    with ending, claimed(work, fabric):
        made_once(fabric, lambda: _cleared(run))
        return _hardened(run, subject, module, scanning)


def _cleared(run: _Run) -> None:
    """Remove what a kill left, and with ``fresh`` what a run would go on from."""
    remove_drafts(run.output, run.folder)
    if run.options.fresh:
        checkpoints.clear(run.folder)
        (run.folder / folders.BEFORE).unlink(missing_ok=True)


def _hardened(
    run: _Run, subject: Subject, module: OnnxModule, scanning: ScanOptions | None
) -> Hardening:
    options = run.options
    chosen = choose_layers(subject, module, options, lambda: _scanned(run, scanning))
    if chosen.report is not None and options.report is None:
        # What is told of this run leads to the same list, whatever another scan would find.
        found_in = run.folder / folders.SCAN
        run = dataclasses.replace(run, options=dataclasses.replace(options, report=found_in))
    prepared = prepare(subject, module, chosen, options, run.fabric)
    made_once(run.fabric, lambda: require_expected(prepared, options))
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
    record = _record(prepared, chosen, run.options)
    before = made_once(run.fabric, lambda: _begun(run, prepared, record))
    original = {name: p.detach().clone() for name, p in prepared.job.parameters.items()}
    trained = train(
        prepared.job,
        prepared.material,
        run.options,
        fabric=run.fabric,
        folder=run.folder,
        record=record,
        listener=run.listener,
    )
    return made_once(run.fabric, lambda: _written(run, prepared, chosen, trained, original, before))


def _begun(run: _Run, prepared: Prepared, record: Mapping[str, Any]) -> Standing:
    """Keep what was asked for and the samples of the verdict, and attack the original on them."""
    # Training would refuse as well, after an attack that may have taken hours.
    checkpoint = checkpoints.load(run.folder)
    if checkpoint is not None:
        require_same_options(checkpoint.record["options"], record)
    config = tomli_w.dumps(run.options.to_record(os.path.abspath)).encode("utf-8")
    write_atomically(run.folder / folders.CONFIG, config)
    if prepared.job.classes:
        save_held_out(prepared, run.folder / folders.VERIFICATION)
    of = {
        "run": record,
        "attack": run.options.verify_attack,
        "steps": run.options.verify_steps,
        "versions": {"lsa-onnx": __version__, "onnxruntime": onnxruntime.__version__},
    }
    path = run.folder / folders.BEFORE
    return kept_standing(path, of, lambda: _standing(run, prepared, run.model))


def _standing(run: _Run, prepared: Prepared, path: Path) -> Standing:
    """How a file does or, without classes, the module as its weights are now."""
    if not prepared.job.classes:
        return fit_of(prepared, run.options)
    data = run.folder / folders.VERIFICATION
    return evaluate_file(path, prepared, run.options, data, run.listener)


def _record(prepared: Prepared, chosen: Chosen, options: HardenOptions) -> dict[str, Any]:
    """What tells one run from another: a checkpoint is gone on with only under the same."""
    kept = options.to_record(os.path.abspath)
    for name in (
        "force",
        "reexport",
        "report",
        "mvl",
        "tensorboard",
        "verify_attack",
        "verify_steps",
        # Their content is what counts, and it has a fingerprint.
        "data",
        "labels",
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
    before: Standing,
) -> Hardening:
    sha256 = prepared.subject.model.file.sha256
    # The new file goes to others, whom the folders of this machine do not concern.
    shown = run.options.to_record(os.path.basename)
    delivery = Delivery(
        run.model, run.output, run.folder, prepared, reexported=run.options.reexport
    )
    with delivery.draft(provenance(sha256, shown, {})) as draft:
        delivery.verify(draft)
        after = _standing(run, prepared, draft.path)
    comparison = compare(before, after, prepared, run.options)
    objection = comparison.objection(run.options.max_clean_drop)
    if objection is not None:
        objection += _passed_over(trained, run.options.max_clean_drop)
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
        config=run.options.to_record(),
        folder=str(run.folder),
        command=list(run.options.command),
        seconds=time.perf_counter() - run.started,
    )
    if better:
        scores = dataclasses.asdict(comparison)
        files = delivery.publish(provenance(sha256, shown, scores))
        result = dataclasses.replace(result, files=files)
    write_json(result, run.folder / folders.RESULT)
    return result


def _passed_over(trained: Trained, allowed: float) -> str:
    """Where the original weights stay: which others were more robust, and why they were not chosen."""
    first, *others = trained.history
    most = max(others, key=lambda entry: entry["robust"], default=first)
    if trained.best_step or most["robust"] <= first["robust"]:
        return ""
    robust, clean = (f"{most[kind]:.3f} ({first[kind]:.3f} before)" for kind in ("robust", "clean"))
    return (
        f"; on validation samples the weights of step {most['step']} reach {robust}, but a clean score of {clean}, "
        f"a loss of more than --max-clean-drop {allowed:g}: raise it, or lower --lr or --eps"
    )


def _changes(prepared: Prepared, original: Mapping[str, torch.Tensor]) -> dict[str, float]:
    """How far each weight moved: ‖W′ − W‖ over ‖W‖, or over 1 where W is 0."""
    found = {}
    for name, parameter in prepared.job.parameters.items():
        was, now = (t.detach().double().cpu().numpy() for t in (original[name], parameter))
        size = float(np.linalg.norm(was))
        found[name] = float(np.linalg.norm(now - was)) / (size or 1.0)
    return found
