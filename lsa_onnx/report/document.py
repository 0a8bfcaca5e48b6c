"""What a scan found, as plain typed records: the contract between scan, reports and trainer.

``Report.to_dict`` gives JSON-ready values (no NaN, no infinity: an undefined figure is ``None`` and
its ``status`` says why). The JSON Schema beside this file describes the same fields;
``SCHEMA_VERSION`` changes when they do. Records that the evaluation shares are in ``sections`` and
can be imported from here too.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any, Literal

from lsa_onnx.report.conveniences import Tabular
from lsa_onnx.report.decode import decode_document, with_lists
from lsa_onnx.report.part import Example as Example
from lsa_onnx.report.part import Partial as Partial
from lsa_onnx.report.part import Shard as Shard
from lsa_onnx.report.sections import Accuracy as Accuracy
from lsa_onnx.report.sections import DataSection as DataSection
from lsa_onnx.report.sections import FileDigest as FileDigest
from lsa_onnx.report.sections import GateOutcome as GateOutcome
from lsa_onnx.report.sections import InputSection as InputSection
from lsa_onnx.report.sections import ModelSection as ModelSection
from lsa_onnx.report.sections import ReportWarning as ReportWarning
from lsa_onnx.report.sections import ValueDescription as ValueDescription

SCHEMA_VERSION = "1.3"

Status = Literal["ok", "undefined", "not finite", "constant", "not executed"]


@dataclass(frozen=True)
class Distribution:
    """Summary of one figure over ``n`` samples.

    ``interval`` is the 95 % bootstrap interval of the mean. ``quantiles`` maps "0.05", "0.25",
    "0.75", "0.95" to values. Every figure is ``None`` where no sample gave a finite one.
    """

    n: int
    mean: float | None
    std: float | None
    median: float | None
    minimum: float | None
    maximum: float | None
    quantiles: dict[str, float | None]
    interval: tuple[float, float] | None


@dataclass(frozen=True)
class Executions:
    """How often the body of an If, Loop or Scan ran that makes a tensor, for the clean samples.

    ``body`` is the body's path, such as "loop_0/body"; ``skipped_samples`` are those for which it
    did not run on both sides; ``diverged_samples`` those for which the perturbation changed how
    often it ran (took another branch): only executions that both sides have are compared.
    ``relative_error`` is the mean CM of the first execution, the second, ...; at most 256.
    """

    body: str
    minimum: int
    maximum: int
    mean: float
    skipped_samples: int
    diverged_samples: int
    relative_error: list[float | None]


@dataclass(frozen=True)
class LayerScore:
    """How far one layer moved under one perturbation.

    ``relative_error`` is the comparison measure CM = ‖φ(x) − φ(x̂)‖ / ‖φ(x)‖ per sample (Khalooei
    et al. 2023). ``amplification`` is ‖Δφ‖ / ‖Δx‖, the empirical Lipschitz ratio ψ. ``growth`` is
    the layer's mean CM over the largest mean CM of the scored layers that feed it (or over the
    relative change of the input, for a first layer). ``undefined_samples`` had a clean norm too
    near zero for a ratio, ``nonfinite_samples`` a NaN or infinity; both are left out of the
    distributions. ``stability`` is the share of bootstrap resamples that put the layer in the MVL
    list. ``executions`` is ``None`` for tensors of the main graph.
    """

    tensor: str
    status: Status
    reason: str | None
    relative_error: Distribution
    absolute_error: Distribution
    cosine: Distribution
    amplification: Distribution
    growth: float | None
    undefined_samples: int
    nonfinite_samples: int
    stability: float | None
    executions: Executions | None = None


@dataclass(frozen=True)
class MvlList:
    """Algorithm 1 (Khalooei et al. 2023): the layers with CM_l − μ > η σ, most vulnerable first.

    ``rule`` is "eta" or "top-k"; ``threshold`` is μ + η σ. ``layers`` holds ONNX tensor names.
    """

    perturbation: str
    rule: Literal["eta", "top-k"]
    eta: float
    top_k: int | None
    mu: float | None
    sigma: float | None
    threshold: float | None
    layers: list[str]


@dataclass(frozen=True)
class Baseline:
    """Random noise that has, for every sample, the norm that an attack's change of it has.

    What an attack does beyond this is due to its direction and not to its size. ``mu`` is the mean
    CM over all layers and samples; ``layers`` holds the mean CM of each layer, in the order of the
    report's layers.
    """

    name: str
    accuracy: Accuracy | None
    flips: float | None
    mu: float | None
    layers: list[float | None]


@dataclass(frozen=True)
class AttackOutcome:
    """What an attack did to the predictions of the untouched model.

    ``eps`` is the largest ``norm`` of a change, in units of the declared range; ``labels`` says
    where the labels that the attack fought came from. ``success`` is the share of the initially
    correct samples (with predicted labels, of all samples) whose prediction changed;
    ``robust_accuracy`` the share of all labelled samples that are still right; ``vanished`` the
    share of samples whose gradient vanishes at the clean input. ``white_box`` attacks know the
    model's gradient.
    """

    norm: Literal["linf", "l2", "l1"]
    eps: float
    objective: str
    labels: Literal["given", "predicted", "none"]
    success: Accuracy | None
    robust_accuracy: Accuracy | None
    vanished: float | None
    white_box: bool
    baseline: Baseline | None


@dataclass(frozen=True)
class PerturbationResult:
    """One perturbation applied to all samples.

    ``kind`` is "noise", "attack" or "pairs" (made elsewhere). ``parameters`` are in units of the
    declared range; ``flips`` is the share of samples whose predicted class changed; ``input_*``
    describe Δx in those units; ``attack`` is ``None`` for what is none.
    """

    name: str
    kind: Literal["noise", "attack", "pairs"]
    parameters: dict[str, Any]
    accuracy: Accuracy | None
    flips: float | None
    input_l2: Distribution
    input_linf: Distribution
    input_relative: Distribution
    layers: list[LayerScore]
    mvl: MvlList
    attack: AttackOutcome | None = None


@dataclass(frozen=True)
class LayerInfo:
    """A scored tensor and where it comes from.

    ``shape`` is as the model declares it (``None`` or a name for a free dimension); ``learnable``
    names the nodes whose weights feed this point; ``previous`` the scored tensors that feed it;
    ``numerical_floor`` is the relative difference between a batched and a single run of the tensor:
    a CM near it is rounding, not movement. ``body`` is the path of the If, Loop or Scan body that
    makes it, ``None`` in the main graph; ``reading`` says how its numbers are had where it does not
    hold them as plain floats ("cast to float32", "through its scale 's'").
    """

    tensor: str
    node: str
    op: str
    learnable: list[str]
    shape: list[int | str | None] | None
    dtype: str
    parameters: int
    previous: list[str]
    scope: str | None
    numerical_floor: float | None
    body: str | None = None
    reading: str | None = None


@dataclass(frozen=True)
class NotScored:
    """A tensor that is not scored, and why."""

    tensor: str
    node: str
    op: str
    reason: str


@dataclass(frozen=True)
class RunSection:
    """How it was run.

    ``batch`` is samples per run; ``batch_mode`` says how that batch came about.
    """

    seed: int
    device: str
    provider: str
    device_note: str | None
    onnxruntime: str
    onnx: str
    python: str
    platform: str
    threads: int
    batch: int
    batch_mode: Literal["free", "rebatched", "native"]
    batch_note: str
    engine: str
    max_memory_bytes: int | None
    estimated_memory_bytes: int | None
    seconds: float
    command: list[str]


@dataclass(frozen=True)
class ObserverCheck:
    """The untouched model against the instrumented one on the same ``n`` clean samples."""

    n: int
    max_absolute_difference: float
    max_relative_difference: float
    label_flips: int | None


@dataclass(frozen=True)
class Verdict:
    """``headline`` is one sentence; ``details`` follow it. ``status`` is for programs."""

    status: Literal["layers found", "no layer stands out", "nothing scored"]
    headline: str
    details: list[str]


@dataclass(frozen=True)
class Report(Tabular):
    """A whole scan.

    ``mvl`` is the headline list: that of the perturbation that moved the network most. ``partial`` is
    ``None`` for a scan that ran to its end, ``shard`` for one of all samples. ``examples`` are the
    inputs that were changed to most effect, as pictures; ``gates`` what the user's gates found.
    """

    tool_version: str
    created: str
    model: ModelSection
    input: InputSection
    data: DataSection
    run: RunSection
    accuracy: Accuracy | None
    layers: list[LayerInfo]
    not_scored: list[NotScored]
    perturbations: list[PerturbationResult]
    mvl: MvlList
    observer: ObserverCheck
    verdict: Verdict
    warnings: list[ReportWarning] = field(default_factory=list)
    examples: list[Example] = field(default_factory=list)
    gates: list[GateOutcome] = field(default_factory=list)
    partial: Partial | None = None
    shard: Shard | None = None
    schema_version: str = SCHEMA_VERSION

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON-ready values, fields in the order of this class, arrays as lists."""
        return {name: with_lists(value) for name, value in dataclasses.asdict(self).items()}

    @classmethod
    def from_dict(cls, values: object) -> Report:
        """Rebuild a report from what ``json.loads`` gave for it: the inverse of ``to_dict``.

        Raises:
            DataError: The document has another schema version, a missing or unknown field, or a
                value of the wrong type.
        """
        return decode_document(cls, values, "report", SCHEMA_VERSION)
