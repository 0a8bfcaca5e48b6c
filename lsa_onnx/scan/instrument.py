"""From a subject to a verified scoring session: choose layers, decide on batches, build the twin."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lsa_onnx.errors import DataError
from lsa_onnx.layers import LayerPlan, plan_layers
from lsa_onnx.layers.operators import FLOAT_ELEMENTS
from lsa_onnx.report.document import LayerInfo, NotScored
from lsa_onnx.report.text import size as size_text
from lsa_onnx.runtime.batching import BatchPlan, BatchProbe
from lsa_onnx.runtime.devices import Device
from lsa_onnx.runtime.inspection import tensor_types
from lsa_onnx.runtime.memory import (
    batch_size,
    bytes_per_sample,
    estimate_bytes,
    give_back_memory,
)
from lsa_onnx.runtime.scoring import ScoringSession
from lsa_onnx.scan.options import ScanOptions, SubjectOptions
from lsa_onnx.scan.subject import Subject

Array = NDArray[Any]

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

    ``chosen`` holds the tensors to score, and the others with reasons.
    """

    chosen: LayerPlan


@dataclass(frozen=True)
class Instrument:
    """A scoring session with all that is known about it.

    Attributes:
        session: Scores batches.
        ground: What it was built on.
        layers: The layers it scores, in the session's order.
        not_scored: All other tensors, with reasons.
    """

    session: ScoringSession
    ground: Groundwork
    layers: list[LayerInfo]
    not_scored: list[NotScored]


def lay_groundwork(subject: Subject, options: ScanOptions, device: Device) -> Groundwork:
    """Choose what to score, and find out how the model can be run.

    Raises:
        DataError: The layer selection matches nothing, or the memory bound is below what one
            sample needs.
        ModelError: ONNX Runtime cannot run the model.
    """
    types = tensor_types(subject.model.proto, subject.model.folder, device)
    chosen = plan_layers(subject.model.proto, types, options.layers)
    elements = {info.tensor: FLOAT_ELEMENTS[info.dtype] for info in chosen.layers}
    running = lay_batches(subject, options, device, elements)
    return Groundwork(**vars(running), chosen=chosen)


def lay_batches(
    subject: Subject,
    options: SubjectOptions,
    device: Device,
    elements: Mapping[str, int] | None = None,
) -> Running:
    """Find out how the model can be run.

    Args:
        subject: Model and data.
        options: How large a batch or its memory may be.
        device: Where to run.
        elements: ONNX element type of each tensor that is to be scored.

    Raises:
        DataError: The memory bound is below what one sample needs.
        ModelError: ONNX Runtime cannot run the model.
    """
    probe = _probe_feeds(subject)
    plan = BatchProbe(
        subject.prepared,
        subject.model.folder,
        device,
        subject.layout,
        elements or {},
        subject.outputs,
    ).plan(probe)
    give_back_memory()
    batch, estimate = _batch(subject, plan, options)
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
    scored = {info.tensor for info in chosen.layers} - set(rejected)
    layers = [
        dataclasses.replace(
            info,
            numerical_floor=plan.floors[info.tensor],
            previous=[name for name in info.previous if name in scored],
        )
        for info in chosen.layers
        if info.tensor in scored
    ]
    dropped = [
        NotScored(info.tensor, info.node, info.op, rejected[info.tensor])
        for info in chosen.layers
        if info.tensor in rejected
    ]
    return Instrument(session, ground, layers, [*dropped, *chosen.not_scored])


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
