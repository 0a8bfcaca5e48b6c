"""Damage that knows nothing of the format: bytes changed, lost, added, repeated."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.fuzz import values
from tests.fuzz.case import few

if TYPE_CHECKING:
    from random import Random

_LONGEST = 64


def damaged(rng: Random, content: bytes) -> bytes:
    """``content`` with a few changes."""
    changed = bytearray(content)
    for _ in range(few(rng)):
        rng.choice(_CHANGES)(rng, changed)
    return bytes(changed)


def _place(rng: Random, content: bytearray) -> int:
    """Half of all changes meet the head, where formats keep what they rely on."""
    length = len(content)
    return rng.randrange(min(length, _LONGEST) if rng.random() < 0.5 else length) if length else 0


def _flip(rng: Random, content: bytearray) -> None:
    if content:
        content[_place(rng, content)] ^= 1 << rng.randrange(8)


def _replace(rng: Random, content: bytearray) -> None:
    start = _place(rng, content)
    content[start : start + rng.randint(1, 8)] = values.raw(rng, 8)


def _cut_short(rng: Random, content: bytearray) -> None:
    del content[_place(rng, content) :]


def _lose(rng: Random, content: bytearray) -> None:
    start = _place(rng, content)
    del content[start : start + rng.randint(1, _LONGEST)]


def _insert(rng: Random, content: bytearray) -> None:
    start = _place(rng, content)
    content[start:start] = values.raw(rng, _LONGEST)


def _repeat(rng: Random, content: bytearray) -> None:
    start = _place(rng, content)
    content[start:start] = content[start : start + rng.randint(1, _LONGEST)]


def _number(rng: Random, content: bytearray) -> None:
    size = rng.choice((1, 2, 4, 8))
    start = _place(rng, content)
    odd = (values.integer(rng) % (1 << 8 * size)).to_bytes(size, "little")
    content[start : start + size] = odd if rng.random() < 0.5 else odd[::-1]


def _append(rng: Random, content: bytearray) -> None:
    content += values.raw(rng, _LONGEST)


_CHANGES = (_flip, _replace, _cut_short, _lose, _insert, _repeat, _number, _append)
