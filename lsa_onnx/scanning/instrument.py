"""From a subject to a verified scoring session: choose layers, decide on batches, build the twin."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lsa_onnx.errors import DataError
from lsa_onnx.layers import LayerPlan, Read, Readable, Survey, make_readable, plan_layers
from lsa_onnx.report.document import LayerInfo, NotScored
from lsa_onnx.report.text import size as size_text
from lsa_onnx.rewrite import rebatch
from lsa_onnx.runtime.batching import BatchPlan, BatchProbe
from lsa_onnx.runtime.devices import Device
from lsa_onnx.runtime.inspection import survey
from lsa_onnx.runtime.memory import (
    batch_size,
    bytes_per_sample,
    estimate_bytes,
    give_back_memory,
)
from lsa_onnx.runtime.scoring import ScoringSession
from lsa_onnx.scanning.inside import collectable, executions, single_because
from lsa_onnx.scanning.options import ScanOptions, SubjectOptions
from lsa_onnx.scanning.subject import Subject

if TYPE_CHECKING:
    import onnx

Array = NDArray[Any]

_log = logging.getLogger(__name__)

_PROBE_SAMPLES = 2


@dataclass(frozen=True)
class Running:
    """How a model is run.

    Attributes:
        plan: What was found out about batches.
        probe: The samples on which that was decided.
        batch: Samples per run.
        estimated_bytes: Memory beyond a plain session, estimated.
    """

    plan: BatchPlan
    probe: dict[str, Array]
    batch: int
    estimated_bytes: int


@dataclass(frozen=True)
class Groundwork(Running):
    """All that is settled before the scoring session is built.

    Attributes:
        chosen: The tensors to score, and the others with reasons.
        reads: Layer → the tensor of ``plan.model`` that holds its numbers.
        attacked: How the model is run without any of the nodes that only scoring needs.
    """

    chosen: LayerPlan
    reads: dict[str, Read]
    attacked: BatchPlan


@dataclass(frozen=True)
class Instrument:
    """A scoring session with all that is known about it.

    Attributes:
        session: Scores batches.
        ground: What it was built on.
        layers: The layers it scores, in the session's order.
        sizes: Elements per sample of each.
        not_scored: All other tensors, with reasons.
    """

    session: ScoringSession
    ground: Groundwork
    layers: list[LayerInfo]
    sizes: list[int]
    not_scored: list[NotScored]


def lay_groundwork(subject: Subject, options: ScanOptions, device: Device) -> Groundwork:
    """Choose what to score, and find out how the model can be run.

    Raises:
        DataError: The layer selection matches nothing, or the memory bound is below what one
            sample needs.
        ModelError: ONNX Runtime cannot run the model.
    """
    found = survey(subject.model.proto, subject.model.folder, device)
    chosen = plan_layers(found, options.layers)
    chosen = collectable(subject, found, chosen, device, lambda: _probe_feeds(subject))
    readable = make_readable(subject.prepared, found, chosen)
    running = lay_batches(
        subject,
        options,
        device,
        readable,
        lambda: _freed(subject.prepared, readable, found, chosen),
    )
    attacked = running.plan
    if readable.model is not subject.prepared:
        attacked = _without_readings(running.plan, subject.prepared, chosen)
    return Groundwork(**vars(running), chosen=chosen, reads=readable.reads, attacked=attacked)


def _freed(
    prepared: onnx.ModelProto, readable: Readable, found: Survey, chosen: LayerPlan
) -> onnx.ModelProto:
    """The readable model with its batch freed.

    Freed first: what stands for a branch that is not taken would keep the old batch.
    """
    first = make_readable(rebatch(prepared), found, chosen)
    return first.model if first.reads == readable.reads else rebatch(readable.model)


def _without_readings(plan: BatchPlan, prepared: onnx.ModelProto, chosen: LayerPlan) -> BatchPlan:
    """The plan for attacks, which need none of the nodes that make tensors readable."""
    model = rebatch(prepared) if plan.mode == "rebatched" else prepared
    plain = {info.tensor for info in chosen.layers if info.body is None and info.reading is None}
    scored = [item for item in plan.scored if item.tensor in plain]
    return dataclasses.replace(plan, model=model, scored=scored)


def lay_batches(
    subject: Subject,
    options: SubjectOptions,
    device: Device,
    readable: Readable | None = None,
    freed: Callable[[], onnx.ModelProto] | None = None,
) -> Running:
    """Find out how the model can be run.

    Args:
        subject: Model and data.
        options: How large a batch or its memory may be.
        device: Where to run.
        readable: The model to run instead, in which the layers to score can be read.
        freed: Makes that model with its batch freed.

    Raises:
        DataError: The memory bound is below what one sample needs.
        ModelError: ONNX Runtime cannot run the model.
    """
    probe = _probe_feeds(subject)
    readable = readable or Readable(subject.prepared, {})
    plan = BatchProbe(
        readable.model,
        subject.model.folder,
        device,
        subject.layout,
        {read.tensor: read.element for read in readable.reads.values()},
        subject.outputs,
        executions(subject, readable, device, probe),
        freed,
    ).plan(probe, single_because(subject))
    give_back_memory()
    batch, estimate = _batch(subject, plan, options)
    _log.debug("batch %d, %s: %s", batch, plan.mode, plan.note)
    _log.debug("memory beyond a plain session: about %s", size_text(estimate))
    return Running(plan, probe, batch, estimate)


def build_instrument(subject: Subject, ground: Groundwork, device: Device) -> Instrument:
    """Build the scoring session, and drop what it cannot reproduce.

    Raises:
        ModelError: ONNX Runtime cannot run the twin.
    """
    plan, chosen = ground.plan, ground.chosen
    session = ScoringSession(
        plan,
        subject.outputs,
        subject.input.name,
        subject.model.folder,
        subject.model.workspace,
        device,
    )
    rejected = {**plan.rejected, **session.verify(ground.probe)}
    give_back_memory()
    reads = {name: read.tensor for name, read in ground.reads.items()}
    dropped = {name: rejected[place] for name, place in reads.items() if place in rejected}
    left = chosen.without(dropped)
    places = [reads[info.tensor] for info in left.layers]
    layers = [
        dataclasses.replace(info, numerical_floor=plan.floors[place])
        for info, place in zip(left.layers, places, strict=True)
    ]
    before = subject.promotion.dropped if subject.promotion else ()
    sizes = [plan.sizes[place] for place in places]
    _log.debug(
        "engine: %s, scores %s of %s layers", session.engine, len(layers), len(chosen.layers)
    )
    return Instrument(session, ground, layers, sizes, [*before, *left.not_scored])


def _probe_feeds(subject: Subject) -> dict[str, Array]:
    """A few samples; inputs that are held take the first sample's value in all of them."""
    fixed = subject.layout.leading if subject.layout.leading not in (None, 1) else None
    count = min(fixed or _PROBE_SAMPLES, len(subject.dataset))
    feeds, _ = subject.feeds(0, count)
    for value in subject.held:
        feeds[value.name] = np.repeat(feeds[value.name][:1], count, axis=0)
    if fixed and count < fixed:
        missing = fixed - count
        return {n: np.concatenate([x, np.repeat(x[-1:], missing, 0)]) for n, x in feeds.items()}
    return feeds


def _batch(subject: Subject, plan: BatchPlan, options: SubjectOptions) -> tuple[int, int]:
    shapes = {subject.input.name: subject.dataset.sample_shape}
    per_sample = bytes_per_sample(plan.model, shapes, plan.sizes)
    bound = options.max_memory_bytes
    smallest = estimate_bytes(per_sample, plan.fixed_batch or 1)
    if bound is not None and smallest > bound:
        raise DataError(
            f"--max-memory {size_text(bound)} is too little: scoring one sample needs about "
            f"{size_text(smallest)}; allow more, or score fewer tensors with --layers"
        )
    size = options.batch or batch_size(per_sample, options.budget_bytes)
    fixed = plan.fixed_batch or 1
    size = max(fixed, size - size % fixed)
    at_once = plan.fixed_batch or size
    return size, estimate_bytes(per_sample, at_once)
