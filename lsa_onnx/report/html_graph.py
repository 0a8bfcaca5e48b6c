"""The scored layers as a list with branch marks: which layers feed which, drawn as rails beside the rows."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lsa_onnx.report import text
from lsa_onnx.report.text import visible

if TYPE_CHECKING:
    from lsa_onnx.report.document import LayerInfo

# Wider networks draw what is beyond on the last rail: the links say what feeds what.
MOST_RAILS = 10
_STEP = 14


@dataclass(frozen=True)
class Rail:
    """The marks of one row, as numbers of rails counted from 0 at the left.

    ``lane`` is the layer's own; ``through`` pass the row; ``into`` come from above into the layer;
    ``goes_on`` tells whether a later layer is fed by it.
    """

    lane: int
    through: list[int]
    into: list[int]
    goes_on: bool


def feeding(layers: Sequence[LayerInfo]) -> list[list[int]]:
    """For each layer, the numbers of the scored layers that feed it, in graph order."""
    numbers = {info.tensor: number for number, info in enumerate(layers)}
    return [
        sorted({numbers[tensor] for tensor in info.previous if tensor in numbers})
        for info in layers
    ]


def fed(feeds: Sequence[Sequence[int]]) -> list[list[int]]:
    """The other way round: for each layer, the numbers of the layers that it feeds."""
    found: list[list[int]] = [[] for _ in feeds]
    for number, sources in enumerate(feeds):
        for source in sources:
            found[source].append(number)
    return found


def rails(feeds: Sequence[Sequence[int]]) -> list[Rail]:
    """Give each layer a rail, from its row down to the last layer that it feeds.

    A layer takes over the leftmost rail that ends in it, so that a chain stays straight and a residual
    branch lies to the right of its shortcut. What feeds an earlier row (a loop) is left to the links.
    """
    above = [[source for source in sources if source < row] for row, sources in enumerate(feeds)]
    last = {source: row for row, sources in enumerate(above) for source in sources}
    lanes: dict[int, int] = {}
    found = []
    for row, sources in enumerate(above):
        into = sorted(lanes[source] for source in sources)
        ended = sorted(lanes.pop(source) for source in sources if last[source] == row)
        lane = ended[0] if ended else _first_free(lanes.values())
        found.append(Rail(lane, sorted(lanes.values()), into, row in last))
        if row in last:
            lanes[row] = lane
    return found


def _first_free(taken: Collection[int]) -> int:
    return next(lane for lane in range(len(taken) + 1) if lane not in taken)


def rows(layers: Sequence[LayerInfo], table: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """One entry per layer; ``table`` is that of the layers, whose figures are shown again."""
    feeds = feeding(layers)
    feeding_into = fed(feeds)
    return [
        {
            **shown,
            "shape": "shape unknown" if info.shape is None else shown["shape"],
            "marks": _marks(rail),
            "at": _place(rail.lane),
            "from": feeds[number],
            "to": feeding_into[number],
            "body": visible(info.body) if info.body is not None else "",
            "weights": text.count(info.parameters, "weight"),
        }
        for number, (info, shown, rail) in enumerate(zip(layers, table, rails(feeds), strict=True))
    ]


def width(layers: Sequence[LayerInfo]) -> int:
    """Pixels that the rails of all rows take."""
    used = [max([r.lane, *r.through, *r.into]) for r in rails(feeding(layers))]
    return _place(max(used, default=0)) + _STEP // 2 + 1


def _marks(rail: Rail) -> list[tuple[int, str, int, str]]:
    """The lines of a row: where they start and end, x in pixels and y in percent of its height."""
    at = _place(rail.lane)
    lines = [(_place(lane), "0", _place(lane), "100%") for lane in rail.through]
    lines += [(_place(lane), "0", at, "50%") for lane in rail.into]
    if rail.goes_on:
        lines.append((at, "50%", at, "100%"))
    return list(dict.fromkeys(lines))


def _place(lane: int) -> int:
    return _STEP // 2 + 1 + _STEP * min(lane, MOST_RAILS - 1)
