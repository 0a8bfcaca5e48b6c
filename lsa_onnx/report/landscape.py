"""Loss landscapes of one or more models on the same axes, as typed records.

Figures are in the units of the objective; a point where it is not finite is ``None``.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal

from lsa_onnx.report.conveniences import Drawn
from lsa_onnx.report.decode import decode_document, with_lists
from lsa_onnx.report.sections import DataSection, InputSection, ModelSection, ReportWarning

LANDSCAPE_VERSION = "1.0"

Space = Literal["input", "weights"]


@dataclass(frozen=True)
class Axis:
    """One direction of the plane.

    In "input" space ``values`` are in units of the declared range (an L∞ distance), in "weights" space
    multiples of the norm of each filter (Li et al. 2018). They ascend and hold 0, the model or the
    samples themselves.
    """

    name: str
    values: list[float]


@dataclass(frozen=True)
class Curvature:
    """How sharply the loss bends at the centre.

    ``measure`` says which figure it is, ``definition`` how it is computed, in words and with its source;
    ``value`` is its mean over ``n`` samples (or over one model, with ``n`` 1), ``interval`` the 95 %
    bootstrap interval of the mean, where there is one.
    """

    measure: str
    definition: str
    value: float | None
    interval: tuple[float, float] | None
    n: int


@dataclass(frozen=True)
class Surface:
    """The objective over the plane, for one model and one proposal of layers to regularise.

    ``model`` counts in ``Landscape.models``. ``gammas`` holds γ by tensor of what is regularised, empty
    for the base loss alone. ``loss`` [i][j] and ``accuracy`` [i][j] (a share, ``None`` for models without
    classes) belong to ``axes[0].values[i]`` and ``axes[1].values[j]``, each the mean over samples.
    """

    model: int
    proposal: str
    gammas: dict[str, float]
    loss: list[list[float | None]]
    accuracy: list[list[float | None]] | None
    curvatures: list[Curvature]


@dataclass(frozen=True)
class LandscapeRun:
    """How it was made; ``attack`` says how x̂ came about, ``None`` where no attack took part."""

    seed: int
    samples: int
    attack: str | None
    device: str
    onnxruntime: str
    torch: str | None
    python: str
    platform: str
    seconds: float
    command: list[str]


@dataclass(frozen=True)
class Landscape(Drawn):
    """All surfaces of a run; they share ``axes``, samples and the seeds of the directions."""

    tool_version: str
    created: str
    space: Space
    objective: str
    models: list[ModelSection]
    input: InputSection
    data: DataSection
    run: LandscapeRun
    axes: tuple[Axis, Axis]
    surfaces: list[Surface]
    warnings: list[ReportWarning]
    schema_version: str = LANDSCAPE_VERSION
    kind: Literal["landscape"] = "landscape"

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready values, fields in the order of this class, arrays as lists."""
        return {name: with_lists(value) for name, value in dataclasses.asdict(self).items()}

    @classmethod
    def from_dict(cls, values: object) -> Landscape:
        """Rebuild a landscape from what ``json.loads`` gave for it.

        Raises:
            DataError: It is another document, of another schema version, has a missing or unknown
                field, or a value of the wrong type.
        """
        return decode_document(cls, values, "landscape", LANDSCAPE_VERSION)
