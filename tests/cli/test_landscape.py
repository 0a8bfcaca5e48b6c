"""``lsa-onnx landscape``: what goes where, what the document says, and what is refused in one line."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from lsa_onnx.errors import DataError
from lsa_onnx.report import load_schema
from lsa_onnx.report.figures import surfaces, surfaces_html
from tests.cli.command_line import Cli
from tests.cli.refusals import assert_one_line

QUICK = ("--points", 3, "--device", "cpu")


def test_the_terminal_view_tells_centre_extremes_and_curvatures(
    cli: Cli, model: Path, data: Path
) -> None:
    done = cli("landscape", model, "--data", data, *QUICK)
    assert done.code == 0
    assert done.line == "clean accuracy 75.0 % (95 % interval 59.8–85.8 %, n = 40)"
    for text in ("Objective unsaturated cross-entropy around inputs", "Centre", "Corners", "75.0 %",
                 "gradient-change", "second-difference", "Moosavi-Dezfooli", "-0.0313725", "down: gradient sign",
                 "across: random sign", "points of the plane are clipped to the range"):  # fmt: skip
        assert text in done.out
    assert "\x1b" not in done.out


def test_options_reach_the_document(cli: Cli, model: Path, data: Path) -> None:
    twin = shutil.copy(model, model.with_name("twin.onnx"))
    done = cli(
        "landscape", model, twin, "--data", data, "--samples", 8, "--batch", 3, "--range", "-1,2",
        "--extent", "10%", "--points", 3, "--objective", "margin", "--seed", 5, "--labels", "none",
        "--device", "cpu", "--json", "-", "-q",
    )  # fmt: skip
    assert (done.code, done.err) == (0, "")
    found = json.loads(done.out)
    jsonschema.Draft202012Validator(load_schema("landscape")).validate(found)
    assert (found["kind"], found["space"], found["objective"]) == ("landscape", "input", "margin")
    assert found["axes"][0]["values"] == pytest.approx([-0.3, 0, 0.3])
    assert [surface["model"] for surface in found["surfaces"]] == [0, 1]
    assert (found["run"]["samples"], found["run"]["seed"]) == (8, 5)
    assert found["run"]["command"][:2] == ["lsa-onnx", "landscape"]
    assert found["surfaces"][0]["accuracy"][1][1] == 1.0


def test_where_one_file_cannot_be_written_the_others_are(
    cli: Cli, model: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[Any] = []

    def fail(_landscape: object, path: object) -> None:
        raise DataError(f"cannot write {str(path)!r}: the disk is full; free space")

    monkeypatch.setattr(surfaces, "draw_surfaces", fail)
    monkeypatch.setattr(surfaces_html, "write_surfaces", lambda found, path: written.append(path))
    done = cli(
        "landscape", model, "--data", data, *QUICK, "-q", "--json", tmp_path / "out.json",
        "--html", tmp_path / "out.html", "--plot", tmp_path / "out.png",
    )  # fmt: skip
    assert done.code == 2
    assert done.line.endswith("out.png': the disk is full; free space")
    assert "Objective unsaturated cross-entropy" in done.out
    assert written == [str(tmp_path / "out.html")]
    found = json.loads((tmp_path / "out.json").read_text("utf-8"))
    assert found["kind"] == "landscape"
    assert "40 samples (256 asked for)" in " ".join(found["data"]["notes"])


@pytest.mark.slow
def test_a_picture_and_a_page_are_written(
    cli: Cli, model: Path, data: Path, tmp_path: Path
) -> None:
    picture, page = tmp_path / "out.png", tmp_path / "out.html"
    done = cli("landscape", model, "--data", data, *QUICK, "-q", "--html", page, "--plot", picture)
    assert (done.code, done.err) == (0, "")
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert "<html" in page.read_text("utf-8")


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["model.onnx"], 2, ["there are none", "--data"]),
        (["model.onnx", "--data", "data.npz", "--points", "4"], 2, ["--points 4 is even"]),
        (["model.onnx", "--data", "data.npz", "--extent", "0"], 2, ["--extent '0' spans no plane"]),
        (["model.onnx", "--data", "data.npz", "--extent", "2"], 2, ["--extent 2 is 2, more than"]),
        (["model.onnx", "--data", "gone.npz"], 2, ["gone.npz"]),
        (["model.onnx", "--data", "data.npz", "--space", "out"], 2, ["'out'", "'input', 'weights'"]),
        (
            ["model.onnx", "--data", "data.npz", "--proposals", "each"],
            2,
            ["--proposals each is for --space weights"],
        ),
        (
            ["model.onnx", "--data", "data.npz", "--mvl", "c0"],
            2,
            ["--mvl c0 is for --space weights"],
        ),
        (
            ["model.onnx", "--data", "data.npz", "--space", "weights", "--objective", "dlr"],
            2,
            ["--objective 'dlr' is for --space input", "leave it out"],
        ),
        (["rounds.onnx", "--data", "a5.npz"], 2, ["a5.npz"]),
        (["model.onnx", "--data", "data.npz", "--plot", "out.gif"], 2, ["'out.gif'", ".png"]),
        (["model.onnx", "--data", "data.npz", "--json", "model.onnx"], 2, ["'model.onnx'", "--json"]),
        (["model.onnx", "--data", "data.npz", "--html", "-"], 2, ["--html '-' is not a file"]),
        (["cut.onnx", "--data", "data.npz"], 3, ["cut.onnx"]),
        (["model.onnx", "gone.onnx", "--data", "data.npz"], 2, ["gone.onnx"]),
        (["model.onnx", "./model.onnx", "--data", "data.npz"], 2, ["is given twice, also as"]),
        (["", "--data", "data.npz"], 2, ["is a folder"]),
        (["/", "--data", "data.npz"], 2, ["'/' is a folder"]),
        (
            ["model.onnx", "--data", "data.npz", "--objective", "loss"],
            2,
            ["unknown objective 'loss'"],
        ),
    ],
    ids=lambda value: "_".join(value)[:60] if isinstance(value, list) else str(value),
)  # fmt: skip
def test_refusals_are_one_line(
    cli: Cli, here: Path, words: list[str], code: int, said: list[str]
) -> None:
    assert here.exists()
    assert_one_line(cli("landscape", *words, "--device", "cpu", "-q"), code, *said)


@pytest.mark.slow
def test_input_space_needs_no_torch() -> None:
    code = (
        "import sys; sys.modules['torch'] = None; import lsa_cli.commands.landscape; "
        "import lsa_cli.commands.decision_boundary; "
        "print(*{'torch', 'matplotlib', 'plotly'} & {n for n, m in sys.modules.items() if m})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.stdout.strip(), done.stderr) == ("", "")
