"""A comparison as Markdown, for a pull request or the summary of a job.

Every foreign name is escaped, so that none is read as markup, a link or a mention.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from lsa_onnx.files import write_atomically
from lsa_onnx.report import comparison_view as view
from lsa_onnx.report import text
from lsa_onnx.report.text import visible

if TYPE_CHECKING:
    import os

    from lsa_onnx.report.comparison import Comparison, PerturbationChange
    from lsa_onnx.report.sections import GateOutcome

_SPECIAL = re.compile(r"([\\`*_{}\[\]()<>#+\-!|~&])")
_MARKS = {"worse": "🔴 worse", "better": "🟢 better", "same": "same", "undefined": "undefined"}
_STATUSES = {"passed": "✅ passed", "known": "🟡 known", "failed": "❌ failed"}


def render_comparison_markdown(comparison: Comparison) -> str:
    """The whole text."""
    parts = [
        f"## {escaped(view.headline(comparison))}",
        *_regressions(comparison),
        _sides(comparison),
        _scores(comparison),
        *_layers(view.judged(comparison)),
        _bullets([escaped(remark) for remark in view.remarks(comparison)]),
        *_gates(comparison.gates),
    ]
    return "\n\n".join(filter(None, parts)) + "\n"


def write_comparison_markdown(comparison: Comparison, path: str | os.PathLike[str]) -> None:
    """Write the text to ``path``; an earlier file there is replaced only by a complete one.

    Raises:
        DataError: The file cannot be written.
    """
    write_atomically(path, render_comparison_markdown(comparison).encode("utf-8"))


def escaped(content: str) -> str:
    """Text that is no markup; a comment, which is not shown, keeps an @ from calling anybody."""
    return _SPECIAL.sub(r"\\\1", visible(content)).replace("@", "@<!-- -->")


def code(content: str) -> str:
    """A name as code: in it nothing is markup but backticks, which a longer fence surrounds."""
    shown = visible(content).replace("|", "\\|")
    fence = "`" * (1 + max(map(len, re.findall("`+", shown)), default=0))
    pad = " " if shown.startswith("`") or shown.endswith("`") else ""
    return f"{fence}{pad}{shown}{pad}{fence}"


def _table(titles: Sequence[str], numbers: Sequence[bool], rows: Sequence[Sequence[str]]) -> str:
    rule = ["---:" if number else "---" for number in numbers]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (titles, rule, *rows))


def _bullets(lines: Sequence[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _regressions(comparison: Comparison) -> list[str]:
    more = comparison.regressions[1:]
    return [_bullets([escaped(each.told) for each in more])] if more else []


def _sides(comparison: Comparison) -> str:
    data = comparison.data
    on = f"{text.count(data.samples, 'sample')} of {code(data.source)}"
    before, after = (code(each.source) for each in (comparison.before, comparison.after))
    return f"Before: {before}, after: {after}, on {on}."


def _scores(comparison: Comparison) -> str:
    rows = [
        [
            escaped(row.name),
            *(_pair(*cell) for cell in (row.before, row.after, row.difference)),
            _MARKS[row.verdict],
        ]
        for row in view.score_rows(comparison)
    ]
    titles = ["Accuracy", "Before", "After", "Difference, points", ""]
    return _table(titles, [False, True, True, True, False], rows) if rows else ""


def _pair(value: str, interval: str) -> str:
    return f"{value} ({interval})" if interval else value


def _layers(change: PerturbationChange | None) -> list[str]:
    if change is None or not change.layers:
        return []
    rows = [
        [
            str(row.number),
            code(row.name),
            *(
                f"{'' if rank is None else f'**●{rank}** '}{_pair(*cell)}"
                for cell, rank in zip((row.before, row.after), row.ranks, strict=True)
            ),
            row.change,
            row.moved,
            _MARKS[row.verdict],
        ]
        for row in view.layer_rows(change)
    ]
    titles = ["#", "Layer", "Before", "After", "Change", "‖Δφ‖", ""]
    notes = [f"{code(name)}: {escaped(note)}" for name, note in view.norm_notes(change)]
    return [
        f"### Mean CM under {escaped(view.strength(change))}",
        _table(titles, [True, False, True, True, True, True, False], rows),
        _bullets([*map(escaped, view.lists(change)), *notes]),
        "● is the rank in the MVL list; in brackets 95 % intervals.",
    ]


def _gates(gates: Sequence[GateOutcome]) -> list[str]:
    rows = [
        [
            _STATUSES[gate.status],
            code(gate.expression),
            escaped(gate.measured),
            "" if gate.value is None else text.brief(gate.value),
            escaped(gate.note or ""),
        ]
        for gate in gates
    ]
    titles = ["Gate", "Expression", "Measured", "Value", "Note"]
    table = _table(titles, [False, False, False, True, False], rows)
    return ["### Gates", table] if rows else []
