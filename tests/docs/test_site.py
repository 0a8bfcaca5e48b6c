"""The site builds without a warning and without a network, and has every command, option and name."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

from lsa_cli.main import COMMANDS, cli
from tests.docs.pages import DOCS, ROOT

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    arguments = ["-W", "-n", "--keep-going", "-q", "-d", str(folder / "doctrees")]
    ran = subprocess.run(
        [sys.executable, "-m", "sphinx", *arguments, str(DOCS), str(folder / "html")],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert (ran.returncode, ran.stderr) == (0, ""), ran.stderr
    return folder / "html"


def page(site: Path, name: str) -> str:
    return (site / name).read_text("utf-8")


def test_every_page_is_in_the_site(site: Path) -> None:
    names = {path.relative_to(DOCS).with_suffix("") for path in DOCS.rglob("*.md")}
    assert {name for name in names if not (site / name).with_suffix(".html").is_file()} == set()


def test_pages_load_nothing_from_the_network(site: Path) -> None:
    loaded = re.compile(r'<(?:script|img|link)[^>]+(?:src|href)="(https?:[^"]+)"')
    found = {
        url for path in site.rglob("*.html") for url in loaded.findall(path.read_text("utf-8"))
    }
    assert found == set()


def test_the_reference_begins_with_the_program_itself(site: Path) -> None:
    text = page(site, "reference/command-line.html")
    assert 0 < text.index('<section id="lsa-onnx">') < text.index('<section id="scan">')


@pytest.mark.parametrize("name", COMMANDS)
def test_the_reference_has_every_option(site: Path, name: str) -> None:
    text = page(site, "reference/command-line.html")
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    assert f'id="{name}"' in text
    for param in command.params:
        if isinstance(param, click.Option):
            (flag, *_) = [each for each in param.opts if each.startswith("--")]
            assert flag in text


@pytest.mark.parametrize(
    "name", ["lsa_onnx.scanning.scan", "lsa_onnx.read_report", "lsa_trainer.fit"]
)
def test_the_reference_has_names_that_are_loaded_late(site: Path, name: str) -> None:
    assert f'id="{name}"' in page(site, "reference/python-api.html")
