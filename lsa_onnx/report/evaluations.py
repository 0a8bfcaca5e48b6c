"""Several models evaluated alike, side by side, and how they differ on the same samples."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal

from lsa_onnx.report.conveniences import Tabular
from lsa_onnx.report.decode import decode_document
from lsa_onnx.report.evaluation import EVALUATION_VERSION, Evaluation, rounded_shares


@dataclass(frozen=True)
class Difference:
    """How another model does on the samples of the first one, minus how that does.

    ``model`` counts in ``Evaluations.evaluations``. ``eps`` is a strength of ``attack``, and the
    difference that of robust accuracy in percentage points; ``None`` for that of the R&G score.
    ``interval`` is its 95 % interval, by a bootstrap over the samples that both models met.
    """

    model: int
    attack: str
    eps: float | None
    value: float
    interval: tuple[float, float]


@dataclass(frozen=True)
class Evaluations(Tabular):
    """One evaluation per model, in the order asked for.

    ``differences`` are to the first; there are none to a model that met other samples or strengths.
    Where a model could not be evaluated, those before it are here.
    """

    tool_version: str
    created: str
    evaluations: list[Evaluation]
    differences: list[Difference]
    command: list[str]
    schema_version: str = EVALUATION_VERSION
    kind: Literal["evaluations"] = "evaluations"

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready values like those of ``Evaluation.to_dict``."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {
            **fields,
            "evaluations": [each.to_dict() for each in self.evaluations],
            "differences": [rounded_shares(dataclasses.asdict(d)) for d in self.differences],
        }

    @classmethod
    def from_dict(cls, values: object) -> Evaluations:
        """Rebuild evaluations from what ``json.loads`` gave for them.

        Raises:
            DataError: It is another document, of another schema version, has a missing or unknown
                field, or a value of the wrong type.
        """
        return decode_document(cls, values, "evaluations", EVALUATION_VERSION)
