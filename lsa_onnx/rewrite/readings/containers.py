"""Sequences, optionals and maps: which tensors they hold, so that a report can point at those."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lsa_onnx.rewrite.graph import consumers
from lsa_onnx.rewrite.readings.facts import UNKNOWN, Facts

if TYPE_CHECKING:
    import onnx

_KINDS = {"seq": "sequence", "optional": "optional", "map": "map"}
# Containers of ONNX's own operators, for what no inference gives a type.
_MAKERS = {
    "Optional": "optional",
    "SequenceConstruct": "sequence",
    "SequenceEmpty": "sequence",
    "SequenceErase": "sequence",
    "SequenceInsert": "sequence",
    "SequenceMap": "sequence",
    "SplitToSequence": "sequence",
    "ZipMap": "sequence",
}
_TAKERS = frozenset({"ConcatFromSequence", "OptionalGetElement", "SequenceAt"})
_NUMBERS = re.compile(r"b?float\d")
# A report names the first few only; a loop unrolled may have put in thousands.
_NAMED = 3


@dataclass(frozen=True)
class _Held:
    """The first few tensors held, and how many there are."""

    names: tuple[str, ...]
    count: int

    def __add__(self, other: _Held) -> _Held:
        return _Held((self.names + other.names)[:_NAMED], self.count + other.count)


class Containers:
    """Answers for the containers of one model."""

    def __init__(self, facts: Facts) -> None:
        """Trace what is put into them. Linear in nodes."""
        self._facts = facts
        self._read_by = consumers(facts.graph)
        self._members: dict[str, _Held] = {}
        for node in facts.graph.node:
            self._trace(node)

    def kind(self, tensor: str) -> str | None:
        """The container that ``tensor`` is, in a word; ``None`` where it is a tensor indeed."""
        dtype = self._facts.dtype(tensor)
        if dtype == UNKNOWN:
            maker = self._facts.made.get(tensor)
            return None if maker is None else _MAKERS.get(maker.op_type)
        return _KINDS.get(dtype.partition("(")[0]) if "(" in dtype else None

    def reason(self, tensor: str) -> str:
        """Where the members of a container are scored, for a report."""
        kind = self.kind(tensor)
        held = self._members.get(tensor, _Held((), 0))
        if held.count > 1:
            return f"{kind}: its members {_listed(held)} are scored"
        if held.count:
            return f"{kind}: its member {_listed(held)} is scored"
        whole = [name for name in self._whole(tensor) if self._is_scored(name)]
        if whole:
            return f"{kind}: {whole[0]!r}, of which it is made, is scored"
        taken = [name for name in self._taken(tensor) if self._is_scored(name)]
        if taken:
            verb = "is" if len(taken) == 1 else "are"
            return f"{kind}: {_listed(_held(taken))}, taken from it, {verb} scored"
        return f"{kind}: no floating-point tensor of the main graph is put into it or taken from it"

    def _trace(self, node: onnx.NodeProto) -> None:
        made = node.output[0] if node.output else ""
        if node.op_type in ("Optional", "SequenceConstruct"):
            self._members[made] = _held([n for n in node.input if self._is_scored(n)])
            inner = [self._members[n] for n in node.input if n in self._members]
            self._members[made] = sum(inner, self._members[made])
        elif node.op_type in ("SequenceInsert", "SequenceErase", "Identity"):
            if node.input[0] in self._members:
                added = [n for n in node.input[1:2] if self._is_scored(n)]
                self._members[made] = self._members[node.input[0]] + _held(added)
        elif node.op_type == "SequenceEmpty":
            self._members[made] = _Held((), 0)

    def _whole(self, tensor: str) -> Sequence[str]:
        """The tensor that was split or renamed into this container."""
        maker = self._facts.made.get(tensor)
        splits = maker is not None and maker.op_type in ("SplitToSequence", "ZipMap")
        return [maker.input[0]] if maker is not None and splits else []

    def _taken(self, tensor: str) -> Sequence[str]:
        readers = self._read_by.get(tensor, ())
        return [node.output[0] for node in readers if node.op_type in _TAKERS]

    def _is_scored(self, name: str) -> bool:
        """Whether ``name`` is a tensor of numbers that a node makes of the input."""
        is_number = bool(_NUMBERS.match(self._facts.dtype(name)))
        return is_number and name in self._facts.made and name in self._facts.varying


def _held(names: Sequence[str]) -> _Held:
    return _Held(tuple(names[:_NAMED]), len(names))


def _listed(held: _Held) -> str:
    """``'a', 'b' and 2 more``."""
    names = [repr(name) for name in held.names]
    if held.count > len(names):
        names.append(f"{held.count - len(names)} more")
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
