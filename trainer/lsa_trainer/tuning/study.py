"""A study on disk: its samples, what it was asked for, and how the original does."""

from __future__ import annotations

import dataclasses
import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lsa_onnx.errors import DataError, ModelError
from lsa_onnx.evaluation import evaluate
from lsa_onnx.report import Report, read_evaluation, read_report, write_json
from lsa_onnx.report.decode import with_lists
from lsa_onnx.rewrite.differentiate import NotDifferentiable
from lsa_onnx.scanning import scan
from lsa_trainer import folder as folders
from lsa_trainer.listener import TrainingListener
from lsa_trainer.options import HardenOptions
from lsa_trainer.training.checkpoint import make_folder
from lsa_trainer.training.claim import held
from lsa_trainer.tuning.claims import (
    JOURNAL,
    OPENING,
    ORIGINAL,
    RECORD,
    SCORING,
    STUDY,
    TRAINING,
    TRIALS,
    locked,
    trials_with,
)
from lsa_trainer.tuning.document import Trial, read_json, read_trial, write_json_atomically
from lsa_trainer.tuning.layers import Ranking
from lsa_trainer.tuning.plan import TuningPlan
from lsa_trainer.tuning.samples import Parts, part, write_parts
from lsa_trainer.tuning.space import Space
from lsa_trainer.tuning.trial import Course, points
from lsa_trainer.tuning.words import score_text

if TYPE_CHECKING:
    from lsa_trainer.tuning.proposals import Search

# Samples on which layers are ranked, and by what.
_SCANNED = 256
_PERTURBATIONS = ("gaussian", "fgsm", "pgd")
# What may change while a study goes on: where the samples lie, for their content counts, and how long it takes.
_FREE_OPTIONS = ("data", "labels", "batch", "max_memory_bytes")
_FREE_PLAN = ("trials", "timeout")
_OWN = (TRIALS, STUDY, ORIGINAL, JOURNAL, TRAINING, SCORING, folders.SCAN)


@dataclass(frozen=True)
class Study:
    """A search at work.

    Attributes:
        options: Of the user.
        plan: Likewise.
        parts: The samples.
        course: What all trials have in common.
        space: What is searched.
        search: What comes next.
        original: The score of the model as it is.
    """

    options: HardenOptions
    plan: TuningPlan
    parts: Parts
    course: Course
    space: Space
    search: Search
    original: float

    def finished(self) -> list[Trial]:
        """All trials that are done, plain training first, in the order in which they began."""
        found = [read_trial(path) for path in trials_with(self.course.folder, RECORD).values()]
        return sorted(found, key=lambda trial: trial.role != "plain")

    def alone(self, name: str, act: Callable[[], object]) -> None:
        """Try what is not drawn, unless another process is at it."""
        lock = locked(self.course.place(name))
        if lock is None:
            return
        try:
            act()
        finally:
            lock.release()


def open_study(
    model: Path,
    options: HardenOptions,
    plan: TuningPlan,
    folder: Path,
    listener: TrainingListener,
) -> Study:
    """Begin a study, or go on with the one in ``folder``.

    What fails here would fail in every trial: the model, the data, and the attack that scores.

    Raises:
        LsaError: One of those cannot be used, or the folder holds another study.
    """
    # Optuna is an extra, and whoever has it not has been told by now.
    from lsa_trainer.tuning.proposals import Search

    make_folder(folder)
    with held(folder / OPENING):
        if options.fresh:
            _clear(folder)
        parts = _parted(model, options, plan, folder)
        course = _course(model, options, plan, parts, folder, listener)
        original = _original(course)
        ranking = _ranking(course, options, plan, parts)
    train, scored = parts.counts
    listener.message(
        f"{train:,} samples train and {scored:,} others score the trials; the model as it is: "
        f"{score_text(original, plan.score)}"
    )
    space = Space(options, plan.search, ranking)
    search = Search(folder, space, plan.trials - 1, options.seed)
    return Study(options, plan, parts, course, space, search, original)


def _clear(folder: Path) -> None:
    """Remove a study, and nothing else that the folder may hold."""
    for name in _OWN:
        (folder / name).unlink(missing_ok=True)
    for path in folder.glob("trial-*"):
        with suppress(OSError):
            shutil.rmtree(path)


def _parted(model: Path, options: HardenOptions, plan: TuningPlan, folder: Path) -> Parts:
    """The samples of the study in ``folder``, or of a new one.

    Raises:
        LsaError: They cannot be used, or the folder holds another study.
    """
    prepared = part(model, options, plan.held_out)
    parts = Parts.of(prepared, folder)
    path, record = folder / STUDY, _record(options, plan, parts)
    if path.exists():
        _require_same(read_json(path), record, folder)
    else:
        write_parts(prepared, parts)
        write_json_atomically(record, path)
    return parts


def _record(options: HardenOptions, plan: TuningPlan, parts: Parts) -> dict[str, Any]:
    """What tells one study from another, JSON-ready."""
    named, planned = options.to_record(os.path.abspath), dataclasses.asdict(plan)
    for name in _FREE_OPTIONS:
        named.pop(name, None)
    for name in _FREE_PLAN:
        planned.pop(name)
    whole = {**parts.source, **named, **{f"plan {name}": value for name, value in planned.items()}}
    return {name: with_lists(value) for name, value in whole.items()}


def _require_same(known: dict[str, Any], wanted: dict[str, Any], folder: Path) -> None:
    for name in sorted({*known, *wanted}):
        if known.get(name) != wanted.get(name):
            raise DataError(
                f"{str(folder)!r} holds a search with {name.removeprefix('plan ')} {known.get(name)!r}, and this "
                f"one has {wanted.get(name)!r}; give the same to go on, another -o, or --fresh to start anew"
            )


def _course(
    model: Path,
    options: HardenOptions,
    plan: TuningPlan,
    parts: Parts,
    folder: Path,
    listener: TrainingListener,
) -> Course:
    eps_list = plan.eps_list if plan.score == "rg" else (options.eps,)
    return Course(
        model=model,
        options=parts.trial_options(options),
        scoring=parts.evaluation(options, eps_list),
        score=plan.score,
        seeds=plan.seeds or (options.seed,),
        folder=folder,
        listener=listener,
    )


def _original(course: Course) -> float:
    """The score of the model before anything is trained.

    Raises:
        LsaError: The attack that scores cannot be used on it.
    """
    path = course.folder / ORIGINAL
    if not path.exists():
        course.listener.message(f"attack on {course.model}")
        try:
            write_json(evaluate(course.model, course.scoring, course.listener), path)
        except NotDifferentiable as error:
            # Its advice is to users of evaluate.
            reason = str(error).rpartition("; ")[0]
            raise ModelError(
                f"trials are scored by {course.scoring.attacks[0]!r} in ONNX Runtime, for which {reason}; give "
                "--verify-attack square, which needs no gradient"
            ) from error
    return float(points(read_evaluation(path), course.score).mean())


def _ranking(
    course: Course, options: HardenOptions, plan: TuningPlan, parts: Parts
) -> Ranking | None:
    """What a scan says of the layers; ``None`` where the options name them, or there is no term."""
    weighed = options.gamma.strip() != "0" or {"gamma", "share"}.intersection(plan.search)
    if options.mvl or not weighed:
        return None
    return Ranking.of(_report(course, options, parts))


def _report(course: Course, options: HardenOptions, parts: Parts) -> Report:
    """The user's, or that of a scan on samples that train."""
    if options.report is not None:
        report = read_report(options.report)
        if report.model.file.sha256 != parts.source["model"]:
            raise DataError(
                f"report {str(options.report)!r} is of a model with SHA-256 {report.model.file.sha256[:12]}…, and "
                f"{str(course.model)!r} has {parts.source['model'][:12]}…; scan this model, or leave --report out"
            )
        return report
    path = course.folder / folders.SCAN
    if not path.exists():
        course.listener.message(f"scan of {course.model}")
        how = course.options.scan_options(_SCANNED, perturbations=_PERTURBATIONS)
        write_json(scan(course.model, how, course.listener), path)
    return read_report(path)
