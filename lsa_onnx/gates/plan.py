"""All gates of a run: checked as soon as something about the run is known, judged once it is over."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from lsa_onnx.comparing import Side, compare
from lsa_onnx.errors import DataError
from lsa_onnx.gates.applying import asked_about, not_applied
from lsa_onnx.gates.baseline import Baseline
from lsa_onnx.gates.expression import METRICS, Gate, parse_gate
from lsa_onnx.gates.judging import judge
from lsa_onnx.gates.layers import find_layers
from lsa_onnx.gates.measuring import no_such_metric
from lsa_onnx.report.comparison import Comparison
from lsa_onnx.report.conditions import Conditions, conditions_of
from lsa_onnx.report.document import Report
from lsa_onnx.report.evaluation import Evaluation
from lsa_onnx.report.sections import GateOutcome

# The gate that looks at all that a baseline has, and not at a bound.
REGRESSION = "regression"
# Of many regressions, the first are named: accuracies come before layers.
_TOLD = 5


@dataclass(frozen=True)
class Gates:
    """What a run must not be.

    Attributes:
        gates: Expressions, in the order given.
        regression: Whether nothing may be worse than in the baseline, beyond chance.
        baseline: What an earlier run found; ``None`` without one.
    """

    gates: tuple[Gate, ...] = ()
    regression: bool = False
    baseline: Baseline | None = None

    def __bool__(self) -> bool:
        return bool(self.gates) or self.regression

    def require_asked(
        self, kind: Literal["report", "evaluation"], perturbations: Iterable[str]
    ) -> None:
        """Refuse gates on what is not asked for: before any file is opened.

        Args:
            kind: Of the document that the run will make.
            perturbations: Names without strengths.

        Raises:
            DataError: The run does not measure this, or has no such perturbation.
        """
        known = list(perturbations)
        for gate in self.gates:
            if kind not in METRICS[gate.metric].documents:
                raise no_such_metric(gate, kind)
            if gate.perturbation is not None and gate.perturbation not in known:
                raise not_applied(gate, known)

    def require_possible(self, conditions: Conditions) -> None:
        """Refuse gates that this run cannot answer, and a baseline that says nothing of it.

        Raises:
            DataError: A perturbation, strength or layer is unknown, or there are no labels.
        """
        self.require_asked(conditions.kind, [each.name for each in conditions.applied])
        for gate in self.gates:
            if METRICS[gate.metric].under:
                asked_about(gate, conditions.applied, conditions.width)
            if METRICS[gate.metric].part == "layer" and gate.part is not None:
                find_layers(gate.part, conditions.layers, f"gate {gate.text!r}")
            # Without labels an evaluation under attack counts what the model itself said before.
            agreement = conditions.kind == "evaluation" and gate.perturbation is not None
            if gate.metric == "accuracy" and not conditions.labels and not agreement:
                raise DataError(f"gate {gate.text!r} needs labels; give --labels, or leave it out")
        if self.baseline is not None:
            self.baseline.require_comparable(conditions)

    def judge(self, document: Report | Evaluation) -> list[GateOutcome]:
        """What every gate finds, in the order given, the regressions last.

        What cannot be told any more after a run is a failed outcome without a value: the report is made.
        """
        before = self.baseline.document if self.baseline is not None else None
        found = [self._judged(gate, document, before) for gate in self.gates]
        return [*found, self._regressions(document)] if self.regression else found

    def judge_change(
        self, comparison: Comparison, before: Report | Evaluation, after: Report | Evaluation
    ) -> list[GateOutcome]:
        """As ``judge`` of ``after``, with ``before`` in place of a baseline, and compared with it already."""
        found = [self._judged(gate, after, before) for gate in self.gates]
        return [*found, regression_outcome(comparison)] if self.regression else found

    def _judged(
        self, gate: Gate, document: Report | Evaluation, before: Report | Evaluation | None
    ) -> GateOutcome:
        try:
            return judge(gate, document, before)
        except DataError as error:
            return GateOutcome(gate.text, gate.metric, None, "failed", str(error))

    def _regressions(self, document: Report | Evaluation) -> GateOutcome:
        if self.baseline is None:
            return GateOutcome(REGRESSION, REGRESSION, None, "failed", "there is no baseline")
        if document.partial is not None:
            return GateOutcome(REGRESSION, REGRESSION, None, "failed", "the run ended early")
        try:
            self.baseline.require_comparable(conditions_of(document))
            before = Side(self.baseline.document, self.baseline.path)
            return regression_outcome(compare(before, Side(document, "this run")))
        except DataError as error:
            return GateOutcome(REGRESSION, REGRESSION, None, "failed", str(error))


def regression_outcome(comparison: Comparison) -> GateOutcome:
    """Whether something is worse beyond chance, and what."""
    found = [each.told for each in comparison.regressions]
    hidden = len(found) - _TOLD
    told = [*found[:_TOLD], *([f"and {hidden} more"] if hidden > 0 else [])]
    return GateOutcome(
        expression=REGRESSION,
        measured=f"regressions against {comparison.before.source!r}",
        value=float(len(found)),
        status="failed" if found else "passed",
        note="; ".join(told) or None,
    )


def parse_gates(
    texts: Sequence[str],
    baseline: Baseline | None = None,
    *,
    always: bool = False,
) -> Gates:
    """Read what ``--fail-on`` and ``--baseline`` ask for.

    Args:
        texts: Expressions, or ``regression``; without any, a baseline asks for no regression.
        baseline: What the run is held to.
        always: Whether regressions can be asked for without a baseline, for there are two documents.

    Raises:
        DataError: One is no gate, or asks for regressions without a baseline.
    """
    words = [text.strip() for text in texts]
    regression = REGRESSION in words or (not words and baseline is not None)
    if regression and baseline is None and not always:
        raise DataError(
            f"gate {REGRESSION!r} needs an earlier result; give one with --baseline report.json"
        )
    return Gates(
        tuple(parse_gate(text) for text in texts if text.strip() != REGRESSION),
        regression,
        baseline,
    )
