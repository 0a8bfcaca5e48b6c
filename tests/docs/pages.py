"""The pages, taken apart: fenced blocks and what is said of them, headings, links."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from markdown_it import MarkdownIt

if TYPE_CHECKING:
    from markdown_it.token import Token

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
# What a page may say of the block that follows: why no test runs it, or which file it shows.
_MARKER = re.compile(r"<!-- (not run|command|file): (.+?) -->\s*", re.DOTALL)
_INLINE_MARKUP = re.compile(r"<[^>]+>")


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Attributes:
        page: From the root of the repository.
        line: The first of its content, from 1.
        language: The word behind the fence.
        content: Its lines.
        not_run: Why no test runs it; "" where one does.
        file: Which file it shows; "" for none.
    """

    page: str
    line: int
    language: str
    content: str
    not_run: str
    file: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


@dataclass(frozen=True)
class Link:
    """Where a page points: ``target`` as it is written there."""

    page: str
    target: str


def page_names() -> list[str]:
    """README.md, CONTRIBUTING.md, CHANGELOG.md and every page of the site, from the root."""
    site = (path for path in sorted(DOCS.rglob("*.md")) if "_build" not in path.parts)
    tops = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")]
    return [path.relative_to(ROOT).as_posix() for path in (*tops, *site)]


def program_pages() -> list[str]:
    """The pages whose blocks are to run."""
    return [name for name in page_names() if name not in ("CONTRIBUTING.md", "CHANGELOG.md")]


@cache
def tokens(page: str) -> list[Token]:
    """A page as CommonMark with tables, which is what GitHub and the site agree on."""
    parser = MarkdownIt("commonmark").enable("table")
    return parser.parse((ROOT / page).read_text("utf-8"))


def blocks(page: str) -> list[Block]:
    """Its fenced blocks, in order."""
    found = []
    kind = said = ""
    for token in tokens(page):
        if token.type == "fence":
            line = (token.map or [0])[0] + 2
            language = token.info.split()[0] if token.info else ""
            file = said if kind == "file" else ""
            not_run = "" if file else said
            found.append(Block(page, line, language, token.content, not_run, file))
        marker = _MARKER.fullmatch(token.content) if token.type == "html_block" else None
        kind, said = marker.groups() if marker is not None else ("", "")
    return found


def anchors(page: str) -> set[str]:
    """What ``#`` may be followed by in a link to a page, as GitHub and the site derive it from headings."""
    found: set[str] = set()
    listed = tokens(page)
    for opening, inline in pairwise(listed):
        if opening.type == "heading_open":
            slug = _slug("".join(child.content for child in inline.children or []))
            repeated = sum(each == slug or each.startswith(f"{slug}-") for each in found)
            found.add(f"{slug}-{repeated}" if slug in found else slug)
    return found


def _slug(heading: str) -> str:
    kept = re.sub(r"[^\w\- ]", "", heading.strip().lower())
    return kept.replace(" ", "-")


def links(page: str) -> Iterator[Link]:
    """The links and pictures of a page, those of its tables too."""
    for token in tokens(page):
        for child in token.children or []:
            target = child.attrGet("href") or child.attrGet("src")
            if target is not None:
                yield Link(page, str(target))
