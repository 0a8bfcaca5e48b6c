"""Values that readers of files tend to get wrong."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from tests.fuzz.case import MARKUP, TO_DECOY

if TYPE_CHECKING:
    from random import Random

INTEGERS = (
    0, 1, -1, 2, 3, 5, 7, 17, 64, 127, 128, 255, 256, 1000, -2, -128, 2**15, 2**16 - 1, 10**6,
    2**24 + 1, 2**31 - 1, 2**31, 2**32 - 1, 2**33, 2**53 + 1, 2**62, 2**63 - 1, -(2**31), -(2**63),
)  # fmt: skip
FLOATS = (
    0.0, -0.0, 1.0, -1.0, 0.5, 1e-45, 1e-30, 1e30, 3.5e38, 1e300, math.inf, -math.inf, math.nan, 2.0**24 + 1,
)  # fmt: skip
TEXTS = (
    "", " ", "x", "y", "w", "h", "\x00", "a\x00b", "\x1b[31mred", "line\nbreak", "\r\rover", "\t",
    "\x7f\x9b2J", "\u202eevil\u202c", "\u200b", "\ufeff", "é", "e\u0301", "层", "😀", "%s%n", "{0}",
    "[bold]x[/bold]", "[/]", MARKUP, "</script>" + MARKUP, "<img src=x onerror=alert(1)>", "'\"`",
    "\\", "../up", TO_DECOY, "/etc/passwd", "C:\\windows", "con", "-", "--help", "~", "$HOME",
    "a/b", "a:b", "a,b", "*", "re:(", "op:Conv", "nan", "1e999", "ai.onnx", "com.microsoft", "own",
    "model.onnx", "long" * 2500,
)  # fmt: skip


def integer(rng: Random, least: int = -(2**63), most: int = 2**63 - 1) -> int:
    """An odd integer in the range."""
    return rng.choice([number for number in INTEGERS if least <= number <= most])


def number(rng: Random) -> float:
    """An odd float."""
    return rng.choice(FLOATS)


def text(rng: Random) -> str:
    """An odd text."""
    return rng.choice(TEXTS)


def raw(rng: Random, most: int = 16) -> bytes:
    """Any bytes."""
    return bytes(rng.randrange(256) for _ in range(rng.randint(0, most)))
