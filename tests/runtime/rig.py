"""A model through loading, planning, probing and scoring, next to what numpy makes of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lsa_onnx.layers import LayerPlan, Readable, make_readable, plan_layers
from lsa_onnx.model import Model, load_model
from lsa_onnx.rewrite import expose
from lsa_onnx.rewrite.bodies import bodies
from lsa_onnx.runtime.batching import BatchPlan, BatchProbe, Executed
from lsa_onnx.runtime.devices import Device
from lsa_onnx.runtime.inspection import survey
from lsa_onnx.runtime.layout import Layout, input_layout
from lsa_onnx.runtime.scoring import ScoredBatch, ScoringSession
from tests.graphs import Array, run, save

if TYPE_CHECKING:
    import onnx

CPU = Device("cpu", 0, "CPUExecutionProvider")


@dataclass
class Rig:
    """A model ready to be scored."""

    model: Model
    layers: LayerPlan
    layout: Layout
    plan: BatchPlan
    session: ScoringSession
    dropped: dict[str, str]
    perturb: str
    readable: Readable

    @property
    def scored(self) -> list[str]:
        """The layers, by their names in a report."""
        return [self._names[item.tensor] for item in self.session.scored]

    @property
    def _names(self) -> dict[str, str]:
        return {read.tensor: name for name, read in self.readable.reads.items()}

    @property
    def reasons(self) -> dict[str, str]:
        """Tensor → why it is not scored, from all stages."""
        planned = {item.tensor: item.reason for item in self.layers.not_scored}
        found = {**self.plan.rejected, **self.dropped}
        return {**planned, **{self._names[tensor]: why for tensor, why in found.items()}}

    def score(self, feeds: Mapping[str, Array], perturbed: Array) -> ScoredBatch:
        return self.session.run(feeds, perturbed)

    def reference(self, feeds: Mapping[str, Array], perturbed: Array) -> dict[str, Array]:
        """Layer → ‖a − b‖², ‖a‖² and ‖b‖² in float64, shape (n, 3), from single plain runs.

        Of a tensor in a body, the executions that both samples have are compared.
        """
        reads = [self.readable.reads[name] for name in self.scored]
        exposed = expose(self.readable.model, [read.tensor for read in reads])
        second = {**feeds, self.perturb: perturbed}
        found: dict[str, list[list[float]]] = {name: [] for name in self.scored}
        for index in range(len(perturbed)):
            a, b = (self._sample(exposed, x, index) for x in (feeds, second))
            for read, rows in zip(reads, found.values(), strict=True):
                first, other = a[read.tensor], b[read.tensor]
                if read.executions:
                    common = min(len(first), len(other))
                    first, other = first[:common].ravel(), other[:common].ravel()
                rows.append([float((v**2).sum()) for v in (first - other, first, other)])
        return {name: np.asarray(rows) for name, rows in found.items()}

    def _sample(
        self, exposed: onnx.ModelProto, feeds: Mapping[str, Array], index: int
    ) -> dict[str, Array]:
        given = {name: self.layout.feed(x[index : index + 1]) for name, x in feeds.items()}
        results = run(exposed, given, self.model.folder)
        return {
            name: np.asarray(value, np.float64)
            for name, value in results.items()
            if _is_number(value)
        }


def build(
    proto: onnx.ModelProto,
    feeds: Mapping[str, Array],
    folder: Path,
    *,
    selectors: Sequence[str] = ("all",),
    perturb: str | None = None,
    probes: int = 2,
) -> Rig:
    """Everything that a scan does before it scores; ``feeds`` are samples, (n, ...)."""
    model = load_model(save(proto, folder / "model.onnx"))
    found = survey(model.proto, model.folder, CPU)
    layers = plan_layers(found, selectors)
    readable = make_readable(model.proto, found, layers)
    name = perturb or next(iter(feeds))
    target = next(value for value in model.inputs if value.name == name)
    layout = input_layout(target.shape, [value.shape for value in model.outputs])
    elements = {read.tensor: read.element for read in readable.reads.values()}
    executions = {
        read.tensor: Executed(None, read.uneven)
        for read in readable.reads.values()
        if read.executions
    }
    outputs = [v.name for v in model.outputs if v.dtype not in ("sequence", "optional", "map")]
    count = layout.leading if layout.leading not in (None, 1) else probes
    probe = {n: x[:count] for n, x in feeds.items()}
    for held in probe:
        if held != name:
            probe[held] = np.repeat(probe[held][:1], len(probe[held]), axis=0)
    by_values = any(body.executed_by_values for body in bodies(model.proto))
    plan = BatchProbe(
        readable.model, model.folder, CPU, layout, elements, outputs, executions
    ).plan(probe, "by values" if by_values else None)
    session = ScoringSession(plan, outputs, name, model.folder, model.workspace, CPU)
    return Rig(model, layers, layout, plan, session, session.verify(probe), name, readable)


def _is_number(value: object) -> bool:
    return isinstance(value, np.ndarray) and value.dtype.kind in "fiub"
