"""One trial: a setting trained with each seed, and scored on samples that no training saw."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lsa_onnx.errors import DataError, ModelError
from lsa_onnx.evaluation import EvaluationOptions, evaluate
from lsa_onnx.report import Evaluation, Hardening, read_evaluation, read_hardening, write_json
from lsa_trainer import folder as folders
from lsa_trainer.hardening import harden
from lsa_trainer.listener import TrainingListener
from lsa_trainer.options import HardenOptions
from lsa_trainer.training import checkpoint as checkpoints
from lsa_trainer.training.stepper import TrainingFailed
from lsa_trainer.tuning.claims import EVALUATION, HARDENED, RECORD, place
from lsa_trainer.tuning.comparing import score_interval
from lsa_trainer.tuning.document import Role, Trial, read_trial, write_trial
from lsa_trainer.tuning.plan import Score
from lsa_trainer.tuning.space import Setting

Array = NDArray[np.float64]

# Where ``harden`` keeps what it needs, in the folder of a seed.
_WORK = "run"
_PERCENT = 100.0


@dataclass(frozen=True)
class Course:
    """What all trials of a study have in common.

    Attributes:
        model: The file that each trial starts from.
        options: How a trial is trained before its setting changes anything.
        scoring: How a trial is scored.
        score: What of that evaluation counts.
        seeds: A trial is trained once with each.
        folder: Of the study; each trial has a folder in it.
        listener: Told of progress.
    """

    model: Path
    options: HardenOptions
    scoring: EvaluationOptions
    score: Score
    seeds: tuple[int, ...]
    folder: Path
    listener: TrainingListener

    def place(self, trial: str) -> Path:
        """The folder of a trial."""
        return place(self.folder, trial)

    def run(self, trial: str, seed: int) -> Path:
        """The folder of one of its trainings."""
        return self.place(trial) / f"seed-{seed}"

    def finished(self, trial: str) -> Trial | None:
        """A trial that was done before, also one that failed."""
        path = self.place(trial) / RECORD
        return read_trial(path) if path.exists() else None

    def points_of(self, trial: str) -> Array:
        """What each sample adds to the score of a finished trial, shape (n,); the mean over its seeds."""
        paths = [self.run(trial, seed) / EVALUATION for seed in self.seeds]
        found = [points(read_evaluation(path), self.score) for path in paths]
        return np.asarray(np.mean(found, axis=0))


def points(evaluation: Evaluation, score: Score) -> Array:
    """What each sample adds to a score, shape (n,): the score is the mean.

    That is 1 or 0 under the attack at the largest ε, or for "rg" 100 for each ε at which it is right.
    """
    last = evaluation.results[-1]
    if score == "robust":
        return evaluation.correct_at(last.attack, last.eps).astype(np.float64)
    return _PERCENT * evaluation.scores(last.attack).astype(np.float64)


def try_setting(course: Course, name: str, role: Role, setting: Setting) -> Trial:
    """Train and score a setting, or go on where an earlier process was killed at it.

    Equal budget: every trial has the samples, the epochs and the steps of the options.

    Returns:
        The trial, which is kept in its folder too. Of one whose training failed, the reason.

    Raises:
        LsaError: The device failed, or the record cannot be written.
    """
    known = course.finished(name)
    if known is not None:
        return known
    course.place(name).mkdir(parents=True, exist_ok=True)
    try:
        runs = [_trained(course, name, setting, seed) for seed in course.seeds]
        trial = _scored(course, name, role, setting, runs)
    except (TrainingFailed, DataError, ModelError) as error:
        trial = _failed(name, role, setting, str(error))
        for seed in course.seeds:
            checkpoints.clear(course.run(name, seed) / _WORK)
    write_trial(trial, course.place(name) / RECORD)
    return trial


@dataclass(frozen=True)
class _Run:
    """One seed of a trial."""

    hardening: Hardening
    evaluation: Evaluation


def _trained(course: Course, name: str, setting: Setting, seed: int) -> _Run:
    folder = course.run(name, seed)
    folder.mkdir(exist_ok=True)
    target, work, found = folder / HARDENED, folder / _WORK, folder / EVALUATION
    options = dataclasses.replace(course.options, **setting.changes, seed=seed)
    quiet = Progress(course.listener)
    result = work / folders.RESULT
    if target.exists() and result.exists():
        hardening = read_hardening(result)
    else:
        hardening = harden(course.model, target, options, folder=work, listener=quiet)
    if not found.exists():
        write_json(evaluate(target, course.scoring, quiet), found)
    # Checkpoints are several times the size of the model, and this run is over.
    checkpoints.clear(work)
    return _Run(hardening, read_evaluation(found))


def _scored(course: Course, name: str, role: Role, setting: Setting, runs: list[_Run]) -> Trial:
    table = np.stack([points(run.evaluation, course.score) for run in runs])
    by_seed = table.mean(axis=1).tolist()
    return Trial(
        name=name,
        role=role,
        chosen=setting.chosen,
        options=setting.changes,
        layers=runs[0].hardening.layers,
        reason=None,
        score=float(table.mean()),
        interval=score_interval(table.mean(axis=0), course.scoring.seed),
        by_seed=by_seed,
        spread=statistics.stdev(by_seed) if len(by_seed) > 1 else None,
        clean=statistics.fmean(run.evaluation.clean_accuracy for run in runs),
        seconds=sum(run.hardening.seconds + run.evaluation.run.seconds for run in runs),
    )


def _failed(name: str, role: Role, setting: Setting, reason: str) -> Trial:
    return Trial(
        name, role, setting.chosen, setting.changes, {}, reason, None, None, [], None, None, 0.0
    )


class Progress(TrainingListener):
    """Shows how far a trial is, and keeps what a single run would tell to itself: there are many."""

    def __init__(self, listener: TrainingListener) -> None:
        self._listener = listener

    def training(self, total: int, done: int) -> None:
        """Hand it on."""
        self._listener.training(total, done)

    def stepped(self, step: int, values: Mapping[str, Any]) -> None:
        """Hand it on."""
        self._listener.stepped(step, values)

    def training_ended(self) -> None:
        """Hand it on."""
        self._listener.training_ended()

    def begin(self, stage: str, total: int) -> None:
        """Hand it on."""
        self._listener.begin(stage, total)

    def advance(self, samples: int) -> None:
        """Hand it on."""
        self._listener.advance(samples)

    def end(self) -> None:
        """Hand it on."""
        self._listener.end()
