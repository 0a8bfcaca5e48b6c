"""What every view of a hardening tells: the verdict in plain words, scores before and after."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from lsa_onnx.report import text
from lsa_onnx.report.text import visible

if TYPE_CHECKING:
    from lsa_onnx.report.hardening import Comparison, Hardening, Share

Status = Literal["better", "forced", "refused"]


@dataclass(frozen=True)
class ScoreRow:
    """A score before and after: ``name`` is "Clean accuracy", for example."""

    name: str
    before: Share
    after: Share


def status(hardening: Hardening) -> Status:
    """Whether the new weights are better, and if not, whether they were written all the same."""
    if hardening.objection is None:
        return "better"
    return "refused" if hardening.output is None else "forced"


def headline(hardening: Hardening) -> str:
    """The verdict in one sentence."""
    if hardening.objection is not None:
        return f"Not better: {visible(hardening.objection)}"
    found = hardening.comparison
    was, now = (score(s, found) for s in (found.robust_before, found.robust_after))
    if found.measure == "accuracy":
        return f"More robust: under attack {now} of the samples stay right, {was} did before"
    return f"More robust: under attack the fit is {now}, it was {was} before"


def standing(hardening: Hardening) -> str:
    """What became of the new weights."""
    if hardening.output is None:
        return "No file was written."
    written = f"Written to {visible(hardening.output)}"
    return f"{written}, for that was forced." if hardening.objection else f"{written}."


def doubts(hardening: Hardening) -> list[str]:
    """What to know before the verdict is relied on, one sentence each."""
    found, told = hardening.comparison, []
    if found.labels == "predicted":
        told.append(
            "No labels were used: the original model's clean predictions stand for them, and "
            f"{found.measure} is agreement with those."
        )
    if found.gain > 0 and _overlap(found.robust_before, found.robust_after):
        told.append(
            "The 95 % intervals of robust accuracy before and after overlap: more --verification "
            "samples would tell the gain from chance."
        )
    return told


def _overlap(one: Share, other: Share) -> bool:
    if one.interval is None or other.interval is None:
        return False
    return one.interval[1] >= other.interval[0] and other.interval[1] >= one.interval[0]


def score_rows(found: Comparison) -> list[ScoreRow]:
    """Clean and robust scores."""
    return [
        ScoreRow(f"Clean {found.measure}", found.clean_before, found.clean_after),
        ScoreRow(f"Robust {found.measure}", found.robust_before, found.robust_after),
    ]


def score(value: Share, found: Comparison) -> str:
    """An accuracy as a percentage, a fit as a figure."""
    if found.measure == "accuracy":
        return text.share(value.value)
    return signed(text.figure(value.value))


def bounds(value: Share) -> str:
    """The 95 % interval of a score, empty where it has none."""
    return "" if value.interval is None else text.shares(value.interval)


def change(row: ScoreRow, found: Comparison) -> str:
    """The difference with its sign, that of accuracies in percentage points."""
    difference = row.after.value - row.before.value
    if found.measure == "accuracy":
        return signed(f"{100 * difference:+.1f} points")
    return signed(f"{difference:+.3f}")


def signed(number: str) -> str:
    """``number`` with a minus sign as wide as a plus; a negative zero is none."""
    digits = number.lstrip("+-").split(" ")[0].rstrip("%")
    if not digits.strip("0."):
        return number.lstrip("+-")
    return number.replace("-", "−", 1)


def threat(found: Comparison) -> str:
    """What robust scores were measured with."""
    return f"{visible(found.attack)}, {visible(found.norm)} eps {visible(found.eps)}"


def label_origin(found: Comparison) -> str:
    """Where the labels came from."""
    return "given with the data" if found.labels == "given" else "the original model's predictions"


def largest_changes(hardening: Hardening) -> list[tuple[str, float]]:
    """Trained tensors and their relative change, the largest first."""
    return sorted(hardening.changes.items(), key=lambda item: -item[1])


def progress(hardening: Hardening) -> str:
    """Which step's weights were chosen, whether or not they were written."""
    if hardening.best_step == 0:
        return (
            f"after {text.count(hardening.steps, 'step')} the original weights were still the best"
        )
    return f"weights of step {hardening.best_step:,} of {hardening.steps:,} chosen"
