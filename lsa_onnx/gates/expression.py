"""A gate as a user writes it: ``accuracy@pgd:8/255<40%`` fails a run whose report makes it true.

The grammar, with spaces allowed around each part::

    gate   = metric [":" part] ["@" name [":" strength]] op bound
    op     = "<" | "<=" | ">" | ">="
    bound  = number ["%"]

``part`` is a layer, or the code of a warning; one that holds ``@``, a comparison or quotes stands in
double quotes, a quote in it doubled. What each metric takes is in ``METRICS``.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from lsa_onnx.attacks.choices import unknown
from lsa_onnx.errors import DataError
from lsa_onnx.gates.codes import WARNING_CODES

Document = Literal["report", "evaluation"]

OPERATORS: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
# Whatever comes before it may hold comparisons, too: the last one counts.
_PARTS = re.compile(r"(?P<what>.+)(?P<op><=|>=|<|>)(?P<bound>[^<>=]*)", re.DOTALL)
_METRIC = re.compile(r"\s*(?P<metric>[^:@\s]*)\s*")
_QUOTED = re.compile(r'\s*"(?P<part>(?:[^"]|"")*)"\s*')
_NEEDS_QUOTES = re.compile(r'[@<>="]|^\s|\s$')
_EXAMPLE = "give one such as accuracy@pgd:8/255<40%, cm:conv1>1.2 or 'mvl>3'"


@dataclass(frozen=True)
class Metric:
    """Something that a gate can look at.

    Attributes:
        unit: "share" for figures from 0 to 1, "count" for whole numbers, "figure" for others.
        part: What may stand behind its colon; ``None`` for nothing.
        under: Whether a perturbation may be named.
        documents: Which documents have it.
        meaning: In words.
    """

    unit: Literal["share", "count", "figure"]
    part: Literal["layer", "warning"] | None
    under: bool
    documents: tuple[Document, ...]
    meaning: str


_BOTH: tuple[Document, ...] = ("report", "evaluation")
METRICS = {
    "accuracy": Metric("share", None, True, _BOTH, "accuracy, clean or under a perturbation"),
    "success": Metric("share", None, True, _BOTH, "success rate of an attack"),
    "flips": Metric("share", None, True, ("report",), "share of changed predictions"),
    "cm": Metric("figure", "layer", True, ("report",), "mean CM of a layer"),
    "mu": Metric("figure", None, True, ("report",), "mean CM over all layers, μ"),
    "mvl": Metric("count", "layer", True, ("report",), "number of layers in the MVL list"),
    "r&g": Metric("figure", None, True, ("evaluation",), "R&G score of an attack"),
    "warnings": Metric("count", "warning", False, _BOTH, "number of warnings"),
}


@dataclass(frozen=True)
class Gate:
    """A parsed gate; ``strength`` is as it was written, and ``text`` all of it.

    ``bound`` is a number as such: 40% is 0.4. Gates are equal that ask for the same.
    """

    metric: str
    part: str | None
    perturbation: str | None
    strength: str | None
    operator: str
    bound: float
    text: str = field(default="", compare=False)

    def holds(self, value: float) -> bool:
        """Whether the comparison is true of ``value``, so that the gate fails."""
        return OPERATORS[self.operator](value, self.bound)

    @property
    def upward(self) -> bool:
        """Whether larger values are worse."""
        return self.operator.startswith(">")

    def __str__(self) -> str:
        """The gate in its shortest form, which parses to an equal one."""
        part = "" if self.part is None else f":{_quoted(self.part)}"
        strength = "" if self.strength is None else f":{self.strength}"
        under = "" if self.perturbation is None else f"@{self.perturbation}{strength}"
        return f"{self.metric}{part}{under}{self.operator}{self.bound!r}"


def parse_gate(text: str) -> Gate:
    """Read a gate.

    Args:
        text: As the user wrote it.

    Raises:
        DataError: It is none, its metric is unknown, or a part is not one that this metric takes.
    """
    found = _PARTS.fullmatch(text)
    if found is None:
        raise DataError(
            f"gate {text!r} compares nothing; {_EXAMPLE}: it fails where the comparison is true"
        )
    named = _METRIC.match(found["what"])
    name = named["metric"] if named else ""
    if name not in METRICS:
        raise unknown(f"metric in gate {text!r}:", name, METRICS)
    part, under = _split(found["what"][named.end() if named else 0 :], text)
    perturbation, strength = _perturbation(under, text)
    metric = METRICS[name]
    if part is not None and metric.part is None:
        raise DataError(f"gate {text!r} names {part!r}, and {name} takes no layer; leave it out")
    if part is not None and metric.part == "warning" and part not in WARNING_CODES:
        raise unknown(f"warning in gate {text!r}:", part, WARNING_CODES)
    if perturbation is not None and not metric.under:
        raise DataError(
            f"gate {text!r} names {perturbation!r}, and {name} takes no perturbation; leave it out"
        )
    if strength is not None and name == "r&g":
        raise DataError(
            f"gate {text!r} names a strength, and r&g adds up all; leave {strength!r} out"
        )
    bound = _bound(found["bound"], metric, text)
    return Gate(name, part, perturbation, strength, found["op"], bound, text)


def _split(rest: str, text: str) -> tuple[str | None, str | None]:
    """What stands behind the colon, and behind the @."""
    part: str | None = None
    if rest.startswith(":"):
        quoted = _QUOTED.match(rest, 1)
        if quoted is not None:
            part, rest = quoted["part"].replace('""', '"'), rest[quoted.end() :]
        else:
            inside, at, under = rest[1:].rpartition("@")
            part, rest = (inside, at + under) if at else (under, "")
            part = part.strip()
        if not part:
            raise DataError(f"gate {text!r} names nothing behind its colon; {_EXAMPLE}")
    if rest and not rest.startswith("@"):
        raise DataError(f"gate {text!r} is not understood at {rest!r}; {_EXAMPLE}")
    return part, rest[1:] if rest else None


def _perturbation(under: str | None, text: str) -> tuple[str | None, str | None]:
    """Name and strength; a report calls a perturbation of several strengths ``pgd=8/255``."""
    if under is None:
        return None, None
    name, mark, strength = re.fullmatch(r"([^:=]*)([:=]?)(.*)", under, re.DOTALL).groups()  # type: ignore[union-attr] # it fits any text
    name, strength = name.strip(), strength.strip()
    if not name or (mark and not strength):
        raise DataError(f"gate {text!r} names no perturbation or strength at {under!r}; {_EXAMPLE}")
    return name, strength if mark else None


def _bound(written: str, metric: Metric, text: str) -> float:
    number, percent = written.strip(), False
    if number.endswith("%"):
        number, percent = number[:-1].strip(), True
    try:
        bound = float(number)
    except ValueError:
        bound = math.nan
    if not math.isfinite(bound):
        raise DataError(f"gate {text!r} compares with {written!r}, which is no number; {_EXAMPLE}")
    if percent and metric.unit == "count":
        raise DataError(f"gate {text!r} counts, and {written!r} is a percentage; give a number")
    # 12 digits: 7% is 0.07, not 0.07000000000000001.
    bound = float(f"{bound / 100:.12g}") if percent else bound
    if metric.unit == "share" and not 0 <= bound <= 1:
        raise DataError(
            f"gate {text!r} compares a share with {written!r}; give 0 to 1, or 0% to 100%"
        )
    return bound


def _quoted(part: str) -> str:
    return '"' + part.replace('"', '""') + '"' if _NEEDS_QUOTES.search(part) else part
