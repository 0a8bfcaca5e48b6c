"""What holds for every format."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from lsa_onnx.errors import DataError
from lsa_onnx.report.formats import FORMATS, render, write
from tests.report.examples import all_reports, small_report
from tests.report.formats.warning_texts import PATH, content

UNSAFE = [chr(code) for code in (0, 7, 27, 0x202E, 0x200B, 0xFFFF)]


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("example", all_reports())
def test_nothing_acts_on_the_screen_of_a_reader(name: str, example: str) -> None:
    text = render(name, all_reports()[example])
    assert [character for character in UNSAFE if character in text] == []
    text.encode("utf-8")
    assert text.endswith("\n")
    assert text == render(name, all_reports()[example])


@pytest.mark.parametrize("name", FORMATS)
def test_a_file_is_written_as_it_is_or_not_at_all(name: str, tmp_path: Path) -> None:
    target = tmp_path / "out"
    target.write_text("earlier")
    write(name, small_report(), target)
    assert target.read_bytes() == render(name, small_report()).encode("utf-8")
    with pytest.raises(DataError, match=r"'.*none.out'.*its folder does not exist"):
        write(name, small_report(), tmp_path / "none" / "out")
    assert [file.name for file in tmp_path.iterdir()] == ["out"]


def test_another_format_is_refused() -> None:
    with pytest.raises(KeyError, match="xlsx"):
        render("xlsx", small_report())


def test_formats_need_nothing_heavy() -> None:
    modules = ", ".join(f"lsa_onnx.report.formats.{name}" for name in FORMATS)
    heavy = {"rich", "jinja2", "onnx", "onnxruntime", "numpy", "torch"}
    code = f"import sys, {modules}\nprint(sorted({heavy!r} & set(sys.modules)))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "[]\n"


def test_the_help_of_warnings_is_that_of_their_page() -> None:
    assert PATH.read_text("utf-8") == content(), "run python -m tests.report.formats.warning_texts"
