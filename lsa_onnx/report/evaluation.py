"""What an evaluation found: robust accuracy under attacks of growing strength, as typed records.

``Evaluation.to_dict`` gives JSON-ready values like ``Report.to_dict``. Shares and scores are rounded
to six decimals there, for the file is also read by tools that compare text; the counts beside them
are exact.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from lsa_onnx.errors import DataError
from lsa_onnx.report.conveniences import Tabular
from lsa_onnx.report.decode import decode_document, with_lists
from lsa_onnx.report.part import Partial
from lsa_onnx.report.sections import (
    Accuracy,
    DataSection,
    GateOutcome,
    InputSection,
    ModelSection,
    ReportWarning,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

EVALUATION_VERSION = "1.3"

_DECIMALS = 6
_SHARES = frozenset(
    {
        "value",
        "clean_accuracy",
        "robust_accuracy",
        "interval",
        "success_rate",
        "success_interval",
        "r_and_g",
    }
)


@dataclass(frozen=True)
class AttackAtEps:
    """One attack at one strength, over all ``n`` samples.

    ``eps`` is the largest ``norm`` of a change in units of the declared range, ``eps_text`` how it
    was asked for ("8/255"); ``parameters`` are in those units. ``correct`` samples are still right
    under the attack, ``broken`` ones were right before it and are not any more. ``robust_accuracy``
    is ``correct`` / ``n`` with its 95 % Wilson ``interval``; ``success_rate`` is ``broken`` over
    the initially correct samples, ``None`` where there is no such sample. ``white_box`` attacks
    know the model's gradient. ``right`` has a character per sample, in the order of the selection:
    "1" where it is still right, else "0".
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
    right: str
    seconds: float


@dataclass(frozen=True)
class AttackSummary:
    """One attack over all its strengths ``eps``, which ascend from 0.

    ``r_and_g`` is the R&G score, robustness and generalisation (Khalooei et al. 2023): the sum over
    ``eps`` of the accuracy in percent, with the 95 % ``interval`` of a bootstrap over samples.
    ``minimal_eps`` holds for each sample, in the order of the selection, the smallest strength at
    which it is wrong: 0 where it is so without an attack, ``None`` where no strength broke it.
    """

    attack: str
    norm: str
    eps: list[float]
    r_and_g: float
    interval: tuple[float, float]
    minimal_eps: list[float | None]


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
class Evaluation(Tabular):
    """A whole evaluation.

    With ``labels`` "predicted" the model's own clean predictions stand for labels: accuracy is then
    agreement with them, and ``clean`` is 1. ``clean_accuracy`` repeats ``clean.value``. ``gates`` is
    what the user's gates found; ``partial`` is ``None`` for an evaluation that ran to its end.
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
    summaries: list[AttackSummary]
    warnings: list[ReportWarning]
    gates: list[GateOutcome] = field(default_factory=list)
    partial: Partial | None = None
    schema_version: str = EVALUATION_VERSION
    kind: Literal["evaluation"] = "evaluation"

    def correct_at(self, attack: str, eps: float) -> NDArray[np.bool_]:
        """Which samples are right under an attack, shape (n,), in the order of the selection.

        Args:
            attack: Its name.
            eps: One of its strengths, in units of the declared range.

        Raises:
            DataError: The attack was not run at that strength.
        """
        import numpy as np  # whoever only reads a file need not wait for it

        found = [r for r in self.results if r.attack == attack and math.isclose(r.eps, eps)]
        if not found:
            run = ", ".join(dict.fromkeys(f"{r.attack} at {r.eps:g}" for r in self.results))
            raise DataError(
                f"{attack!r} at eps {eps:g} is not in this evaluation; it holds {run or 'no attack'}"
            )
        right: NDArray[np.bool_] = np.frombuffer(found[0].right.encode("ascii"), "S1") == b"1"
        return right

    def scores(self, attack: str) -> NDArray[np.int64]:
        """At how many strengths each sample is right under an attack, shape (n,).

        Their mean times 100 is the R&G score.

        Raises:
            DataError: The attack was not run.
        """
        import numpy as np

        found = [summary for summary in self.summaries if summary.attack == attack]
        if not found:
            run = ", ".join(summary.attack for summary in self.summaries)
            raise DataError(
                f"attack {attack!r} is not in this evaluation; it holds {run or 'none'}"
            )
        right = [self.correct_at(attack, eps) for eps in found[0].eps]
        times: NDArray[np.int64] = np.sum(right, axis=0, dtype=np.int64)
        return times

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
    """``value`` with the shares of results and summaries and of the clean accuracy rounded."""
    if field in ("results", "summaries"):
        return [rounded_shares(record) for record in value]
    if field == "clean":
        return rounded_shares(value)
    return _round(value) if field in _SHARES else value


def rounded_shares(record: dict[str, Any]) -> dict[str, Any]:
    """A record as JSON-ready values, with its shares and scores rounded and its tuples as lists."""
    return {name: _round(value) if name in _SHARES else value for name, value in record.items()}


def _round(share: Any) -> Any:
    if isinstance(share, (list, tuple)):
        return [_round(bound) for bound in share]
    return None if share is None else round(share, _DECIMALS)
