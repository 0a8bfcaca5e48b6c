"""Inputs without a row per sample, that nobody reads, of types that cannot be fed, or without a batch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from numpy.typing import NDArray

from lsa_onnx.errors import DataError, ModelError
from lsa_onnx.scanning import ScanOptions, Subject, open_subject
from tests import graphs
from tests.graphs import node, value
from tests.scanning.helpers import result, saved, scanned, stored

if TYPE_CHECKING:
    import onnx

Array = NDArray[Any]

X = graphs.samples(0, 12, 4)
TABLE = graphs.weight(1, 4, 3)


def linear(
    batch: int | str = "N", *, table: tuple[int, ...] = (4, 3), scale: bool = True
) -> onnx.ModelProto:
    """y = scale · x @ table, with both as inputs."""
    inputs = [value("x", [batch, 4]), value("table", table)]
    nodes = [node("MatMul", ["x", "table"], ["h"])]
    if scale:
        inputs.append(value("scale", []))
        nodes.append(node("Mul", ["h", "scale"], ["y"]))
    else:
        nodes.append(node("Neg", ["h"], ["y"]))
    return graphs.model(nodes, inputs, [value("y", [batch, 3])])


def opened(model: Path, data: Path | None = None, **options: Any) -> Subject:
    return open_subject(str(model), ScanOptions(data=data, device="cpu", **options))


@pytest.mark.parametrize("batch", ["N", 1, 3])
@pytest.mark.parametrize("how", ["npz", "hold"])
def test_a_table_and_a_number_are_held_whole(tmp_path: Path, batch: int | str, how: str) -> None:
    model = saved(tmp_path, linear(batch))
    y = (-2 * X @ TABLE).argmax(1)
    hold: tuple[str, ...] = ()
    if how == "npz":
        data = stored(tmp_path, x=X, y=y, table=TABLE, scale=np.array(-2.0))
    else:
        np.save(tmp_path / "table.npy", TABLE)
        data = stored(tmp_path, x=X, y=y)
        hold = (f"table={tmp_path / 'table.npy'}", "scale=-2")
    report = scanned(model, data, hold=hold, perturbations=("pgd",), steps=2, layers=("h",))
    assert report.accuracy is not None
    assert report.accuracy.value == 1
    assert report.observer.max_relative_difference < 1e-5
    assert report.run.batch_mode == {"N": "free", 1: "rebatched", 3: "native"}[batch]
    assert result(report, "pgd").attack is not None
    subject = opened(model, data, hold=hold)
    assert list(subject.feeds(0, 2)[0]) == ["x"]
    assert subject.notes == (
        "'table' is one value for all samples, not perturbed",
        "'scale' is one value for all samples, not perturbed",
    )


def test_made_up_values_of_whole_inputs(tmp_path: Path) -> None:
    subject = opened(saved(tmp_path, linear()), samples=3)
    np.testing.assert_array_equal(subject.whole["table"], np.full((4, 3), 0.5, np.float32))
    assert "'scale' is made up: the middle of the range" in subject.dataset.notes


def test_without_values_a_whole_input_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"has 3 inputs, .* holds nothing for 'table', 'scale'; give"
    ):
        opened(saved(tmp_path, linear()), stored(tmp_path, x=X))


def test_a_table_of_another_shape_is_refused(tmp_path: Path) -> None:
    data = stored(tmp_path, x=X, table=TABLE.T, scale=np.array(1.0))
    with pytest.raises(DataError, match=r"'table' of .* holds 3 rows for the model input 'table'"):
        opened(saved(tmp_path, linear()), data)


def shifted(batch: int | str = "N") -> onnx.ModelProto:
    """y = x + shift; a shift leads with 1, whatever the batch."""
    nodes = [node("Add", ["x", "shift"], ["h"]), node("Relu", ["h"], ["y"])]
    inputs = [value("x", [batch, 4]), value("shift", [1, 4])]
    return graphs.model(nodes, inputs, [value("y", [batch, 4])])


def test_a_leading_one_is_one_value_or_a_row_per_sample(tmp_path: Path) -> None:
    model = saved(tmp_path, shifted())
    one = scanned(model, stored(tmp_path, x=X, shift=X[:1]), perturbations=("salt",), layers=("h",))
    each = scanned(model, stored(tmp_path, x=X, shift=X), perturbations=("salt",), layers=("h",))
    assert (one.run.batch_mode, each.run.batch_mode) == ("free", "native")
    subject = opened(model, stored(tmp_path, x=X, shift=X))
    np.testing.assert_array_equal(subject.feeds(0, 12)[0]["shift"], X[subject.dataset.selection])


def test_an_input_that_nobody_reads_needs_no_values(tmp_path: Path) -> None:
    proto = graphs.elu_mlp()
    proto.graph.input.insert(0, value("unread", ["N", 7]))
    proto.graph.input.append(value("flag", [], "bool"))
    report = scanned(
        saved(tmp_path, proto), stored(tmp_path, x=graphs.samples(0, 6, 2)), perturbations=("salt",)
    )
    assert report.input.name == "x"
    assert report.observer.max_relative_difference < 1e-5


@pytest.mark.parametrize("dtype", ["bool", "int32", "float16"])
def test_masks_of_any_type(tmp_path: Path, dtype: str) -> None:
    nodes = [
        node("Cast", ["mask"], ["m"], to=graphs.FLOAT),
        node("Mul", ["x", "m"], ["h"]),
        node("Relu", ["h"], ["y"]),
    ]
    inputs = [value("x", ["N", 4]), value("mask", ["N", 4], dtype)]
    model = saved(tmp_path, graphs.model(nodes, inputs, [value("y", ["N", 4])]))
    made_up = opened(model, samples=3).feeds(0, 3)[0]["mask"]
    np.testing.assert_array_equal(made_up, np.ones((3, 4)))
    mask = np.random.default_rng(0).integers(0, 2, (12, 4)).astype(dtype)
    subject = opened(model, stored(tmp_path, x=X, mask=mask))
    feeds = subject.feeds(0, 12)[0]
    assert feeds["mask"].dtype == np.dtype(dtype)
    np.testing.assert_array_equal(feeds["mask"], mask[subject.dataset.selection])
    report = scanned(
        model, stored(tmp_path, x=X, mask=mask), perturbations=("pgd",), steps=2, layers=("h",)
    )
    assert report.run.batch_mode == "free"


@pytest.mark.parametrize(
    ("name", "dtype", "wanted"),
    [
        ("attention_mask", "int64", [1, 1, 1]),
        ("padding_mask", "bool", [0, 0, 0]),
        ("position_ids", "int64", [0, 1, 2]),
        ("kinds", "int64", [0, 0, 0]),
        ("state", "float32", [0.5, 0.5, 0.5]),
    ],
)
def test_what_is_made_up_fits_the_name(
    tmp_path: Path, name: str, dtype: str, wanted: list[float]
) -> None:
    """Its length is that of the samples, which have the same name for it."""
    nodes = [
        node("Cast", [name], ["m"], to=graphs.FLOAT),
        node("Cast", ["ids"], ["i"], to=graphs.FLOAT),
        node("Add", ["x", "m"], ["h"]),
        node("Add", ["i", "h"], ["y"]),
    ]
    inputs = [
        value("x", ["N", 3]), value("ids", ["N", "T"], "int64"), value(name, ["N", "T"], dtype),
    ]  # fmt: skip
    inputs[0].CopyFrom(value("x", ["N", "T"]))
    model = saved(tmp_path, graphs.model(nodes, inputs, [value("y", ["N", "T"])]))
    data = stored(tmp_path, x=X[:, :3], ids=np.zeros((12, 3), np.int64))
    assert opened(model, data, hold=(f"{name}=0",)).feeds(0, 2)[0][name].shape == (2, 3)
    made_up = opened(model, samples=4)
    assert made_up.feeds(0, 2)[0][name].shape == (2, 1)
    proto = graphs.model(
        nodes, [value("x", ["N", 3]), *inputs[1:2], value(name, ["N", 3], dtype)],
        [value("y", ["N", 3])],
    )  # fmt: skip
    fixed = opened(saved(tmp_path, proto, "fixed.onnx"), samples=4)
    np.testing.assert_array_equal(fixed.feeds(0, 2)[0][name], [wanted, wanted])


def test_a_type_that_cannot_be_fed(tmp_path: Path) -> None:
    nodes = [node("Cast", ["b"], ["f"], to=graphs.FLOAT), node("Add", ["x", "f"], ["y"])]
    inputs = [value("x", ["N", 4]), value("b", ["N", 4], "bfloat16")]
    proto = graphs.model(nodes, inputs, [value("y", ["N", 4])])
    with pytest.raises(ModelError, match="input 'b' is of type bfloat16, which cannot be held"):
        opened(saved(tmp_path, proto), samples=2)


def test_held_inputs_without_elements(tmp_path: Path) -> None:
    """A cache that is empty at first, as decoders take it."""
    nodes = [node("Concat", ["past", "x"], ["all"], axis=1), node("Relu", ["all"], ["y"])]
    inputs = [value("x", ["N", 4]), value("past", ["N", 0])]
    model = saved(tmp_path, graphs.model(nodes, inputs, [value("y", ["N", 4])]))
    assert opened(model, samples=3).feeds(0, 3)[0]["past"].shape == (3, 0)
    report = scanned(model, samples=3, perturbations=("salt",), layers=("all",))
    assert report.observer.max_relative_difference == 0


def test_what_a_sample_is_without_a_batch(tmp_path: Path) -> None:
    nodes = [node("MatMul", ["x", "w"], ["h"]), node("ReduceMax", ["h"], ["y"], keepdims=0)]
    proto = graphs.model(nodes, [value("x", [5, 4])], [value("y", [])], {"w": TABLE})
    subject = opened(saved(tmp_path, proto), samples=2)
    assert subject.layout.told == (
        "one sample is the whole input, 5 x 4: its leading dimension is not a batch"
    )


@pytest.mark.parametrize(("batch", "number"), [("N", "1e39"), (12, "-1e39")])
def test_a_number_that_the_type_cannot_hold_is_refused(
    batch: int | str, number: str, tmp_path: Path
) -> None:
    model = saved(tmp_path, linear(batch, scale=False))
    options = ScanOptions(data=stored(tmp_path, x=X), hold=(f"table={number}",))
    with pytest.raises(
        DataError, match=r"input 'table' is held at -?1e\+39, which its type float32"
    ):
        open_subject(str(model), options)


def test_a_normalisation_that_the_type_cannot_hold_is_refused(tmp_path: Path) -> None:
    model = saved(tmp_path, graphs.conv_net())
    data = stored(tmp_path, x=graphs.samples(0, 3, 3, 5, 7))
    options = ScanOptions(data=data, mean=(3.5e38,), std=(0.1,))
    with pytest.raises(DataError, match=r"mean \(3.5e\+38,\) .* float32 cannot hold; check"):
        open_subject(str(model), options)
