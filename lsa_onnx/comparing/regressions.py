"""What is worse beyond chance.

An accuracy is, clean or under a perturbation that both runs have, if the 95 % interval of its
difference lies below 0. A layer is, under the headline perturbation, if it is in the MVL list after and
was not before, and the 95 % interval of its mean CM after lies above that before.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from lsa_onnx.report import text
from lsa_onnx.report.comparison import (
    AccuracyChange,
    LayerChange,
    Movement,
    PerturbationChange,
    Regression,
)
from lsa_onnx.report.hardening_view import signed


def find_regressions(
    clean: AccuracyChange | None, changes: Sequence[PerturbationChange], headline: str | None
) -> list[Regression]:
    """All that is worse, accuracies first.

    Args:
        clean: The clean accuracy.
        changes: Each perturbation that both runs have.
        headline: The name of the one whose layers are judged.
    """
    return [*_accuracies(clean, changes), *_layers(changes, headline)]


def under(change: PerturbationChange) -> str:
    """``pgd at 0.0314``: a perturbation with its strength where its name does not hold it."""
    shown = change.strength is None or "=" in change.name
    return change.name if shown else f"{change.name} at {change.strength:.3g}"


def _accuracies(
    clean: AccuracyChange | None, changes: Sequence[PerturbationChange]
) -> Iterator[Regression]:
    found: list[tuple[str | None, str, AccuracyChange | None]] = [(None, "clean accuracy", clean)]
    found += [(under(each), f"accuracy under {under(each)}", each.accuracy) for each in changes]
    for name, what, change in found:
        if change is not None and change.verdict == "worse":
            yield Regression(name, None, f"{what} fell {_fall(change)}")


def _fall(change: AccuracyChange) -> str:
    low, high = (signed(f"{100 * bound:+.1f}") for bound in change.interval)
    was, now = (text.share(each.value) for each in (change.before, change.after))
    return f"from {was} to {now} (95 % interval of the difference {low} to {high} points)"


def _layers(changes: Sequence[PerturbationChange], headline: str | None) -> Iterator[Regression]:
    for change in changes:
        for layer in change.layers if change.name == headline else ():
            if _entered(layer):
                told = (
                    f"layer {layer.other!r} entered the MVL list under {under(change)}: its mean CM rose "
                    f"from {_cm(layer.before)} to {_cm(layer.after)}"
                )
                yield Regression(under(change), layer.other, told)


def _entered(layer: LayerChange) -> bool:
    new = layer.after.rank is not None and layer.before.rank is None
    return new and layer.verdict == "worse"


def _cm(movement: Movement) -> str:
    bounds = movement.interval
    within = f" ({text.figure(bounds[0])}–{text.figure(bounds[1])})" if bounds else ""
    return text.figure(movement.cm) + within
