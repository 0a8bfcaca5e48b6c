"""A case as ``lsa-onnx scan --layers all`` takes it: all that the table asks of the scanner is here."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from lsa_onnx.errors import DataError
from lsa_onnx.layers import LayerPlan, plan_layers
from lsa_onnx.layers.reads import Read, Readable, make_readable
from lsa_onnx.layers.settings import setting_inputs
from lsa_onnx.model import Model, load_model
from lsa_onnx.rewrite import Comparison, Scored, compare, expose
from lsa_onnx.rewrite.graph import dependents, subgraphs
from lsa_onnx.runtime.devices import resolve_device
from lsa_onnx.runtime.inspection import survey
from lsa_onnx.runtime.session import Optimisation, Session, SessionPlan
from lsa_onnx.scanning.instrument import Instrument, build_instrument, lay_groundwork
from lsa_onnx.scanning.options import ScanOptions
from lsa_onnx.scanning.subject import Subject, open_subject
from tests.conformance.cases import Case

Array = NDArray[Any]
Values = dict[str, Any]

CPU = resolve_device("cpu")
# The types of input that noise is added to.
_PERTURBED = frozenset({"float16", "float32", "float64"})
_HALF = frozenset({"float16", "bfloat16"})
_ARRAYS = frozenset(
    {"float16", "float32", "float64", "bool", "string"}
    | {f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)}
)
# How far noise moves a value: by a share of it, and by a step.
_SHARE, _STEP = 0.02, 0.01


@dataclass(frozen=True)
class Loaded:
    """A case as the scanner loads it.

    Attributes:
        case: The case.
        model: Its model, as loaded.
        types: The element types of its tensors.
        plan: The layers that can be scored, and all other tensors with reasons.
        readable: The model in which the layers are tensors of the main graph.
    """

    case: Case
    model: Model
    types: frozenset[str]
    plan: LayerPlan
    readable: Readable

    @property
    def perturbed(self) -> str | None:
        """The input that noise is added to: the first of floats."""
        floats = (value.name for value in self.model.inputs if value.dtype in _PERTURBED)
        return next(floats, None)

    @property
    def is_half(self) -> bool:
        """Whether some of it is in half precision, to which ONNX Runtime rounds only what is looked at."""
        return bool(self.types & _HALF)

    @property
    def types_without_arrays(self) -> list[str]:
        """The types of inputs and outputs that numpy does not have."""
        names = {value.dtype for value in (*self.model.inputs, *self.model.outputs)}
        return sorted(names - _ARRAYS)

    @property
    def reads(self) -> dict[str, Read]:
        """Where the layers are read, by tensor."""
        return {read.tensor: read for read in self.readable.reads.values()}

    def plain(self, optimisation: Optimisation) -> Session:
        """Runs the model as it was loaded."""
        return self.session(self.model.proto, optimisation)

    def exposing(self, optimisation: Optimisation) -> Session:
        """Runs the model and also returns every layer."""
        return self.session(expose(self.readable.model, self.reads), optimisation)

    def twin(self, values: Mapping[str, Array], perturb: str) -> Comparison:
        """The twin that scores the tensors of ``values``, their shape in a run, which is one sample."""
        varying = dependents(self.readable.model.graph, [perturb], by_value=True)
        scored = [
            _scored(read, values[name].shape)
            for name, read in self.reads.items()
            if name in varying and name in values
        ]
        outputs = [value.name for value in self.model.proto.graph.output]
        return compare(self.readable.model, scored, outputs, [perturb])

    def session(self, model: onnx.ModelProto, optimisation: Optimisation) -> Session:
        """Runs a rewritten form of the model."""
        return Session(model, CPU, self.model.folder, SessionPlan(optimisation))


def load(case: Case, folder: Path) -> Loaded:
    """Write the case into ``folder``, load it, and choose its layers.

    Raises:
        LsaError: The scanner refuses it.
    """
    onnx.save(case.model, _model_file(folder))
    model = load_model(_model_file(folder))
    found = survey(model.proto, model.folder, CPU)
    plan = plan_layers(found, ("all",))
    types = [found.types, *(inside.types for inside in found.inside)]
    return Loaded(
        case,
        model,
        frozenset(name for known in types for name, _ in known.values()),
        plan,
        make_readable(model.proto, found, plan),
    )


def _scored(read: Read, shape: Sequence[int]) -> Scored:
    elements = math.prod(shape[1:] if read.executions else shape)
    return Scored(read.tensor, None, elements or None, read.element, read.executions)


def made_tensors(graph: onnx.GraphProto) -> Iterator[str]:
    """Every tensor that a node makes, also in the bodies of control flow."""
    for node in graph.node:
        yield from filter(None, node.output)
        for body in subgraphs(node):
            yield from made_tensors(body)


@dataclass(frozen=True)
class Bench:
    """A scan that is ready to score."""

    subject: Subject
    instrument: Instrument

    @property
    def scored(self) -> list[Scored]:
        """The tensors that are scored, in the order of the scores."""
        return self.instrument.session.scored

    def runs(self, feeds: Mapping[str, Array]) -> list[Values]:
        """Outputs and scored tensors of the model that is scanned, run by run.

        Args:
            feeds: Input name → samples, shape (n, ...).
        """
        plan = self.instrument.ground.plan
        model = expose(plan.model, [item.tensor for item in self.scored])
        session = Session(model, CPU, self.subject.model.folder, SessionPlan("none"))
        count = len(feeds[self.subject.input.name])
        size = plan.fixed_batch or count
        return [
            session.run({n: plan.layout.feed(x[i : i + size]) for n, x in feeds.items()})
            for i in range(0, count, size)
        ]


def open_bench(loaded: Loaded, folder: Path) -> Bench:
    """Prepare the scan of a case that was loaded, on its own inputs.

    Raises:
        LsaError: The scanner refuses it.
    """
    options = ScanOptions(layout="flat", range=_range(loaded), layers=("all",))
    subject, options = _fed(loaded, options, folder)
    ground = lay_groundwork(subject, options, CPU)
    return Bench(subject, build_instrument(subject, ground, CPU))


def _fed(loaded: Loaded, options: ScanOptions, folder: Path) -> tuple[Subject, ScanOptions]:
    """The subject with the case's own inputs as data, and again with noise.

    What one sample is may depend on the values of other inputs, so the data are tried as samples of the
    whole input, which the scanner refuses where its rows are samples, and then as rows.
    """
    model = str(_model_file(folder))
    leading = open_subject(model, options).layout.leading
    options = replace(options, data=folder / "data.npz", labels="none")
    assert options.data is not None
    for apart in (True, False)[1 if leading == 1 else 0 :]:
        np.savez(options.data, **_samples(loaded, apart=apart))  # type: ignore[arg-type] # names, not options
        try:
            return open_subject(model, options), options
        except DataError:
            if not apart:
                raise
    raise AssertionError(loaded.case.name)


def noisy(x: Array, seed: int = 0) -> Array:
    """``x`` with a little noise."""
    rng = np.random.default_rng(seed)
    factor = 1 + _SHARE * rng.uniform(-1, 1, x.shape)
    moved = x.astype(np.float64) * factor + _STEP * rng.uniform(-1, 1, x.shape)
    return np.asarray(moved, x.dtype)


def _model_file(folder: Path) -> Path:
    return folder / "model.onnx"


def _samples(loaded: Loaded, *, apart: bool) -> dict[str, Array]:
    """The case's own inputs, and again with noise: input name → samples, shape (n, ...).

    Args:
        loaded: The case.
        apart: Each of the two is one sample; else their rows are.
    """
    feeds, names = loaded.case.feeds, [value.name for value in loaded.model.inputs]
    own = {name: _finite(feeds[name]) for name in names if isinstance(feeds[name], np.ndarray)}
    perturb = loaded.perturbed or next(iter(own), "")
    settings = setting_inputs(loaded.model.proto.graph)

    def given(name: str, array: Array) -> Array:
        second = noisy(array) if name == loaded.perturbed else array
        # A number, or what sets a shape, has one value for all samples, as has an input of another length.
        if name != perturb and (name in settings or not array.ndim):
            return array
        if apart:
            return np.stack([array, second])
        return array if len(array) != len(own[perturb]) else np.concatenate([array, second])

    return {name: given(name, array) for name, array in own.items()}


def _finite(x: Array) -> Array:
    """``x`` with numbers in place of infinities and NaN, which are no data."""
    if x.dtype.name not in _PERTURBED:
        return x
    return np.nan_to_num(x, nan=0.5, posinf=2.0, neginf=-2.0)


def _range(loaded: Loaded) -> tuple[float, float] | None:
    """A value range that holds the samples, ``None`` where nothing is perturbed."""
    if loaded.perturbed is None:
        return None
    x = _finite(loaded.case.feeds[loaded.perturbed])
    values = np.stack([x, noisy(x)]).astype(np.float64)
    return float(values.min(initial=0.0)), float(values.max(initial=1.0))
