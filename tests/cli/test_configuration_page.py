"""What docs/configuration.md shows does what the page says."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from lsa_cli.main import COMMANDS, load
from lsa_cli.settings_file import find_settings
from lsa_cli.settings_values import file_settings
from lsa_onnx.demo.assets import digits_data, digits_model
from tests.cli.command_line import Cli
from tests.cli.contexts import ALL, context
from tests.conftest import REPOSITORY

PAGE = (REPOSITORY / "docs/configuration.md").read_text("utf-8")
FILES = dict(re.findall(r"<!-- file: (\S+) -->\n```toml\n(.*?)```", PAGE, re.DOTALL))
COMMAND_LINES = re.findall(r"<!-- command -->\n```sh\n(.*?)```", PAGE, re.DOTALL)


def test_the_page_has_its_examples() -> None:
    assert list(FILES) == ["lsa-onnx.toml", "pyproject.toml"]
    assert len(COMMAND_LINES) == 1


@pytest.mark.parametrize("name", FILES)
def test_every_command_takes_the_files(name: str, here: Path) -> None:
    (here / name).write_text(FILES[name], "utf-8")
    file = find_settings().file
    assert file is not None
    taken = {each: file_settings(file, each, load(each), ALL) for each in COMMANDS}
    assert taken["scan"]["device"].value == "cpu"
    words = ["m.onnx", *(["--data", "x.npz"] if "data" not in file.table else [])]
    for each in ("scan", "evaluate", "harden"):
        assert context(each, words, file.table, here).params["device"] == "cpu"


def test_the_commands_run(cli: Cli, here: Path) -> None:
    (here / "lsa-onnx.toml").write_text(FILES["lsa-onnx.toml"], "utf-8")
    for source in (digits_model(), digits_data()):
        shutil.copy(source, here / Path(source).name)
    said = []
    for line in COMMAND_LINES[0].splitlines():
        done = cli(*line.split()[1:])
        assert done.code == 0, done.err
        said.append(" ".join(done.out.split()))
    assert "data digits.npz (lsa-onnx.toml: data)" in said[-1]
    report = json.loads((here / "report.json").read_text("utf-8"))
    assert [each["name"] for each in report["perturbations"]] == ["gaussian", "pgd"]


def test_the_table_of_who_wins_has_the_right_places() -> None:
    rows = re.findall(r"^\| (\d) \| ([^|]+) \|", PAGE, re.MULTILINE)
    assert [int(number) for number, _ in rows] == list(range(1, 8))


def test_the_example_of_an_error(cli: Cli, model: Path, here: Path) -> None:
    (here / "lsa-onnx.toml").write_text("seed = -1\n", "utf-8")
    assert cli("scan", model).line in PAGE
