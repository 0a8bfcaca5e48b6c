"""What every view of a comparison tells: the verdict in plain words, accuracies and layers in rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lsa_onnx.report import text
from lsa_onnx.report.hardening_view import signed
from lsa_onnx.report.text import visible

if TYPE_CHECKING:
    from lsa_onnx.report.comparison import (
        AccuracyChange,
        Comparison,
        LayerChange,
        Movement,
        PerturbationChange,
        Verdict,
    )
    from lsa_onnx.report.sections import Accuracy

_NAMED = 3
_NOTED = 5
# What stands in columns of its own, or tells nothing of how strong a perturbation is.
_TOLD = frozenset({"eps", "strength", "seed", "algorithm"})


@dataclass(frozen=True)
class ScoreRow:
    """A score before and after; an interval is empty where there is none."""

    name: str
    settings: str
    before: tuple[str, str]
    after: tuple[str, str]
    difference: tuple[str, str]
    verdict: Verdict


@dataclass(frozen=True)
class LayerRow:
    """A layer before and after: figures as text, ranks in the MVL lists."""

    number: int
    name: str
    other: str
    before: tuple[str, str]
    after: tuple[str, str]
    ranks: tuple[int | None, int | None]
    change: str
    moved: str
    verdict: Verdict


def status(comparison: Comparison) -> Verdict:
    """Worse where something is beyond chance; else better where an accuracy is; else the same."""
    if comparison.regressions:
        return "worse"
    return "better" if _better(comparison) else "same"


def headline(comparison: Comparison) -> str:
    """The result in one or two sentences: what is worse, and which accuracies are better."""
    found = [visible(each.told) for each in comparison.regressions]
    better = _better(comparison)
    named = ", ".join(better[:_NAMED]) + (", …" if len(better) > _NAMED else "")
    if found:
        more = f"; {text.count(len(found) - 1, 'further regression')}" if len(found) > 1 else ""
        return f"Worse: {found[0]}{more}." + (f" Better: {named}." if better else "")
    if better:
        return f"Nothing is worse beyond chance. Better: {named}."
    return "Nothing is worse beyond chance, and no accuracy is better."


def _better(comparison: Comparison) -> list[str]:
    found = [name for name, _, each in accuracies(comparison) if each.verdict == "better"]
    return ["clean accuracy" if name == "clean" else f"accuracy under {name}" for name in found]


def accuracies(comparison: Comparison) -> list[tuple[str, str, AccuracyChange]]:
    """Every accuracy that both documents have: its name, its settings, and how it changed."""
    found = [("clean", "", comparison.clean)]
    found += [(strength(each), settings(each), each.accuracy) for each in comparison.perturbations]
    return [(name, told, change) for name, told, change in found if change is not None]


def telling(comparison: Comparison) -> list[tuple[str, AccuracyChange]]:
    """The accuracies to name first: clean, under the headline perturbation, at the last strength of attacks."""
    found = {name: change for name, _, change in accuracies(comparison)}
    headlined = judged(comparison)
    first = ["clean", *([strength(headlined)] if headlined else [])]
    if headlined is None:
        first += {each.name: strength(each) for each in comparison.perturbations}.values()
    return [(name, found[name]) for name in first if name in found][:_NAMED]


def strength(change: PerturbationChange) -> str:
    """``pgd at eps 0.0314``: a perturbation with its strength."""
    if change.strength is None:
        return visible(change.name)
    name = visible(change.name.partition("=")[0])
    return f"{name} {'eps ' if 'eps' in change.settings else ''}{text.brief(float(f'{change.strength:.3g}'))}"


def settings(change: PerturbationChange) -> str:
    """Its other parameters, those that are set."""
    return text.parameters({n: v for n, v in change.settings.items() if n not in _TOLD})


def score_rows(comparison: Comparison) -> list[ScoreRow]:
    """Accuracies, then R&G scores."""
    rows = [
        ScoreRow(
            name,
            told,
            _accuracy(change.before),
            _accuracy(change.after),
            points(100 * change.difference, [100 * bound for bound in change.interval]),
            change.verdict,
        )
        for name, told, change in accuracies(comparison)
    ]
    return rows + [
        ScoreRow(
            f"R&G of {visible(each.attack)}",
            "",
            (f"{each.before:.1f}", ""),
            (f"{each.after:.1f}", ""),
            points(each.difference, each.interval),
            each.verdict,
        )
        for each in comparison.scores
    ]


def points(difference: float, interval: Sequence[float]) -> tuple[str, str]:
    """A difference in percentage points, and its interval."""
    low, high = (signed(f"{bound:+.1f}") for bound in interval)
    return signed(f"{difference:+.1f}"), f"{low} to {high}"


def _accuracy(found: Accuracy) -> tuple[str, str]:
    return text.share(found.value), text.shares(found.interval)


def judged(comparison: Comparison) -> PerturbationChange | None:
    """The perturbation whose layers stand in the tables."""
    named = (each for each in comparison.perturbations if each.name == comparison.headline)
    return next(named, None)


def layer_rows(change: PerturbationChange) -> list[LayerRow]:
    """One row per layer that both models have, in graph order."""
    return [
        LayerRow(
            number=each.number,
            name=visible(each.tensor),
            other="" if each.other == each.tensor else visible(each.other),
            before=_movement(each.before),
            after=_movement(each.after),
            ranks=(each.before.rank, each.after.rank),
            change=_relative(each.change),
            moved=_relative(_ratio(each.before.absolute, each.after.absolute)),
            verdict=each.verdict,
        )
        for each in change.layers
    ]


def _movement(moved: Movement) -> tuple[str, str]:
    if moved.interval is None:
        return text.figure(moved.cm), ""
    low, high = moved.interval
    return text.figure(moved.cm), f"{text.figure(low)}–{text.figure(high)}"


def _ratio(before: float | None, after: float | None) -> float | None:
    return after / before - 1 if before and after is not None else None


def _relative(change: float | None) -> str:
    return text.MISSING if change is None else signed(f"{100 * change:+.1f} %")


def lists(change: PerturbationChange) -> list[str]:
    """How the MVL list changed, one sentence each."""
    told = []
    for words, names in (
        ("New in the MVL list", change.newcomers),
        ("Gone from it", change.leavers),
    ):
        shown = ", ".join(map(visible, names[:_NOTED])) + (", …" if len(names) > _NOTED else "")
        told.append(f"{words}: {shown or 'no layer'}.")
    means = [text.figure(mean) for mean in (change.mu_before, change.mu_after)]
    return [*told, f"Mean CM over all layers: {means[0]} before, {means[1]} after."]


def norm_notes(change: PerturbationChange) -> list[tuple[str, str]]:
    """The layers whose CM changed because their clean norm did, and what is to be said of each."""
    return [(visible(each.tensor), each.note) for each in change.layers if each.note]


def remarks(comparison: Comparison) -> list[str]:
    """What to know beside the figures, one sentence each."""
    told = [visible(note) for note in comparison.notes]
    if comparison.agreement is not None:
        found = comparison.agreement
        same = f"{text.share(found.value)} of the {found.n:,} clean samples"
        told.insert(0, f"Both models say the same of {same} ({text.shares(found.interval)}).")
    return [*told, *_matching(comparison)]


def _matching(comparison: Comparison) -> Iterator[str]:
    """How layers were found to be one, where their names differ, and which found no other."""
    change = judged(comparison)
    renamed = [each for each in change.layers if each.matched != "name"] if change else []
    if renamed:
        how = " or ".join(dict.fromkeys(_MATCHED[each.matched] for each in renamed))
        yield f"{text.count(len(renamed), 'layer')} of other names were matched by {how}."
    for each in comparison.unmatched[:_NOTED]:
        yield f"Only {each.side}: {visible(each.tensor)} ({visible(each.reason)})."
    hidden = len(comparison.unmatched) - _NOTED
    if hidden > 0:
        yield f"So have {text.count(hidden, 'further layer')} no counterpart (see the JSON file)."


_MATCHED = {"node": "the nodes that make them", "path": "the end of their path"}


def changed(layers: Sequence[LayerChange]) -> int:
    """How many layers move otherwise, beyond chance."""
    return sum(each.verdict in ("better", "worse") for each in layers)
