"""Which layers are regularised on each surface, and how much."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lsa_onnx.errors import DataError
from lsa_onnx.layers import plan_layers
from lsa_onnx.report.document import LayerInfo, Report
from lsa_onnx.runtime.devices import resolve_device
from lsa_onnx.runtime.inspection import survey
from lsa_onnx.scanning import Listener, scan
from lsa_onnx.scanning.subject import Subject
from lsa_trainer.axes import shapes_of
from lsa_trainer.hardening.choosing import choose_layers
from lsa_trainer.hardening.trainable import samples_of, trainee_of
from lsa_trainer.landscape.points import Reading
from lsa_trainer.module import OnnxModule
from lsa_trainer.objectives import SHARE, auto_share, balance, parse_gamma
from lsa_trainer.options import HardenOptions

NONE, EACH, MVL = "none", "each", "mvl"
# Layers that have a surface of their own.
MOST_LAYERS = 12
# As ``harden`` scans where nobody named layers.
_SCANNED = 256
_PERTURBATIONS = ("gaussian", "fgsm", "pgd")


@dataclass(frozen=True)
class Proposal:
    """Layers that are regularised together, by the ONNX names of their tensors.

    Attributes:
        name: "none", "mvl", or of a layer that is regularised alone its tensor.
        layers: None for the base loss.
        kind: How it was asked for: "none", "each" or "mvl".
    """

    name: str
    layers: tuple[str, ...]
    kind: str


def wanted_proposals(
    subject: Subject,
    module: OnnxModule,
    kinds: Sequence[str],
    how: HardenOptions,
    listener: Listener,
) -> list[Proposal]:
    """What is asked for, each once and in the order of the request.

    Args:
        subject: The model file and its data.
        module: The model.
        kinds: "none"; "each" for each layer alone, those that are named with --mvl or else all that a scan
            would score; "mvl" for the list that is named, of a report or, without either, of a scan.
        how: Names the list or the report.
        listener: Told of the progress of a scan.

    Raises:
        DataError: A layer is not one of the model, or there is none.
        LsaError: The scan that finds the list failed.
    """
    found: list[Proposal] = []
    for kind in dict.fromkeys(kinds):
        if kind == NONE:
            found.append(Proposal(NONE, (), NONE))
        elif kind == MVL:
            found.append(Proposal(MVL, _listed(subject, module, how, listener), MVL))
        else:
            names = (
                _listed(subject, module, how, listener) if how.mvl else _default(subject, module)
            )
            found += [Proposal(name, (name,), EACH) for name in names]
    return found


def layers_of(proposals: Sequence[Proposal]) -> tuple[str, ...]:
    """All layers of all proposals, each once."""
    return tuple(dict.fromkeys(name for each in proposals for name in each.layers))


def most_vulnerable(proposals: Sequence[Proposal], centre: Reading) -> list[Proposal]:
    """Without layers alone beyond ``MOST_LAYERS``: those with the largest CM at the centre stay."""
    alone = [each for each in proposals if each.kind == EACH]
    ranked = sorted(alone, key=lambda each: _size(centre.cms[each.name]), reverse=True)
    kept = {each.name for each in ranked[:MOST_LAYERS]}
    return [each for each in proposals if each.kind != EACH or each.name in kept]


def weights_of(proposals: Sequence[Proposal], text: str, centre: Reading) -> list[dict[str, float]]:
    """γ by layer, for each proposal.

    Args:
        proposals: What is regularised.
        text: As ``objectives.parse_gamma`` takes it; "auto" balances each proposal by itself.
        centre: The objective at the model itself.

    Raises:
        DataError: It cannot be read or, for "auto", no layer of a proposal moves.
    """
    given = parse_gamma(text, layers_of(proposals))
    if given is None:
        share = auto_share(text) or SHARE
        return [
            balance(centre.loss, {n: centre.cms[n] for n in each.layers}, share)
            if each.layers
            else {}
            for each in proposals
        ]
    return [{name: given[name] for name in each.layers} for each in proposals]


def surface_value(reading: Reading, gammas: Mapping[str, float]) -> float:
    """J + Σ_l γ_l · CM_l (Khalooei et al. 2023, Alg. 3)."""
    return reading.loss + sum(gamma * reading.cms[name] for name, gamma in gammas.items())


def _size(cm: float) -> float:
    """To rank by: what is not a number comes last."""
    return -1.0 if math.isnan(cm) else cm


def _listed(
    subject: Subject, module: OnnxModule, how: HardenOptions, listener: Listener
) -> tuple[str, ...]:
    """The list that is named, of a report, or of a scan of the same samples."""

    def scanned() -> Report:
        listener.message(f"scan of {subject.model.path}")
        options = how.scan_options(_SCANNED, perturbations=_PERTURBATIONS)
        return scan(subject.model.path, options, listener)

    return choose_layers(subject, module, how, scanned).layers


def _default(subject: Subject, module: OnnxModule) -> list[str]:
    """The layers that a scan scores and that can be regularised: floats of the main graph, a row per sample.

    Raises:
        DataError: There is none.
    """
    graph = subject.model
    plan = plan_layers(survey(graph.proto, graph.folder, resolve_device("cpu")))
    known = set(module.tensor_names)
    names = [info.tensor for info in plan.layers if _is_plain(info) and info.tensor in known]
    found = _by_sample(subject, module, names)
    if not found:
        raise DataError(
            f"{str(graph.path)!r} has no layer that could be regularised alone, a float tensor of the main "
            "graph with a row per sample; leave each out of --proposals"
        )
    return found


def _is_plain(info: LayerInfo) -> bool:
    return info.body is None and info.reading is None


def _by_sample(subject: Subject, module: OnnxModule, names: Sequence[str]) -> list[str]:
    """Those with one axis that grows with the samples."""
    if not names:
        return []
    trainee, data = trainee_of(subject, module, names), samples_of(subject, most=3)
    two, three = (shapes_of(trainee, data, names, count) for count in (2, 3))
    return [
        name
        for name in names
        if len(two[name]) == len(three[name])
        and sum(a != b for a, b in zip(two[name], three[name], strict=True)) == 1
    ]
