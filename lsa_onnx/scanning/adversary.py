"""What attacks are given of a subject: objectives by name, what they aim at, and labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lsa_onnx.accounts import AttackFacts
from lsa_onnx.accounts.frame import Labels
from lsa_onnx.attacks import Attack, Batch
from lsa_onnx.attacks.oracle import Goal, Oracle
from lsa_onnx.errors import DataError, ModelError
from lsa_onnx.layers.operators import FLOAT_ELEMENTS
from lsa_onnx.prediction import Head, binary_advice
from lsa_onnx.rewrite import Scored
from lsa_onnx.rewrite.objectives import CLASS_KINDS, Kind, Objective
from lsa_onnx.runtime.batching import BatchPlan
from lsa_onnx.runtime.devices import Device
from lsa_onnx.runtime.gradients import HELD, GradientSource
from lsa_onnx.scanning.clean import CleanRun, class_count, declared_classes
from lsa_onnx.scanning.options import AttackOptions
from lsa_onnx.scanning.subject import Subject

Array = NDArray[Any]

OBJECTIVES = ("ce", "margin", "dlr", "kl", "output", "layer:TENSOR")
# Below this many classes the DLR loss is not defined; the margin is what it scales.
_DLR_CLASSES = 3
# exp of this is the rounding unit of single precision: 1 − p_y is lost below it, and with it the
# gradient of a cross-entropy that is computed the usual way.
SATURATED = float(np.log(np.finfo(np.float32).eps / 2))


@dataclass(frozen=True)
class Diagnosis:
    """What gradients at clean inputs are like, one entry per sample.

    Attributes:
        saturated: Whether 1 − p_y rounds to 0, ``None`` without classes.
        flat: Whether the gradient is 0 throughout, ``None`` where the clean input is a minimum of the
            objective by its definition.
    """

    saturated: NDArray[np.bool_] | None
    flat: NDArray[np.bool_] | None


@dataclass(frozen=True)
class Adversary:
    """Gives attacks the model of a subject.

    Attributes:
        subject: Model and data.
        plan: How the model is run.
        head: How a class is read, ``None`` for models without.
        classes: Number of classes, where it is known.
        predicted: The model's clean predictions, shape (samples,): labels where there are none. Those of
            samples that were not run are −1.
        source: Makes oracles.
    """

    subject: Subject
    plan: BatchPlan
    head: Head | None
    classes: int | None
    predicted: NDArray[np.int64] | None
    source: GradientSource
    _diagnoses: dict[tuple[Objective, int], Diagnosis] = field(default_factory=dict)

    @property
    def labels(self) -> Labels:
        """Where the labels that attacks fight come from."""
        if self.head is None or self.head.logits is None or self.predicted is None:
            return "none"
        return "given" if self.subject.dataset.labels is not None else "predicted"

    @property
    def default(self) -> str:
        """The objective of attacks that ask for none."""
        return "output" if self.labels == "none" else "ce"

    def objective(self, name: str | None) -> Objective:
        """What ``name`` stands for on this model.

        Raises:
            DataError: There is no objective of this name.
            ModelError: The model cannot serve it.
        """
        name = name or self.default
        kind, _, tensor = name.partition(":")
        if kind == "layer" and tensor:
            return Objective("layer", (self._layer(tensor),))
        if name == "output":
            return Objective("output", self._outputs())
        if name not in CLASS_KINDS | {"kl"}:
            raise DataError(f"unknown objective {name!r}; accepted are {', '.join(OBJECTIVES)}")
        if self.labels == "none" or self.head is None or self.head.logits is None:
            advice = binary_advice(self.subject.model) if self.head is None else ""
            raise ModelError(
                f"objective {name!r} needs class scores, and {str(self.subject.model.path)!r} has "
                f"none; {advice}use --objective output, which any model can serve"
            )
        few = self.classes is not None and self.classes < _DLR_CLASSES
        chosen: Kind = "margin" if name == "dlr" and few else name  # type: ignore[assignment]
        logits = Scored(self.head.logits, self._axis)
        return Objective(
            chosen, (logits,), self.classes, self.head.lowest_wins, binary=self.head.binary
        )

    def prepare(self, attack: Attack) -> None:
        """Build what ``attack`` needs of the model.

        Raises:
            NotDifferentiable: It needs a gradient, and there is none.
            ModelError: The model cannot serve its objective.
        """
        for name in attack.objectives(labelled=self.labels != "none"):
            self.source.ready(self.objective(name), gradient=attack.needs_gradient)

    def batch(self, attack: Attack, start: int, feeds: Mapping[str, Array]) -> Batch:
        """The samples from ``start`` on, with what ``attack`` needs of the model.

        Args:
            attack: The attack.
            start: Position of the first sample in the selection.
            feeds: Inputs by name, shape (n, ...) each, in units of the declared range.
        """
        x = feeds[self.subject.input.name]
        spec = self.subject.spec
        labels = self._labels(start, len(x))

        def oracles(name: str | None) -> Oracle:
            return self.source.oracle(self.objective(name))

        return Batch(
            x,
            labels,
            start,
            spec.low,
            spec.high,
            oracles,
            self._goal(attack.objective, feeds, labels),
            self.subject.channel_axis,
        )

    def facts(self, attack: Attack) -> AttackFacts:
        """What a report says of ``attack``."""
        return AttackFacts(
            norm=attack.norm,
            eps=attack.eps,
            objective=attack.objective or self.default,
            labels=self.labels,
            white_box=attack.needs_gradient,
            noise="random signs" if attack.norm == "linf" else "a random direction",
        )

    def diagnose(self, attack: Attack, batch: Batch) -> Diagnosis:
        """What gradients at the clean inputs of ``batch`` are like; nothing is known for a black-box attack.

        They do not depend on ε, so attacks of one objective share the answer.
        """
        if not attack.needs_gradient:
            return Diagnosis(None, None)
        objective = self.objective(attack.objective)
        if objective.kind not in CLASS_KINDS:
            return Diagnosis(None, None)
        key = (objective, batch.start)
        if key not in self._diagnoses:
            self._diagnoses[key] = self._diagnosed(objective, batch)
        return self._diagnoses[key]

    def _diagnosed(self, objective: Objective, batch: Batch) -> Diagnosis:
        answer = self.source.oracle(objective)(batch.x, batch.goal)
        flat = None
        if answer.gradient is not None:
            flat = np.asarray([not gradient.any() for gradient in answer.gradient])
        saturated = np.asarray(answer.loss < SATURATED) if objective.kind == "ce" else None
        return Diagnosis(saturated, flat)

    @property
    def _axis(self) -> int | None:
        return None if self.plan.fixed_batch == 1 else 0

    def _outputs(self) -> tuple[Scored, ...]:
        described = {value.name: value.dtype for value in self.subject.model.outputs}
        floats = [
            Scored(name, self._axis, element=FLOAT_ELEMENTS[described[name]])
            for name in self.subject.outputs
            if described[name] in FLOAT_ELEMENTS
        ]
        if not floats:
            raise ModelError(
                f"objective 'output' needs an output of floats, and {str(self.subject.model.path)!r} "
                "has none; use noise, or --objective layer:TENSOR"
            )
        return tuple(floats)

    def _layer(self, tensor: str) -> Scored:
        known = {item.tensor: item for item in self.plan.scored}
        if tensor not in known:
            raise DataError(
                f"objective 'layer:{tensor}' aims at a tensor that is not scored, or that is no plain "
                "float of the main graph; `lsa-onnx scan` scores those that --layers names "
                "(`lsa-onnx layers MODEL` lists what can be scored)"
            )
        return known[tensor]

    def _labels(self, start: int, count: int) -> NDArray[np.int64] | None:
        given = self.subject.dataset.labels
        if self.labels == "none":
            return None
        chosen = given if given is not None else self.predicted
        return None if chosen is None else chosen[start : start + count]

    def _goal(
        self, name: str | None, feeds: Mapping[str, Array], labels: NDArray[np.int64] | None
    ) -> Goal:
        goal: dict[str, Array] = {
            HELD + key: x for key, x in feeds.items() if key != self.subject.input.name
        }
        if labels is not None:
            goal["labels"] = labels
        objective = self.objective(name)
        if objective.kind not in CLASS_KINDS:
            goal |= self.source.references(objective, feeds)
        return goal


def _placed(clean: CleanRun, total: int) -> NDArray[np.int64] | None:
    """The clean predictions at their positions among all ``total`` samples."""
    if clean.classes is None or len(clean.classes) == total:
        return clean.classes
    found = np.full(total, -1, np.int64)
    found[clean.start : clean.start + len(clean.classes)] = clean.classes
    return found


def open_adversary(
    subject: Subject,
    plan: BatchPlan,
    head: Head | None,
    clean: CleanRun,
    probe: Mapping[str, Array],
    device: Device,
    options: AttackOptions,
) -> Adversary:
    """What attacks are given of ``subject``.

    Args:
        subject: Model and data.
        plan: How the model is run.
        head: How a class is read, ``None`` for models without.
        clean: What the untouched model says of the clean samples.
        probe: Some samples, input name → shape (k, ...).
        device: Where to run.
        options: How attacks go about it.

    Raises:
        DataError: There is no objective of the name that was given.
        ModelError: The model cannot serve it.
    """
    source = GradientSource(
        plan=plan,
        perturb=subject.input.name,
        folder=subject.model.folder,
        device=device,
        sample_shapes={name: x.shape[1:] for name, x in probe.items()},
        straight_through=options.straight_through,
        budget_bytes=options.budget_bytes,
    )
    classes = class_count(head, clean) or declared_classes(subject, head)
    adversary = Adversary(
        subject, plan, head, classes, _placed(clean, len(subject.dataset)), source
    )
    if options.objective is not None:
        adversary.objective(options.objective)
    return adversary
