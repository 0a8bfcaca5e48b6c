"""How many samples one run takes, and which part of each tensor belongs to which sample.

Nothing is assumed about a batch. A few of the user's own samples are run one by one and together; a
batch is used only if every output, and every tensor to score, splits into the single runs again.
That shows row independence, finds the batch axis of each tensor, and measures the rounding that a
batch brings (the numerical floor of a score).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx

from lsa_onnx.errors import ModelError
from lsa_onnx.rewrite import Scored, expose, rebatch
from lsa_onnx.runtime.devices import Device
from lsa_onnx.runtime.layout import Layout
from lsa_onnx.runtime.matching import (
    UNVARYING,
    Array,
    Place,
    Sums,
    distinct,
    locate,
    own_axis,
    sums_of_neighbours,
)
from lsa_onnx.runtime.memory import tensor_bytes
from lsa_onnx.runtime.session import Session, SessionPlan

Mode = Literal["free", "rebatched", "native"]

# Batched and single runs may differ by rounding, more so in half precision. A mix of samples differs
# by far more.
_TOLERANCE = 1e-3
_HALF_TOLERANCE = 3e-2
HALF = (onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16)
EMPTY = "empty: it has no elements for the samples tried"
NOT_EXECUTED = "not executed: its body does not run for the samples tried"
_UNOPTIMISED = SessionPlan(optimisation="none", lean=True, prepack=False)


@dataclass(frozen=True)
class BatchPlan:
    """How the model is run.

    Attributes:
        model: The model to run: the given one, or the one with its batch freed.
        mode: How a batch came about; ``note`` says it in words.
        layout: What one sample is.
        fixed_batch: Samples every run must have, ``None`` where any number will do.
        scored: The tensors that can be scored, in the order asked for, and where their samples are.
        sizes: Elements per sample of each.
        floors: Largest relative difference between its batched and single runs.
        rejected: Tensor → reason, for those that cannot be scored per sample.
        expected: Tensor → sums of squares (‖a − b‖², ‖a‖², ‖b‖²) for each probe sample a against the
            next one b, computed by numpy: what a scoring session must reproduce.
    """

    model: onnx.ModelProto
    mode: Mode
    note: str
    layout: Layout
    fixed_batch: int | None
    scored: list[Scored]
    sizes: dict[str, int]
    floors: dict[str, float]
    rejected: dict[str, str]
    expected: dict[str, Sums]


@dataclass(frozen=True)
class Executed:
    """What is known of a tensor that counts executions before it runs.

    ``elements`` is that of one execution and sample, where it is known; ``uneven`` whether samples may
    differ in how many executions there are.
    """

    elements: int | None
    uneven: bool


@dataclass
class _Findings:
    """What the probe learnt about tensors: where their samples are, or what is wrong with them."""

    scored: dict[str, Scored] = field(default_factory=dict)
    floors: dict[str, float] = field(default_factory=dict)
    wrong: dict[str, str] = field(default_factory=dict)
    unvarying: dict[str, str] = field(default_factory=dict)


# Tensors are probed in parts of about this many bytes per sample: a part is held a few times over,
# as single runs, as a batch, and by the runtime.
_PART_BYTES = 8 << 20
_UNKNOWN_BYTES = 256 << 10


class BatchProbe:
    """Decides how a model is run, by running it on a few samples."""

    def __init__(
        self,
        model: onnx.ModelProto,
        folder: Path,
        device: Device,
        layout: Layout,
        elements: Mapping[str, int],
        outputs: Sequence[str],
        executions: Mapping[str, Executed] | None = None,
        freed: Callable[[], onnx.ModelProto] | None = None,
    ) -> None:
        """Prepare.

        Args:
            model: The model as it takes its declared inputs.
            folder: Folder of its external tensors.
            device: Where to run.
            layout: What one sample is.
            elements: ONNX element type of each tensor to score.
            outputs: Names of the model's outputs.
            executions: The tensors whose first axis counts executions of a body.
            freed: Makes the model with its batch freed; ``rebatch`` by default.
        """
        self._model = model
        self._folder = folder
        self._device = device
        self._layout = layout
        self._elements = dict(elements)
        self._outputs = list(outputs)
        self._executions = dict(executions or {})
        self._freed = freed or (lambda: rebatch(model))

    def plan(self, feeds: Mapping[str, Array], native_because: str | None = None) -> BatchPlan:
        """Run the samples and decide.

        Args:
            feeds: Input name → samples, shape (k, ...), the perturbed input first; 2 or 3 samples say
                enough. With a fixed batch of N, N. Equal samples are set apart by ``distinct``.
            native_because: Why samples must not be run together, if they must not.

        Raises:
            ModelError: The model does not run, or has a fixed batch that mixes its samples.
        """
        feeds = distinct(feeds)
        probes = self._parts(feeds)
        plans = [probe._plan_part(feeds, native_because) for probe in probes]
        native = next((plan for plan in plans if plan.fixed_batch == 1), None)
        if native is not None and any(plan.fixed_batch != 1 for plan in plans):
            # What one part cannot do in a batch, none does: all tensors come from the same run.
            plans = [probe._plan_part(feeds, native_because=native.note) for probe in probes]
        return _merged(plans)

    def _parts(self, feeds: Mapping[str, Array]) -> list[BatchProbe]:
        """Probes of some of the tensors each, so that never all of them are held at once."""
        shapes = {name: x.shape[1:] for name, x in feeds.items()}
        sizes = tensor_bytes(self._model, shapes)
        parts: list[dict[str, int]] = [{}]
        held = 0
        for name, element in self._elements.items():
            size = sizes.get(name, _UNKNOWN_BYTES)
            if parts[-1] and held + size > _PART_BYTES:
                parts.append({})
                held = 0
            parts[-1][name] = element
            held += size
        given = (self._model, self._folder, self._device, self._layout)
        rest = (self._outputs, self._executions, self._freed)
        return [BatchProbe(*given, part, *rest) for part in parts]

    def _plan_part(
        self, feeds: Mapping[str, Array], native_because: str | None = None
    ) -> BatchPlan:
        names = list(dict.fromkeys([*self._elements, *self._outputs]))
        if self._layout.leading is not None and self._layout.leading > 1:
            return self._fixed(feeds, names, self._layout.leading)
        singles = self._singles(names, feeds)
        if native_because is not None:
            return self._native(singles, native_because)
        if self._layout.leading is None or len(singles) < 2:
            note = self._layout.told or "only one sample to try: one sample per run"
            return self._native(singles, note)
        try:
            model = self._model if self._layout.free else self._freed()
            together = self._session(model, names).run(feeds, names)
        except ModelError as error:
            return self._native(singles, f"a batch does not run ({error}): one sample per run")
        found = self._match(singles, together)
        if found.wrong:
            name, reason = next(iter(found.wrong.items()))
            return self._native(singles, f"{name!r} {reason}: one sample per run")
        return self._batched(model, singles, found)

    def _session(self, model: onnx.ModelProto, names: Sequence[str]) -> Session:
        return Session(expose(model, names), self._device, self._folder, _UNOPTIMISED)

    def _singles(self, names: Sequence[str], feeds: Mapping[str, Array]) -> list[dict[str, Array]]:
        session = self._session(self._model, names)
        count = len(next(iter(feeds.values())))
        return [
            session.run({n: self._layout.feed(x[i : i + 1]) for n, x in feeds.items()}, names)
            for i in range(count)
        ]

    def _tolerance(self, name: str) -> float:
        return _HALF_TOLERANCE if self._elements.get(name) in HALF else _TOLERANCE

    def _match(
        self, singles: Sequence[Mapping[str, Array]], together: Mapping[str, Array]
    ) -> _Findings:
        found = _Findings()
        for name, batched in together.items():
            parts = [single[name] for single in singles]
            if name not in self._outputs and not any(part.size for part in parts):
                found.unvarying[name] = NOT_EXECUTED if name in self._executions else EMPTY
                continue
            verdict = locate(parts, batched, self._tolerance(name))
            if isinstance(verdict, Place):
                if name in self._outputs and (verdict.axis, verdict.rows) != (0, 1):
                    found.wrong[name] = "does not return one row per sample"
                element = self._elements.get(name, onnx.TensorProto.FLOAT)
                executions = name in self._executions and verdict.axis > 0
                if executions and verdict.rows > 1:
                    found.wrong[name] = (
                        f"merges samples with other entries along axis {verdict.axis}"
                    )
                    continue
                apart = verdict.rows if verdict.interleaved else 0
                found.scored[name] = Scored(
                    name, verdict.axis, None, element, executions, interleaved=apart
                )
                found.floors[name] = verdict.error
            elif verdict == UNVARYING and name not in self._outputs:
                found.unvarying[name] = verdict
            else:
                found.wrong[name] = verdict
        return found

    def _batched(
        self, model: onnx.ModelProto, singles: Sequence[Mapping[str, Array]], found: _Findings
    ) -> BatchPlan:
        mode: Mode = "free" if self._layout.free else "rebatched"
        note = f"{len(singles)} samples in one run equal {len(singles)} single runs"
        if not self._layout.free:
            note = f"the fixed batch of 1 was freed: {note}"
        return self._finish(model, mode, note, None, singles, found)

    def _native(self, singles: Sequence[Mapping[str, Array]], note: str) -> BatchPlan:
        found = _Findings()
        for name, element in self._elements.items():
            parts = [single[name] for single in singles]
            ran = self._executions.get(name)
            if ran is None and not any(part.size for part in parts):
                found.unvarying[name] = EMPTY
            elif ran and not (any(p.size for p in parts) or ran.elements):
                found.unvarying[name] = f"{NOT_EXECUTED}, and its shape is not known"
            elif len({_shape_of_one(part, ran is not None) for part in parts} - {None}) > 1:
                found.unvarying[name] = "its shape depends on the sample's values"
            else:
                uneven = ran is not None and ran.uneven
                found.scored[name] = Scored(name, None, None, element, ran is not None, uneven)
        return self._finish(self._model, "native", note, 1, singles, found)

    def _fixed(self, feeds: Mapping[str, Array], names: Sequence[str], size: int) -> BatchPlan:
        """A batch fixed to N > 1.

        Rolling the samples must roll the results, and changing one sample must change its own
        results only: a mean over the batch, say, passes the first test and not the second.
        """
        session = self._session(self._model, names)
        first = session.run(feeds, names)
        rolled = session.run({n: np.roll(x, 1, axis=0) for n, x in feeds.items()}, names)
        changed = session.run({n: np.concatenate([x[1:2], x[1:]]) for n, x in feeds.items()}, names)
        axes = {
            name: own_axis(first[name], rolled[name], changed[name], size, self._tolerance(name))
            for name in names
        }
        mixed = [name for name in self._outputs if axes[name] != 0]
        if mixed:
            raise ModelError(
                f"the model has a fixed batch of {size}, but output {mixed[0]!r} mixes its samples; "
                "export it with a batch of 1 or a free one"
            )
        found = _Findings()
        for name, element in self._elements.items():
            axis = axes[name]
            if not first[name].size:
                found.unvarying[name] = NOT_EXECUTED if name in self._executions else EMPTY
            elif axis is None:
                found.unvarying[name] = "it does not hold the samples of the batch apart"
            else:
                executions = name in self._executions and axis > 0
                found.scored[name] = Scored(name, axis, None, element, executions)
        singles = [
            {n: np.take(first[n], [i], axis=s.batch_axis or 0) for n, s in found.scored.items()}
            for i in range(size)
        ]
        note = f"the model has a fixed batch of {size}"
        return self._finish(self._model, "native", note, size, singles, found)

    def _finish(
        self,
        model: onnx.ModelProto,
        mode: Mode,
        note: str,
        fixed_batch: int | None,
        singles: Sequence[Mapping[str, Array]],
        found: _Findings,
    ) -> BatchPlan:
        # In the order asked for: a run returns the model's own outputs first.
        kept = [name for name in self._elements if name in found.scored]
        sizes = {name: max(single[name].size for single in singles) for name in kept}
        scored = [
            dataclasses.replace(
                found.scored[name], elements=self._elements_of(name, found, singles)
            )
            for name in kept
        ]
        return BatchPlan(
            model=model,
            mode=mode,
            note=note,
            layout=self._layout,
            fixed_batch=fixed_batch,
            scored=scored,
            sizes={name: max(size, 1) for name, size in sizes.items()},
            floors={item.tensor: found.floors.get(item.tensor, 0.0) for item in scored},
            rejected=found.unvarying,
            expected={item.tensor: _neighbours(item, singles) for item in scored},
        )

    def _elements_of(
        self, name: str, found: _Findings, singles: Sequence[Mapping[str, Array]]
    ) -> int | None:
        """Elements per sample, and per execution where these are counted; ``None`` for none."""
        parts = [single[name] for single in singles]
        if not found.scored[name].executions:
            return parts[0].size or None
        ran = next((part for part in parts if part.size), None)
        return self._executions[name].elements if ran is None else ran.size // len(ran)


def _shape_of_one(part: Array, executions: bool) -> tuple[int, ...] | None:
    """Of a tensor, or of each execution; ``None`` where there was none."""
    if not executions:
        return part.shape
    return part.shape[1:] if part.size else None


def _merged(plans: Sequence[BatchPlan]) -> BatchPlan:
    """The plan for the tensors of all ``plans``, which agree on everything else."""

    def union(field_name: str) -> dict[str, Any]:
        return {k: v for plan in plans for k, v in getattr(plan, field_name).items()}

    return dataclasses.replace(
        plans[0],
        scored=[item for plan in plans for item in plan.scored],
        sizes=union("sizes"),
        floors=union("floors"),
        rejected=union("rejected"),
        expected=union("expected"),
    )


def _neighbours(item: Scored, singles: Sequence[Mapping[str, Array]]) -> Sums:
    values = [single[item.tensor] for single in singles]
    if item.executions:
        fewest = min(map(len, values))
        values = [value[:fewest] for value in values]
    return sums_of_neighbours(values)
