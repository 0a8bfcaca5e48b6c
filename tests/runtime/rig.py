"""A model through loading, planning, probing and scoring, next to what numpy makes of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lsa_onnx.layers import LayerPlan, plan_layers
from lsa_onnx.model import Model, load_model
from lsa_onnx.rewrite import expose
from lsa_onnx.runtime.batching import BatchPlan, BatchProbe
from lsa_onnx.runtime.devices import Device
from lsa_onnx.runtime.inspection import tensor_types
from lsa_onnx.runtime.layout import Layout, input_layout
from lsa_onnx.runtime.scoring import ScoredBatch, ScoringSession
from tests.graphs import ELEMENTS, Array, run, save

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

    @property
    def scored(self) -> list[str]:
        return [item.tensor for item in self.session.scored]

    @property
    def reasons(self) -> dict[str, str]:
        """Tensor → why it is not scored, from all stages."""
        planned = {item.tensor: item.reason for item in self.layers.not_scored}
        return {**planned, **self.plan.rejected, **self.dropped}

    def score(self, feeds: Mapping[str, Array], perturbed: Array) -> ScoredBatch:
        return self.session.run(feeds, perturbed)

    def reference(self, feeds: Mapping[str, Array], perturbed: Array) -> dict[str, Array]:
        """Tensor → ‖a − b‖², ‖a‖² and ‖b‖² in float64, shape (n, 3), from single plain runs."""
        exposed = expose(self.model.proto, self.scored)
        second = {**feeds, self.perturb: perturbed}
        found: dict[str, list[list[float]]] = {name: [] for name in self.scored}
        for index in range(len(perturbed)):
            a, b = (self._sample(exposed, x, index) for x in (feeds, second))
            for name, rows in found.items():
                rows.append([float((v**2).sum()) for v in (a[name] - b[name], a[name], b[name])])
        return {name: np.asarray(rows) for name, rows in found.items()}

    def _sample(
        self, exposed: onnx.ModelProto, feeds: Mapping[str, Array], index: int
    ) -> dict[str, Array]:
        given = {name: self.layout.feed(x[index : index + 1]) for name, x in feeds.items()}
        results = run(exposed, given, self.model.folder)
        return {name: np.asarray(results[name], np.float64) for name in self.scored}


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
    types = tensor_types(model.proto, model.folder, CPU)
    layers = plan_layers(model.proto, types, selectors)
    name = perturb or next(iter(feeds))
    target = next(value for value in model.inputs if value.name == name)
    layout = input_layout(target.shape, [value.shape for value in model.outputs])
    elements = {info.tensor: ELEMENTS[info.dtype] for info in layers.layers}
    outputs = [v.name for v in model.outputs if v.dtype not in ("sequence", "optional", "map")]
    count = layout.leading if layout.leading not in (None, 1) else probes
    probe = {n: x[:count] for n, x in feeds.items()}
    for held in probe:
        if held != name:
            probe[held] = np.repeat(probe[held][:1], len(probe[held]), axis=0)
    plan = BatchProbe(model.proto, model.folder, CPU, layout, elements, outputs).plan(probe)
    session = ScoringSession(plan, outputs, name, model.folder, model.workspace, CPU)
    return Rig(model, layers, layout, plan, session, session.verify(probe), name)
