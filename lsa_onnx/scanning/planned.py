"""What a run will be made under, told before it begins."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Literal

from lsa_onnx.attacks import Perturbation
from lsa_onnx.report.conditions import Conditions, Dose, dose, interface
from lsa_onnx.report.document import LayerInfo
from lsa_onnx.scanning.subject import Subject

if TYPE_CHECKING:
    from lsa_onnx.evaluation.strengths import Series


def conditions(
    subject: Subject, perturbations: Sequence[Perturbation], layers: Sequence[LayerInfo]
) -> Conditions:
    """Of a scan.

    Args:
        subject: Model and data.
        perturbations: All that will be applied.
        layers: What is to be scored; some of it may turn out not to be readable.
    """
    doses = [dose(each.name, each.kind, each.parameters()) for each in perturbations]
    return _conditions("report", subject, doses, layers)


def evaluated(subject: Subject, attacks: Iterable[Series]) -> Conditions:
    """Of an evaluation: every attack at every strength."""
    doses = [
        dose(attack.name, attack.kind, attack.parameters(), strength.eps)
        for series in attacks
        for attack, strength in series
    ]
    return _conditions("evaluation", subject, doses, ())


def _conditions(
    kind: Literal["report", "evaluation"],
    subject: Subject,
    doses: Sequence[Dose],
    layers: Sequence[LayerInfo],
) -> Conditions:
    dataset, loaded = subject.dataset, subject.loaded
    return Conditions(
        kind=kind,
        interface=interface(loaded.inputs, loaded.outputs),
        fingerprint=dataset.fingerprint,
        samples=len(dataset),
        labels=dataset.labels is not None,
        range=(subject.spec.low, subject.spec.high),
        applied=tuple(doses),
        layers=tuple(layers),
        settled=False,
    )
