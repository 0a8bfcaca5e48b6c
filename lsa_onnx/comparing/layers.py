"""Which layers of two models are the same one: by name, else by what makes them."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

from lsa_onnx.report.comparison import Matched, Unmatched
from lsa_onnx.report.document import LayerInfo

# What quantisers and exporters hang on to the names of nodes and tensors.
_ENDINGS = re.compile(
    r"(?:_output_\d+|:\d+|_quantized|_quant|_QuantizeLinear|_DequantizeLinear|_Output|_Input|_MatMul|_QDQ)$"
)

Same = Callable[[LayerInfo, LayerInfo], bool]


@dataclass(frozen=True)
class Pair:
    """A layer of either model, by their places, and how it was found to be one."""

    before: int
    after: int
    how: Matched


def pair_layers(
    before: Sequence[LayerInfo], after: Sequence[LayerInfo]
) -> tuple[list[Pair], list[Unmatched]]:
    """The layers that both models have, in the order of the first, and those that one alone has.

    Tried in this order, each for what is left: the same tensor; the same node, or the same learnable
    nodes, also under the names that quantisers give them; the same end of the path. What has another
    name must have the same shape per sample: nodes without a name are called by their place.

    Args:
        before: Layers of the first model.
        after: Layers of the second.
    """
    pairs: list[Pair] = []
    doubts: dict[tuple[str, int], str] = {}
    steps: list[tuple[Matched, Same]] = [("name", _tensor), ("node", _nodes), ("path", _path)]
    for how, same in steps:
        left = _rest(before, {pair.before for pair in pairs})
        right = _rest(after, {pair.after for pair in pairs})
        pairs += _matched(left, right, how, same, doubts)
    pairs.sort(key=lambda pair: pair.before)
    return pairs, [
        *_unmatched("before", before, {pair.before for pair in pairs}, doubts),
        *_unmatched("after", after, {pair.after for pair in pairs}, doubts),
    ]


@cache
def plain(name: str) -> str:
    """A name without what quantisers and exporters hang on to it."""
    while (shorter := _ENDINGS.sub("", name)) not in (name, ""):
        name = shorter
    return name


def _rest(layers: Sequence[LayerInfo], taken: set[int]) -> dict[int, LayerInfo]:
    return {at: each for at, each in enumerate(layers) if at not in taken}


def _matched(
    left: dict[int, LayerInfo],
    right: dict[int, LayerInfo],
    how: Matched,
    same: Same,
    doubts: dict[tuple[str, int], str],
) -> list[Pair]:
    """One step: what is the same as exactly one layer of the other model, by their places."""
    fits = [(a, b) for a, one in left.items() for b, other in right.items() if same(one, other)]
    pairs = []
    for a, b in fits:
        if not any((a == c) != (b == d) for c, d in fits):
            pairs.append(Pair(a, b, how))
            continue
        told = f"by its {how} it may be any of several layers of the other model"
        doubts |= {("before", a): told, ("after", b): told}
    return pairs


def _tensor(one: LayerInfo, other: LayerInfo) -> bool:
    return one.tensor == other.tensor


def _nodes(one: LayerInfo, other: LayerInfo) -> bool:
    """Made by one node, or holding what the same learnable nodes made."""
    if not _alike(one, other):
        return False
    if plain(one.node) == plain(other.node):
        return True
    learnable = sorted(map(plain, one.learnable))
    return bool(learnable) and learnable == sorted(map(plain, other.learnable))


def _path(one: LayerInfo, other: LayerInfo) -> bool:
    """One name is the end of the other, from a slash on."""
    first, second = (plain(each.tensor).strip("/") for each in (one, other))
    ends = f"/{first}".endswith(f"/{second}") or f"/{second}".endswith(f"/{first}")
    return ends and _alike(one, other)


def _alike(one: LayerInfo, other: LayerInfo) -> bool:
    """Whether nothing that is known of their shapes per sample differs."""
    if one.shape is None or other.shape is None:
        return True
    sizes = list(zip(one.shape[1:], other.shape[1:], strict=False))
    known = [(a, b) for a, b in sizes if isinstance(a, int) and isinstance(b, int)]
    return len(one.shape) == len(other.shape) and all(a == b for a, b in known)


def _unmatched(
    side: str, layers: Sequence[LayerInfo], taken: set[int], doubts: dict[tuple[str, int], str]
) -> list[Unmatched]:
    nothing = "no layer of the other model has its name, its nodes or its path"
    return [
        Unmatched(
            "before" if side == "before" else "after", each.tensor, doubts.get((side, at), nothing)
        )
        for at, each in enumerate(layers)
        if at not in taken
    ]
