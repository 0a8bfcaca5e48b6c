"""Two scans, or two evaluations, as one ``Comparison``."""

from __future__ import annotations

from collections.abc import Sequence

from lsa_onnx.comparing.alike import data_differ
from lsa_onnx.comparing.evaluations import compare_evaluations
from lsa_onnx.comparing.frame import Frame, Side
from lsa_onnx.comparing.scans import compare_scans
from lsa_onnx.errors import DataError
from lsa_onnx.report.comparison import Comparison
from lsa_onnx.report.conditions import conditions_of
from lsa_onnx.report.document import Report
from lsa_onnx.report.evaluation import Evaluation
from lsa_onnx.report.sections import Accuracy


def compare(
    before: Side, after: Side, command: Sequence[str] = (), agreement: Accuracy | None = None
) -> Comparison:
    """What changed from one document to another of the same kind, on the same samples.

    Args:
        before: The first.
        after: The second.
        command: The command line, for the record.
        agreement: Share of the clean samples of which both models say the same, where it is known.

    Raises:
        DataError: They are of two kinds, of other samples, or have no perturbation in common.
    """
    first, second = before.document, after.document
    frame = Frame(before, after, agreement, command)
    if isinstance(first, Report) and isinstance(second, Report):
        _require_alike(frame)
        return compare_scans(frame, first, second)
    if isinstance(first, Evaluation) and isinstance(second, Evaluation):
        _require_alike(frame)
        return compare_evaluations(frame, first, second)
    raise DataError(
        f"{before.source!r} and {after.source!r} cannot be compared: one is a scan and one an evaluation; "
        "give two of a kind"
    )


def _require_alike(frame: Frame) -> None:
    one, other = (conditions_of(side.document) for side in (frame.before, frame.after))
    reason = data_differ(one, other)
    if reason is None and not frame.pairs:
        told = [", ".join(dict.fromkeys(a.words for a in each.applied)) for each in (one, other)]
        reason = (
            f"no perturbation was run alike by both: {told[0] or 'none'}, and {told[1] or 'none'}"
        )
    if reason is not None:
        raise DataError(
            f"{frame.before.source!r} and {frame.after.source!r} cannot be compared: {reason}; make both "
            "with the same --data, --samples, --seed, --range and attacks"
        )
