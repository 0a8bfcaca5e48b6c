"""The plane of two features: classes and margins of models whose boundary is a line that is known."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from lsa_onnx.boundary import BoundaryOptions, decision_boundary
from lsa_onnx.boundary.options import parse_extent
from lsa_onnx.boundary.plane import Grid
from lsa_onnx.boundary.run import DRAWN_SAMPLES
from lsa_onnx.errors import DataError, ModelError
from lsa_onnx.report import dumps, load_schema
from lsa_onnx.report.boundary import Boundary, Region
from lsa_onnx.report.json_file import read_boundary, write_json
from lsa_onnx.report.terminal_boundary import class_shares
from tests import graphs

Array = NDArray[Any]

# z = x0 − 2 x1 + 0.25.
W, B = np.array([1.0, -2.0], np.float32), np.float32(0.25)


def line(
    tail: list[Any] | None = None,
    *,
    scores: int = 2,
    batch: int | str = "N",
    shape: tuple[int, ...] = (2,),
    output: str = "z",
    dtype: str = "float32",
) -> onnx.ModelProto:
    """Logits 0 and z (or z alone), and what the nodes ``tail`` make of them."""
    columns = np.stack([0 * W, W], axis=1) if scores == 2 else W[:, None]
    bias = np.array([0, B] if scores == 2 else [B], np.float32)
    nodes = [
        graphs.node("Flatten", ["x"], ["flat"]),
        graphs.node("Gemm", ["flat", "w", "b"], ["z"]),
        *(tail or []),
    ]
    declared = graphs.value(output, [batch, 1 if dtype == "int64" else scores], dtype)
    return graphs.model(
        nodes, [graphs.value("x", [batch, *shape])], [declared], {"w": columns, "b": bias}
    )


def inputs(n: int = 40) -> Array:
    return graphs.samples(4, n, 2)


def height(x: Array, y: Array) -> Array:
    """z over the grid, shape (len(y), len(x))."""
    z: Array = x[None, :] - 2 * y[:, None] + float(B)
    return z


def assert_classes(found: Boundary, z: Array, expected: Array) -> None:
    """Save on the boundary itself, where rounding decides."""
    off = np.abs(z) > 1e-5
    classes = np.array(found.regions[0].classes)
    assert classes[off].tolist() == expected[off].astype(int).tolist()
    assert off.mean() > 0.9


def drawn(folder: Path, proto: onnx.ModelProto, **given: Any) -> Boundary:
    x = given.pop("x", inputs())
    y = (x.reshape(len(x), -1).astype(np.float64) @ W + B > 0).astype(np.int64)
    np.savez(folder / "data.npz", x=x, y=y)
    model = graphs.save(proto, folder / "model.onnx")
    options = {"points": 21, "device": "cpu", **given}
    return decision_boundary([model], BoundaryOptions(data=folder / "data.npz", **options))


def z_of(found: Boundary) -> Array:
    return height(np.array(found.xs), np.array(found.ys))


@pytest.mark.parametrize(("batch", "given"), [("N", {}), ("N", {"batch": 7}), (1, {}), (4, {})])
def test_classes_and_margins_on_either_side_of_a_line(
    tmp_path: Path, batch: int | str, given: dict[str, int]
) -> None:
    found = drawn(tmp_path, line(batch=batch), **given)
    (region,) = found.regions
    z = z_of(found)
    assert_classes(found, z, z > 0)
    assert np.array(region.margin) == pytest.approx(np.abs(z), abs=1e-5)
    assert region.accuracy is not None
    assert (region.accuracy.value, region.accuracy.n) == (1.0, 40)


@pytest.mark.parametrize("shape", [(1, 2), (2, 1, 1)])
def test_a_sample_may_have_axes_of_length_1(tmp_path: Path, shape: tuple[int, ...]) -> None:
    found = drawn(tmp_path, line(shape=shape), x=inputs().reshape(40, *shape))
    assert_classes(found, z_of(found), z_of(found) > 0)
    assert np.array(found.points).shape == (40, 2)


SIGMOID = [graphs.node("Sigmoid", ["z"], ["p"])]
SOFTMAX = [graphs.node("Softmax", ["z"], ["p"], axis=1)]
ARGMAX = [graphs.node("ArgMax", ["z"], ["p"], axis=1)]


@pytest.mark.parametrize(
    ("proto", "decision", "class_of", "margin_of"),
    [
        pytest.param(line(), "min", lambda z: z < 0, np.abs, id="min"),
        pytest.param(line(scores=1), "binary", lambda z: z > 0, np.abs, id="logit"),
        pytest.param(
            line(SIGMOID, scores=1, output="p"), "binary", lambda z: z > 0,
            lambda z: np.abs(np.tanh(z / 2)), id="sigmoid",
        ),
        pytest.param(
            line(SOFTMAX, output="p"), "max", lambda z: z > 0,
            lambda z: np.abs(np.tanh(z / 2)), id="softmax",
        ),
        pytest.param(
            line(ARGMAX, output="p", dtype="int64"), "max", lambda z: z > 0, None, id="argmax"
        ),
    ],
)  # fmt: skip
def test_other_ways_to_tell_a_class(
    tmp_path: Path, proto: onnx.ModelProto, decision: str, class_of: Any, margin_of: Any
) -> None:
    found = drawn(tmp_path, proto, decision=decision)
    (region,) = found.regions
    z = z_of(found)
    assert_classes(found, z, class_of(z))
    if margin_of is None:
        assert region.margin is None
    else:
        assert np.array(region.margin) == pytest.approx(margin_of(z), abs=1e-5)


def test_the_plane_is_what_the_samples_span_and_more_within_the_range(tmp_path: Path) -> None:
    x = np.array([[0.2, 0.95], [0.6, 0.05], [0.3, 0.5]], np.float32)
    found = drawn(tmp_path, line(), x=x)
    assert [found.xs[0], found.xs[-1]] == pytest.approx([0.16, 0.64])
    assert [found.ys[0], found.ys[-1]] == pytest.approx([0.0, 1.0])
    assert (len(found.xs), len(found.ys)) == (21, 21)
    same = drawn(tmp_path, line(), x=np.full((3, 2), 0.5, np.float32))
    assert [same.xs[0], same.xs[-1]] == pytest.approx([0.4, 0.6])
    given = drawn(tmp_path, line(), extent=(-1.0, 2.0), range=(-3, 3))
    assert given.xs == given.ys == np.linspace(-1, 2, 21).tolist()


def test_the_samples_to_draw_are_those_that_were_run(tmp_path: Path) -> None:
    x = inputs(DRAWN_SAMPLES + 5)
    found = drawn(tmp_path, line(), x=x, points=3, eps="10%", range=(0, 2))
    assert (len(found.points), found.data.samples) == (DRAWN_SAMPLES, DRAWN_SAMPLES + 5)
    assert found.eps == 0.2
    assert {tuple(point) for point in found.points} <= {tuple(map(float, row)) for row in x}
    z = np.array(found.points) @ W + B
    assert found.labels == (z > 0).astype(int).tolist()


def test_several_models_share_the_grid(tmp_path: Path) -> None:
    np.savez(tmp_path / "data.npz", x=inputs())
    one = graphs.save(line(), tmp_path / "one.onnx")
    other = graphs.save(line(batch=1), tmp_path / "other.onnx")
    options = BoundaryOptions(data=tmp_path / "data.npz", points=5, device="cpu")
    found = decision_boundary([one, other], options)
    assert [region.model for region in found.regions] == [0, 1]
    assert found.regions[0].classes == found.regions[1].classes
    assert (found.labels, found.regions[0].accuracy) == (None, None)


def test_the_document_follows_its_schema_and_reads_back(tmp_path: Path) -> None:
    found = drawn(tmp_path, line(), eps="0.1", command=("lsa-onnx", "decision-boundary"))
    document = json.loads(dumps(found))
    jsonschema.Draft202012Validator(load_schema("boundary")).validate(document)
    write_json(found, tmp_path / "boundary.json")
    assert read_boundary(tmp_path / "boundary.json") == found


def test_scores_that_are_not_finite_have_no_margin(tmp_path: Path) -> None:
    tail = [graphs.node("Exp", ["big"], ["p"])]
    scaled = [graphs.node("Mul", ["z", "thousand"], ["big"]), *tail]
    proto = line(scaled, output="p")
    proto.graph.initializer.append(
        onnx.numpy_helper.from_array(np.array(1000, np.float32), "thousand")
    )
    found = drawn(tmp_path, proto)
    assert found.regions[0].margin is None
    assert "not-finite" in {warning.code for warning in found.warnings}


@pytest.mark.parametrize(
    ("proto", "x", "error", "said"),
    [
        pytest.param(graphs.conv_net(), graphs.samples(0, 4, 3, 5, 7), DataError,
                     r"over two features, .* has the shape \(3, 5, 7\); give a model", id="image"),
        pytest.param(graphs.elu_mlp(), inputs(), ModelError,
                     "predicts no classes.*--decision binary", id="regressor"),
    ],
)  # fmt: skip
def test_models_that_have_no_plane_are_refused(
    tmp_path: Path, proto: onnx.ModelProto, x: Array, error: type[Exception], said: str
) -> None:
    np.savez(tmp_path / "data.npz", x=x)
    model = graphs.save(proto, tmp_path / "model.onnx")
    with pytest.raises(error, match=said):
        decision_boundary([model], BoundaryOptions(data=tmp_path / "data.npz", device="cpu"))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"points": 1}, "--points 1 is not usable; give a number from 2"),
        ({"points": 5000}, "--points 5000 is not usable"),
        ({"extent": (-1.0, 2.0)}, "--extent -1,2 leaves the declared range 0 to 1"),
        ({"eps": "3"}, "eps 3 is larger than the range's width 1"),
        ({"eps": "wide"}, "'wide' is not a finite number"),
    ],
    ids=str,
)
def test_options_that_cannot_be_are_refused(
    tmp_path: Path, given: dict[str, Any], said: str
) -> None:
    with pytest.raises(DataError) as caught:
        drawn(tmp_path, line(), **given)
    assert said in str(caught.value)


def test_without_data_there_is_nothing_to_draw() -> None:
    with pytest.raises(DataError, match="there are none; give them with --data"):
        BoundaryOptions()


@pytest.mark.parametrize("text", ["2,-2", "1", "1,2,3", "a,b", "1,1", ""])
def test_an_extent_that_is_none(text: str) -> None:
    with pytest.raises(DataError, match="--extent"):
        parse_extent(text)
    assert parse_extent("-2,3.5") == (-2.0, 3.5)


def test_points_of_a_grid_come_row_by_row() -> None:
    grid = Grid(np.array([0.0, 1.0, 2.0]), np.array([5.0, 6.0]))
    whole = [[0, 5], [1, 5], [2, 5], [0, 6], [1, 6], [2, 6]]
    assert grid.points(0, 6).tolist() == whole
    assert grid.points(2, 5).tolist() == whole[2:5]


def test_shares_of_the_plane() -> None:
    region = Region(0, [[0, 2, 2], [2, 0, 1]], None, None)
    assert class_shares(region) == [(0, 2 / 6), (1, 1 / 6), (2, 3 / 6)]
