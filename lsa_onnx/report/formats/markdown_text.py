"""Foreign text in Markdown: it stays text, whatever it holds.

In a code span nothing is markup, a mention (``@team``), a reference (``#1``), a link or a quick action.
Names are put into one whole; of sentences, each word that is not plainly a word or a number is.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from lsa_onnx.report.text import short_name, shorten, visible

_NAME_WIDTH = 80
_SENTENCE_WIDTH = 600

# Renderers disagree on how to escape these two inside a code span in a table.
_NO_CODE = {"|": r"\x7c", "`": r"\x60"}
_WORD = r"[^\W\d_]+(?:['’–-][^\W\d_]+)*"
_NUMBER = r"[-−]?\d+(?:[.,]\d+)*(?:(?:[–-]|\.\.)\d+(?:[.,]\d+)*)?(?:e[-+]?\d+)?%?"
_SIGN = "[%=×→–—−±≤≥+·-]"
_PLAIN = re.compile(rf"(\(*)({_WORD}|{_NUMBER}|{_SIGN})([).,;:!?]*)")
_LIST = re.compile(r"[-+=]+|\d+[.)]")
# With the punctuation that follows a name in a sentence set apart.
_OTHER = re.compile(r"(\(*)(.*?)([).,;:!?]*)", re.DOTALL)


def code(name: str, width: int = _NAME_WIDTH) -> str:
    """A name as a code span on one line, its middle left out where it is longer than ``width``."""
    shown = short_name(visible(name), width)
    for character, escape in _NO_CODE.items():
        shown = shown.replace(character, escape)
    return f"`{shown}`" if shown.strip() else "(no name)"


def prose(sentence: str) -> str:
    """A sentence that may hold names, as Markdown on one line."""
    words = shorten(visible(sentence), _SENTENCE_WIDTH).split()
    return " ".join(_word(word, first=not place) for place, word in enumerate(words))


def table(titles: Sequence[str], rows: Sequence[Sequence[str]], numbers: int) -> list[str]:
    """The lines of a table; its last ``numbers`` columns are set to the right."""
    rules = ["---"] * (len(titles) - numbers) + ["---:"] * numbers
    return [_line(cells) for cells in (titles, rules, *rows)]


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _word(word: str, *, first: bool) -> str:
    plain = _PLAIN.fullmatch(word)
    # At the start of a line, a sign or a number with a full stop makes a list.
    if plain is not None and not (first and _LIST.fullmatch(word)):
        return word
    parts = _OTHER.fullmatch(word)
    before, name, after = parts.groups() if parts else ("", word, "")
    # What is punctuation alone has no name in it.
    return f"{before}{code(name)}{after}" if name else code(word)
