"""Which perturbations are applied: those asked for, or what the model allows of the default ones."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from lsa_onnx.attacks import Attack, Perturbation, Square
from lsa_onnx.errors import ModelError
from lsa_onnx.report.document import ReportWarning
from lsa_onnx.scanning.adversary import Adversary
from lsa_onnx.scanning.options import ScanOptions

# Above this share of the range's width a person sees what an attack did.
_LARGE_SHARE = 0.25
# Of the black-box attack nobody asked for: 50 for each of PGD's steps, as in AutoAttack.
_QUERIES = 1000
_QUANTISED = frozenset({"QuantizeLinear", "DynamicQuantizeLinear"})


@dataclass(frozen=True)
class Chosen:
    """What is applied, and what is to be said about that choice."""

    perturbations: list[Perturbation]
    doubts: list[ReportWarning]

    @property
    def attacks(self) -> list[Attack]:
        """Those of the perturbations that are attacks."""
        return [each for each in self.perturbations if isinstance(each, Attack)]


def choose_perturbations(
    asked: Sequence[Perturbation], adversary: Adversary, options: ScanOptions
) -> Chosen:
    """Hold ``asked`` against what the model can serve, before any long run.

    Args:
        asked: Noises and attacks.
        adversary: What attacks are given of the model.
        options: Where the user named the perturbations, an attack that the model cannot serve is an
            error; else the black-box attack stands in for it, or it is left out.

    Raises:
        NotDifferentiable: An attack that was named needs a gradient, and there is none.
        ModelError: The model cannot serve the objective of an attack that was named.
    """
    chosen: list[Perturbation] = []
    doubts: list[ReportWarning] = []
    for each in asked:
        problem = _problem(each, adversary) if isinstance(each, Attack) else None
        if problem is None:
            chosen.append(each)
            continue
        if options.perturbations is not None:
            raise problem
        instead = _black_box(each, adversary, options)
        if instead is not None and instead not in chosen:
            chosen.append(instead)
        doubts.append(_no_gradient(problem, instead is not None))
    found = Chosen(chosen, list(dict.fromkeys(doubts)))
    found.doubts.extend(attack_doubts(found.attacks, adversary))
    return found


def attack_doubts(attacks: Sequence[Attack], adversary: Adversary) -> list[ReportWarning]:
    """What to say of attacks that are applied, before their results are known."""
    found = []
    white_box = [attack for attack in attacks if attack.needs_gradient]
    if attacks and adversary.labels == "predicted":
        found.append(
            ReportWarning(
                "predicted-labels",
                "There are no labels: attacks fight the model's own clean predictions, so success "
                "means a changed prediction, right or wrong.",
            )
        )
    if white_box and (adversary.source.straight_through or _is_quantised(adversary)):
        found.append(
            ReportWarning(
                "straight-through",
                "Gradients pass rounding as if it were not there: they are estimates. Success was "
                "confirmed on the untouched model.",
            )
        )
    width = adversary.subject.spec.width
    large = [a for a in attacks if a.norm == "linf" and a.eps > _LARGE_SHARE * width]
    if large:
        found.append(
            ReportWarning(
                "large-eps",
                f"{_names(large)} may change a value by {max(a.eps for a in large):g}, more than "
                f"{_LARGE_SHARE:.0%} of the declared range: a person would see it.",
            )
        )
    return found


def _problem(attack: Attack, adversary: Adversary) -> ModelError | None:
    """Why the model cannot serve ``attack``."""
    try:
        adversary.prepare(attack)
    except ModelError as error:
        return error
    return None


def _black_box(attack: Perturbation, adversary: Adversary, options: ScanOptions) -> Attack | None:
    """The attack without gradients at the same distance, where the model can serve that."""
    if not isinstance(attack, Attack) or attack.norm not in Square.norms:
        return None
    square = Square(
        eps=attack.eps,
        norm=attack.norm,
        seed=attack.seed,
        objective=attack.objective,
        queries=options.steps or _QUERIES,
    )
    return square if _problem(square, adversary) is None else None


def _no_gradient(problem: ModelError, replaced: bool) -> ReportWarning:
    instead = "the black-box attack stands in" if replaced else "no attack was applied"
    return ReportWarning("no-gradient", f"White-box attacks were left out, {instead}: {problem}.")


def _is_quantised(adversary: Adversary) -> bool:
    kinds = {node.op_type for node in adversary.plan.model.graph.node}
    return bool(kinds & _QUANTISED) or any(kind.startswith("QLinear") for kind in kinds)


def _names(attacks: Iterable[Attack]) -> str:
    return " and ".join(dict.fromkeys(attack.name for attack in attacks))
