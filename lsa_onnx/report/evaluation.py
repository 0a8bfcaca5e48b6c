"""What an evaluation found: robust accuracy under attacks of growing strength, as typed records.

``Evaluation.to_dict`` gives JSON-ready values like ``Report.to_dict``. Shares are rounded to six
decimals there, for the file is also read by tools that compare text; the counts beside them are
exact.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal

from lsa_onnx.report.decode import decode_document, with_lists
from lsa_onnx.report.sections import (
    Accuracy,
    DataSection,
    InputSection,
    ModelSection,
    ReportWarning,
)

EVALUATION_VERSION = "1.1"

_DECIMALS = 6
_SHARES = frozenset(
    {"value", "clean_accuracy", "robust_accuracy", "interval", "success_rate", "success_interval"}
)


@dataclass(frozen=True)
class AttackAtEps:
    """One attack at one strength, over all ``n`` samples.

    ``eps`` is the largest ``norm`` of a change in units of the declared range, ``eps_text`` how it
    was asked for ("8/255"); ``parameters`` are in those units. ``correct`` samples are still right
    under the attack, ``broken`` ones were right before it and are not any more. ``robust_accuracy``
    is ``correct`` / ``n`` with its 95 % Wilson ``interval``; ``success_rate`` is ``broken`` over
    the initially correct samples, ``None`` where there is no such sample. ``white_box`` attacks
    know the model's gradient.
    """

    attack: str
    eps: float
    eps_text: str
    norm: str
    parameters: dict[str, Any]
    white_box: bool
    clean_accuracy: float
    robust_accuracy: float
    interval: tuple[float, float]
    n: int
    correct: int
    broken: int
    success_rate: float | None
    success_interval: tuple[float, float] | None
    seconds: float


@dataclass(frozen=True)
class EvaluationRun:
    """How it was run.

    ``batch`` is samples per run; ``batch_mode`` says how that batch came about; of ``restarts``
    the worst counts, sample by sample.
    """

    seed: int
    device: str
    provider: str
    device_note: str | None
    onnxruntime: str
    onnx: str
    python: str
    platform: str
    threads: int
    batch: int
    batch_mode: Literal["free", "rebatched", "native"]
    batch_note: str
    restarts: int
    seconds: float
    command: list[str]


@dataclass(frozen=True)
class Evaluation:
    """A whole evaluation.

    With ``labels`` "predicted" the model's own clean predictions stand for labels: accuracy is then
    agreement with them, and ``clean`` is 1. ``clean_accuracy`` repeats ``clean.value``.
    """

    tool_version: str
    created: str
    model: ModelSection
    input: InputSection
    data: DataSection
    run: EvaluationRun
    labels: Literal["given", "predicted"]
    clean: Accuracy
    clean_accuracy: float
    results: list[AttackAtEps]
    warnings: list[ReportWarning]
    schema_version: str = EVALUATION_VERSION
    kind: Literal["evaluation"] = "evaluation"

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready values, fields in the order of this class, arrays as lists, shares rounded."""
        values = {name: with_lists(value) for name, value in dataclasses.asdict(self).items()}
        return {name: _rounded(name, value) for name, value in values.items()}

    @classmethod
    def from_dict(cls, values: object) -> Evaluation:
        """Rebuild an evaluation from what ``json.loads`` gave for it.

        Raises:
            DataError: It is another document, of another schema version, has a missing or unknown
                field, or a value of the wrong type.
        """
        return decode_document(cls, values, "evaluation", EVALUATION_VERSION)


def _rounded(field: str, value: Any) -> Any:
    """``value`` with the shares of the results and of the clean accuracy rounded."""
    if field == "results":
        return [_with_rounded_shares(result) for result in value]
    if field == "clean":
        return _with_rounded_shares(value)
    return _round(value) if field in _SHARES else value


def _with_rounded_shares(record: dict[str, Any]) -> dict[str, Any]:
    return {name: _round(value) if name in _SHARES else value for name, value in record.items()}


def _round(share: Any) -> Any:
    if isinstance(share, list):
        return [_round(bound) for bound in share]
    return None if share is None else round(share, _DECIMALS)
