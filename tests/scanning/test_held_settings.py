"""Inputs that set shapes or axes: one value for all samples, also where it is as long as the batch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from lsa_onnx.errors import DataError
from lsa_onnx.scanning import ScanOptions, Subject, open_subject
from tests import graphs
from tests.graphs import node, value
from tests.scanning.helpers import saved, scanned, stored

if TYPE_CHECKING:
    import onnx

X = graphs.samples(0, 6, 2, 5)
SHAPE = np.array([2, 10])


def flattened() -> onnx.ModelProto:
    """A batch of 2, and a shape of 2 numbers that flattens its samples of 2 x 5."""
    nodes = [
        node("Reshape", ["x", "shape"], ["h"]),
        node("MatMul", ["h", "w"], ["z"]),
        node("Relu", ["z"], ["y"]),
    ]
    inputs = [value("x", [2, 2, 5]), value("shape", [2], "int64")]
    return graphs.model(nodes, inputs, [value("y", [2, 3])], {"w": graphs.weight(0, 10, 3)})


def opened(model: Path, data: Path | None = None, **options: Any) -> Subject:
    return open_subject(str(model), ScanOptions(data=data, device="cpu", **options))


@pytest.mark.parametrize("how", ["npz", "hold"])
def test_a_shape_as_long_as_the_batch_is_held_whole(how: str, tmp_path: Path) -> None:
    model = saved(tmp_path, flattened())
    np.save(tmp_path / "shape.npy", SHAPE)
    hold = (f"shape={tmp_path / 'shape.npy'}",) if how == "hold" else ()
    given = {"shape": SHAPE} if how == "npz" else {}
    data = stored(tmp_path, "data.npz", x=X, **given)
    subject = opened(model, data, hold=hold)
    np.testing.assert_array_equal(subject.whole["shape"], SHAPE)
    assert subject.layout.leading == 2
    report = scanned(model, data, hold=hold, perturbations=("pgd",), steps=2, layers=("z",))
    assert (report.data.samples, report.run.batch) == (6, 2)
    assert report.observer.max_relative_difference < 1e-5


def test_as_many_samples_as_numbers(tmp_path: Path) -> None:
    subject = opened(saved(tmp_path, flattened()), stored(tmp_path, x=X[:2], shape=SHAPE))
    np.testing.assert_array_equal(subject.whole["shape"], SHAPE)


def test_rows_of_a_shape_are_refused(tmp_path: Path) -> None:
    data = stored(tmp_path, x=X, shape=np.tile(SHAPE, 3))
    with pytest.raises(
        DataError,
        match=r"input 'shape' sets a shape or axes, .*data.npz or --hold give it rows of shape \(\);"
        r" it has one value for all samples, give an array of shape \[2\]",
    ):
        opened(saved(tmp_path, flattened()), data)


def test_without_a_batch_each_sample_may_have_its_own(tmp_path: Path) -> None:
    """Rows of x are mixed, so that a sample is the whole of it, and its shape may be one of the data."""
    nodes = [
        node("Reshape", ["x", "shape"], ["h"]),
        node("ReduceMean", ["h"], ["m"], axes=[0]),
        node("Sub", ["h", "m"], ["y"]),
    ]
    inputs = [value("x", [2, 5]), value("shape", [2], "int64")]
    model = saved(tmp_path, graphs.model(nodes, inputs, [value("y", [2, 5])]))
    own = np.tile([2, 5], (6, 1))
    each, one = stored(tmp_path, x=X, shape=own), stored(tmp_path, "one.npz", x=X, shape=own[0])
    for data, whole in ((each, []), (one, ["shape"])):
        subject = opened(model, data)
        assert subject.layout.leading is None
        assert list(subject.whole) == whole
        report = scanned(model, data, perturbations=("salt",), layers=("all",))
        assert (report.data.samples, report.observer.max_relative_difference) == (6, 0)
