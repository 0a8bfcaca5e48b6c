"""``lsa-onnx decision-boundary``: the terminal view, the document, and what is refused in one line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import jsonschema
import numpy as np
import pytest

from lsa_onnx.report import load_schema
from tests import graphs
from tests.cli.command_line import Cli
from tests.cli.refusals import assert_one_line

QUICK = ("--device", "cpu", "-q")


@pytest.fixture
def moons(here: Path) -> Path:
    """A folder with a model that asks whether the first feature is the larger one, and samples."""
    weights = {"w": np.array([[0, 1], [0, -1]], np.float32)}
    proto = graphs.model(
        [graphs.node("Gemm", ["x", "w"], ["y"])],
        [graphs.value("x", ["N", 2])],
        [graphs.value("y", ["N", 2])],
        weights,
    )
    graphs.save(proto, here / "line.onnx")
    x = 4 * graphs.samples(0, 50, 2) - 2
    np.savez(here / "moons.npz", x=x, y=(x[:, 0] > x[:, 1]).astype(np.int64))
    return here


def test_the_terminal_view_tells_accuracy_and_shares(cli: Cli, moons: Path) -> None:
    done = cli(
        "decision-boundary", "line.onnx", "--data", "moons.npz", "--range=-2,2",
        "--extent=-2,2", "--points", 20, *QUICK,
    )  # fmt: skip
    assert (done.code, done.err) == (0, "")
    assert moons.exists()
    # On the diagonal both scores are equal, and the first class wins.
    assert "accuracy 100.0 %" in done.out
    assert "class 0: 52.5 % · class 1: 47.5 %" in done.out
    rows = [
        line.strip() for line in done.out.splitlines() if set(line.strip()) in ({"0"}, {"0", "1"})
    ]
    assert len(rows) == 16
    assert rows[0] == "0" * 20
    assert rows[-1] == "0" + "1" * 19


def test_options_reach_the_document(cli: Cli, moons: Path) -> None:
    shutil.copy(moons / "line.onnx", moons / "twin.onnx")
    done = cli(
        "decision-boundary", "line.onnx", "twin.onnx", "--data", "moons.npz", "--range=-2,2",
        "--points", 7, "--eps", "0.25", "--samples", 30, "--seed", 3, "--json", "-", *QUICK,
    )  # fmt: skip
    assert (done.code, done.err) == (0, "")
    found = json.loads(done.out)
    jsonschema.Draft202012Validator(load_schema("boundary")).validate(found)
    assert (len(found["xs"]), len(found["ys"]), len(found["points"])) == (7, 7, 30)
    assert (found["eps"], found["seed"]) == (0.25, 3)
    assert [region["model"] for region in found["regions"]] == [0, 1]
    assert found["command"][:2] == ["lsa-onnx", "decision-boundary"]


@pytest.mark.slow
def test_a_picture_is_written(cli: Cli, moons: Path) -> None:
    words = ("--data", "moons.npz", "--range=-2,2", "--points", 20, "--eps", "0.2")
    done = cli("decision-boundary", "line.onnx", *words, "--plot", moons / "out.png", *QUICK)
    assert (done.code, done.err) == (0, "")
    assert (moons / "out.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["line.onnx"], 2, ["there are none", "--data"]),
        (["model.onnx", "--data", "data.npz"], 2, ["has the shape (3, 5, 7)", "(n, 2)"]),
        (["regressor.onnx", "--data", "moons.npz", "--range=-2,2"], 3, ["--decision binary"]),
        (["line.onnx", "--data", "moons.npz"], 2, ["moons.npz"]),
        (["line.onnx", "--data", "moons.npz", "--range=-2,2", "--extent=-3,3"], 2, ["--extent -3,3"]),
        (["line.onnx", "line.onnx", "--data", "moons.npz"], 2, ["'line.onnx' is given twice"]),
        (["line.onnx", "--data", "moons.npz", "--range=-2,2", "--decision", "none"], 2,
         ["--decision none reads no class", "leave it out"]),
        (["line.onnx", "--data", "moons.npz", "--extent", "3"], 2, ["--extent '3' is not usable"]),
        (["line.onnx", "--data", "moons.npz", "--points", "1"], 2, ["--points 1"]),
        (["line.onnx", "--data", "moons.npz", "--eps", "far"], 2, ["'far'"]),
        (["line.onnx", "--data", "moons.npz", "--plot", "out.txt"], 2, ["'out.txt'"]),
        (["line.onnx", "--data", "moons.npz", "--json", "moons.npz"], 2, ["'moons.npz'"]),
    ],
    ids=lambda value: "_".join(value)[:60] if isinstance(value, list) else str(value),
)  # fmt: skip
def test_refusals_are_one_line(
    cli: Cli, moons: Path, words: list[str], code: int, said: list[str]
) -> None:
    assert moons.exists()
    assert_one_line(cli("decision-boundary", *words, *QUICK), code, *said)
