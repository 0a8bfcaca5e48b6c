"""What bodies of If, Loop and Scan ask of a scan: how the model may be run, and what can be collected."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

from lsa_onnx.errors import ModelError
from lsa_onnx.layers import LayerPlan, Readable, Survey, make_readable
from lsa_onnx.rewrite.bodies import bodies
from lsa_onnx.runtime.batching import Executed
from lsa_onnx.runtime.devices import Device
from lsa_onnx.runtime.inspection import shapes_for
from lsa_onnx.runtime.session import Session, SessionPlan
from lsa_onnx.scanning.subject import Subject

Array = NDArray[Any]

_ONCE = SessionPlan(optimisation="none", lean=True, prepack=False)


def executions(
    subject: Subject, readable: Readable, device: Device, probe: Mapping[str, Array]
) -> dict[str, Executed]:
    """What is known, without a run, of the tensors that count executions."""
    uneven = {read.tensor: read.uneven for read in readable.reads.values() if read.executions}
    if not uneven:
        return {}
    alone = {name: subject.layout.feed(x[:1]).shape for name, x in probe.items()}
    shapes = shapes_for(readable.model, subject.model.folder, device, alone)
    found = {name: shapes[name] for name in uneven}
    return {
        name: Executed(_size(shape[1:]) if shape else None, uneven[name])
        for name, shape in found.items()
    }


def _size(shape: Sequence[int | str | None] | None) -> int | None:
    """Elements of a tensor of this shape, ``None`` where it is not settled."""
    if shape is None or not all(isinstance(size, int) for size in shape):
        return None
    return math.prod(size for size in shape if isinstance(size, int))


def single_because(subject: Subject) -> str | None:
    """Why samples must not share a run: one's values would decide how the others are computed."""
    found = (body for body in bodies(subject.model.proto) if body.executed_by_values)
    return next(
        (
            f"the values of the input decide whether and how often {body.path!r} runs: one sample per run"
            for body in found
        ),
        None,
    )


def collectable(
    subject: Subject,
    found: Survey,
    chosen: LayerPlan,
    device: Device,
    probe: Callable[[], Mapping[str, Array]],
) -> LayerPlan:
    """The plan without tensors of bodies whose shape changes from one iteration to the next.

    ONNX Runtime collects iterations of one shape only. Where no inference settles the shape, one
    run shows it.
    """
    doubtful = [info.tensor for info in chosen.layers if info.body and _size(info.shape) is None]
    if not doubtful:
        return chosen
    feeds = {name: subject.layout.feed(x[:1]) for name, x in probe().items()}

    def runs(names: Sequence[str]) -> bool:
        others = dict.fromkeys(set(doubtful) - set(names), "")
        readable = make_readable(subject.prepared, found, chosen.without(others))
        try:
            Session(readable.model, device, subject.model.folder, _ONCE).run(feeds)
        except ModelError:
            return False
        return True

    if runs(doubtful) or not runs(()):
        return chosen
    reason = "its shape changes from one iteration to the next"
    return chosen.without(dict.fromkeys(_failing(doubtful, runs), reason))


def _failing(names: Sequence[str], runs: Callable[[Sequence[str]], bool]) -> list[str]:
    """Those of ``names``, which do not all run, that do not run; found by halving."""
    if runs(names):
        return []
    if len(names) == 1:
        return list(names)
    middle = len(names) // 2
    return [*_failing(names[:middle], runs), *_failing(names[middle:], runs)]
