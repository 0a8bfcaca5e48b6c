"""AT-LR: the loop of adversarial training with a layer-wise term (Khalooei et al. 2023, Alg. 3).

For each minibatch x̂ ← Attack(F, x, y), then a step down J(θ, x̂, y) + LR(θ, x, x̂). Everything random is a
function of seed, step and sample, so a run that was killed goes on from its last checkpoint to the very
weights that it would have had.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from lsa_onnx.errors import LsaError
from lsa_trainer.listener import TrainingListener
from lsa_trainer.objectives import (
    Losses,
    StepSpec,
    TrainingAttack,
    balance,
    losses,
    parse_gamma,
)
from lsa_trainer.options import TrainingOptions
from lsa_trainer.trainee import Job
from lsa_trainer.training import checkpoint as checkpoints
from lsa_trainer.training.alarms import Best, EarlyStop, OverfittingAlarm
from lsa_trainer.training.augmentation import Augmentation
from lsa_trainer.training.averaging import Average
from lsa_trainer.training.data import Batches, TrainingSet
from lsa_trainer.training.log import RunLog, TensorBoard
from lsa_trainer.training.randomness import TorchRandomness, derived
from lsa_trainer.training.schedules import Ramp, Schedule
from lsa_trainer.training.setup import attack_for, criterion_for, optimizer_for, specification
from lsa_trainer.training.state import State, write
from lsa_trainer.training.validation import Scores, Validator, oracle_for, predicted

if TYPE_CHECKING:
    from lightning_fabric import Fabric

ATTACK_STREAM = 41
_TORCH_STREAM = 42
_ROLL_BACK = 0.5
# Batches over which J and the CMs are measured before training, to balance γ.
_MEASURED = 4
_MASK = (1 << 63) - 1


class TrainingFailed(LsaError):
    """Training cannot go on; what was saved before stays: exit code 2."""

    exit_code = 2


@dataclass(frozen=True)
class Material:
    """The samples of a run, on the device.

    Attributes:
        training: To train on.
        targets: Of those: labels, or what each output should be.
        validation: To choose among checkpoints by.
        validation_targets: Of those.
    """

    training: TrainingSet
    targets: tuple[Tensor, ...]
    validation: TrainingSet
    validation_targets: tuple[Tensor, ...]


@dataclass(frozen=True)
class Trained:
    """What a run ended with; the job's weights are those of the best validation.

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


class Loop:
    """One run. Make it and call ``run`` once."""

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
        """Set the run up; see ``train`` for the arguments."""
        self._job, self._material, self._options = job, material, options
        self._fabric, self._folder, self._record = fabric, folder, dict(record)
        self._listener = listener
        self._batches = Batches(
            len(material.training),
            options.batch_size,
            options.seed,
            fabric.global_rank,
            fabric.world_size,
        )
        self._total = options.epochs * self._batches.per_epoch
        self._schedule = Schedule(
            options.schedule,  # type: ignore[arg-type]
            self._total,
            warmup=min(round(options.warmup * self._total), self._total - 1),
        )
        self._ramp = Ramp(round(options.eps_warmup * self._total))
        self._augment = Augmentation(
            options.seed, options.crop, options.flip, job.channel_axis, job.low
        )
        self._answers = job.trainee.reading(job.outputs)
        with torch.no_grad():
            first = self._first_answers()
        self._criterion = criterion_for(options, job, material.targets, first)
        self._attack = attack_for(options, job)
        self._validator = Validator(
            job,
            material.validation,
            material.validation_targets,
            self._attack or _fallback_attack(options, job),
            options.validation_steps,
            self._criterion,
            options.seed,
        )

    def run(self) -> Trained:
        """Train, and leave the job with the best weights.

        Raises:
            TrainingFailed: The loss is not finite.
            DataError: A checkpoint or the log cannot be written or read.
        """
        started = time.perf_counter()
        net, state = self._prepared()
        spec = self._specification(state)
        log = self._logs(state)
        notes: list[str] = []
        self._listener.training(self._total, state.step)
        while state.step < self._total and not state.stop.due:
            self._one_step(net, state, spec, log)
            due = state.step % self._validate_every == 0 or state.step == self._total
            if due:
                notes += self._validate(state, log)
            if due or state.step % self._options.checkpoint_every == 0:
                self._save(state)
        self._listener.training_ended()
        if state.stop.due:
            notes.append(f"ended early at step {state.step}: no gain in robust accuracy")
        return self._finished(state, notes, time.perf_counter() - started)

    @property
    def _validate_every(self) -> int:
        return max(round(self._options.validate_every * self._batches.per_epoch), 1)

    def _first_answers(self) -> Tensor:
        """The first output for some training samples."""
        part = self._material.training.rows(torch.arange(min(256, len(self._material.training))))
        self._answers.eval()
        values: Tensor = self._answers(part.x, *part.extra.values())[self._job.outputs[0]]
        return values

    def _prepared(self) -> tuple[Any, State]:
        """The module as the processes share it, and the state to start or go on from."""
        module: Any = self._job.trainee.reading([*self._job.outputs, *self._job.layers])
        if self._options.compile:
            module = torch.compile(module)
        optimizer = optimizer_for(list(self._job.parameters.values()), self._options)
        net, optimizer = self._fabric.setup(module, optimizer, move_to_device=False)
        found = checkpoints.load(self._folder)
        weights = {**self._job.parameters, **self._job.statistics}
        state = State(
            job=self._job,
            optimizer=optimizer,
            average=Average(weights, self._options.ema) if self._options.ema else None,
            best=Best(1.0, self._options.max_clean_drop),
            stop=EarlyStop(self._options.patience or 0),
            alarm=OverfittingAlarm(),
            best_weights={},
        )
        if found is not None:
            state.resume(found, self._record)
            self._say(*found.notes, f"resumed at step {found.step} of {self._total}")
        else:
            self._begin(state)
        return net, state

    def _begin(self, state: State) -> None:
        """Score the model as it is, measure what holds for the whole run, and save it."""
        scores = self._validator(self._answers)
        state.best = Best(scores.clean, self._options.max_clean_drop).after(
            0, scores.clean, scores.robust
        )
        state.keep_best()
        state.alarm, _ = state.alarm.after(0, scores.one_step, scores.robust)
        state.stop = state.stop.after(scores.robust)
        state.history = [{"step": 0, **scores.to_record()}]
        temperature = getattr(self._criterion, "temperature", 1.0)
        state.fixed = {"temperature": temperature, "gammas": self._gammas()}
        self._say_before(scores, temperature)
        self._save(state)

    def _say_before(self, scores: Scores, temperature: float) -> None:
        if temperature != 1:
            self._say(
                f"saturated logits: the loss sees them divided by {temperature:g}, an exact "
                "reparametrisation; the file keeps their scale"
            )
        self._listener.validated(0, scores)

    def _gammas(self) -> dict[str, float]:
        """γ by layer, as given, or balanced against J on some batches."""
        layers = list(self._job.layers)
        if not layers:
            return {}
        given = parse_gamma(self._options.gamma, layers)
        if given is not None:
            return {name: gamma for name, gamma in given.items() if gamma > 0}
        spec = self._spec(dict.fromkeys(layers, 1.0))
        net = self._job.trainee.reading([*self._job.outputs, *layers])
        found = [self._measured(net, spec, step) for step in range(_MEASURED)]
        count = len(found)
        base = sum(float(each.base) for each in found) / count
        cms = {name: sum(float(each.cms[name]) for each in found) / count for name in layers}
        return balance(*self._everywhere(base, cms))

    def _everywhere(self, base: float, cms: Mapping[str, float]) -> tuple[float, dict[str, float]]:
        """The means over all processes."""
        mean = self._fabric.all_reduce(torch.tensor([base, *cms.values()], dtype=torch.float64))
        values = [float(value) for value in mean]
        return values[0], dict(zip(cms, values[1:], strict=True))

    def _measured(self, net: Any, spec: StepSpec, step: int) -> Losses:
        net.eval()
        part, targets, x_adv = self._perturbed(step, eps_scale=1.0)
        held = tuple(part.extra.values())
        with torch.no_grad():
            return losses(lambda x: net(x, *held), part.x, x_adv, targets, _apart(spec))

    def _specification(self, state: State) -> StepSpec:
        spec = self._spec(state.fixed["gammas"])
        self._listener.objective(state.fixed["gammas"])
        return spec

    def _spec(self, gammas: Mapping[str, float]) -> StepSpec:
        held = bool(self._material.training.extra)
        batched = getattr(self._job.trainee, "one_by_one", False)
        exact = self._options.batch_norm == "frozen" and not held and not batched
        return specification(
            self._options, self._job, self._criterion, gammas, exact_batching=exact
        )

    def _logs(self, state: State) -> list[Any]:
        if not self._fabric.is_global_zero:
            return []
        step = state.step or None
        logs: list[Any] = [RunLog(self._folder / "log.jsonl", step)]
        if self._options.tensorboard:
            logs.append(TensorBoard(self._folder / "tensorboard", step))
        if step is None:
            for log in logs:
                log.write(0, "validation", state.history[0])
        return logs

    def _perturbed(self, step: int, eps_scale: float) -> tuple[TrainingSet, Any, Tensor | None]:
        """The batch of a step, its targets, and x̂ for the model as it is now."""
        index = self._batches.batch_at(step)
        epoch = self._batches.epoch_of(step)
        part = self._material.training.rows(index)
        x = self._augment(part.x, index, epoch)
        if self._options.channels_last and x.ndim == 4:
            x = x.contiguous(memory_format=torch.channels_last)
        part = TrainingSet(x, part.y, part.extra)
        targets = [t[index.to(t.device)] for t in self._material.targets]
        wanted: Any = targets[0] if self._job.classes else targets
        if self._attack is None:
            return part, wanted, None
        self._answers.eval()
        with self._fabric.autocast():
            oracle, goal = oracle_for(self._job, self._answers, self._attack, part, targets)
            seed = derived(self._options.seed, ATTACK_STREAM, epoch)
            numbers = TorchRandomness(seed, ATTACK_STREAM, index.to(x.device))
            return part, wanted, self._attack(oracle, x, goal, numbers, eps_scale)

    def _one_step(self, net: Any, state: State, spec: StepSpec, log: Sequence[Any]) -> None:
        step = state.step
        eps_scale, lr = self._ramp(step), self._set_lr(state)
        part, targets, x_adv = self._perturbed(step, eps_scale)
        torch.manual_seed(
            derived(self._options.seed, _TORCH_STREAM, step, self._fabric.global_rank) & _MASK
        )
        net.train()
        found = losses(self._passes(net, part), part.x, x_adv, targets, spec)
        self._require_finite(found, step)
        state.optimizer.zero_grad(set_to_none=True)
        self._fabric.backward(found.total)
        if self._options.clip:
            self._fabric.clip_gradients(net, state.optimizer, max_norm=self._options.clip)
        state.optimizer.step()
        self._share_statistics()
        if state.average is not None:
            state.average.update()
        state.step += 1
        self._report(state.step, found, targets, lr, eps_scale, log)

    def _passes(self, net: Any, part: TrainingSet) -> Any:
        """The module as the loss calls it: which pass takes statistics of the batch is the policy's."""
        policy, held = self._options.batch_norm, tuple(part.extra.values())

        def call(x: Tensor) -> Mapping[str, Tensor]:
            active = policy == "all" or (policy == "clean" and x is part.x)
            with self._job.trainee.batch_statistics(active):
                found: Mapping[str, Tensor] = net(x, *held)
            return found

        return call

    def _share_statistics(self) -> None:
        """Processes see other samples; their running statistics are averaged."""
        if self._options.batch_norm == "frozen" or self._fabric.world_size == 1:
            return
        for tensor in self._job.statistics.values():
            tensor.copy_(self._fabric.all_reduce(tensor))

    def _set_lr(self, state: State) -> float:
        base = state.optimizer.defaults["lr"]
        lr = float(base * self._schedule(state.step) * state.lr_scale)
        for group in state.optimizer.param_groups:
            group["lr"] = lr
        return lr

    def _require_finite(self, found: Losses, step: int) -> None:
        total = float(found.total.detach())
        if not math.isfinite(total):
            cms = {name: float(cm) for name, cm in found.cms.items()}
            raise TrainingFailed(
                f"the loss is {total:g} at step {step + 1} (J {float(found.base):g}, CM {cms}); the last "
                f"checkpoint stays in {str(self._folder)!r}: start anew with --fresh and a smaller --lr or --gamma"
            )

    def _report(
        self,
        step: int,
        found: Losses,
        targets: Any,
        lr: float,
        eps_scale: float,
        logs: Sequence[Any],
    ) -> None:
        values: dict[str, Any] = {
            "loss": float(found.total.detach()),
            "base": float(found.base),
            "lr": lr,
            "eps_scale": eps_scale,
        }
        if found.regulariser is not None:
            values["regulariser"] = float(found.regulariser)
            values["cm"] = {name: float(cm) for name, cm in found.cms.items()}
        if self._job.classes and found.adversarial is not None:
            right = predicted(found.adversarial, self._job.lowest_wins) == targets
            values["robust"] = float(right.double().mean())
        for log in logs:
            log.write(step, "step", values)
        self._listener.stepped(step, values)

    def _validate(self, state: State, logs: Sequence[Any]) -> list[str]:
        """Score the model; keep it if it is the best, go back if it collapsed. What happened, in words."""
        with _averaged(state):
            scores = self._validator(self._answers)
            chosen = state.best.after(state.step, scores.clean, scores.robust)
            if chosen.step == state.step:
                state.keep_best()
        state.best = chosen
        state.history.append({"step": state.step, **scores.to_record()})
        for log in logs:
            log.write(state.step, "validation", scores.to_record())
        self._listener.validated(state.step, scores)
        state.stop = state.stop.after(scores.robust)
        state.alarm, collapse = state.alarm.after(state.step, scores.one_step, scores.robust)
        if collapse is None:
            return []
        state.roll_back(_ROLL_BACK)
        note = f"{collapse}; went back to the best weights, and on in steps of half the size"
        self._say(note)
        return [note]

    def _save(self, state: State) -> None:
        if self._fabric.is_global_zero:
            checkpoints.save(self._folder, state.checkpoint(self._record))
        self._fabric.barrier()

    def _finished(self, state: State, notes: list[str], seconds: float) -> Trained:
        if state.best.step is not None:
            write(state.weights, state.best_weights)
        known = {entry["step"]: entry for entry in state.history}
        chosen = known[state.step if state.best.step is None else state.best.step]
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

    def _say(self, *texts: str) -> None:
        if self._fabric.is_global_zero:
            for text in texts:
                self._listener.message(text)


def _scores(entry: Mapping[str, Any]) -> Scores:
    return Scores(entry["clean"], entry["one_step"], entry["robust"])


def _apart(spec: StepSpec) -> StepSpec:
    return spec


def _fallback_attack(options: TrainingOptions, job: Job) -> TrainingAttack:
    """What a model that trains without attacks is validated with."""
    from dataclasses import replace

    found = attack_for(replace(options, base="at-pgd"), job)
    assert found is not None
    return found


@contextlib.contextmanager
def _averaged(state: State) -> Iterator[None]:
    """The moving average in place of the weights, where one is kept."""
    with contextlib.nullcontext() if state.average is None else state.average.swapped_in():
        yield


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
    return Loop(
        job, material, options, fabric, folder, record, listener or TrainingListener()
    ).run()
