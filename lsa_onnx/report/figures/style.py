"""How figures look, in one place: colours, marks, fonts and sizes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from lsa_onnx.report import text

if TYPE_CHECKING:
    from matplotlib.axis import Axis

# Okabe and Ito's colours, which colour-blind readers tell apart; those of the pages, chosen to be read as text on
# white and on black, are not all distinct for them. Marks and dashes repeat what a colour says.
SERIES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#4d4d4d")
MARKS = ("o", "^", "s", "D", "v", "<", ">")
DASHES: tuple[Any, ...] = ("-", (0, (4, 1.6)), (0, (1.4, 1.2)), (0, (6, 1.6, 1.4, 1.6)))

INK = "#1b1d21"
SOFT = "#5a6069"
GRID = "#e3e6ea"
HOLE = "#eceef1"

# Perceptually even, and dark to light in grey as well.
COLOURS_OF_LOSS = "viridis"

# A page of two columns is about 7 inches wide; at this density a picture of it is sharp on a screen too.
WIDTH = 7.2
DOTS_PER_INCH = 200

BAND_OPACITY = 0.16
# Inches that the line of a legend takes, and a letter of it on average.
_HANDLE = 0.75
_LETTER = 0.06
_MOST_COLUMNS = 4
SMALL = 7.0
NORMAL = 8.5

# By matplotlib's names, which its type stubs list anew in each release.
SETTINGS: dict[Any, Any] = {
    "axes.axisbelow": True,
    "axes.edgecolor": SOFT,
    "axes.grid": True,
    "axes.labelcolor": INK,
    "axes.labelsize": NORMAL,
    "axes.linewidth": 0.7,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": NORMAL,
    "axes.titleweight": "bold",
    "contour.negative_linestyle": "solid",
    # It comes with matplotlib, so that a figure is the same on every machine.
    "font.family": ["DejaVu Sans"],
    "font.size": NORMAL,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "legend.fontsize": SMALL + 0.5,
    "legend.frameon": False,
    "legend.handlelength": 3.6,
    "lines.linewidth": 1.5,
    "lines.markersize": 4.0,
    "lines.markeredgewidth": 0.5,
    # What publishers ask for: letters that stay letters.
    "pdf.fonttype": 42,
    "savefig.dpi": DOTS_PER_INCH,
    # Otherwise identifiers in the file are random.
    "svg.hashsalt": "lsa-onnx",
    "text.color": INK,
    # Names come from strangers' files, and a dollar sign in one is no formula.
    "text.parse_math": False,
    "xtick.color": SOFT,
    "xtick.labelcolor": INK,
    "xtick.labelsize": SMALL + 0.5,
    "ytick.color": SOFT,
    "ytick.labelcolor": INK,
    "ytick.labelsize": SMALL + 0.5,
}


def colour(line: int) -> str:
    """The colour of line number ``line``; they repeat after seven."""
    return SERIES[line % len(SERIES)]


def stroke(line: int, look: int | None = None) -> dict[str, Any]:
    """Colour, mark and dash of a line, as keyword arguments of ``Axes.plot``.

    Args:
        line: Which colour; without ``look``, also which mark, and a new dash once the colours repeat.
        look: Which mark and dash, where the colour says something else than they do.
    """
    mark, dash = (line, line // len(SERIES)) if look is None else (look, look)
    return {
        "color": colour(line),
        "marker": MARKS[mark % len(MARKS)],
        "linestyle": DASHES[dash % len(DASHES)],
        "markeredgecolor": "white",
    }


def legend_columns(labels: Sequence[str]) -> int:
    """How many columns of a legend as wide as the page hold ``labels``."""
    widest = _HANDLE + _LETTER * max(map(len, labels), default=0)
    return max(1, min(_MOST_COLUMNS, int(WIDTH / widest)))


def halo() -> list[Any]:
    """Path effects that keep a text readable on lines."""
    from matplotlib.patheffects import withStroke

    return [withStroke(linewidth=2, foreground="white")]


def number_logarithmic(axis: Axis) -> None:
    """Plain numbers at 1, 2 and 5 on a logarithmic axis: matplotlib's own are formulas."""
    from matplotlib.ticker import FuncFormatter, LogLocator

    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: text.brief(value)))
