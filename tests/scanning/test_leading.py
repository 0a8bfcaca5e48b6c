"""What one sample is where the leading dimension of the input is a number above 1."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from lsa_onnx.errors import DataError
from lsa_onnx.runtime.layout import input_layout
from lsa_onnx.scanning import ScanOptions, Subject, open_subject
from tests import graphs
from tests.graphs import node, value
from tests.scanning.helpers import saved, scanned, score, stored

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


def with_a_second_input(op: str, other: onnx.ValueInfoProto) -> onnx.ModelProto:
    """An operator on rows of x and another input."""
    nodes = [node(op, ["x", other.name], ["h"]), node("Relu", ["h"], ["y"])]
    return graphs.model(nodes, [value("x", [3, 5]), other], [value("y", [3, 5])])


def opened(model: Path, data: Path | None = None, **options: Any) -> Subject:
    return open_subject(str(model), ScanOptions(data=data, device="cpu", **options))


@pytest.mark.parametrize(
    ("how", "axis", "leading"),
    [("data", 0, None), ("data", 1, 3), ("hold", 0, None), ("hold", 1, 3), ("made up", 0, None)],
)
def test_several_inputs_are_tried_with_the_values_given(
    how: str, axis: int, leading: int | None, tmp_path: Path
) -> None:
    """A sum along axis 0 mixes rows, along axis 1 it does not: a value of another input decides."""
    model = saved(tmp_path, with_a_second_input("CumSum", value("axis", [], "int64")))
    shape = (6, 3, 5) if leading is None else (6, 5)
    x = graphs.samples(1, *shape)
    given = {"axis": np.array(axis)} if how == "data" else {}
    data = stored(tmp_path, "data.npz", x=x, **given) if how != "made up" else None
    subject = opened(model, data, hold=(f"axis={axis}",) if how == "hold" else ())
    assert subject.layout.leading == leading
    assert subject.whole.keys() <= {"axis"}
    if data is not None:
        np.testing.assert_array_equal(subject.feeds(0, 6)[0]["x"], x[subject.dataset.selection])
        report = scanned(model, data, hold=(f"axis={axis}",), perturbations=("salt",))
        assert report.run.batch == (leading or 1)


def test_rows_of_another_input_go_with_the_samples(tmp_path: Path) -> None:
    model = saved(tmp_path, with_a_second_input("Mul", value("m", [3, 5])))
    x, m = graphs.samples(1, 6, 5), graphs.samples(2, 6, 5)
    subject = opened(model, stored(tmp_path, x=x, m=m))
    assert subject.layout.leading == 3
    np.testing.assert_array_equal(subject.feeds(0, 6)[0]["m"], m[subject.dataset.selection])


def test_indices_that_mix_rows_come_with_their_own_sample(tmp_path: Path) -> None:
    """Rows are gathered from other rows; made up indices of 0 would show it too, these are permuted."""
    model = saved(tmp_path, with_a_second_input("Gather", value("i", [3], "int64")))
    x = graphs.samples(1, 6, 3, 5)
    i = np.stack([np.random.default_rng(n).permutation(3) for n in range(6)])
    data = stored(tmp_path, x=x, i=i)
    report = scanned(model, data, perturbations=("salt",), layers=("all",))
    assert report.data.samples == 6
    assert "one sample is the whole input, 3 x 5: its leading dimension is not a batch" in (
        report.input.notes
    )
    subject = opened(model, data)
    np.testing.assert_array_equal(subject.feeds(0, 6)[0]["i"], i[subject.dataset.selection])


def test_random_numbers_are_no_mixing(tmp_path: Path) -> None:
    nodes = [node("Dropout", ["x", "ratio", "training"], ["h"]), node("Relu", ["h"], ["y"])]
    inputs = [value("x", [3, 5]), value("ratio", []), value("training", [], "bool")]
    model = saved(tmp_path, graphs.model(nodes, inputs, [value("y", [3, 5])]))
    subject = opened(model, samples=6, hold=("ratio=0.5", "training=1"))
    assert subject.layout.leading == 3


def test_data_that_fit_no_layout_are_refused_by_that_of_the_model(tmp_path: Path) -> None:
    data = stored(tmp_path, x=graphs.samples(1, 6, 7))
    with pytest.raises(DataError, match=r"samples have shape 7 .* the model takes 4x5"):
        opened(saved(tmp_path, centred()), data)
    model = saved(tmp_path, with_a_second_input("Mul", value("m", [3, 5])), "rows.onnx")
    with pytest.raises(DataError, match=r"samples have shape 7 .* the model takes 5"):
        opened(model, data, hold=("m=1",))
    with pytest.raises(DataError, match=r"absent.npz' does not exist"):
        opened(model, tmp_path / "absent.npz")


def test_an_array_of_the_whole_input_is_one_sample(tmp_path: Path) -> None:
    x = graphs.samples(1, 4, 5)
    model, data = saved(tmp_path, centred()), stored(tmp_path, x=x)
    report = scanned(model, data, perturbations=("salt",), layers=("all",))
    assert report.data.samples == 1
    subject = opened(model, data)
    np.testing.assert_array_equal(subject.feeds(0, 1)[0]["x"], x[None])
    assert "the array is one sample: it has its shape, 4x5" in subject.dataset.notes


def test_a_batch_of_none_holds_no_sample(tmp_path: Path) -> None:
    inputs, outputs = [value("x", [0, 5]), value("m", [0, 5])], [value("y", [0, 5])]
    model = saved(tmp_path, graphs.model([node("Mul", ["x", "m"], ["y"])], inputs, outputs))
    subject = opened(model, samples=2)
    assert (subject.layout.leading, subject.dataset.sample_shape) == (None, (0, 5))
    data = stored(tmp_path, x=np.zeros((6, 0, 5)), m=np.zeros((6, 0, 5)))
    with pytest.raises(DataError, match=r"has shape \(6, 0, 5\): samples without values"):
        opened(model, data)


def test_free_dimensions_are_as_the_samples_have_them(tmp_path: Path) -> None:
    """Rows are mixed, which shows only with a mask as wide as x."""
    nodes = [
        node("Mul", ["x", "m"], ["h"]),
        node("ReduceMean", ["h"], ["mean"], axes=[0]),
        node("Sub", ["h", "mean"], ["y"]),
    ]
    inputs, outputs = [value("x", [3, "T"]), value("m", [3, "T"])], [value("y", [3, "T"])]
    model = saved(tmp_path, graphs.model(nodes, inputs, outputs))
    x, m = graphs.samples(1, 6, 3, 4), graphs.samples(2, 6, 3, 4)
    subject = opened(model, stored(tmp_path, x=x, m=m))
    assert (subject.layout.leading, subject.dataset.sample_shape) == (None, (3, 4))
    assert opened(model, samples=2, hold=("m=0.5",)).layout.leading is None
    rows = stored(tmp_path, "rows.npz", x=x[:, 0], m=m[:, 0])
    with pytest.raises(DataError, match=r"samples have shape 4 .* the model takes 3x\?"):
        opened(model, rows)
