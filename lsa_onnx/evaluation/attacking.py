"""One attack at one strength over all samples."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lsa_onnx.attacks import Attack
from lsa_onnx.errors import ModelError
from lsa_onnx.report.evaluation import AttackAtEps
from lsa_onnx.scan.adversary import Adversary
from lsa_onnx.scan.attack_checks import Attempt
from lsa_onnx.scan.clean import CleanRun, share_of
from lsa_onnx.scan.deployed import Deployed
from lsa_onnx.scan.keeping import Keeper
from lsa_onnx.scan.ledger import Ledger
from lsa_onnx.scan.listener import Listener
from lsa_onnx.scan.subject import Subject


@dataclass(frozen=True)
class Strength:
    """An ε, in units of the declared range and as the user wrote it."""

    eps: float
    text: str


@dataclass(frozen=True)
class Bench:
    """What all attacks of an evaluation share.

    ``classes`` are the untouched model's clean predictions, shape (samples,).
    """

    subject: Subject
    adversary: Adversary
    clean: CleanRun
    classes: NDArray[np.int64]
    deployed: Deployed
    batch: int
    keeper: Keeper | None
    listener: Listener

    @property
    def labels(self) -> NDArray[np.int64]:
        """What the model should say, shape (samples,): labels, or its own clean predictions."""
        given = self.subject.dataset.labels
        return given if given is not None else self.classes


@dataclass(frozen=True)
class Outcome:
    """One attack at one strength: the record, and what checks look at."""

    record: AttackAtEps
    attempt: Attempt


def attacked(bench: Bench, attack: Attack, strength: Strength) -> Outcome:
    """Attack every sample; at ε = 0 nothing moves, and the clean run has the answer."""
    started = time.perf_counter()
    ledger = Ledger(attack, bench.adversary, bench.clean)
    total = len(bench.subject.dataset)
    name = f"{attack.algorithm} eps {strength.text}"
    bench.listener.begin(name, total)
    for start in range(0, total, bench.batch):
        feeds, _ = bench.subject.feeds(start, min(start + bench.batch, total))
        batch = bench.adversary.batch(attack, start, feeds)
        x_adv = attack(batch) if attack.eps > 0 else batch.x
        predicted = bench.deployed.classes({**feeds, bench.subject.input.name: x_adv})
        ledger.add(batch, predicted)
        if bench.keeper is not None and attack.eps > 0:
            bench.keeper.add(attack.name, start, x_adv, predicted)
        bench.listener.advance(len(batch.x))
    return _outcome(bench, attack, strength, ledger, time.perf_counter() - started)


def _outcome(
    bench: Bench, attack: Attack, strength: Strength, ledger: Ledger, seconds: float
) -> Outcome:
    labels, predicted = bench.labels, ledger.classes
    if predicted is None:
        raise ModelError("the model stopped predicting one class per sample under attack")
    right = bench.classes == labels
    correct = int((right & (predicted == labels)).sum())
    n, before = len(labels), int(right.sum())
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
        saturated=ledger.saturated,
        flat=ledger.flat,
    )
    return Outcome(record, attempt)
