"""Every block of every page runs, in order, in a folder that holds what the page takes for granted."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from tests.docs.pages import Block, blocks, page_names, program_pages
from tests.docs.running import Shell, run_all
from tests.docs.scratch import furnish, make_base, make_readme

# Pages that run in seconds; all others are slow: pytest -m slow tests/docs
FAST = ("docs/python.md",)

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
    run_all([block for block in blocks(page) if not block.not_run], Shell(folder))


def test_files_are_written_and_python_blocks_are_one_program(tmp_path: Path) -> None:
    given = [
        Block("page", 2, "toml", "a = 1\n", not_run="", file="a.toml"),
        Block("page", 5, "python", "text = open('a.toml').read()\n", not_run="", file=""),
        Block("page", 9, "python", "assert text == 'a = 1\\n'\n", not_run="", file=""),
        Block("page", 12, "sh", "grep -q 'a = 1' a.toml\n", not_run="", file=""),
        Block("page", 14, "sh", "(exit 4)\n# exit code 4\n", not_run="", file=""),
        Block("page", 18, "console", "$ cat a.toml\na = 2\n", not_run="", file=""),
    ]
    run_all(given, Shell(tmp_path))


@pytest.mark.parametrize(
    ("language", "content", "said"),
    [
        ("python", "raise SystemExit(3)", "ended with 3"),
        ("python", "1 / 0", "line 7"),
        ("sh", "false; true", "ended with 1"),
        ("sh", "false | cat", "ended with 1"),
        ("sh", "true\n# exit code 1", "ended with 0"),
        ("console", "$ echo yes\nno\n", "page:7: 'echo yes' does not print 'no'"),
    ],
)
def test_a_block_that_fails_is_found(
    tmp_path: Path, language: str, content: str, said: str
) -> None:
    with pytest.raises(AssertionError, match=re.escape(said)):
        run_all([Block("page", 7, language, content, not_run="", file="")], Shell(tmp_path))
