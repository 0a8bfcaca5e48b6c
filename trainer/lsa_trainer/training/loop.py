"""AT-LR: adversarial training with a layer-wise term (Khalooei et al. 2023, Alg. 3).

For each minibatch x̂ ← Attack(F, x, y), then a step down J(θ, x̂, y) + LR(θ, x, x̂). Everything random is a
function of seed, step and sample, so a run that was killed goes on from its last checkpoint to the very
weights that it would have had.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lsa_trainer.listener import TrainingListener
from lsa_trainer.objectives import StepSpec
from lsa_trainer.options import TrainingOptions
from lsa_trainer.trainee import Job
from lsa_trainer.training import checkpoint as checkpoints
from lsa_trainer.training.alarms import Best, Overfitting
from lsa_trainer.training.assembly import assemble
from lsa_trainer.training.balancing import layer_weights
from lsa_trainer.training.checkpoint import Checkpoint
from lsa_trainer.training.minibatches import Material
from lsa_trainer.training.reporting import Reporter, beyond_published, step_values
from lsa_trainer.training.setup import made_once
from lsa_trainer.training.state import State, write
from lsa_trainer.training.validation import Scores

if TYPE_CHECKING:
    from lightning_fabric import Fabric

_ROLL_BACK = 0.5


@dataclass(frozen=True)
class Trained:
    """What a run ended with; the job's weights are those that were chosen.

    Attributes:
        before: Scores of the model that training started from.
        best: Scores of the chosen weights.
        best_step: When they were reached; 0 for the weights that training started from.
        steps: How many steps were done.
        history: What each validation found, JSON-ready.
        gammas: γ by layer.
        temperature: What logits were divided by.
        notes: What happened on the way: roll-backs, an early end.
        seconds: Duration since start or resumption.
    """

    before: Scores
    best: Scores
    best_step: int
    steps: int
    history: list[dict[str, Any]]
    gammas: Mapping[str, float]
    temperature: float
    notes: list[str]
    seconds: float


def train(
    job: Job,
    material: Material,
    options: TrainingOptions,
    *,
    fabric: Fabric,
    folder: Path,
    record: Mapping[str, Any],
    listener: TrainingListener | None = None,
) -> Trained:
    """Train a model, or go on with a run that was interrupted.

    Args:
        job: The model, in evaluation mode, on the device of ``fabric``; its weights are changed.
        material: The samples, on that device.
        options: How.
        fabric: From ``setup.launch``.
        folder: For checkpoints and the log; what it holds of this very run is gone on with.
        record: JSON-ready; a run is only gone on with under an equal one.
        listener: Told of progress.

    Raises:
        TrainingFailed: The loss is not finite.
        DataError: Options do not fit the data, or a checkpoint cannot be written or read.
    """
    run = _Run(job, material, options, fabric, folder, record, listener or TrainingListener())
    with contextlib.closing(run):
        return run.to_its_end()


class _Run:
    """One run: what stays the same in ``__init__``, what changes in a ``State``."""

    def __init__(
        self,
        job: Job,
        material: Material,
        options: TrainingOptions,
        fabric: Fabric,
        folder: Path,
        record: Mapping[str, Any],
        listener: TrainingListener,
    ) -> None:
        self._job, self._options, self._fabric = job, options, fabric
        self._folder, self._record = folder, dict(record)
        checkpoints.make_folder(folder)
        # Other machines need not see the folder.
        found = made_once(fabric, lambda: checkpoints.load(folder))
        self._parts = assemble(job, material, options, fabric, found)
        self._state, self._total = self._parts.state, self._parts.minibatches.total
        self._resumed = self._resume(found)
        self._reporter = Reporter(
            folder,
            listener,
            resumed=None if found is None else found.step,
            tensorboard=options.tensorboard,
            silent=not fabric.is_global_zero,
        )
        made_once(fabric, self._reporter.open)

    def to_its_end(self) -> Trained:
        """Train."""
        started = time.perf_counter()
        state = self._state
        self._reporter.say(*self._resumed, *beyond_published(self._options))
        if not state.history:
            self._begin()
        spec = self._parts.specify(state.fixed["gammas"])
        self._reporter.begin(self._total, state.step, state.fixed["gammas"])
        while state.step < self._total and not state.stop.due:
            self._one_step(spec)
            due = state.step % self._validate_every == 0 or state.step == self._total
            if due:
                self._validate()
            if due or state.step % self._options.checkpoint_every == 0:
                self._save()
        self._reporter.end()
        return self._finished(time.perf_counter() - started)

    def close(self) -> None:
        """Close the logs."""
        self._reporter.close()

    @property
    def _validate_every(self) -> int:
        return max(round(self._options.validate_every * self._parts.minibatches.per_epoch), 1)

    def _resume(self, found: Checkpoint | None) -> list[str]:
        """Go on from a checkpoint, if there is one; what to say of it."""
        if found is None:
            return []
        self._state.resume(found, self._record)
        return [*found.notes, f"resumed at step {found.step} of {self._total}"]

    def _begin(self) -> None:
        """Score the model as it is, measure what holds for the whole run, and save it."""
        state, scores = self._state, self._parts.validator()
        best = Best(scores.clean, self._options.max_clean_drop)
        state.best = best.after(0, scores.clean, scores.robust)
        state.keep_best()
        self._watch(scores)
        state.history = [{"step": 0, **scores.to_record()}]
        temperature = getattr(self._parts.criterion, "temperature", 1.0)
        parts = self._parts
        gammas = layer_weights(
            self._options.gamma, self._job, parts.minibatches, parts.specify, self._fabric
        )
        state.fixed = {"temperature": temperature, "gammas": gammas}
        if temperature != 1:
            self._reporter.say(
                f"saturated logits: the loss sees them divided by {temperature:g}, an exact "
                "reparametrisation; the file keeps their scale"
            )
        self._reporter.validated(0, scores)
        self._save()

    def _one_step(self, spec: StepSpec) -> None:
        done = self._parts.stepper.step(self._state, spec)
        if done.unreached:
            self._reporter.say(f"no gradient reaches {', '.join(done.unreached)} in the first step")
        values = step_values(self._job, done, self._fabric)
        self._reporter.stepped(self._state.step, values)

    def _validate(self) -> None:
        """Score the model; keep it if it is the best, go back if it collapsed."""
        state = self._state
        with _averaged(state):
            scores = self._parts.validator()
            chosen = state.best.after(state.step, scores.clean, scores.robust)
            if chosen.step == state.step:
                state.keep_best()
        state.best = chosen
        state.history.append({"step": state.step, **scores.to_record()})
        self._reporter.validated(state.step, scores)
        collapse = self._watch(scores)
        # At the end there is nothing to go on with.
        if collapse is None or (self._options.keep == "last" and state.step == self._total):
            return
        state.roll_back(_ROLL_BACK)
        note = f"{collapse}; went back to the best weights, and on in steps of half the size"
        state.notes.append(note)
        self._reporter.say(note)

    def _watch(self, scores: Scores) -> Overfitting | None:
        """Whether the model collapsed since the validation before; the run may be over, too.

        While ε grows, each validation is of a training against another attack: they do not compare.
        """
        state = self._state
        if self._parts.minibatches.eps(max(state.step - 1, 0)) < 1:
            return None
        state.stop = state.stop.after(scores.robust)
        state.alarm, collapse = state.alarm.after(state.step, scores.one_step, scores.robust)
        return collapse

    def _save(self) -> None:
        made_once(
            self._fabric,
            lambda: checkpoints.save(self._folder, self._state.checkpoint(self._record)),
        )

    def _finished(self, seconds: float) -> Trained:
        state, notes = self._state, [*self._state.notes]
        if state.stop.due:
            notes.append(f"ended early at step {state.step}: robust accuracy has stopped rising")
        last = self._options.keep == "last" or state.best.step is None
        if not last:
            write(state.weights, state.best_weights)
        elif state.average is not None:
            state.average.adopt()
        known = {entry["step"]: entry for entry in state.history}
        chosen = known[state.step if last else state.best.step]
        return Trained(
            before=_scores(known[0]),
            best=_scores(chosen),
            best_step=chosen["step"],
            steps=state.step,
            history=state.history,
            gammas=state.fixed["gammas"],
            temperature=state.fixed["temperature"],
            notes=notes,
            seconds=seconds,
        )


@contextlib.contextmanager
def _averaged(state: State) -> Iterator[None]:
    """The moving average in place of the weights, where one is kept."""
    with contextlib.nullcontext() if state.average is None else state.average.swapped_in():
        yield


def _scores(entry: Mapping[str, Any]) -> Scores:
    return Scores(entry["clean"], entry["one_step"], entry["robust"])
