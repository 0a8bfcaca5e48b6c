"""``tune``: trials of AT-LR on the user's training samples, and the best of them as options for all of these."""

from __future__ import annotations

import dataclasses
import datetime as dt
import os
import time
from pathlib import Path

from lsa_onnx._version import __version__
from lsa_onnx.ending import ending_in_order
from lsa_onnx.errors import DataError
from lsa_trainer.listener import TrainingListener
from lsa_trainer.options import HardenOptions
from lsa_trainer.tuning.claims import TRIALS
from lsa_trainer.tuning.comparing import gain_of
from lsa_trainer.tuning.document import Gain, Role, Trial, Tuning, write_tuning
from lsa_trainer.tuning.plan import TuningPlan, require_optuna, require_search
from lsa_trainer.tuning.space import Setting
from lsa_trainer.tuning.study import Study, open_study
from lsa_trainer.tuning.trial import try_setting
from lsa_trainer.tuning.words import trial_line

PLAIN = "plain"
_WITHOUT = "-without"


def tune(
    model: str | Path,
    options: HardenOptions,
    plan: TuningPlan,
    *,
    folder: str | Path,
    listener: TrainingListener | None = None,
) -> Tuning:
    """Search for the choices of AT-LR (Khalooei et al. 2023, Alg. 3) that survive a strong attack.

    The user's training samples are parted once. Trials train on one part with equal budget and are scored on the
    other, which neither training nor the choice of checkpoints saw, under the attack of the options' verdict. Plain
    adversarial training is the first trial. A search that was interrupted is gone on with by the same call; the same
    call in another process shares the work.

    Args:
        model: The file; it is never changed.
        options: Of every trial, where the search chooses nothing else; ``mvl`` names layers, ``report`` a scan.
        plan: The search.
        folder: For the samples, the trials and ``trials.json``.
        listener: Told of progress.

    Raises:
        LsaError: Bad input, or no trial succeeded; the subclass carries the exit code.
    """
    started = time.perf_counter()
    require_optuna()
    require_search(options, plan)
    listener = listener or TrainingListener()
    with ending_in_order():
        study = open_study(Path(model), options, plan, Path(folder), listener)
        _try_plain(study)
        until = started + plan.timeout if plan.timeout is not None else None
        _search(study, until)
        best = _best(study)
        _try_without_term(study, best)
        tuning = _concluded(study, started)
    write_tuning(tuning, study.course.folder / TRIALS)
    return tuning


def _try_plain(study: Study) -> None:
    study.alone(PLAIN, lambda: _tried(study, PLAIN, "plain", study.space.plain()))


def _search(study: Study, until: float | None) -> None:
    """Try settings until there are enough or time is up."""
    while until is None or time.perf_counter() < until:
        claimed = study.search.next()
        if claimed is None:
            return
        try:
            trial = _tried(study, claimed.name, "searched", claimed.setting)
        except BaseException:
            # Optuna keeps it as running, so the next process takes it up.
            claimed.lock.release()
            raise
        study.search.finish(claimed, trial.score)


def _tried(study: Study, name: str, role: Role, setting: Setting) -> Trial:
    known = study.course.finished(name) is not None
    trial = try_setting(study.course, name, role, setting)
    if not known:
        study.course.listener.message(trial_line(trial, study.plan.score))
    return trial


def _best(study: Study) -> Trial:
    """The trial of the highest score; of equal ones the first.

    Raises:
        DataError: None has a score.
    """
    trials = study.finished()
    scored = [trial for trial in trials if trial.score is not None]
    if not scored:
        reason = next((trial.reason for trial in trials if trial.reason), "no trial was finished")
        raise DataError(f"none of {len(trials)} trials succeeded; the first: {reason}")
    return max(scored, key=lambda trial: trial.score or 0.0)


def _try_without_term(study: Study, best: Trial) -> None:
    """Train the best with γ = 0, where that is not what plain training was: what is the term's own part?"""
    setting = Setting(best.chosen, best.options)
    without, key = study.space.without_term(setting), study.space.key
    if key(without) not in (key(study.space.plain()), key(setting)):
        name = best.name + _WITHOUT
        study.alone(name, lambda: _tried(study, name, "without the term", without))


def _concluded(study: Study, started: float) -> Tuning:
    course, options, plan, best = study.course, study.options, study.plan, _best(study)
    chosen = dataclasses.replace(options, **best.options)
    gain, term = _gains(study, best)
    return Tuning(
        tool_version=__version__,
        created=dt.datetime.now(dt.timezone.utc).isoformat(timespec="seconds"),
        model=str(course.model),
        model_sha256=study.parts.source["model"],
        data=str(options.data),
        score=plan.score,
        attack=options.verify_attack,
        steps=options.steps_of_verdict,
        norm=options.norm,
        eps=list(course.scoring.eps_list),
        search=list(plan.search),
        seeds=list(course.seeds),
        training_samples=study.parts.counts[0],
        scoring_samples=study.parts.counts[1],
        original=study.original,
        trials=study.finished(),
        best=best.name,
        gain=gain,
        term_gain=term,
        importance=study.search.importance(),
        notes=_notes(study),
        config=chosen.to_record(os.path.abspath),
        folder=str(course.folder),
        command=list(options.command),
        seconds=time.perf_counter() - started,
    )


def _gains(study: Study, best: Trial) -> tuple[Gain | None, Gain | None]:
    """The lead of the best over plain training, and over itself without the term."""
    names = [trial.name for trial in study.finished() if trial.score is not None]
    points = {name: study.course.points_of(name) for name in names}
    seed, without = study.course.scoring.seed, best.name + _WITHOUT
    over_plain = best.name != PLAIN and PLAIN in points
    gain = gain_of(best.name, PLAIN, points, seed, picked=True) if over_plain else None
    term = gain_of(best.name, without, points, seed, picked=False) if without in points else None
    return gain, term


def _notes(study: Study) -> list[str]:
    """What limits the result."""
    found = []
    trials = study.finished()
    searched = [trial for trial in trials if trial.role == "searched"]
    missing = study.plan.trials - 1 - len(searched)
    if missing > 0:
        found.append(
            f"{missing} of {study.plan.trials} trials were not made: time was up, nothing else was left to try, or "
            "another process is at them; the same command goes on"
        )
    failed = [trial for trial in trials if trial.reason is not None]
    if failed:
        found.append(
            f"{len(failed)} of {len(trials)} trials failed, such as {failed[0].name}: {failed[0].reason}"
        )
    if len(study.course.seeds) == 1:
        found.append(
            "one seed: intervals are over samples, and another seed may move a score by as much; give --seeds 0,1,2"
        )
    return found
