"""How far an attack may go, as people write it."""

from __future__ import annotations

import math

from lsa_onnx.errors import DataError

_ACCEPTED = "give a number in units of the range, 8/255 of its width, or 30%"


def parse_eps(text: str, width: float) -> float:
    """The radius that ``text`` stands for, in units of the declared range.

    Args:
        text: A number, in units of the range; ``a/b``, that part of the range's width, so that 8/255 is
            eight levels of a pixel in any range; or ``a%`` of the width.
        width: Of the declared range.

    Raises:
        DataError: It is none of these, or negative.
    """
    cleaned = text.strip()
    top, slash, bottom = cleaned.partition("/")
    if slash:
        denominator = _number(bottom, text)
        if denominator <= 0:
            raise DataError(f"eps {text!r} divides by {denominator:g}; {_ACCEPTED}")
        eps = _number(top, text) * width / denominator
    elif cleaned.endswith("%"):
        eps = _number(cleaned[:-1], text) * width / 100
    else:
        eps = _number(cleaned, text)
    if eps < 0:
        raise DataError(f"eps {text!r} is negative; {_ACCEPTED}")
    # 12 digits: 8/255 of 0..255 is 8, not 8.000000000000002.
    return float(f"{eps:.12g}")


def check_eps(eps: float, norm: str, width: float) -> None:
    """Refuse a radius that no attack can use.

    Raises:
        DataError: It is negative or not finite; in the linf norm, also if it is above the width of
            the range, whose every point is within reach then.
    """
    if not (math.isfinite(eps) and eps >= 0):
        raise DataError(f"eps {eps:g} is not a distance; {_ACCEPTED}")
    if norm == "linf" and eps > width:
        raise DataError(
            f"eps {eps:g} is larger than the range's width {width:g}; {_ACCEPTED}, "
            f"at most {width:g}, or declare the range that the data have"
        )


def _number(text: str, whole: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise DataError(f"eps {whole!r} is not a finite number; {_ACCEPTED}")
    return value
