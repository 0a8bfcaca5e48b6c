"""The decision boundary of models with two features, as typed records (Khalooei et al. 2023, Fig. 7)."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal

from lsa_onnx.report.conveniences import Drawn
from lsa_onnx.report.decode import decode_document, with_lists
from lsa_onnx.report.sections import (
    Accuracy,
    DataSection,
    InputSection,
    ModelSection,
    ReportWarning,
)

BOUNDARY_VERSION = "1.0"


@dataclass(frozen=True)
class Region:
    """What one model says over the plane of its two features.

    ``model`` counts in ``Boundary.models``. ``classes`` [i][j] is the class at the second feature's
    ``ys[i]`` and the first one's ``xs[j]``; ``margin`` [i][j] the distance between the two best scores
    there (0 on the boundary), ``None`` where the model gives no scores. ``accuracy`` is on the samples.
    """

    model: int
    classes: list[list[int]]
    margin: list[list[float]] | None
    accuracy: Accuracy | None


@dataclass(frozen=True)
class Boundary(Drawn):
    """Regions of one or more models on the same axes, with the samples that are drawn over them.

    ``points`` are samples, each of two features, in the units of the declared range; ``labels`` their
    classes, ``None`` without labels. ``eps`` is the half width of the square that an attack in L∞ may
    reach, drawn for scale; ``None`` for none.
    """

    tool_version: str
    created: str
    models: list[ModelSection]
    input: InputSection
    data: DataSection
    xs: list[float]
    ys: list[float]
    points: list[tuple[float, float]]
    labels: list[int] | None
    eps: float | None
    regions: list[Region]
    seed: int
    command: list[str]
    warnings: list[ReportWarning]
    schema_version: str = BOUNDARY_VERSION
    kind: Literal["boundary"] = "boundary"

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready values, fields in the order of this class, arrays as lists."""
        return {name: with_lists(value) for name, value in dataclasses.asdict(self).items()}

    @classmethod
    def from_dict(cls, values: object) -> Boundary:
        """Rebuild it from what ``json.loads`` gave.

        Raises:
            DataError: It is another document, of another schema version, has a missing or unknown
                field, or a value of the wrong type.
        """
        return decode_document(cls, values, "boundary", BOUNDARY_VERSION)
