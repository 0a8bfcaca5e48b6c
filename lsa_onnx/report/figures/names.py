"""Names of layers below a figure, by number: on an axis there is no room for the names of thirty tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lsa_onnx.report import text
from lsa_onnx.report.figures.drawing import legible
from lsa_onnx.report.figures.style import SMALL, SOFT

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_ROW = 0.138
_HEAD = 0.24
# Inches that a letter takes on average, and that a number and the space after a name take.
_LETTER = 0.058
_NUMBER = 0.3
_WIDEST = 56
_MOST_NAMES = 150


def names_height(names: Sequence[str], width: float) -> float:
    """Inches that ``names`` take in a block ``width`` inches wide."""
    _, rows = _columns_and_rows(_shown(names, width), width)
    return _HEAD + _ROW * rows


def draw_names(axes: Axes, names: Sequence[str], title: str, width: float) -> None:
    """Fill ``axes`` with numbered names, down its columns.

    Args:
        axes: A block as high as ``names_height`` says.
        names: Of all layers, in graph order; very many are cut short.
        title: A line above them.
        width: Of the block, in inches.
    """
    axes.set_axis_off()
    axes.set(xlim=(0, width), ylim=(-names_height(names, width), 0))
    shown = _shown(names, width)
    left_out = len(names) - len(shown)
    axes.text(0, 0, f"{title}{f' (the first {len(shown)})' if left_out else ''}", color=SOFT,
              size=SMALL, va="top").set_in_layout(False)  # fmt: skip
    columns, rows = _columns_and_rows(shown, width)
    for number, name in enumerate(shown):
        column, row = divmod(number, rows)
        x, y = column * width / columns, -_HEAD - row * _ROW
        for offset, said, weight, side in (
            (_NUMBER - 0.08, str(number), "bold", "right"),
            (_NUMBER, name, "normal", "left"),
        ):
            axes.text(
                x + offset, y, said, size=SMALL, weight=weight, ha=side, va="center"
            ).set_in_layout(False)


def _shown(names: Sequence[str], width: float) -> list[str]:
    """As they are where they take no more rows for it, else without what all of them share."""
    whole = [legible(name, _WIDEST) for name in names[:_MOST_NAMES]]
    short = [legible(name, _WIDEST) for name in text.distinct_names(names[:_MOST_NAMES])]
    rows = [_columns_and_rows(each, width)[1] for each in (whole, short)]
    return whole if rows[0] == rows[1] else short


def _columns_and_rows(shown: Sequence[str], width: float) -> tuple[int, int]:
    widest = max(map(len, shown), default=1) * _LETTER + 1.4 * _NUMBER
    columns = max(1, min(int(width / widest), len(shown)))
    return columns, -(-len(shown) // columns)
