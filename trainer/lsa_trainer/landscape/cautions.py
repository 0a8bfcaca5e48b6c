"""The doubts that a landscape in weight space has about itself; docs/warnings.md explains each code."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from lsa_onnx.accounts.cautions import data_cautions
from lsa_onnx.report.landscape import Surface
from lsa_onnx.report.sections import ReportWarning
from lsa_onnx.scanning.describe import data_section
from lsa_trainer.landscape.opening import View
from lsa_trainer.landscape.proposals import MOST_LAYERS
from lsa_trainer.objectives import ClassLoss


def weight_cautions(views: Sequence[View], surfaces: Sequence[Surface]) -> list[ReportWarning]:
    """All that applies; what concerns one of several models names it."""
    found = [*data_cautions(data_section(views[0].subject))]
    for index, view in enumerate(views):
        own = [each for each in surfaces if each.model == index]
        for warning in _of_model(view, own):
            where = f"{view.name}: " if len(views) > 1 else ""
            found.append(ReportWarning(warning.code, where + warning.message))
    return found


def _of_model(view: View, surfaces: Sequence[Surface]) -> Iterator[ReportWarning]:
    if view.prepared.taught and view.prepared.job.classes:
        yield ReportWarning(
            "predicted-labels",
            "There are no labels: the objective and the accuracy are against the model's own clean predictions, "
            "right or wrong.",
        )
    yield from _objective(view)
    yield from _weights(view)
    if view.left_out:
        yield ReportWarning(
            "layers-left-out",
            f"{view.left_out} layers have no surface of their own: of {view.left_out + _alone(view)} the "
            f"{MOST_LAYERS} with the largest CM have one; name others with --mvl.",
        )
    missing = {(i, j) for each in surfaces for i, j in _missing(each)}
    if missing:
        yield ReportWarning(
            "not-finite",
            f"At {len(missing)} of {len(surfaces[0].loss) ** 2} points the objective is infinite or NaN: they "
            "have no figure.",
        )


def _objective(view: View) -> Iterator[ReportWarning]:
    criterion = view.observer.opponent.criterion
    if isinstance(criterion, ClassLoss) and criterion.temperature != 1:
        yield ReportWarning(
            "scaled-logits",
            f"Softmax of the model's logits is saturated: they are divided by {criterion.temperature:g} before "
            "the cross-entropy, as in training.",
        )
    if view.observer.attack.eps == 0 and any(view.gammas):
        yield ReportWarning(
            "no-perturbation",
            "With eps 0, x̂ is x: no layer moves, and every surface is that of the base loss; give --eps.",
        )


def _weights(view: View) -> Iterator[ReportWarning]:
    frozen = [w for w in view.prepared.module.constants.weights if not w.trains]
    if frozen:
        yield ReportWarning(
            "frozen-weights",
            f"{len(frozen)} weights cannot train and stay as they are, {frozen[0].name!r} "
            f"({frozen[0].frozen}) among them: the plane leaves them out.",
        )


def _alone(view: View) -> int:
    return sum(each.kind == "each" for each in view.proposals)


def _missing(surface: Surface) -> Iterator[tuple[int, int]]:
    for i, row in enumerate(surface.loss):
        yield from ((i, j) for j, value in enumerate(row) if value is None)
