"""The doubts an input landscape has about itself; docs/warnings.md explains each code."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from lsa_onnx.accounts.cautions import (
    RANDOM_OUTPUTS,
    chance_cautions,
    data_cautions,
    one_class_doubts,
)
from lsa_onnx.landscape.opening import Opened, shared_data
from lsa_onnx.landscape.surface import Drawn, Sheet
from lsa_onnx.report.landscape import Surface
from lsa_onnx.report.sections import ReportWarning
from lsa_onnx.scanning.clean import class_count, read_as_logit

# Shares of samples from which on it is worth a word.
_VANISHED_SHARE = 0.01
_PREDICTED = ReportWarning(
    "predicted-labels",
    "There are no labels: the objective and the accuracy are against each model's own clean predictions, "
    "right or wrong.",
)


def landscape_cautions(sheets: Sequence[Sheet], drawn: Sequence[Drawn]) -> list[ReportWarning]:
    """All that applies; what concerns one of several models names it."""
    opened = [sheet.opened for sheet in sheets]
    found = [*data_cautions(shared_data(opened)), *model_cautions(opened)]
    for sheet, each in zip(sheets, drawn, strict=True):
        if sheet.adversary.labels == "predicted":
            found.append(_PREDICTED)
        found += _named(sheet.opened, opened, [*_gradient(each), *_not_finite(each.surface)])
    return list(dict.fromkeys(found))


def model_cautions(opened: Sequence[Opened]) -> list[ReportWarning]:
    """What each model's answers to the clean samples leave open."""
    found: list[ReportWarning] = []
    for each in opened:
        own = list(chance_cautions(each.clean.accuracy, class_count(each.head, each.clean)))
        own += [] if each.clean.repeatable else [RANDOM_OUTPUTS]
        own += one_class_doubts(read_as_logit(each.head), each.clean.classes)
        found += _named(each, opened, own)
    return found


def _gradient(drawn: Drawn) -> Iterator[ReportWarning]:
    if drawn.saturated is not None and drawn.saturated >= _VANISHED_SHARE:
        yield ReportWarning(
            "vanishing-gradient",
            f"For {drawn.saturated:.1%} of samples the cross-entropy is 0 in single precision, and so is "
            "its gradient. The surface shows its unsaturated form, which has the same maximisers; a "
            "plane of the cross-entropy itself would look flat where it is not.",
        )
    if drawn.flat >= _VANISHED_SHARE:
        yield ReportWarning(
            "zero-gradient",
            f"For {drawn.flat:.1%} of samples the gradient by the input is exactly 0: they do not move "
            "along the first axis and count in no curvature.",
        )


def _not_finite(surface: Surface) -> Iterator[ReportWarning]:
    missing = sum(value is None for row in surface.loss for value in row)
    if missing:
        yield ReportWarning(
            "not-finite",
            f"At {missing} of {len(surface.loss) ** 2} points the objective of a sample is infinite or NaN: "
            "they have no figure.",
        )


def _named(
    one: Opened, opened: Sequence[Opened], found: Sequence[ReportWarning]
) -> list[ReportWarning]:
    """With the file's name in front, where there are several."""
    if len(opened) == 1:
        return list(found)
    return [ReportWarning(each.code, f"{one.name}: {each.message}") for each in found]
