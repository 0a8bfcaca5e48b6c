"""What the terminal view draws with, whether the terminal knows Unicode or only ASCII."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich import box
from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from lsa_onnx.report.text import short_name

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

_ASCII = str.maketrans(
    {
        "—": "-", "–": "-", "·": "|", "●": "*", "…": "...", "×": "x", "μ": "mu", "σ": "sigma",
        "η": "eta", "φ": "phi", "ψ": "psi", "−": "-", "\u0302": "^", "Δ": "d", "‖": "||",
        "→": "->", "γ": "gamma", "′": "'",
    }
)  # fmt: skip
_EIGHTHS = " ▏▎▍▌▋▊▉█"


class Painter:
    """Prints plain strings on one console; no string is ever read as markup."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.width = console.width
        self._ascii = console.options.ascii_only

    def plain(self, content: str) -> str:
        """``content`` in characters that the console can encode."""
        if not self._ascii:
            return content
        return content.translate(_ASCII).encode("ascii", "backslashreplace").decode("ascii")

    def text(self, content: str, style: str = "") -> Text:
        """``content`` as a styled text."""
        return Text(self.plain(content), style=style)

    def name(self, content: str, width: int) -> str:
        """A name in at most ``width`` columns, cut in the middle."""
        return short_name(self.plain(content), width, cell_len, self.plain("…"))

    def columns(self, content: str) -> int:
        """How many columns ``content`` takes."""
        return cell_len(self.plain(content))

    def bar(self, fraction: float, width: int) -> str:
        """A bar that fills ``fraction`` (0 to 1) of ``width`` columns; above zero it is visible."""
        eighths = round(max(0.0, min(1.0, fraction)) * width * 8)
        if fraction > 0:
            eighths = max(1, eighths)
        if self._ascii:
            return "#" * -(-eighths // 8)
        return ("█" * (eighths // 8) + _EIGHTHS[eighths % 8]).rstrip()

    def line(self, content: str = "", style: str = "") -> None:
        """Print one paragraph."""
        self.print(self.text(content, style))

    def print(self, content: RenderableType) -> None:
        """Print what was built from texts."""
        self.console.print(content)

    def table(self, content: Table, *, full_width: bool) -> None:
        """Print a table in the console's width, or each row on one line however long."""
        if not full_width:
            self.print(content)
            return
        wide = self.console.options.update(width=1_000_000)
        fitting = wide.update(width=self.console.measure(content, options=wide).maximum)
        for segments in self.console.render_lines(content, fitting, pad=False):
            # Not print, which cuts at the console's width.
            self.console.out(
                "".join(segment.text for segment in segments).rstrip(), highlight=False
            )

    def new_table(self) -> Table:
        """An empty table with one space between columns and a line below the titles."""
        if self._ascii:
            return Table(box=None, padding=(0, 1, 0, 0), pad_edge=False)
        return Table(box=box.SIMPLE_HEAD, padding=0, pad_edge=False, show_edge=False)

    def grid(self, *, right: bool = False) -> Table:
        """Labels and values without lines."""
        grid = Table.grid(padding=(0, 1))
        grid.add_column(no_wrap=True, justify="right" if right else "left")
        grid.add_column(overflow="fold")
        return grid
