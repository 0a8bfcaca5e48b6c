"""What comparisons of scans and of evaluations share: the two sides, what both ran, the document."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from lsa_onnx._version import __version__
from lsa_onnx.comparing.alike import partner, settings_differ
from lsa_onnx.comparing.regressions import find_regressions
from lsa_onnx.report.comparison import (
    AccuracyChange,
    Compared,
    Comparison,
    PerturbationChange,
    ScoreChange,
    Unmatched,
)
from lsa_onnx.report.conditions import Dose, doses_in
from lsa_onnx.report.document import Report
from lsa_onnx.report.evaluation import Evaluation
from lsa_onnx.report.sections import Accuracy


@dataclass(frozen=True)
class Side:
    """A document to compare, and the file that was given for it."""

    document: Report | Evaluation
    source: str

    @property
    def told(self) -> Compared:
        """For the comparison."""
        found = self.document
        return Compared(self.source, found.model.file, found.created, found.tool_version)


@dataclass(frozen=True)
class Frame:
    """Both sides, and all that does not depend on their kind."""

    before: Side
    after: Side
    agreement: Accuracy | None
    command: Sequence[str]

    @property
    def pairs(self) -> list[tuple[int, int]]:
        """The places of the perturbations that both runs have, with the same settings."""
        return list(_pairs(*self._applied))

    @property
    def strengths(self) -> list[float | None]:
        """Of the perturbations before."""
        return [each.strength for each in self._applied[0]]

    @property
    def _applied(self) -> tuple[tuple[Dose, ...], tuple[Dose, ...]]:
        return doses_in(self.before.document), doses_in(self.after.document)

    def comparison(
        self,
        of: Literal["scans", "evaluations"],
        clean: AccuracyChange | None,
        perturbations: list[PerturbationChange],
        *,
        headline: str | None = None,
        scores: Sequence[ScoreChange] = (),
        unmatched: Sequence[Unmatched] = (),
    ) -> Comparison:
        """The document, with what is worse in it."""
        return Comparison(
            tool_version=__version__,
            created=dt.datetime.now(dt.timezone.utc).isoformat(timespec="seconds"),
            of=of,
            before=self.before.told,
            after=self.after.told,
            data=self.before.document.data,
            range=self.before.document.input.range,
            agreement=self.agreement,
            clean=clean,
            headline=headline,
            perturbations=perturbations,
            scores=[*scores],
            unmatched=[*unmatched],
            regressions=find_regressions(clean, perturbations, headline),
            notes=list(_notes(*self._applied)),
            gates=[],
            command=[*self.command],
        )


def _pairs(before: Sequence[Dose], after: Sequence[Dose]) -> Iterator[tuple[int, int]]:
    for at, each in enumerate(before):
        other = partner(each, after)
        if other is not None and settings_differ(each, after[other]) is None:
            yield at, other


def _notes(before: Sequence[Dose], after: Sequence[Dose]) -> Iterator[str]:
    """What is not compared, one sentence each."""
    for each in before:
        other = partner(each, after)
        if other is None:
            yield f"Not compared, for it was run before alone: {each.words}."
        elif (reason := settings_differ(each, after[other])) is not None:
            yield f"Not compared: {reason}."
    for each in after:
        if partner(each, before) is None:
            yield f"Not compared, for it was run after alone: {each.words}."
