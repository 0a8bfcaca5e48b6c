"""Every link leads somewhere: pages, anchors, files; what lies on the network is held to its form."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from tests.docs.pages import ROOT, Link, anchors, links, page_names

# Other people's pages that ours link to. A new one is added here by hand, so that it is looked at once.
HOSTS = {
    "arxiv.org",
    "creativecommons.org",
    "doi.org",
    "github.com",
    "keepachangelog.com",
    "netron.app",
    "semver.org",
    "www.ray.io",
}
_PATH = re.compile(
    r"(?<![\w/.])((?:docs|benchmarks|examples|tests|trainer|cli|lsa_onnx)/[\w./-]+\.(?:md|py|toml))(?:#([\w-]+))?"
)


def every_link() -> Iterator[Link]:
    for page in page_names():
        yield from links(page)


def test_links_are_seen() -> None:
    found = list(every_link())
    assert len(found) > 100
    assert Link("README.md", "docs/images/report.png") in found
    assert any("#" in link.target for link in found)


def test_links_within_the_project_resolve() -> None:
    wrong = [f"{link.page}: {link.target}" for link in every_link() if not _resolves(link)]
    assert wrong == []


def test_links_to_the_network_are_well_formed_and_known() -> None:
    outside = [(link.page, urlsplit(link.target)) for link in every_link() if _is_outside(link)]
    assert {(page, url.scheme) for page, url in outside if url.scheme != "https"} == set()
    assert {url.hostname for _, url in outside} <= HOSTS
    assert [page for page, url in outside if " " in url.geturl()] == []


@pytest.mark.parametrize("package", ["lsa_onnx", "trainer", "cli", "benchmarks", "examples"])
def test_pages_that_the_code_names_are_there(package: str) -> None:
    wrong = [
        f"{path.relative_to(ROOT)}: {name}"
        for path in sorted((ROOT / package).rglob("*.py"))
        for name, anchor in _PATH.findall(path.read_text("utf-8"))
        if not _is_there(ROOT / name, anchor)
    ]
    assert wrong == []


def test_pages_that_prose_names_are_there() -> None:
    wrong = [
        f"{page}: {name}"
        for page in page_names()
        if page != "CHANGELOG.md"
        for name, anchor in _PATH.findall((ROOT / page).read_text("utf-8"))
        if "/.." not in name and not _is_there(ROOT / name, anchor)
    ]
    assert wrong == []


def test_anchors_are_those_of_github() -> None:
    found = anchors("docs/warnings.md")
    assert {"warnings", "few-samples", "not-finite"} <= found
    assert "the-rg-score" in anchors("docs/explanation/lsa.md")
    assert not _resolves(Link("docs/faq.md", "warnings.md#no-such-warning"))
    assert not _resolves(Link("docs/faq.md", "no-such-page.md"))
    assert _resolves(Link("docs/faq.md", "#no-such-question")) is False


def _is_outside(link: Link) -> bool:
    return bool(urlsplit(link.target).scheme)


def _resolves(link: Link) -> bool:
    if _is_outside(link):
        return True
    path, _, anchor = link.target.partition("#")
    target = (ROOT / link.page).parent / unquote(path) if path else ROOT / link.page
    return _is_there(target.resolve(), anchor)


def _is_there(target: Path, anchor: str) -> bool:
    if not target.exists() or not target.is_relative_to(ROOT):
        return False
    return not anchor or anchor in anchors(target.relative_to(ROOT).as_posix())
