"""Everything that a landscape can be told."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from pathlib import Path

from lsa_onnx.attacks import ATTACKS, parse_eps
from lsa_onnx.errors import DataError
from lsa_onnx.report.landscape import Space
from lsa_onnx.scanning.options import DEFAULT_EPS, AttackOptions

SPACES: tuple[Space, ...] = ("input", "weights")
PROPOSALS = ("none", "each", "mvl")
DEFAULT_EXTENTS: dict[Space, str] = {"input": DEFAULT_EPS, "weights": "1"}
DEFAULT_POINTS = 25
DEFAULT_SAMPLES = 256
_LEAST_POINTS = 3
_MOST_POINTS = 1001
# What says nothing of the input space, where no layer is regularised and no attack takes part.
_OF_WEIGHTS = ("mvl", "report", "proposals", "gamma", "attack", "eps", "steps")


@dataclass(frozen=True)
class LandscapeOptions(AttackOptions):
    """How to draw a landscape.

    Attributes:
        space: "input" for the plane of the gradient's sign and a random direction, "weights" for one of
            two filter-normalised random directions.
        extent: How far each axis goes either way, ``None`` for the space's default: in input space as
            ``lsa_onnx.attacks.parse_eps`` takes it, in weight space a multiple of each filter's norm.
        points: Along each axis, odd, so that the model itself is one of them.
        samples: Drawn at random, over which losses are means.
        attack: Which attack makes the x̂ of the layer-wise term; weight space only, as all that follows.
        eps: How far it may go, as ``parse_eps`` takes it; ``steps`` of the base class are its own.
        proposals: What is regularised, each a surface: "none" (the base loss alone), "each" (every layer
            of the list alone), "mvl" (the whole list).
        mvl: The list, as names of tensors.
        report: Path of a scan's JSON, whose MVL list is taken instead. Without either, the model is scanned.
        gamma: Weight of the layer-wise term, as hardening takes it.

    Raises:
        DataError: A value is outside its range, or an option misses what it needs.
    """

    samples: int | None = DEFAULT_SAMPLES
    space: Space = "input"
    extent: str | None = None
    points: int = DEFAULT_POINTS
    attack: str = "pgd"
    eps: str = DEFAULT_EPS
    proposals: tuple[str, ...] = ("none",)
    mvl: tuple[str, ...] = ()
    report: Path | None = None
    gamma: str = "auto"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.space not in SPACES:
            raise DataError(f"--space {self.space!r} is not known; give {' or '.join(SPACES)}")
        if self.data is None:
            raise DataError(
                "a landscape is a mean over samples, and there are none; give them with --data"
            )
        self._require_points()
        self._require_extent()
        if self.space == "input":
            self._require_none_of_weights()
        else:
            self._require_objective_of_training()
            self._require_proposals()

    @property
    def files(self) -> list[str | Path]:
        """See ``SubjectOptions.files``."""
        return [*super().files, *filter(None, [self.report])]

    @property
    def extent_text(self) -> str:
        """The extent as the user wrote it, or the default of the space."""
        return self.extent if self.extent is not None else DEFAULT_EXTENTS[self.space]

    def reach(self, width: float) -> float:
        """The extent as a number: in units of a range of ``width``, or times each filter's norm.

        Raises:
            DataError: In input space, it is larger than the range.
        """
        if self.space == "weights":
            return float(self.extent_text)
        reach = parse_eps(self.extent_text, width)
        if reach > width:
            raise DataError(
                f"--extent {self.extent_text} is {reach:g}, more than the range's width {width:g}; give "
                f"at most that, or declare the range that the data have with --range"
            )
        return reach

    def _require_points(self) -> None:
        accepted = (
            f"give an odd number from {_LEAST_POINTS} to {_MOST_POINTS} such as {DEFAULT_POINTS}"
        )
        if self.points % 2 == 0:
            raise DataError(
                f"--points {self.points} is even, which would leave out the centre; {accepted}"
            )
        if not _LEAST_POINTS <= self.points <= _MOST_POINTS:
            raise DataError(f"--points {self.points} is not usable; {accepted}")

    def _require_extent(self) -> None:
        text = self.extent_text
        if self.space == "input":
            accepted = "give a distance such as 8/255 or 3%"
            reach = parse_eps(text, 1.0)
        else:
            accepted = "give a multiple of the norm of each filter, such as 1"
            reach = _number(text)
        if not (math.isfinite(reach) and reach > 0):
            raise DataError(f"--extent {text!r} spans no plane in {self.space} space; {accepted}")

    def _require_none_of_weights(self) -> None:
        defaults = {field.name: field.default for field in dataclasses.fields(self)}
        for name in _OF_WEIGHTS:
            value = getattr(self, name)
            if value != defaults[name]:
                text = ",".join(value) if isinstance(value, tuple) else str(value)
                raise DataError(
                    f"--{name} {text} is for --space weights, where layers are regularised; leave it out, "
                    "or give --space weights"
                )

    def _require_objective_of_training(self) -> None:
        if self.objective is not None:
            raise DataError(
                f"--objective {self.objective!r} is for --space input, and over weights it is what training "
                "minimises; leave it out, or give --space input"
            )

    def _require_proposals(self) -> None:
        accepted = ", ".join(PROPOSALS)
        unknown = [name for name in self.proposals if name not in PROPOSALS]
        if unknown or not self.proposals:
            given = repr(unknown[0]) if unknown else "an empty list"
            raise DataError(f"--proposals: {given} is none; accepted are {accepted}")
        if self.mvl and self.report is not None:
            raise DataError(
                f"--mvl {','.join(self.mvl)} and --report {str(self.report)!r} both name the layers; "
                "give one"
            )
        if self.attack not in ATTACKS:
            raise DataError(
                f"--attack {self.attack!r} is not known; accepted are {', '.join(ATTACKS)}"
            )


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
