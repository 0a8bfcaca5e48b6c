"""The strengths of an evaluation: every ε once, in growing order, each attack at each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lsa_onnx.attacks import Attack, parse_eps, parse_perturbations
from lsa_onnx.errors import DataError
from lsa_onnx.scanning.options import EvaluationOptions


@dataclass(frozen=True)
class Strength:
    """An ε, in units of the declared range and as the user wrote it."""

    eps: float
    text: str


Series = list[tuple[Attack, Strength]]


def require_zero(eps_list: Sequence[str]) -> None:
    """Refuse strengths that leave out 0: the R&G score adds the clean accuracy to the others.

    Raises:
        DataError: None of them is 0, or one is no ε.
    """
    # Of what width the range is matters for no zero.
    if all(parse_eps(text, 1.0) > 0 for text in eps_list):
        given = ",".join(eps_list)
        raise DataError(
            f"--eps-list {given!r} leaves out 0, the clean accuracy, which is part of the R&G score; "
            f"give --eps-list 0,{given}"
        )


def attack_series(options: EvaluationOptions, low: float, high: float) -> list[Series]:
    """For each attack that was asked for, the attack at every ε in growing order.

    Args:
        options: What was asked for.
        low: Lower end of the declared range.
        high: Upper end.

    Raises:
        DataError: An unknown attack, a noise, or an ε that is not usable.
    """
    ordered = _strengths(options, low, high)
    found = parse_perturbations(options.attacks, options.settings(ordered[-1].text, low, high))
    for each in found:
        if not isinstance(each, Attack):
            raise DataError(
                f"--attack {each.name!r} is a noise, not an attack; `lsa-onnx scan` applies noises"
            )
    for text in options.attacks:
        name, equals, _ = text.partition("=")
        if equals:
            raise DataError(
                f"--attack {text!r} names an eps of its own; give --attack {name}, and every eps "
                "with --eps-list"
            )
    attacks = [each for each in found if isinstance(each, Attack)]
    return [[(attack.at(s.eps), s) for s in ordered] for attack in attacks]


def _strengths(options: EvaluationOptions, low: float, high: float) -> list[Strength]:
    texts: dict[float, str] = {}
    for text in options.eps_list:
        texts.setdefault(options.settings(text, low, high).eps or 0.0, text.strip())
    return [Strength(eps, texts[eps]) for eps in sorted(texts)]
