"""A model with all that a landscape needs of it, opened before any long run."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from lsa_onnx.attacks.choices import unknown
from lsa_onnx.errors import DataError
from lsa_onnx.landscape import LandscapeOptions
from lsa_onnx.landscape.opening import require_alike
from lsa_onnx.scanning import Listener
from lsa_onnx.scanning.options import SubjectOptions
from lsa_onnx.scanning.subject import Subject
from lsa_trainer.hardening.choosing import Chosen
from lsa_trainer.hardening.delivery import COMPARED
from lsa_trainer.hardening.gate import require_expected
from lsa_trainer.hardening.parity import differences, require_parity, tolerance
from lsa_trainer.hardening.prepare import Prepared, open_trainable, prepare
from lsa_trainer.hardening.trainable import answers_of
from lsa_trainer.hardening.verdict import inputs_of
from lsa_trainer.landscape.plane import Plane, frozen, plane_of
from lsa_trainer.landscape.points import Observer, Reading, pieces_of
from lsa_trainer.landscape.proposals import (
    Proposal,
    layers_of,
    most_vulnerable,
    wanted_proposals,
    weights_of,
)
from lsa_trainer.option_checks import BASES
from lsa_trainer.options import HardenOptions
from lsa_trainer.training.data import TrainingSet
from lsa_trainer.training.opponent import Opponent
from lsa_trainer.training.setup import attack_for, criterion_for, specification

if TYPE_CHECKING:
    from lightning_fabric import Fabric

# Of the attack that makes x̂ anew at each point.
STEPS = 5
_BATCH = 128
_ATTACKS = tuple(name.removeprefix("at-") for name in BASES if name.startswith("at-"))


@dataclass(frozen=True)
class View:
    """A model as a landscape looks at it.

    Attributes:
        prepared: The model and its samples.
        plane: Through its weights.
        observer: Reads J and the CMs that proposals need.
        proposals: What is regularised.
        gammas: γ by layer, for each proposal.
        centre: The objective at the model itself.
        left_out: Layers that have no surface of their own because there are too many.
    """

    prepared: Prepared
    plane: Plane
    observer: Observer
    proposals: list[Proposal]
    gammas: list[dict[str, float]]
    centre: Reading
    left_out: int

    @property
    def subject(self) -> Subject:
        """Model and data."""
        return self.prepared.subject

    @property
    def name(self) -> str:
        """Of the file, for messages."""
        return self.subject.model.path.name


def training_options(options: LandscapeOptions) -> HardenOptions:
    """How training would go about it: the objective and the attack that landscapes show.

    Raises:
        DataError: Training has no such attack, or an option is not usable.
    """
    if options.attack not in _ATTACKS:
        raise unknown("attack that makes x̂", options.attack, _ATTACKS)
    shared = {f.name: getattr(options, f.name) for f in dataclasses.fields(SubjectOptions)}
    return HardenOptions(
        **shared,
        base=f"at-{options.attack}",
        # The objective is that of the paper, whatever training has learnt to do by default.
        inner="auto",
        clean_weight=0.0,
        lr_power=1,
        gamma=options.gamma,
        eps=options.eps,
        norm=options.norm,
        steps=options.steps or STEPS,
        mvl=options.mvl,
        report=options.report,
        # What does not train does not move: it takes nothing from the rest.
        allow_frozen=True,
    )


def open_views(
    models: Sequence[str | Path],
    options: LandscapeOptions,
    how: HardenOptions,
    fabric: Fabric,
    listener: Listener,
) -> list[View]:
    """Open ``models`` on the same samples, with the same layers regularised where they have them.

    Raises:
        LsaError: One cannot be used, or they do not read the same samples in the same units.
        GateFailed: The clean accuracy of one is below what was expected.
    """
    if not models:
        raise DataError("there is no model; give the path of one or more ONNX files")
    views: list[View] = []
    for model in models:
        views.append(_open(model, options, how, fabric, listener, views[:1]))
    return views


def _open(
    model: str | Path,
    options: LandscapeOptions,
    how: HardenOptions,
    fabric: Fabric,
    listener: Listener,
    first: Sequence[View],
) -> View:
    subject, module = open_trainable(model, how)
    known = set(module.tensor_names)
    proposals = first[0].proposals if first else []
    if first:
        require_alike(first[0].subject, subject)
    if not first or not known.issuperset(layers_of(proposals)):
        proposals = wanted_proposals(subject, module, options.proposals, how, listener)
    chosen = Chosen(layers_of(proposals), "proposed")
    prepared = prepare(subject, module, chosen, how, fabric)
    require_expected(prepared, how)
    found = differences(module, Path(model), inputs_of(prepared, prepared.per_run(COMPARED)))
    require_parity(found, tolerance(subject.model.proto))
    plane = plane_of(module, prepared.job, subject.model.proto, options.seed)
    return _settled(prepared, plane, proposals, options, how)


def _settled(
    prepared: Prepared,
    plane: Plane,
    proposals: list[Proposal],
    options: LandscapeOptions,
    how: HardenOptions,
) -> View:
    """Choose among layers and weigh them, by what they do at the centre."""
    observer = _observer(prepared, layers_of(proposals), options, how)
    with frozen(prepared.job.parameters):
        centre = observer.read()
    kept = most_vulnerable(proposals, centre)
    return View(
        prepared=prepared,
        plane=plane,
        observer=_observer(prepared, layers_of(kept), options, how),
        proposals=kept,
        gammas=weights_of(kept, options.gamma, centre),
        centre=centre,
        left_out=len(proposals) - len(kept),
    )


def _observer(
    prepared: Prepared, layers: Sequence[str], options: LandscapeOptions, how: HardenOptions
) -> Observer:
    job, (data, targets) = prepared.job, _all_samples(prepared)
    pieces = list(pieces_of(data, targets, options.batch or _BATCH, job.channel_axis))
    answers = job.trainee.reading(job.outputs)
    first = answers_of(answers, pieces[0].part)[job.outputs[0]]
    criterion = criterion_for(how, job, targets, first)
    attack = attack_for(how, job)
    if attack is None:
        raise ValueError(f"{how.base} is a base that attacks")
    return Observer(
        job=job,
        opponent=Opponent(job, answers, criterion),
        attack=attack,
        spec=specification(
            how,
            job,
            criterion,
            dict.fromkeys(layers, 1.0),
            exact_batching=False,
        ),
        pieces=pieces,
        seed=options.seed,
    )


def _all_samples(prepared: Prepared) -> tuple[TrainingSet, list[Tensor]]:
    """Those that training would keep apart, together."""
    material = prepared.material
    parts = (material.training, material.validation, prepared.verification)
    extra = {name: torch.cat([p.extra[name] for p in parts]) for name in parts[0].extra}
    groups = (material.targets, material.validation_targets, prepared.verification_targets)
    targets = [torch.cat(each) for each in zip(*groups, strict=True)]
    return TrainingSet(torch.cat([p.x for p in parts]), None, extra), targets
