"""What a run will be made under, told before it begins."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from lsa_onnx.attacks import Perturbation
from lsa_onnx.report.conditions import Conditions, Dose, dose, interface
from lsa_onnx.report.document import LayerInfo
from lsa_onnx.scanning.subject import Subject


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
    return conditions_under("report", subject, doses, layers)


def conditions_under(
    kind: Literal["report", "evaluation"],
    subject: Subject,
    doses: Sequence[Dose],
    layers: Sequence[LayerInfo],
) -> Conditions:
    """Of a run that will make a document of this kind.

    Args:
        kind: Of the document.
        subject: Model and data.
        doses: All that will be applied, with strengths.
        layers: What is to be scored.
    """
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
