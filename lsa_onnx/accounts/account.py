"""The account of one perturbation, entered batch by batch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lsa_onnx.accounts.attack_checks import Attempt
from lsa_onnx.accounts.frame import Applied, Frame
from lsa_onnx.accounts.ledger import Ledger
from lsa_onnx.accounts.records import Classes, Clean, Observed, Record, Series, worst_observed
from lsa_onnx.accounts.shares import accuracy_of, all_classes, flips_of
from lsa_onnx.measures import Scores
from lsa_onnx.report.document import AttackOutcome, Baseline, ObserverCheck, PerturbationResult
from lsa_onnx.statistics import bootstrap_weights


@dataclass(frozen=True)
class Entry:
    """A closed account.

    Attributes:
        result: For the report.
        observer: How observing changed the clean outputs.
        attempt: What the checks of attacks look at; ``None`` without labels to fight.
    """

    result: PerturbationResult
    observer: ObserverCheck
    attempt: Attempt | None


class Account:
    """One perturbation. Samples are entered in their order, as many at a time as the frame says."""

    def __init__(self, frame: Frame, applied: Applied) -> None:
        """Start with nothing."""
        self._frame = frame
        self._applied = applied
        self._perturbed = _Tally(frame)
        # Bootstrap sums of many layers are large: nothing else has a second tally.
        self._noise = _Tally(frame) if applied.attack is not None else None
        self._ledger = Ledger()
        self._observed: list[Observed] = []
        self.samples = 0
        self.balanced = True

    def add(self, record: Record) -> None:
        """Enter some samples. ``balanced`` is false while that is under way."""
        self.balanced = False
        stop = record.start + len(record)
        weights = bootstrap_weights(self._frame.run.seed, record.start, stop)
        self._perturbed.add(record.perturbed, weights)
        self._observed = [worst_observed([*self._observed, record.observed])]
        attack = record.attack
        if attack is not None and self._noise is not None:
            self._noise.add(attack.noise, weights)
            self._ledger.add(attack.classes, attack.saturated, attack.flat)
        self.samples += len(record)
        self.balanced = True

    def close(self, clean: Clean) -> Entry:
        """The figures, where ``clean`` are the samples that were entered."""
        applied, tally, frame = self._applied, self._perturbed, self._frame
        classes = tally.classes if applied.attack is None else self._ledger.classes
        l2, linf, relative = tally.scores.input_distributions()
        result = PerturbationResult(
            name=applied.name,
            kind=applied.kind,
            parameters=applied.parameters,
            accuracy=accuracy_of(classes, clean.labels),
            flips=flips_of(classes, clean.classes),
            input_l2=l2,
            input_linf=linf,
            input_relative=relative,
            layers=tally.scores.layer_scores(frame.layers, frame.eta, frame.top_k),
            mvl=tally.scores.mvl(applied.name, frame.layers, frame.eta, frame.top_k),
            attack=self._outcome(clean),
        )
        observer = worst_observed(self._observed).check(min(frame.compared, self.samples))
        return Entry(result, observer, self._attempt(result))

    def _outcome(self, clean: Clean) -> AttackOutcome | None:
        facts = self._applied.attack
        if facts is None or self._noise is None:
            return None
        classes, chosen = self._noise.classes, self._noise.scores.selection(self._frame.eta)
        noise = Baseline(
            name=facts.noise,
            accuracy=accuracy_of(classes, clean.labels),
            flips=flips_of(classes, clean.classes),
            mu=_finite(chosen.mu),
            layers=[_finite(mean) for mean in chosen.means],
        )
        return self._ledger.outcome(facts, clean, noise)

    def _attempt(self, result: PerturbationResult) -> Attempt | None:
        attack = result.attack
        if attack is None:
            return None
        success = attack.success
        return Attempt(
            name=result.name,
            algorithm=result.parameters["algorithm"],
            norm=attack.norm,
            eps=attack.eps,
            white_box=attack.white_box,
            right=success.n if success else 0,
            broken=round(success.value * success.n) if success else 0,
            n=self.samples,
            noise_flips=attack.baseline.flips if attack.baseline else None,
            flips=result.flips,
            saturated=self._ledger.saturated,
            flat=self._ledger.flat,
        )


class _Tally:
    """Scores and predictions of one series of perturbed inputs."""

    def __init__(self, frame: Frame) -> None:
        bodies = {i: info.body for i, info in enumerate(frame.layers) if info.body is not None}
        self.scores = Scores(frame.sizes, bodies)
        self._classes: list[Classes | None] = []

    def add(self, series: Series, weights: NDArray[np.float64]) -> None:
        self.scores.add(series.sums, series.change, weights, series.executions)
        self._classes.append(series.classes)

    @property
    def classes(self) -> Classes | None:
        """What the instrumented model says of the perturbed samples, shape (samples,)."""
        return all_classes(self._classes)


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
