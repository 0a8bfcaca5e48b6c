"""The outcome of a gate on a document, beside that on the document of a baseline."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from lsa_onnx.errors import DataError, GateFailed
from lsa_onnx.gates.expression import METRICS, Gate
from lsa_onnx.gates.measuring import Reading, readings
from lsa_onnx.report.document import Report
from lsa_onnx.report.evaluation import Evaluation
from lsa_onnx.report.sections import GateOutcome

# Sums in another order, on another machine or in other batches, are no regression.
_ROUNDING = 1e-4


def judge(
    gate: Gate, document: Report | Evaluation, baseline: Report | Evaluation | None = None
) -> GateOutcome:
    """What a gate finds in a document.

    It fails where its comparison is true of any figure that it is about. What is undefined is left out
    beside what is not; where nothing is defined, the outcome is a failed one without a value.

    Args:
        gate: What is asked.
        document: What the run found.
        baseline: What an earlier run found: a gate that failed there, by no better value, is "known".

    Raises:
        DataError: A document has no such figure.
    """
    missing = _not_run(gate, document)
    if missing is not None:
        return GateOutcome(gate.text, gate.metric, None, "failed", missing)
    found = readings(gate, document)
    worst = worst_of(gate, found)
    if worst is None or worst.value is None:
        reading = found[0] if found else Reading(gate.metric, None, "no attack was run")
        return GateOutcome(gate.text, reading.of, None, "failed", f"undefined: {reading.why}")
    if not gate.holds(worst.value):
        return GateOutcome(gate.text, worst.of, worst.value, "passed", _left_out(found))
    before = None if baseline is None else _before(gate, baseline)
    if before is None or before.value is None:
        return GateOutcome(gate.text, worst.of, worst.value, "failed", None)
    known = gate.holds(before.value) and not _worse(gate, worst.value, before.value)
    note = f"{before.value:.6g} in the baseline"
    return GateOutcome(gate.text, worst.of, worst.value, "known" if known else "failed", note)


def _before(gate: Gate, baseline: Report | Evaluation) -> Reading | None:
    """The figure of the baseline; ``None`` where it has none, so that nothing is known."""
    try:
        return worst_of(gate, readings(gate, baseline))
    except DataError:
        return None


def worst_of(gate: Gate, found: Sequence[Reading]) -> Reading | None:
    """The figure that a gate fails by soonest; ``None`` where none is defined."""
    defined = [each for each in found if each.value is not None]
    sign = 1 if gate.upward else -1
    return max(defined, key=lambda each: sign * (each.value or 0.0), default=None)


def require_passed(outcomes: Sequence[GateOutcome]) -> None:
    """Turn the outcomes of all gates into an exit code.

    Raises:
        DataError: One could not be judged.
        GateFailed: One failed; the message names each that did, its value and its bound.
    """
    require_all_passed({"": outcomes})


def require_all_passed(outcomes: Mapping[str, Sequence[GateOutcome]]) -> None:
    """Likewise, of several models: their outcomes by the file, which messages name where there are several.

    Raises:
        DataError: One could not be judged.
        GateFailed: One failed.
    """
    several = len(outcomes) > 1
    failed = {name: [g for g in gates if g.status == "failed"] for name, gates in outcomes.items()}
    told = {
        undefined: "; ".join(
            (f"{name!r}: " if several else "") + failure(gate)
            for name, gates in failed.items()
            for gate in gates
            if (gate.value is None) == undefined
        )
        for undefined in (True, False)
    }
    if told[True]:
        raise DataError(f"a gate cannot be judged: {told[True]}; give one that can (docs/gates.md)")
    if told[False]:
        gone, count = (sum(map(len, each.values())) for each in (failed, outcomes))
        which = "the gate" if count == 1 else f"{gone} of {count} gates"
        raise GateFailed(f"{which} failed: {told[False]}")


def failure(outcome: GateOutcome) -> str:
    """What failed, its value and what it was held to, in words."""
    value = "" if outcome.value is None else f" = {outcome.value:.6g}"
    note = f": {outcome.note}" if outcome.note else ""
    return f"{outcome.expression} ({outcome.measured}{value}{note})"


def _worse(gate: Gate, value: float, before: float) -> bool:
    if math.isclose(value, before, rel_tol=_ROUNDING):
        return False
    return value > before if gate.upward else value < before


def _left_out(found: Sequence[Reading]) -> str | None:
    gone = [each for each in found if each.value is None]
    return f"undefined and left out: {', '.join(each.of for each in gone[:3])}" if gone else None


def _not_run(gate: Gate, document: Report | Evaluation) -> str | None:
    """Why a scan that ended early cannot answer."""
    partial = document.partial if isinstance(document, Report) else None
    metric = METRICS[gate.metric]
    if (
        partial is None
        or not metric.under
        or (gate.metric, gate.perturbation) == ("accuracy", None)
    ):
        return None
    gone = [name.partition("=")[0] for name in [*filter(None, [partial.cut]), *partial.missing]]
    if (gate.perturbation is None and gone) or gate.perturbation in gone:
        return f"the scan ended before it was through with {', '.join(dict.fromkeys(gone))}"
    return None
