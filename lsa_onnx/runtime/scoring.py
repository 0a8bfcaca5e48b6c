"""The scoring session: clean and perturbed inputs in, sums of squares per sample and layer out.

How it gets the speed of plain inference (measured in benchmarks/scan.py): ONNX Runtime first
optimises the model with the wanted tensors exposed, so fusions stop where a tensor is wanted and
nowhere else; the twin is built on that graph, and runs without further optimisation in an order
that frees each activation right after its reduction.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import onnx
from google.protobuf.message import DecodeError

from lsa_onnx.errors import ModelError
from lsa_onnx.executions import ExecutionSums, joined_layers
from lsa_onnx.measures import SumsOfSquares
from lsa_onnx.rewrite import Comparison, Scored, compare, expose
from lsa_onnx.rewrite.graph import dependents, true_inputs
from lsa_onnx.runtime.batching import HALF, BatchPlan
from lsa_onnx.runtime.devices import Device
from lsa_onnx.runtime.layout import padded
from lsa_onnx.runtime.matching import Array, distinct, stack_rows
from lsa_onnx.runtime.memory import give_back_memory
from lsa_onnx.runtime.session import Session, SessionPlan
from lsa_onnx.weights import is_large

Engine = Literal["optimised twin", "plain twin"]

# The twin must reproduce what numpy finds on the probe samples; ‖·‖² doubles the relative error of ‖·‖.
_CHECK_TOLERANCE = 2e-2
# Integer kernels of an optimised graph may round to the next step of a scale.
_QUANTISED_TOLERANCE = 0.2
# How far half precision rounds, relative to a number.
_HALF_STEP = 2.0**-10
_QUANTISING = frozenset({"QuantizeLinear", "DynamicQuantizeLinear", "QLinearConv", "QLinearMatMul"})
_SMALLEST = float(np.finfo(np.float32).tiny)
_LARGEST = float(np.finfo(np.float32).max)
_LEAN = SessionPlan(optimisation="none", lean=True)


@dataclass(frozen=True)
class ScoredBatch:
    """One run: sums of squares, shape (n, layers), and the model's outputs for both branches.

    An output is of shape (n, ...), or an object array (n,) where samples differ in shape.
    ``executions`` has the tensors that a body makes: their column → what each execution gave.
    """

    sums: SumsOfSquares
    clean: dict[str, Array]
    perturbed: dict[str, Array]
    executions: dict[int, ExecutionSums]


class ScoringSession:
    """Scores the tensors of a ``BatchPlan``."""

    def __init__(
        self,
        plan: BatchPlan,
        outputs: Sequence[str],
        perturb: str,
        folder: Path,
        workspace: Path,
        device: Device,
    ) -> None:
        """Build the twin and its session, on the optimised graph if that reproduces the probe.

        Args:
            plan: How the model is run, and what is scored.
            outputs: Outputs to return for both branches.
            perturb: The input that has a perturbed version.
            folder: Folder of the model's external tensors.
            workspace: Where the optimised graph may be written.
            device: Where to run.

        Raises:
            ModelError: Neither twin runs.
        """
        self._plan = plan
        self._outputs = list(outputs)
        self._perturb = perturb
        self._folder = folder
        self._workspace = workspace
        self._device = device
        varying = dependents(plan.model.graph, [perturb], by_value=True)
        self.scored = [item for item in plan.scored if item.tensor in varying]
        self._constant = [item.tensor for item in plan.scored if item.tensor not in varying]
        quantised = any(node.op_type in _QUANTISING for node in plan.model.graph.node)
        self._tolerance = _QUANTISED_TOLERANCE if quantised else _CHECK_TOLERANCE
        self.engine: Engine = "optimised twin"
        self._comparison, self._session = self._optimised() or self._plain()

    def verify(self, feeds: Mapping[str, Array]) -> dict[str, str]:
        """Hold the session to the plan's ``expected`` sums on the probe samples.

        Falls back on the unoptimised twin when the optimised one fails; what that cannot reproduce
        either is dropped.

        Args:
            feeds: The probe samples that the plan was made with, input name → shape (k, ...).

        Returns:
            Tensor → reason, for each tensor that is not scored.
        """
        feeds = distinct(feeds)
        try:
            wrong = self._disagreements(feeds)
        except ModelError:
            if self.engine == "plain twin":
                raise
            wrong = {"": "the optimised twin does not run"}
        if wrong and self.engine == "optimised twin":
            self._comparison, self._session = self._plain()
            wrong = self._disagreements(feeds)
        if wrong:
            self.scored = [item for item in self.scored if item.tensor not in wrong]
            self._comparison, self._session = self._plain()
        held = f"it does not depend on {self._perturb!r}, the input that is perturbed"
        return {**dict.fromkeys(self._constant, held), **wrong}

    def run(self, feeds: Mapping[str, Array], perturbed: Array) -> ScoredBatch:
        """Score n samples.

        Args:
            feeds: Clean inputs by name, shape (n, ...).
            perturbed: The perturbed version of the input that is perturbed, shape (n, ...).
        """
        count = len(perturbed)
        size = self._plan.fixed_batch or count
        pieces = [
            self._run_once(
                {name: x[start : start + size] for name, x in feeds.items()},
                perturbed[start : start + size],
                size,
            )
            for start in range(0, count, size)
        ]
        return pieces[0] if len(pieces) == 1 else _joined(pieces)

    def _run_once(self, feeds: Mapping[str, Array], perturbed: Array, size: int) -> ScoredBatch:
        count, layout = len(perturbed), self._plan.layout
        second = self._comparison.perturbed_inputs[self._perturb]
        given = {**feeds, second: perturbed}
        result = self._session.run({n: layout.feed(padded(x, size)) for n, x in given.items()})

        def outputs(of: Mapping[str, str]) -> dict[str, Array]:
            if self._plan.fixed_batch == 1:
                return {output: result[name][None] for output, name in of.items()}
            return {o: _per_sample(n, result[n], size)[:count] for o, n in of.items()}

        executed = {
            index: ExecutionSums.of(
                *(part.reshape(size, -1) for part in self._parts(item, result))
            ).first(count)
            for index, item in enumerate(self.scored)
            if item.executions
        }
        totals = np.zeros((3, count, len(self.scored)))
        for index, item in enumerate(self.scored):
            totals[:, :, index] = (
                executed[index].total
                if index in executed
                else [_per_sample(item.tensor, p, size)[:count] for p in self._parts(item, result)]
            )
        return ScoredBatch(
            SumsOfSquares(*totals),
            outputs({name: name for name in self._outputs}),
            outputs(self._comparison.perturbed_outputs),
            executed,
        )

    def _parts(self, item: Scored, result: Mapping[str, Array]) -> list[Array]:
        """‖a − b‖², ‖a‖² and ‖b‖² of one tensor, as the twin returns them, each of one axis."""
        names = self._comparison.sums[item.tensor]
        parts = (names.difference, names.clean, names.perturbed)
        return [np.asarray(result[name]).reshape(-1) for name in parts]

    def _optimised(self) -> tuple[Comparison, Session] | None:
        """The twin of the graph as ONNX Runtime optimises it; ``None`` where that does not work."""
        if is_large(self._plan.model):
            # The optimised graph comes with a file of weights of its own.
            return None
        target = self._workspace / "optimised.onnx"
        exposed = expose(self._plan.model, [item.tensor for item in self.scored])
        save = SessionPlan(prepack=False, save_optimised=target)
        try:
            Session(exposed, self._device, self._folder, save)
            give_back_memory()
            optimised = onnx.load(target, load_external_data=False)
            _forget_constants(optimised, self._plan.model)
            comparison = compare(optimised, self.scored, self._outputs, [self._perturb])
            session = Session(comparison.model, self._device, self._workspace, _LEAN)
        except (ModelError, OSError, DecodeError):
            # A fused operator without a serialised form, say. The plain twin needs none of this.
            return None
        return comparison, session

    def _plain(self) -> tuple[Comparison, Session]:
        self.engine = "plain twin"
        comparison = compare(self._plan.model, self.scored, self._outputs, [self._perturb])
        return comparison, Session(comparison.model, self._device, self._folder, _LEAN)

    def _disagreements(self, feeds: Mapping[str, Array]) -> dict[str, str]:
        batch = self.run(feeds, np.roll(feeds[self._perturb], -1, axis=0))
        found: dict[str, str] = {}
        for index, item in enumerate(self.scored):
            got = (batch.sums.difference, batch.sums.clean, batch.sums.perturbed)
            expected = self._plan.expected[item.tensor]
            scale = max(float(np.nanmax(expected[1], initial=0.0)), _SMALLEST)
            pairs = [(g[:, index], e) for g, e in zip(got, expected, strict=True)]
            rounded = np.zeros(len(expected[0]))
            if item.element in HALF:
                rounded = _HALF_STEP * (np.sqrt(expected[1]) + np.sqrt(expected[2]))
            if not all(_agree(g, e, scale, self._tolerance, rounded) for g, e in pairs):
                found[item.tensor] = "its score in the graph is not numpy's on the probe samples"
        return found


def _forget_constants(optimised: onnx.ModelProto, model: onnx.ModelProto) -> None:
    """Take constants that optimisation left out from the inputs of ``optimised`` (changed).

    Until IR version 4 constants are declared as inputs; ONNX Runtime drops one without its declaration.
    """
    fed = {value.name for value in true_inputs(model.graph)}
    lost = [value for value in true_inputs(optimised.graph) if value.name not in fed]
    for value in lost:
        optimised.graph.input.remove(value)


def _agree(got: Array, expected: Array, scale: float, tolerance: float, rounded: Array) -> bool:
    """Whether sums agree; overflow in float32 and NaN on both sides count as agreement.

    ``rounded`` is how far rounding may move each of the vectors whose squares are summed.
    """
    both_bad = ~np.isfinite(got) & (~np.isfinite(expected) | (expected > _LARGEST))
    with np.errstate(invalid="ignore"):
        allowed = tolerance * expected + 1e-6 * scale
        if rounded.any():
            allowed = allowed + 2 * np.sqrt(expected) * rounded + rounded**2
        close = np.abs(got - expected) <= allowed
    return bool(np.all(close | both_bad))


def _per_sample(name: str, values: Array, size: int) -> Array:
    """``values``, checked to have one row per sample: the probe saw fewer samples at a time."""
    rows = len(values) if values.ndim else 0
    if rows != size:
        raise ModelError(
            f"{name!r} has {rows} rows for a batch of {size} samples; score one sample per run "
            "with --batch 1"
        )
    return values


def _joined(pieces: Sequence[ScoredBatch]) -> ScoredBatch:
    sums = SumsOfSquares(
        np.concatenate([p.sums.difference for p in pieces]),
        np.concatenate([p.sums.clean for p in pieces]),
        np.concatenate([p.sums.perturbed for p in pieces]),
    )
    return ScoredBatch(
        sums,
        {name: stack_rows([p.clean[name] for p in pieces]) for name in pieces[0].clean},
        {name: stack_rows([p.perturbed[name] for p in pieces]) for name in pieces[0].perturbed},
        joined_layers([piece.executions for piece in pieces]),
    )
