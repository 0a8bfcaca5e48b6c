"""Models of several inputs: one is attacked, the others are held at values from anywhere."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests import graphs
from tests.scanning.helpers import attack_of, saved, scanned, stored

if TYPE_CHECKING:
    import onnx


def two_inputs() -> onnx.ModelProto:
    """Logits 0 and a0 − a1 + 3 b0 + b1 + 1 − c, with c a whole number."""
    weights = {
        "wa": np.array([[0, 1], [0, -1]], np.float32),
        "wb": np.array([[0, 3], [0, 1]], np.float32),
        "one": np.array([0, 1], np.float32),
        "axis": np.array([1]),
        "zero": np.array([[0, 1]], np.float32),
    }
    nodes = [
        graphs.node("MatMul", ["a", "wa"], ["ya"]),
        graphs.node("Gemm", ["b", "wb", "one"], ["yb"]),
        graphs.node("Cast", ["c"], ["cost"], to=1),
        graphs.node("Mul", ["cost", "zero"], ["yc"]),
        graphs.node("Add", ["ya", "yb"], ["both"]),
        graphs.node("Sub", ["both", "yc"], ["y"]),
    ]
    inputs = [
        graphs.value("a", ["N", 2]),
        graphs.value("b", ["N", 2]),
        graphs.value("c", ["N", 1], "int64"),
    ]
    return graphs.model(nodes, inputs, [graphs.value("y", ["N", 2])], weights)


def test_an_input_gets_the_array_of_its_own_name(tmp_path: Path) -> None:
    weights = {"p": np.array([[0, 1], [0, -1]], np.float32), "o": np.array([0, 0.1], np.float32)}
    nodes = [
        graphs.node("Sub", ["z", "x"], ["d"]),
        graphs.node("Gemm", ["d", "p", "o"], ["y"]),
    ]
    ends = [graphs.value("x", ["N", 2]), graphs.value("z", ["N", 2])], [graphs.value("y", ["N", 2])]
    model = saved(tmp_path, graphs.model(nodes, *ends, weights))
    # z − x decides between the classes; with z in place of x, it would be 0, and the class 1.
    z, x = graphs.samples(0, 30, 2), np.full((30, 2), 0.5, np.float32)
    y = (z[:, 0] - z[:, 1] > -0.1).astype(np.int64)
    assert set(y) == {0, 1}
    data = stored(tmp_path, x=x, z=z, y=y)
    for name in ("z", "x"):
        report = scanned(model, data, perturb=name, perturbations=("gaussian",), layers=("all",))
        assert report.accuracy is not None
        assert report.accuracy.value == 1
        assert report.input.name == name


A = np.full((6, 2), 0.5, np.float32)
B = (0.5 + np.linspace(-0.2, 0.25, 6)[:, None] * [1, 1]).astype(np.float32)
# a0 − a1 = 0 and c = 3: the score is 4 (b − 1/2), and ‖·‖₁ of the weights 2 for a and 4 for b.
SCORE = np.abs(4 * (B[:, 0] - 0.5))


@pytest.mark.parametrize(("name", "norm"), [("a", 2), ("b", 4)])
@pytest.mark.parametrize("how", ["one npz", "npy and number", "npz and one row"])
def test_one_of_several_inputs_is_perturbed_and_the_others_are_held(
    tmp_path: Path, name: str, norm: int, how: str
) -> None:
    model, every = saved(tmp_path, two_inputs()), {"a": A, "b": B}
    other = {"a": "b", "b": "a"}[name]
    c = np.full((6, 1), 3)
    hold: tuple[str, ...] = ()
    if how == "one npz":
        data = stored(tmp_path, "data.npz", **every, c=c)
    else:
        data = stored(tmp_path, "data.npz", **{name: every[name]})
        np.save(tmp_path / "other.npy", every[other])
        np.savez(tmp_path / "c.npz", c=c[:1])
        held = f"c={tmp_path / 'c.npz'}" if how == "npz and one row" else "c=3"
        hold = (f"{other}={tmp_path / 'other.npy'}", held)
    report = scanned(
        model, data, perturb=name, hold=hold, perturbations=("pgd",), eps="0.15", steps=3
    )
    found = attack_of(report)
    assert report.input.name == name
    assert (found.labels, found.robust_accuracy) == ("predicted", None)
    assert found.success is not None
    expected = (norm * 0.15 > SCORE).mean()
    assert 0 < expected < 1
    assert found.success.value == pytest.approx(expected)
    assert found.success.n == 6
    assert {f"{held!r} is held, not perturbed" for held in (other, "c")} <= set(report.input.notes)
