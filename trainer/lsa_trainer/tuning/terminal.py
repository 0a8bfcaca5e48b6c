"""A search for a person at a terminal: the verdict, the best trials, what mattered."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lsa_onnx.report.terminal_paint import Painter
from lsa_onnx.report.text import count, visible
from lsa_trainer.tuning import words
from lsa_trainer.tuning.page import ranked

if TYPE_CHECKING:
    from rich.console import Console

    from lsa_trainer.tuning.document import Trial, Tuning

_SHOWN = 10
_BAR_WIDTH = 12


def print_tuning(tuning: Tuning, console: Console) -> None:
    """Print the verdict, the best trials with plain training among them, and what mattered."""
    paint = Painter(console)
    holds = tuning.gain is not None and tuning.gain.holds
    paint.line(words.verdict(tuning), "bold green" if holds else "bold yellow")
    for remark in words.remarks(tuning):
        paint.line(remark)
    paint.line()
    _print_trials(tuning, paint)
    _print_importance(tuning, paint)
    for note in tuning.notes:
        line = paint.text("Note ", "bold yellow")
        line.append_text(paint.text(visible(note)))
        paint.print(line)
    paint.line(f"The best is {tuning.statement}.", "bold")


def _print_trials(tuning: Tuning, paint: Painter) -> None:
    table = paint.new_table()
    table.add_column(paint.text("Trial"))
    table.add_column(paint.text("Chosen"), overflow="fold")
    for title in ("Score", "95 %", "Clean"):
        table.add_column(paint.text(title), justify="right", no_wrap=True)
    for trial in _shown(tuning):
        style = "bold" if trial.name == tuning.best else "cyan" if trial.role == "plain" else ""
        table.add_row(*(paint.text(cell, style) for cell in _cells(trial, tuning)))
    paint.print(table)
    more = len(tuning.trials) - len(_shown(tuning))
    told = [words.score_name(tuning), *([count(more, "more trial")] if more else [])]
    paint.line(" · ".join(told), "dim")
    as_it_is = words.score_text(tuning.original, tuning.score)
    paint.line(f"the model as it is: {as_it_is}", "dim")
    paint.line()


def _shown(tuning: Tuning) -> list[Trial]:
    """The best ones, and plain training in any case."""
    first = ranked(tuning.trials)[:_SHOWN]
    return first + [t for t in tuning.trials if t.role == "plain" and t not in first]


def _cells(trial: Trial, tuning: Tuning) -> list[str]:
    if trial.reason is not None:
        return [trial.name, visible(words.setting_text(trial)), "failed", "", ""]
    score = words.score_text(trial.score, tuning.score)
    bounds = words.bounds_text(trial.interval, tuning.score)
    clean = words.score_text(trial.clean, "robust")
    return [trial.name, visible(words.setting_text(trial)), score, bounds, clean]


def _print_importance(tuning: Tuning, paint: Painter) -> None:
    if not tuning.importance:
        return
    paint.line(f"What mattered: {words.importance_title(tuning)}", "bold")
    grid = paint.grid()
    grid.add_column()
    for name, share in tuning.importance.items():
        bar = paint.bar(share, _BAR_WIDTH).ljust(_BAR_WIDTH)
        grid.add_row(*map(paint.text, [f"{share:.0%}", bar, name]))
    paint.print(grid)
    paint.line()
