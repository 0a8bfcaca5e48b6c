"""``--decision``: how a class is read, as the command line takes it and tells it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.binary_models import points, scorer
from tests.scanning.helpers import saved, stored

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.command_line import Cli

ADVICE = "if 'y' is the score of two classes, give --decision binary"


@pytest.mark.parametrize("command", ["scan", "evaluate", "harden", "loop", "doctor"])
def test_every_command_that_reads_a_class_has_it(cli: Cli, command: str) -> None:
    said = " ".join(cli(command, "-h").out.split())
    assert "--decision [max|min|binary|none]" in said
    assert (
        "one score tells two classes apart, class 1 above 0, or above 0.5 behind a Sigmoid" in said
    )


def test_a_scan_of_one_score(cli: Cli, tmp_path: Path) -> None:
    x, y = points(30)
    model, data = saved(tmp_path, scorer("probability")), stored(tmp_path, x=x, y=y)
    target = tmp_path / "report.json"
    done = cli("scan", model, "--data", data, "--decision", "binary", "--json", target)
    assert done.code == 0, done.err
    report = json.loads(target.read_text("utf-8"))
    assert report["accuracy"]["value"] == 0.9
    assert report["model"]["logits"] == "z"
    assert report["model"]["logits_found"] == "behind Sigmoid of output 'y', class 1 above 0.5"


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ([], f"no output with one score per class; {ADVICE}"),
        (["--decision", "binary"], "output 'y' itself, class 1 above 0"),
        (["--decision", "none"], "none is read: --decision none"),
    ],
)
def test_the_doctor_says_how_a_class_is_read(
    cli: Cli, tmp_path: Path, flags: list[str], said: str
) -> None:
    done = cli("doctor", saved(tmp_path, scorer()), *flags)
    assert done.code == 0, done.err
    _, _, rest = done.out.partition("\n Class ")
    text = " ".join(rest.split())
    assert text.startswith(f"{said} Gradient yes: attacks maximise")
    assert ("maximise 'ce'" in text) == (flags == ["--decision", "binary"])


def test_a_model_without_such_an_output_is_refused_in_one_line(cli: Cli, model: Path) -> None:
    done = cli("scan", model, "--decision", "binary")
    assert done.code == 2
    assert "--decision binary needs an output of one float per sample" in done.line
