"""Which setting comes next: Optuna's TPE, on a journal that several processes share and that survives a kill.

Optuna knows what was drawn and how it scored; settings and results are files in the folders of the trials. A trial
belongs to the process that holds the lock in its folder, which also a kill gives up.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna
from filelock import BaseFileLock, FileLock
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.trial import TrialState

from lsa_trainer.tuning.claims import ASKING, JOURNAL, RECORD, SETTING, locked, place, trials_with
from lsa_trainer.tuning.document import read_json, read_trial, write_json_atomically
from lsa_trainer.tuning.space import Setting, Space

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial

_NAME = "lsa-onnx tune"
# After so many draws in a row of what was tried before, there is probably nothing else.
_MOST_REPEATS = 50
# Drawn at random before a model of the space is made of their scores: a third of the trials, within these bounds.
_LEAST_STARTUP, _MOST_STARTUP, _STARTUP_PART = 5, 10, 3


@dataclass(frozen=True)
class Claimed:
    """A setting that this process is to try, by the name of its trial."""

    name: str
    setting: Setting
    number: int
    lock: BaseFileLock


class Search:
    """Draws settings, each once, until there are enough."""

    def __init__(self, folder: Path, space: Space, trials: int, seed: int) -> None:
        """Open the search, or the one that there is.

        Args:
            folder: Of the study.
            space: What to draw from.
            trials: How many settings to draw in all, by whatever process.
            seed: Of the draws: a trial's depends on it, the trial's number and the scores before.
        """
        self._folder, self._space, self._trials = folder, space, trials
        startup = min(_MOST_STARTUP, max(_LEAST_STARTUP, trials // _STARTUP_PART))
        self._sampler = _Numbered(seed, startup)
        self._asking = FileLock(folder / ASKING)
        path = str(folder / JOURNAL)
        with quiet():
            self._study = optuna.create_study(
                storage=JournalStorage(JournalFileBackend(path, JournalFileOpenLock(path))),
                study_name=_NAME,
                direction="maximize",
                load_if_exists=True,
                sampler=self._sampler,
            )

    def next(self) -> Claimed | None:
        """A setting that a killed process left, or a new one; ``None`` where there is none left to try."""
        with quiet(), self._asking:
            for trial in self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
                claimed = self._left(trial.number)
                if claimed is not None:
                    return claimed
            return self._new() if len(self._begun()) < self._trials else None

    def finish(self, claimed: Claimed, score: float | None) -> None:
        """Tell what came of it: ``None`` if it failed."""
        with quiet():
            self._tell(claimed.number, score)
        claimed.lock.release()

    def importance(self) -> dict[str, float]:
        """The share of the differences between scores that each choice explains, the largest first.

        Choices that were not made in every trial are left out, and all of them while trials are too few.
        """
        done = self._study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        if len({trial.value for trial in done}) < _LEAST_SCORES:
            return {}
        with quiet():
            evaluator = optuna.importance.PedAnovaImportanceEvaluator()
            return optuna.importance.get_param_importances(self._study, evaluator=evaluator)

    def _left(self, number: int) -> Claimed | None:
        """A running trial that no process is at, if it is one; one that had not begun is given up."""
        name = name_of(number)
        lock = locked(place(self._folder, name))
        if lock is None:
            return None
        path = place(self._folder, name) / SETTING
        if path.exists():
            return Claimed(name, _setting(read_json(path)), number, lock)
        self._study.tell(number, state=TrialState.FAIL)
        lock.release()
        return None

    def _new(self) -> Claimed | None:
        self._sampler.anywhere = False
        for _ in range(_MOST_REPEATS):
            trial = self._study.ask()
            setting = self._space.draw(trial)
            known = self._begun().get(self._space.key(setting))
            if known is None:
                return self._claimed(trial.number, setting)
            # What Optuna likes best it would draw again and again.
            self._sampler.anywhere = True
            self._tell(trial.number, self._score_of(known))
        return None

    def _claimed(self, number: int, setting: Setting) -> Claimed:
        name = name_of(number)
        lock = locked(place(self._folder, name))
        if lock is None:
            raise RuntimeError(f"trial {name} was drawn just now and is somebody else's")
        values = {
            "key": self._space.key(setting),
            "chosen": setting.chosen,
            "changes": setting.changes,
        }
        write_json_atomically(values, place(self._folder, name) / SETTING)
        return Claimed(name, setting, number, lock)

    def _begun(self) -> dict[str, str]:
        """The names of all trials that were drawn, by the key of their setting."""
        paths = trials_with(self._folder, SETTING)
        return {read_json(path)["key"]: name for name, path in paths.items()}

    def _score_of(self, name: str) -> float | None:
        path = place(self._folder, name) / RECORD
        return read_trial(path).score if path.exists() else None

    def _tell(self, number: int, score: float | None) -> None:
        state = TrialState.COMPLETE if score is not None else TrialState.FAIL
        self._study.tell(number, score, state=state)


class _Numbered(BaseSampler):
    """TPE whose random numbers follow from the number of the trial, so that a search that goes on draws alike.

    ``anywhere`` has it draw at random instead.
    """

    def __init__(self, seed: int, startup: int) -> None:
        self._seed, self._startup = seed, startup
        self._made: tuple[int, BaseSampler] | None = None
        self.anywhere = False

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """See ``BaseSampler``."""
        return self._of(trial).infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """See ``BaseSampler``."""
        return self._of(trial).sample_relative(study, trial, search_space)

    def sample_independent(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """See ``BaseSampler``."""
        return self._of(trial).sample_independent(study, trial, param_name, param_distribution)

    def _of(self, trial: FrozenTrial) -> BaseSampler:
        if self._made is None or self._made[0] != trial.number:
            # The seeds of optuna have 32 bits.
            seed = (self._seed + _SPREAD * (trial.number + 1)) % (1 << 32)
            anywhere = RandomSampler(seed=seed)
            tpe = TPESampler(seed=seed, n_startup_trials=self._startup)
            self._made = (trial.number, anywhere if self.anywhere else tpe)
        return self._made[1]


# Knuth's multiplier: neighbours get seeds far apart.
_SPREAD = 2_654_435_761
_LEAST_SCORES = 4


def name_of(number: int) -> str:
    """What Optuna's trial of this number is called; plain training comes before them."""
    return f"{number + 1:03d}"


@contextmanager
def quiet() -> Iterator[None]:
    """Inside, Optuna says nothing of each trial, nor that a part of it may change."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(before)


def _setting(values: Any) -> Setting:
    changes = dict(values["changes"])
    if "mvl" in changes:
        changes["mvl"] = tuple(changes["mvl"])
    return Setting(dict(values["chosen"]), changes)
