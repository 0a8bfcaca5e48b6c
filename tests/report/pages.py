"""Pages taken apart, for the tests of whatever writes HTML."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from typing import Any

ALLOWED_TAGS = {
    "html",
    "head",
    "meta",
    "title",
    "link",
    "style",
    "body",
    "p",
    "strong",
    "header",
    "h1",
    "h2",
    "h3",
    "dl",
    "div",
    "dt",
    "dd",
    "small",
    "main",
    "section",
    "ul",
    "ol",
    "li",
    "code",
    "span",
    "figure",
    "canvas",
    "figcaption",
    "label",
    "input",
    "noscript",
    "select",
    "option",
    "table",
    "thead",
    "tbody",
    "tr",
    "th",
    "td",
    "button",
    "details",
    "summary",
    "footer",
    "script",
    "wbr",
    "a",
    "nav",
    "aside",
    "b",
    "img",
    "svg",
    "line",
    "circle",
}


class Page(HTMLParser):
    """Elements, visible text, table rows and scripts of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._open.append(tag)
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] == "script":
            self.scripts[-1] += data
        elif "style" not in self._open:
            self.text += data

    def attribute(self, name: str) -> list[str]:
        return [attrs[name] or "" for _, attrs in self.tags if name in attrs]


def chart_data(html: str) -> dict[str, Any]:
    """What the page's own script reads."""
    data: dict[str, Any] = json.loads(Page(html).scripts[0])
    return data


def outside(page: Page) -> list[str]:
    """What links and pictures of a page refer to that is not in it: nothing, it should be."""
    targets = [*page.attribute("href"), *page.attribute("src")]
    ids = {f"#{name}" for name in page.attribute("id")}
    return [
        target
        for target in targets
        if target not in ids | {"data:,"}
        and not re.fullmatch(r"data:image/png;base64,[\w+/=]+", target)
    ]
