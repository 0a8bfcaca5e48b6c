"""The layer table of the terminal view: as many columns as fit, the rest in tables below it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lsa_onnx.report import text, view
from lsa_onnx.report.text import visible

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

    from lsa_onnx.report.document import LayerScore, PerturbationResult, Report
    from lsa_onnx.report.terminal_paint import Painter
    from lsa_onnx.report.view import LayerRow

ROWS_WITHOUT_CHOICE = 30
ROWS_OF_A_CHOICE = 20
NOTES_SHOWN = 5

_NAME_WIDTH = (16, 48)
_BAR_WIDTH = (10, 24)
_CELL_WIDTH = (7, 12)
_LEGEND = "● MVL list, with rank · CM = ‖φ(x) − φ(x̂)‖ / ‖φ(x)‖, mean over samples"


@dataclass(frozen=True)
class _Column:
    """A column to the right of the CM: its title, what the legend says of it, and its cells."""

    title: str
    meaning: str
    cell: Callable[[LayerRow], str]


def _of_score(figure: Callable[[LayerScore], str]) -> Callable[[LayerRow], str]:
    return lambda row: text.MISSING if row.score is None else figure(row.score)


_RANDOM = _Column(
    "×\nrandom",
    "× random = CM over that under random noise of the same norm",
    lambda row: text.figure(row.times_random),
)
# The most important first: a narrow console leaves out the last.
_RIGHT = (
    _Column(
        "ampl.",
        "ampl. = ‖Δφ‖ / ‖Δx‖",
        _of_score(lambda score: text.figure(score.amplification.mean)),
    ),
    _Column(
        "growth",
        "growth = CM over that of the layers before",
        _of_score(lambda score: text.figure(score.growth)),
    ),
    _Column(
        "stab.",
        "stab. = share of resamples with the layer in the list",
        _of_score(lambda score: text.share(score.stability, 0)),
    ),
)


def print_scores(report: Report, paint: Painter, *, verbose: bool) -> None:
    """Print one row per layer with its CM under each perturbation, then notes on the gaps."""
    headline = view.headline_result(report)
    rows = view.layer_rows(report)
    if headline is None or not rows:
        return
    shown = rows if verbose else choose(rows)
    rule = view.mvl_rule(report.mvl)
    paint.line(f"Layers under {visible(headline.name)} (● in the MVL list: {rule})", "bold")
    others = [result for result in report.perturbations if result is not headline]
    layout = _Layout(shown, headline, others, paint)
    layout.print_main()
    layout.print_rest()
    _print_hidden(rows, shown, paint)
    paint.line()
    paint.line(" · ".join([_LEGEND, *(column.meaning for column in layout.right)]), "dim")
    _print_notes(rows, paint, verbose=verbose)
    paint.line()


def choose(rows: list[LayerRow]) -> list[LayerRow]:
    """All rows of a short list; of a long one the MVL list and the layers that moved most."""
    if len(rows) <= ROWS_WITHOUT_CHOICE:
        return rows
    ranked = sorted(rows, key=lambda row: (row.rank is None, -_mean(row)))
    listed = sum(row.rank is not None for row in rows)
    chosen = {row.number for row in ranked[: max(listed, ROWS_OF_A_CHOICE)]}
    return [row for row in rows if row.number in chosen]


def _mean(row: LayerRow) -> float:
    mean = None if row.score is None else row.score.relative_error.mean
    return -1.0 if mean is None else mean


class _Layout:
    """Widths of the columns, and the rows in them."""

    def __init__(
        self,
        rows: list[LayerRow],
        headline: PerturbationResult,
        others: list[PerturbationResult],
        paint: Painter,
    ) -> None:
        self.rows = rows
        self.paint = paint
        self.names = {row.number: paint.plain(visible(row.info.tensor)) for row in rows}
        self.longest = max(map(paint.columns, self.names.values()))
        self.largest = max(map(_mean, rows))
        own = paint.name(visible(headline.name), _CELL_WIDTH[1])
        self.own_title = f"CM\n{own}"
        self.right = [_RANDOM, *_RIGHT] if view.baseline(headline) else list(_RIGHT)
        titles = ["MVL", "#", own, "interval", *(c.title.split("\n")[-1] for c in self.right)]
        self.figures = [self._figures(row) for row in rows]
        self.fixed = [
            max(paint.columns(cell) for cell in column)
            for column in zip(titles, *self.figures, strict=True)
        ]
        self._leave_out()
        names = [result.name for result in others]
        fits = sum(self._cell_width(name) + 1 for name in names) <= self._spare()
        self.inner, self.outer = (names, []) if fits else ([], names)
        self.name_width, self.bar_width = self._share_out()
        if self.longest > self.name_width:
            shorter = text.distinct_names(list(self.names.values()), paint.plain("…"))
            self.names = dict(zip(self.names, shorter, strict=True))

    def _figures(self, row: LayerRow) -> list[str]:
        """MVL rank, number, CM, interval and the figures of the columns on the right."""
        mark = "" if row.rank is None else f"●{row.rank}"
        score = row.score
        mean = text.figure(score.relative_error.mean if score else None)
        interval = text.interval(score.relative_error) if score else text.MISSING
        return [mark, str(row.number), mean, interval, *(c.cell(row) for c in self.right)]

    def _spare(self) -> int:
        """The columns of the console that are left beside the smallest table; may be negative."""
        taken = sum(self.fixed) + len(self.fixed) + _NAME_WIDTH[0] + _BAR_WIDTH[0] + 1
        return self.paint.width - taken

    def _leave_out(self) -> None:
        """Drop columns from the right until the rest fits, for a cut figure is worse than none."""
        while self._spare() < 0 and len(self.right) > 1:
            self.right.pop()
            self.fixed.pop()
            for figures in self.figures:
                figures.pop()

    def _cell_width(self, name: str) -> int:
        low, high = _CELL_WIDTH
        return max(low, min(high, self.paint.columns(visible(name))))

    def _share_out(self) -> tuple[int, int]:
        """Give the room that figures leave to the names first, then to the bar."""
        taken = sum(self.fixed) + sum(self._cell_width(name) for name in self.inner)
        columns = len(self.fixed) + len(self.inner) + 2
        room = self.paint.width - taken - (columns - 1)
        low, high = _NAME_WIDTH
        name = max(low, min(self.longest, high, room - _BAR_WIDTH[0]))
        return name, max(_BAR_WIDTH[0], min(_BAR_WIDTH[1], room - name))

    def print_main(self) -> None:
        """The table of the headline perturbation, with the others where they fit."""
        paint = self.paint
        table = paint.new_table()
        mark, number, mean, interval, *right = self.fixed
        table.add_column(paint.text("MVL"), width=mark, min_width=mark, no_wrap=True)
        table.add_column(
            paint.text("#"), width=number, min_width=number, justify="right", no_wrap=True
        )
        table.add_column(paint.text("Layer"), width=self.name_width, no_wrap=True)
        for name in self.inner:
            self._add_mean_column(table, name)
        table.add_column(
            paint.text(self.own_title), width=mean, min_width=mean, justify="right", no_wrap=True
        )
        table.add_column("", width=self.bar_width, no_wrap=True)
        table.add_column(paint.text("95 % interval"), width=interval, justify="right")
        for column, width in zip(self.right, right, strict=True):
            table.add_column(paint.text(column.title), width=width, justify="right", no_wrap=True)
        for row, figures in zip(self.rows, self.figures, strict=True):
            table.add_row(*self._main_cells(row, figures), style="bold" if row.rank else "")
        paint.print(table)

    def _main_cells(self, row: LayerRow, figures: list[str]) -> list[Text]:
        paint = self.paint
        mark, number, mean, interval, *rest = figures
        means = [paint.text(text.figure(row.means[name])) for name in self.inner]
        return [
            paint.text(mark, "red"),
            paint.text(number),
            self._name(row),
            *means,
            paint.text(mean),
            self._bar(row),
            *(paint.text(cell) for cell in (interval, *rest)),
        ]

    def _name(self, row: LayerRow) -> Text:
        return self.paint.text(self.paint.name(self.names[row.number], self.name_width))

    def _bar(self, row: LayerRow) -> Text:
        """The mean CM as a bar, or in its place why there is none."""
        if row.score is None or row.score.relative_error.mean is None:
            status = "not scored" if row.score is None else row.score.status
            return self.paint.text(status, "yellow")
        fraction = _mean(row) / self.largest if self.largest > 0 else 0.0
        return self.paint.text(
            self.paint.bar(fraction, self.bar_width), "red" if row.rank else "cyan"
        )

    def _add_mean_column(self, table: Table, name: str) -> None:
        width = self._cell_width(name)
        title = self.paint.text("CM\n" + self.paint.name(visible(name), width))
        table.add_column(title, width=width, justify="right", no_wrap=True)

    def print_rest(self) -> None:
        """The other perturbations in tables of their own, as many columns in each as fit."""
        names = list(self.outer)
        while names:
            width = self.fixed[0] + self.fixed[1] + self.name_width + 2
            part = [names.pop(0)]
            width += self._cell_width(part[0]) + 1
            while names and width + self._cell_width(names[0]) + 1 <= self.paint.width:
                width += self._cell_width(names[0]) + 1
                part.append(names.pop(0))
            self._print_means(part)

    def _print_means(self, names: list[str]) -> None:
        paint = self.paint
        paint.line()
        paint.line("Mean CM under the other perturbations", "bold")
        table = paint.new_table()
        table.add_column(paint.text("MVL"), width=self.fixed[0], no_wrap=True)
        table.add_column(paint.text("#"), width=self.fixed[1], justify="right", no_wrap=True)
        table.add_column(paint.text("Layer"), width=self.name_width, no_wrap=True)
        for name in names:
            self._add_mean_column(table, name)
        for row, figures in zip(self.rows, self.figures, strict=True):
            means = [paint.text(text.figure(row.means[name])) for name in names]
            mark, number = paint.text(figures[0], "red"), paint.text(figures[1])
            table.add_row(mark, number, self._name(row), *means, style="bold" if row.rank else "")
        paint.print(table)


def _print_hidden(rows: list[LayerRow], shown: list[LayerRow], paint: Painter) -> None:
    if len(shown) < len(rows):
        paint.line(
            f"{len(shown)} of {len(rows)} layers are shown, the MVL list and the largest CM; "
            "-v shows all",
            "bold",
        )


def _print_notes(rows: list[LayerRow], paint: Painter, *, verbose: bool) -> None:
    gaps = [(row, note) for row in rows if (note := view.score_note(row.score)) is not None]
    _print_some(gaps, paint, "yellow", "incomplete scores", verbose=verbose)
    pairs = ((row, view.origin_note(row.info, row.score)) for row in rows)
    origins = [(row, note) for row, note in pairs if note is not None]
    _print_some(origins, paint, "dim", "a body or a reading of their own", verbose=verbose)


def _print_some(
    notes: list[tuple[LayerRow, str]], paint: Painter, style: str, what: str, *, verbose: bool
) -> None:
    for row, note in notes if verbose else notes[:NOTES_SHOWN]:
        name = paint.name(visible(row.info.tensor), _NAME_WIDTH[1])
        paint.line(f"{row.number} {name}: {note}", style)
    hidden = len(notes) - NOTES_SHOWN
    if hidden > 0 and not verbose:
        paint.line(f"… and {hidden} more layers with {what}", style)
