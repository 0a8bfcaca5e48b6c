"""Every block of every page runs, in order, in a folder that holds what the page takes for granted."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.docs.pages import blocks, page_names, program_pages
from tests.docs.running import Shell, run
from tests.docs.scratch import furnish, make_base, make_readme

# Pages that run in seconds; all others are slow: pytest -m slow tests/docs
FAST = ("docs/howto/inputs.md", "docs/howto/untrusted-files.md")

_ALL = [
    pytest.param(page, marks=() if page in FAST else pytest.mark.slow)
    for page in program_pages()
    if any(block.language in ("sh", "console", "python") for block in blocks(page))
]


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("docs") / "base"
    make_base(folder)
    return folder


@pytest.fixture(scope="session")
def readme(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("docs") / "readme"
    make_readme(folder)
    return folder


def test_fast_pages_are_there() -> None:
    assert set(FAST) <= set(page_names())


@pytest.mark.parametrize("page", _ALL)
def test_blocks_run(page: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    kit: Path = request.getfixturevalue("readme" if page == "README.md" else "base")
    folder = tmp_path / "page"
    shutil.copytree(kit, folder)
    furnish(page, folder)
    shell = Shell(folder)
    for block in blocks(page):
        if not block.not_run:
            run(block, shell)
