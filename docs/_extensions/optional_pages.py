"""Lets a table of contents name pages by a pattern that no page fits yet: Sphinx itself warns of one."""

from __future__ import annotations

from fnmatch import fnmatch
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sphinx.application import Sphinx


def _without_empty_patterns(app: Sphinx, _page: str, source: list[str]) -> None:
    """Leave out lines such as ``gates*`` where no page fits; other lines with a star are longer than one word."""

    def stays(line: str) -> bool:
        pattern = line.strip()
        is_pattern = pattern.endswith("*") and not pattern.startswith("*") and " " not in pattern
        return not is_pattern or any(fnmatch(name, pattern) for name in app.env.found_docs)

    source[0] = "\n".join(line for line in source[0].splitlines() if stays(line))


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    app.connect("source-read", _without_empty_patterns)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
