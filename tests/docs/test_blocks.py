"""Every command that a page shows is one that the program takes; every Python block can be run."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator
from importlib import import_module

import pytest

from tests.docs.commands import commands, objection, sentence_commands
from tests.docs.pages import Block, blocks, page_names, program_pages, tokens
from tests.docs.running import dialogue, not_printed

# Fences that a reader takes for something to run have one name each, by which the tests know them.
_SYNONYMS = {"bash": "sh", "shell": "sh", "zsh": "sh", "py": "python", "pycon": "console"}
_SYNONYMS |= {"python3": "python", "sh-session": "console"}
_RUN = ("sh", "console", "python")
_LOOKS_RUNNABLE = re.compile(r"^(\$ |pip |python |lsa-onnx |from |import )", re.MULTILINE)

# Blocks that no test runs, by page; each says why on its page.
NOT_RUN = {
    "README.md": 2,
    "docs/fuzzing.md": 1,
    "docs/hardening.md": 1,
    "docs/howto/gpu.md": 1,
    "docs/howto/scaling.md": 1,
    "docs/tutorial.md": 1,
}


def every_block() -> Iterator[Block]:
    for page in program_pages():
        yield from blocks(page)


def test_blocks_are_seen() -> None:
    found = Counter(block.language for block in every_block())
    assert min(found[name] for name in _RUN) > 3, found


def test_fences_have_the_names_that_tests_know() -> None:
    wrong = {str(b): _SYNONYMS[b.language] for b in every_block() if b.language in _SYNONYMS}
    assert wrong == {}, "write these fences as"


def test_no_code_is_indented_where_a_fence_would_be_run() -> None:
    found = {
        page: token.content
        for page in program_pages()
        for token in tokens(page)
        if token.type == "code_block" and _LOOKS_RUNNABLE.search(token.content)
    }
    assert found == {}


def test_blocks_that_no_test_runs_are_known() -> None:
    assert Counter(block.page for block in every_block() if block.not_run) == NOT_RUN


def test_every_command_is_one_that_the_program_takes() -> None:
    wrong = {
        f"{block}: {' '.join(words)}": said
        for block in every_block()
        if block.language in ("sh", "console")
        for words in commands(block.language, block.content)
        if (said := objection(words)) is not None
    }
    assert wrong == {}


def test_every_command_in_a_sentence_is_one_that_the_program_has() -> None:
    wrong = {
        f"{page}: {said}": objection(words)
        for page in page_names()
        for said, words in sentence_commands(page)
        if words and words[0].islower() and not _takes(words)
    }
    assert wrong == {}


def _takes(words: list[str]) -> bool:
    """Sentences leave out what a command needs, and name values by capitals."""
    said = objection(words)
    return said is None or said.startswith("Missing argument") or bool(re.search(r"'[A-Z]", said))


def test_every_python_block_imports_what_there_is() -> None:
    for block in every_block():
        if block.language == "python":
            missing = list(_missing(ast.parse(block.content, str(block))))
            assert missing == [], str(block)


def _missing(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and re.match(
            r"lsa_(onnx|trainer|cli)\b", node.module or ""
        ):
            module = import_module(str(node.module))
            for alias in node.names:
                # Asking for a name of __all__ would load torch for some.
                if alias.name not in getattr(module, "__all__", ()) and not hasattr(
                    module, alias.name
                ):
                    yield f"{node.module}.{alias.name}"


def test_commands_are_found_in_every_form() -> None:
    script = "A=1 true && lsa-onnx scan m.onnx --json - > r.json; "
    script += "torchrun -m lsa_cli harden \\\n m.onnx | cat # lsa-onnx x"
    assert list(commands("sh", script)) == [["scan", "m.onnx", "--json", "-"], ["harden", "m.onnx"]]
    console = "$ lsa-onnx layers m.onnx\n4 layers scored\n$ lsa-onnx diff \\\n  a b\n"
    assert list(commands("console", console)) == [["layers", "m.onnx"], ["diff", "a", "b"]]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["scan", "m.onnx", "--epsilon", "1"], "No such option"),
        (["scam", "m.onnx"], "did you mean 'scan'"),
        (["scan", "m.onnx", "--samples", "many"], "'many'"),
        (["scan"], "Missing argument"),
    ],
)
def test_a_command_that_the_program_refuses_is_found(words: list[str], said: str) -> None:
    found = objection(words)
    assert found is not None
    assert said in found


def test_what_is_shown_must_be_printed_in_order_but_for_numbers() -> None:
    printed = ["clean 97.5 % (n = 200)", "0 conv1 0.137 ███▏", "done"]
    assert not_printed(["clean 96 % (n = 1,300)", "…", "0  conv1  0.2 █"], printed) == []
    assert not_printed(["done", "clean 97.5 % (n = 200)"], printed) == ["clean 97.5 % (n = 200)"]
    assert not_printed(["gone"], printed) == ["gone"]
    assert not_printed(["clean … (n = 5)"], printed) == []
    assert not_printed(["clean … (m = 5)"], printed) == ["clean … (m = 5)"]
    assert list(dialogue("$ a \\\n  b\nc\n$ d\n")) == [("a \\\n  b", ["c"]), ("d", [])]
