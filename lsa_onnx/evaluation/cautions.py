"""The doubts an evaluation has about itself; docs/warnings.md explains each code."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from lsa_onnx.accounts.attack_checks import Attempt, check_attempts, check_curve
from lsa_onnx.accounts.cautions import (
    RANDOM_OUTPUTS,
    chance_cautions,
    data_cautions,
    partial_caution,
)
from lsa_onnx.report.document import Accuracy, DataSection, Partial, ReportWarning


def evaluation_cautions(
    *,
    data: DataSection,
    accuracy: Accuracy | None,
    classes: int | None,
    width: float,
    series: Sequence[Sequence[Attempt]],
    doubts: Sequence[ReportWarning],
    repeatable: bool,
    partial: Partial | None = None,
) -> list[ReportWarning]:
    """All that applies, the gravest first, each code once.

    Args:
        data: The samples.
        accuracy: On clean samples with labels.
        classes: Number of classes, where it is known.
        width: Of the declared range.
        series: For each attack, its attempts at growing ε.
        doubts: What was to be said before anything ran.
        repeatable: Whether two runs of the untouched model agreed.
        partial: What is missing of an evaluation that was interrupted.
    """
    found = [
        *([] if partial is None else [partial_caution(partial)]),
        *data_cautions(data),
        *chance_cautions(accuracy, classes),
        *([] if repeatable else [RANDOM_OUTPUTS]),
        *doubts,
        *check_attempts(list(itertools.chain(*series))),
        *itertools.chain(*(check_curve(each, width=width, classes=classes) for each in series)),
    ]
    return list({warning.code: warning for warning in reversed(found)}.values())[::-1]
