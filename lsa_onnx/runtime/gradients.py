"""Loss, gradient and margin of the model under audit, computed inside ONNX Runtime."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lsa_onnx.attacks.oracle import Answer, Goal
from lsa_onnx.rewrite import Scored
from lsa_onnx.rewrite.differentiate import Differentiated, differentiate, read_rows
from lsa_onnx.rewrite.objectives import Objective
from lsa_onnx.runtime.batching import BatchPlan
from lsa_onnx.runtime.devices import Device
from lsa_onnx.runtime.layout import padded
from lsa_onnx.runtime.memory import (
    MAX_BATCH,
    MEBIBYTE,
    batch_size,
    gradient_bytes_per_sample,
)
from lsa_onnx.runtime.session import Session

Array = NDArray[Any]

# Goals that feed inputs of the model which are not perturbed are named so.
HELD = "held "
# Values of a run that a processor keeps at hand.
_CACHED_BYTES = 8 * MEBIBYTE


class _Ready(NamedTuple):
    """A differentiated model that runs, and how many samples at a time."""

    session: Session
    made: Differentiated
    batch: int


@dataclass
class GradientSource:
    """Makes oracles on ONNX Runtime; every model that they need is built once.

    Attributes:
        plan: How the model is run.
        perturb: The input that is perturbed.
        folder: Folder of the model's external tensors.
        device: Where to run.
        sample_shapes: Input name → shape of one sample.
        straight_through: See ``differentiate``.
        budget_bytes: Bound on the memory of one run, estimated; ``None`` for the usual one.
    """

    plan: BatchPlan
    perturb: str
    folder: Path
    device: Device
    sample_shapes: Mapping[str, Sequence[int]]
    straight_through: bool = False
    budget_bytes: int | None = None
    _ready: dict[tuple[Objective, bool], _Ready] = field(default_factory=dict)
    _readers: dict[tuple[Scored, ...], tuple[Session, list[str]]] = field(default_factory=dict)

    def oracle(self, objective: Objective) -> RuntimeOracle:
        """The model under ``objective``."""
        return RuntimeOracle(self, objective)

    def ready(self, objective: Objective, *, gradient: bool) -> _Ready:
        """The model that computes ``objective``, with or without its gradient.

        They are two: ONNX Runtime runs a whole graph, whatever is asked of it.

        Raises:
            NotDifferentiable: There is no gradient.
            ModelError: ONNX Runtime refuses the differentiated model.
        """
        key = (objective, gradient)
        if key not in self._ready:
            self._ready[key] = self._built(objective, gradient)
        return self._ready[key]

    def references(self, objective: Objective, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """The goals that ``objective`` measures changes from: its tensors' rows for clean inputs.

        Args:
            objective: One of "kl", "output" and "layer".
            feeds: Clean inputs by name, shape (n, ...) each.
        """
        if objective.tensors not in self._readers:
            model, rows = read_rows(self.plan.model, objective.tensors)
            session = Session(model, self.device, self.folder)
            self._readers[objective.tensors] = (session, rows)
        session, names = self._readers[objective.tensors]
        size = self.plan.fixed_batch or self.ready(objective, gradient=False).batch
        pieces: list[list[Array]] = [[] for _ in names]
        for start in range(0, len(feeds[self.perturb]), size):
            part = {name: feeds[name][start : start + size] for name in session.input_names}
            count = len(part[self.perturb])
            run = session.run({name: self._fed(x, count) for name, x in part.items()}, names)
            for found, name in zip(pieces, names, strict=True):
                found.append(run[name][:count])
        return {
            f"reference {index}" if index else "reference": np.concatenate(found)
            for index, found in enumerate(pieces)
        }

    def run(self, ready: _Ready, x: Array, y: Goal, outputs: list[str]) -> dict[str, Array]:
        """One run of up to ``ready.batch`` samples."""
        count, feeds = len(x), {}
        known = set(ready.session.input_names)
        for name, values in {HELD + self.perturb: x, **y}.items():
            if name.startswith(HELD) and name.removeprefix(HELD) in known:
                feeds[name.removeprefix(HELD)] = self._fed(values, count)
            elif name in ready.made.goals:
                feeds[ready.made.goals[name]] = padded(values, self.plan.fixed_batch or count)
        return ready.session.run(feeds, outputs)

    def _fed(self, x: Array, count: int) -> Array:
        return self.plan.layout.feed(padded(x, self.plan.fixed_batch or count))

    def _built(self, objective: Objective, gradient: bool) -> _Ready:
        batched = self.plan.layout.leading is not None
        shapes = {
            name: [None, *shape] if batched else list(shape)
            for name, shape in self.sample_shapes.items()
        }
        made = differentiate(
            self.plan.model,
            objective,
            [self.perturb] if gradient else [],
            shapes=shapes,
            straight_through=self.straight_through,
        )
        per_sample = gradient_bytes_per_sample(made.model, self.sample_shapes)
        # Of tiny models: what a run costs beside its samples is shared by more of them.
        most = max(MAX_BATCH, _CACHED_BYTES // max(per_sample, 1))
        batch = self.plan.fixed_batch or batch_size(per_sample, self.budget_bytes, most)
        return _Ready(Session(made.model, self.device, self.folder), made, batch)


@dataclass(frozen=True)
class RuntimeOracle:
    """An ``attacks.Oracle`` on ONNX Runtime. Any number of samples: they run in pieces."""

    source: GradientSource
    objective: Objective

    def __call__(self, x: Array, y: Goal, *, gradient: bool = True) -> Answer:
        """See ``attacks.Oracle``.

        Args:
            x: Inputs in units of the declared range, shape (n, ...).
            y: What the objective aims at, and the held inputs under ``HELD`` + name.
            gradient: Whether to compute it.
        """
        ready = self.source.ready(self.objective, gradient=gradient)
        size = self._pieces(len(x), ready.batch)
        parts = [slice(start, start + size) for start in range(0, len(x), size)]
        answers = [
            self._answer(ready, x[part], {name: values[part] for name, values in y.items()})
            for part in parts
        ]
        if len(answers) == 1:
            return answers[0]
        columns = zip(*answers, strict=True)
        return Answer(*(None if c[0] is None else np.concatenate(c) for c in columns))

    def _pieces(self, count: int, most: int) -> int:
        """Samples per run: as few runs as ``most`` allows, of equal length where that is free."""
        if self.source.plan.fixed_batch is not None:
            return most
        return -(-count // -(-count // most))

    def _answer(self, ready: _Ready, x: Array, y: Goal) -> Answer:
        made, count = ready.made, len(x)
        names = [made.loss, *filter(None, [made.margin]), *made.gradients.values()]
        result = self.source.run(ready, x, y, names)
        gradient = result[made.gradients[self.source.perturb]] if made.gradients else None
        if gradient is not None and self.source.plan.layout.leading is None:
            gradient = gradient[None]
        return Answer(
            result[made.loss][:count],
            None if gradient is None else gradient[:count],
            result[made.margin][:count] if made.margin else None,
        )
