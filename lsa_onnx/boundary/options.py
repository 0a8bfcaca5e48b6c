"""Everything that a decision boundary can be told."""

from __future__ import annotations

from dataclasses import dataclass

from lsa_onnx.attacks import parse_eps
from lsa_onnx.errors import DataError
from lsa_onnx.inputs import parse_floats
from lsa_onnx.scanning.options import SubjectOptions

DEFAULT_POINTS = 200
_LEAST_POINTS, _MOST_POINTS = 2, 2000


@dataclass(frozen=True)
class BoundaryOptions(SubjectOptions):
    """How to draw a decision boundary.

    Attributes:
        points: Along each of the two features.
        extent: Lower and upper end of both axes, in units of the declared range; ``None`` for what the
            samples span, and a little more.
        eps: Half width of the square that an attack may reach, drawn for scale; as
            ``lsa_onnx.attacks.parse_eps`` takes it, ``None`` for none.
        custom_ops: Libraries of custom operators that the models need; their code is run.

    Raises:
        DataError: A value is outside its range, or an option misses what it needs.
    """

    points: int = DEFAULT_POINTS
    extent: tuple[float, float] | None = None
    eps: str | None = None
    custom_ops: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.data is None:
            raise DataError(
                "a decision boundary is drawn around samples, and there are none; give them with --data"
            )
        if self.eps is not None:
            parse_eps(self.eps, 1.0)
        if not _LEAST_POINTS <= self.points <= _MOST_POINTS:
            raise DataError(
                f"--points {self.points} is not usable; give a number from {_LEAST_POINTS} to "
                f"{_MOST_POINTS} such as {DEFAULT_POINTS}"
            )

    @property
    def libraries(self) -> tuple[str, ...]:
        """See ``SubjectOptions``."""
        return self.custom_ops


def parse_extent(text: str) -> tuple[float, float]:
    """``"-2,3"`` as ``(-2.0, 3.0)``.

    Raises:
        DataError: Not two finite numbers, or the first is not below the second.
    """
    values = parse_floats(text, "--extent")
    if len(values) != 2 or values[0] >= values[1]:
        raise DataError(
            f"--extent {text!r} is not usable; give two numbers LO,HI with LO below HI, such as -2,3"
        )
    return values[0], values[1]
