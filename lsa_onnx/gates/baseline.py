"""What an earlier run found, to which a new one is held."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from lsa_onnx.comparing.alike import (
    data_differ,
    interfaces_differ,
    layers_differ,
    partner,
    settings_differ,
)
from lsa_onnx.errors import DataError
from lsa_onnx.report.conditions import Conditions, conditions_of
from lsa_onnx.report.document import Report
from lsa_onnx.report.evaluation import Evaluation
from lsa_onnx.report.json_file import read_evaluation, read_report

if TYPE_CHECKING:
    import os


@dataclass(frozen=True)
class Baseline:
    """A document, and the file that it was read from."""

    document: Report | Evaluation
    path: str

    def require_comparable(self, now: Conditions) -> None:
        """Refuse a run that the baseline says nothing of.

        Inputs and outputs, samples, range and scored layers must be the same, and the baseline must hold
        every perturbation of the run with the same settings; it may hold more.

        Raises:
            DataError: Something differs; the message says what.
        """
        before = conditions_of(self.document)
        reason = (
            interfaces_differ(before, now)
            or data_differ(before, now)
            or layers_differ(before, now)
            or _perturbations_differ(before, now)
        )
        if reason is not None:
            raise DataError(
                f"--baseline {self.path!r} cannot be compared with this run: {reason} (the baseline comes "
                "first); make the baseline again with the options of this run, or use `lsa-onnx compare`"
            )


def read_baseline(path: str | os.PathLike[str], kind: Literal["report", "evaluation"]) -> Baseline:
    """Read the document of an earlier run.

    Args:
        path: The JSON file.
        kind: Of the run that is held to it.

    Raises:
        DataError: It cannot be read, or is another document, or of another schema version.
    """
    try:
        document = read_report(path) if kind == "report" else read_evaluation(path)
    except DataError as error:
        raise DataError(f"--baseline: {error}") from error
    return Baseline(document, str(Path(path)))


def _perturbations_differ(before: Conditions, now: Conditions) -> str | None:
    for each in now.applied:
        at = partner(each, before.applied)
        if at is None:
            held = ", ".join(dict.fromkeys(a.words for a in before.applied)) or "nothing"
            return f"it holds {held}, and no {each.words}"
        differ = settings_differ(before.applied[at], each)
        if differ is not None:
            return differ
    return None
