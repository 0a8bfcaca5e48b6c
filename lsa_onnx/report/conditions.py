"""What a run was made under: all that another one must share for their figures to be compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from lsa_onnx.report.document import LayerInfo, Report
from lsa_onnx.report.evaluation import Evaluation
from lsa_onnx.report.sections import ValueDescription

Kind = Literal["noise", "attack", "pairs"]


@dataclass(frozen=True)
class Dose:
    """A perturbation at one strength.

    ``name`` is that of the noise or attack, "pairs" for what was made elsewhere. ``strength`` is an eps
    in units of the declared range, of a noise its share, ``None`` for pairs. ``settings`` are all its
    parameters.
    """

    name: str
    kind: Kind
    strength: float | None
    settings: Mapping[str, Any]

    @property
    def words(self) -> str:
        """``pgd at eps 0.0314`` or ``salt of 0.05``."""
        if self.strength is None:
            return self.name
        how = "at eps" if self.kind == "attack" else "of"
        return f"{self.name} {how} {self.strength:.3g}"


@dataclass(frozen=True)
class Conditions:
    """Model interface, data, range, perturbations and layers of a run.

    ``kind`` is that of its document. ``interface`` maps each input and output to its dtype and shape
    without the batch, in words. ``labels`` says whether there were any, ``part`` which samples a shard
    saw, from and before, and ``complete`` whether the run came to its end. ``layers`` is empty where none
    are scored; before a run has shown which of them can be read, they are not ``settled``.
    """

    kind: Literal["report", "evaluation"]
    interface: Mapping[str, str]
    fingerprint: str
    samples: int
    labels: bool
    range: tuple[float, float]
    applied: tuple[Dose, ...]
    layers: tuple[LayerInfo, ...] = ()
    settled: bool = True
    part: tuple[int, int] | None = None
    complete: bool = True

    @property
    def width(self) -> float:
        """Of the declared range."""
        return self.range[1] - self.range[0]


def conditions_of(document: Report | Evaluation) -> Conditions:
    """The conditions of the run that a document tells of."""
    model, data = document.model, document.data
    report = document if isinstance(document, Report) else None
    shard = None if report is None else report.shard
    return Conditions(
        kind="evaluation" if report is None else "report",
        interface=interface(model.inputs, model.outputs),
        fingerprint=data.fingerprint,
        samples=data.samples,
        labels=data.labels,
        range=document.input.range,
        applied=doses_in(document),
        layers=() if report is None else tuple(report.layers),
        part=None if shard is None else (shard.start, shard.stop),
        complete=document.partial is None,
    )


def doses_in(document: Report | Evaluation) -> tuple[Dose, ...]:
    """The perturbations of a document, in the order of its results."""
    if isinstance(document, Evaluation):
        return tuple(dose(r.attack, "attack", r.parameters, r.eps) for r in document.results)
    return tuple(dose(r.name, r.kind, r.parameters) for r in document.perturbations)


def dose(name: str, kind: Kind, settings: Mapping[str, Any], strength: float | None = None) -> Dose:
    """What a perturbation of these parameters applies; its name may hold its strength.

    Args:
        name: As a report calls it, ``pgd`` or ``pgd=8/255``.
        kind: Of the perturbation.
        settings: Its parameters.
        strength: Where they do not hold it.
    """
    if strength is None:
        strength = settings.get("eps", settings.get("strength"))
    return Dose(name.partition("=")[0], kind, strength, settings)


def interface(
    inputs: Sequence[ValueDescription], outputs: Sequence[ValueDescription]
) -> dict[str, str]:
    """Inputs and outputs of a model by name, each in words; a free dimension is any."""
    sides = {"input": inputs, "output": outputs}
    return {
        f"{side} {value.name!r}": f"{value.dtype} {_shape(value)}"
        for side, values in sides.items()
        for value in values
    }


def _shape(value: ValueDescription) -> str:
    if value.shape is None:
        return "of unknown shape"
    inner = value.shape if value.batch == "absent" else value.shape[1:]
    return "×".join(str(d) if isinstance(d, int) else "?" for d in inner) or "scalar"
