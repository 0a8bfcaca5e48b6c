"""One attack at all strengths over all samples."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lsa_onnx.accounts.attack_checks import Attempt
from lsa_onnx.accounts.ledger import Ledger
from lsa_onnx.accounts.shares import all_classes, share_of
from lsa_onnx.attacks import Attack
from lsa_onnx.errors import ModelError
from lsa_onnx.evaluation.gathering import Places, full_batches
from lsa_onnx.evaluation.strengths import Series, Strength
from lsa_onnx.report.evaluation import AttackAtEps
from lsa_onnx.scanning.adversary import Adversary
from lsa_onnx.scanning.clean import CleanRun
from lsa_onnx.scanning.deployed import Deployed
from lsa_onnx.scanning.keeping import Keeper
from lsa_onnx.scanning.listener import Listener
from lsa_onnx.scanning.subject import Subject

Classes = NDArray[np.int64]


@dataclass(frozen=True)
class Bench:
    """What all attacks of an evaluation share.

    ``classes`` are the untouched model's clean predictions, shape (samples,). ``batch`` is samples per
    run of the model, ``at_once`` how many an attack works on together.
    """

    subject: Subject
    adversary: Adversary
    clean: CleanRun
    classes: Classes
    deployed: Deployed
    batch: int
    at_once: int
    keeper: Keeper | None
    listener: Listener

    def predicted(self, feeds: Mapping[str, NDArray[Any]]) -> Classes:
        """What the untouched model says of inputs by name, shape (n,).

        Raises:
            ModelError: It does not predict a class for each.
        """
        count = len(feeds[self.subject.input.name])
        parts = [
            self.deployed.classes({n: x[at : at + self.batch] for n, x in feeds.items()})
            for at in range(0, count, self.batch)
        ]
        found = all_classes(parts)
        if found is None:
            raise ModelError("the model stopped predicting one class per sample under attack")
        return found

    @property
    def labels(self) -> Classes:
        """What the model should say, shape (samples,): labels, or its own clean predictions."""
        given = self.subject.dataset.labels
        return given if given is not None else self.classes

    def right(self, predicted: Classes) -> NDArray[np.bool_]:
        """Which samples are right, shape (samples,), where the model says ``predicted`` of them.

        What is wrong without an attack is not put right by one.
        """
        kept: NDArray[np.bool_] = (self.classes == self.labels) & (predicted == self.labels)
        return kept


@dataclass(frozen=True)
class Outcome:
    """One attack at one strength: the record, what checks look at, and which samples are right."""

    record: AttackAtEps
    attempt: Attempt
    right: NDArray[np.bool_]


def attacked(bench: Bench, series: Series) -> Iterator[Outcome]:
    """One attack at every strength, in growing order; at ε = 0 the clean run has the answer.

    An attack whose breaks add up is only tried on what is right so far: what it made of the others
    lies in the larger ball too, and is carried over with the answer of the untouched model.
    """
    gradients = _gradients(bench, series[0][0])
    predicted, earlier = bench.classes, None
    for attack, strength in series:
        started = time.perf_counter()
        if attack.eps > 0:
            places = _places(bench, attack, predicted)
            if bench.keeper is not None and attack.cumulative:
                bench.keeper.carry(attack.name, earlier, predicted)
            predicted, earlier = _tried(bench, attack, strength, places, predicted), attack.name
        seconds = time.perf_counter() - started
        yield _outcome(bench, attack, strength, predicted, gradients, seconds)


def _places(bench: Bench, attack: Attack, predicted: Classes) -> Places:
    """Which samples are attacked, where the attack left ``predicted`` at the strength before."""
    if attack.cumulative:
        return np.flatnonzero(bench.right(predicted)).astype(np.int64)
    return np.arange(len(predicted), dtype=np.int64)


def _gradients(bench: Bench, attack: Attack) -> Ledger:
    """What gradients at clean inputs are like, which does not depend on ε."""
    ledger = Ledger()
    if not attack.needs_gradient:
        return ledger
    everything = np.arange(len(bench.classes), dtype=np.int64)
    bench.listener.begin(f"{attack.algorithm} gradients", len(everything))
    for gathered in full_batches(bench.adversary, attack, everything, bench.at_once):
        found = bench.adversary.diagnose(attack, gathered.batch)
        ledger.add(None, found.saturated, found.flat)
        bench.listener.advance(len(gathered.batch.x))
    return ledger


def _tried(
    bench: Bench, attack: Attack, strength: Strength, places: Places, predicted: Classes
) -> Classes:
    """What the untouched model says once the samples at ``places`` were attacked, shape (samples,)."""
    after = predicted.copy()
    bench.listener.begin(f"{attack.algorithm} eps {strength.text}", len(places))
    for gathered in full_batches(bench.adversary, attack, places, bench.at_once):
        batch = gathered.batch
        x_adv = attack(batch)
        classes = bench.predicted({**gathered.feeds, bench.subject.input.name: x_adv})
        after[batch.positions] = classes
        if bench.keeper is not None:
            bench.keeper.add(attack.name, batch.positions, x_adv, classes)
        bench.listener.advance(len(batch.x))
    return after


def _outcome(
    bench: Bench,
    attack: Attack,
    strength: Strength,
    predicted: Classes,
    gradients: Ledger,
    seconds: float,
) -> Outcome:
    right = bench.right(predicted)
    n, before, correct = len(right), int(bench.right(bench.classes).sum()), int(right.sum())
    success = share_of(before - correct, before) if before else None
    record = AttackAtEps(
        attack=attack.name.partition("=")[0],
        eps=strength.eps,
        eps_text=strength.text,
        norm=attack.norm,
        parameters=attack.parameters(),
        white_box=attack.needs_gradient,
        clean_accuracy=before / n,
        robust_accuracy=correct / n,
        interval=share_of(correct, n).interval,
        n=n,
        correct=correct,
        broken=before - correct,
        success_rate=success.value if success else None,
        success_interval=success.interval if success else None,
        right="".join(np.where(right, "1", "0").tolist()),
        seconds=seconds,
    )
    attempt = Attempt(
        name=record.attack,
        algorithm=attack.algorithm,
        norm=attack.norm,
        eps=attack.eps,
        white_box=attack.needs_gradient,
        right=before,
        broken=before - correct,
        n=n,
        saturated=gradients.saturated,
        flat=gradients.flat,
    )
    return Outcome(record, attempt, right)
