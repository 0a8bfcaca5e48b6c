"""A search as a page of Markdown: what was searched, every trial, and what is to be made of it."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from lsa_onnx.files import write_atomically
from lsa_onnx.report.text import MISSING, visible
from lsa_trainer.tuning import words
from lsa_trainer.tuning.document import Trial, Tuning
from lsa_trainer.tuning.plan import SEARCHABLE

if TYPE_CHECKING:
    import os


def write_page(tuning: Tuning, path: str | os.PathLike[str]) -> None:
    """Write the page; an earlier file is replaced only by a complete one.

    Raises:
        DataError: The file cannot be written.
    """
    write_atomically(path, page(tuning).encode("utf-8"))


def page(tuning: Tuning) -> str:
    """The page."""
    return "\n".join(_lines(tuning)) + "\n"


def _lines(tuning: Tuning) -> Iterator[str]:
    yield f"# Tuning of {_plain(tuning.model)}"
    yield ""
    yield f"**{words.verdict(tuning)}**"
    for remark in words.remarks(tuning):
        yield f"\n{remark}"
    yield f"\nThe best is {tuning.statement}. The score is the {words.score_name(tuning)}."
    yield from _search(tuning)
    yield from _trials(tuning)
    yield from _importance(tuning)
    yield from _notes(tuning)


def _search(tuning: Tuning) -> Iterator[str]:
    yield "\n## What was searched\n"
    yield from (
        f"- `{name}`: {SEARCHABLE.get(name, 'of another version')}" for name in tuning.search
    )
    seeds = ", ".join(map(str, tuning.seeds))
    yield (
        f"\nEach trial trained on the same {tuning.training_samples:,} samples with the same epochs and steps, once "
        f"with each seed of {seeds}, and chose its checkpoint on some of them. Those that score are others."
    )
    if tuning.command:
        yield f"\n```sh\n{shlex.join(tuning.command)}\n```"


def _trials(tuning: Tuning) -> Iterator[str]:
    several = len(tuning.seeds) > 1
    titles = [
        "trial",
        "chosen",
        "layers",
        "score",
        "95 %",
        *(["seeds ±"] if several else []),
        "clean",
        "s",
    ]
    yield "\n## Trials\n"
    yield _row(titles)
    yield _row("---" for _ in titles)
    original = ["", "the model as it is", MISSING, words.score_text(tuning.original, tuning.score)]
    yield _row([*original, *[""] * (len(titles) - len(original))])
    for trial in ranked(tuning.trials):
        spread = [words.score_text(trial.spread, tuning.score)] if several else []
        name = f"**{trial.name}**" if trial.name == tuning.best else trial.name
        yield _row([name, *_cells(trial, tuning), *spread, *_rest(trial)])


def ranked(trials: Iterable[Trial]) -> list[Trial]:
    """By falling score, those that failed last."""
    return sorted(trials, key=lambda trial: (trial.score is None, -(trial.score or 0.0)))


def _cells(trial: Trial, tuning: Tuning) -> list[str]:
    score = trial.reason or words.score_text(trial.score, tuning.score)
    layers = ", ".join(f"`{_plain(name)}`" for name in trial.layers) or MISSING
    chosen = words.setting_text(trial)
    return [_plain(chosen), layers, _plain(score), words.bounds_text(trial.interval, tuning.score)]


def _rest(trial: Trial) -> list[str]:
    return [words.score_text(trial.clean, "robust"), f"{trial.seconds:.0f}"]


def _importance(tuning: Tuning) -> Iterator[str]:
    if tuning.importance:
        yield "\n## What mattered\n"
        yield f"The {words.importance_title(tuning)}.\n"
        yield from (f"- `{name}`: {share:.0%}" for name, share in tuning.importance.items())


def _notes(tuning: Tuning) -> Iterator[str]:
    if tuning.notes:
        yield "\n## Notes\n"
        yield from (f"- {_plain(note)}" for note in tuning.notes)


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _plain(text: str) -> str:
    """Foreign text in a cell: no bar ends it early, and nothing in it is read as HTML."""
    return visible(text).replace("|", "\\|").replace("<", "&lt;").replace("`", "'")
