"""What one sample is where the leading dimension of the input is a number above 1."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from lsa_onnx.runtime.layout import input_layout
from tests import graphs
from tests.graphs import node, value
from tests.scan.helpers import saved, scanned, score, stored

if TYPE_CHECKING:
    import onnx


def centred(*, rows: int = 4) -> onnx.ModelProto:
    """Each row minus the mean of all rows: a row of the output depends on every row of the input."""
    nodes = [
        node("ReduceMean", ["x"], ["mean"], axes=[0]),
        node("Sub", ["x", "mean"], ["d"]),
        node("Relu", ["d"], ["y"]),
    ]
    return graphs.model(nodes, [value("x", [rows, 5])], [value("y", [rows, 5])], opset=17)


def test_rows_that_are_mixed_make_one_sample(tmp_path: Path) -> None:
    x = graphs.samples(1, 6, 4, 5)
    x_adv = np.clip(x + 0.1 * graphs.samples(2, 6, 4, 5), 0, 1)
    report = scanned(
        saved(tmp_path, centred()),
        stored(tmp_path, x=x),
        perturbed=stored(tmp_path, "adv.npz", x=x_adv),
        perturbations=(),
        layers=("all",),
    )
    assert report.data.samples == 6
    assert report.run.batch_mode == "native"
    told = "one sample is the whole input, 4 x 5: its leading dimension is not a batch"
    assert told in report.input.notes
    d, d_adv = (v - v.mean(axis=1, keepdims=True) for v in (x, x_adv))
    expected = np.linalg.norm((d - d_adv).reshape(6, -1), axis=1)
    expected /= np.linalg.norm(d.reshape(6, -1), axis=1)
    assert score(report, "pairs", "d").relative_error.mean == pytest.approx(
        expected.mean(), rel=1e-4
    )


def test_rows_that_are_not_mixed_are_samples(tmp_path: Path) -> None:
    nodes = [node("Gemm", ["x", "w"], ["h"]), node("Relu", ["h"], ["y"])]
    inputs, outputs = [value("x", [4, 5])], [value("y", [4, 3])]
    proto = graphs.model(nodes, inputs, outputs, {"w": graphs.weight(0, 5, 3)})
    x = graphs.samples(1, 6, 5)
    x_adv = np.clip(x + 0.1, 0, 1)
    model = saved(tmp_path, proto)
    data, perturbed = stored(tmp_path, x=x), stored(tmp_path, "adv.npz", x=x_adv)
    report = scanned(model, data, perturbed=perturbed, perturbations=(), layers=("all",))
    assert (report.data.samples, report.run.batch) == (6, 4)
    h = x @ graphs.weight(0, 5, 3), x_adv @ graphs.weight(0, 5, 3)
    expected = np.linalg.norm(h[0] - h[1], axis=1) / np.linalg.norm(h[0], axis=1)
    assert score(report, "pairs", "h").relative_error.mean == pytest.approx(
        expected.mean(), rel=1e-4
    )


@pytest.mark.parametrize(
    ("outputs", "leading"),
    [([[4, 3]], 4), ([["N", 3]], 4), ([[None, 3]], 4), ([[5, 3]], None), ([[4, 3], []], None)],
)
def test_a_named_dimension_of_an_output_contradicts_no_number(
    outputs: list[list[int | str | None]], leading: int | None
) -> None:
    assert input_layout([4, 6], outputs).leading == leading
