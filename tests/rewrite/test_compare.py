"""``compare``: the twin's sums against numpy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from lsa_onnx.errors import ModelError
from lsa_onnx.rewrite import Comparison, Scored, compare
from lsa_onnx.rewrite.compare import dead_ends_early
from lsa_onnx.rewrite.reductions import piece_length

Array = NDArray[Any]
NUMPY: dict[int, Any] = {
    TensorProto.FLOAT: np.float32,
    TensorProto.DOUBLE: np.float64,
    TensorProto.FLOAT16: np.float16,
}


def chain(
    shape: Sequence[int], element: int = TensorProto.FLOAT, opset: int = 17
) -> onnx.ModelProto:
    """x → Mul(2) = "doubled" → Abs = "y", every dimension free."""
    dims = [f"d{axis}" for axis in range(len(shape))]
    two = numpy_helper.from_array(np.asarray(2, NUMPY[element]), "two")
    graph = helper.make_graph(
        [
            helper.make_node("Mul", ["x", "two"], ["doubled"], "mul"),
            helper.make_node("Abs", ["doubled"], ["y"], "abs"),
        ],
        "chain",
        [helper.make_tensor_value_info("x", element, dims)],
        [helper.make_tensor_value_info("y", element, dims)],
        [two],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def run(comparison: Comparison, x: Array, x_adv: Array) -> dict[str, Array]:
    settings = ort.SessionOptions()
    settings.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(
        comparison.model.SerializeToString(), settings, providers=["CPUExecutionProvider"]
    )
    names = [value.name for value in session.get_outputs()]
    feeds = {"x": x, comparison.perturbed_inputs["x"]: x_adv}
    return dict(zip(names, session.run(names, feeds), strict=True))


def assert_sums(comparison: Comparison, results: dict[str, Array], a: Array, b: Array) -> None:
    """``a`` and ``b`` are the clean and the perturbed tensor with one row per sample."""
    names = comparison.sums["doubled"]
    a, b = a.astype(np.float64), b.astype(np.float64)
    for name, expected in (
        (names.difference, ((a - b) ** 2).sum(axis=1)),
        (names.clean, (a**2).sum(axis=1)),
        (names.perturbed, (b**2).sum(axis=1)),
    ):
        assert results[name].shape == expected.shape
        assert results[name] == pytest.approx(expected, rel=1e-5)


def pair(shape: Sequence[int], dtype: Any = np.float32) -> tuple[Array, Array]:
    rng = np.random.default_rng(0)
    return rng.standard_normal(shape).astype(dtype), rng.standard_normal(shape).astype(dtype)


def test_the_sums_of_a_worked_example() -> None:
    comparison = compare(chain((2, 2)), [Scored("doubled")], ["y"])
    x = np.array([[1, 2], [3, 4]], np.float32)
    results = run(comparison, x, np.array([[1, 0], [0, 4]], np.float32))
    names = comparison.sums["doubled"]
    assert results[names.difference].tolist() == [16, 36]
    assert results[names.clean].tolist() == [20, 100]
    assert results[names.perturbed].tolist() == [4, 64]
    assert results["y"].tolist() == [[2, 4], [6, 8]]
    assert results[comparison.perturbed_outputs["y"]].tolist() == [[2, 0], [0, 8]]


@pytest.mark.parametrize("opset", [7, 9, 11, 13, 17, 18, 21])
@pytest.mark.parametrize("elements", [None, 60])
def test_every_opset(opset: int, elements: int | None) -> None:
    model = chain((3, 3, 4, 5), opset=opset)
    x, x_adv = pair((3, 3, 4, 5))
    comparison = compare(model, [Scored("doubled", elements=elements)], ["y"])
    assert_sums(comparison, run(comparison, x, x_adv), *(2 * v.reshape(3, -1) for v in (x, x_adv)))


@pytest.mark.parametrize("element", NUMPY)
def test_every_float_type(element: int) -> None:
    x, x_adv = pair((2, 3, 5), NUMPY[element])
    scored = Scored("doubled", elements=15, element=element)
    comparison = compare(chain((2, 3, 5), element), [scored], ["y"])
    assert_sums(comparison, run(comparison, x, x_adv), *(2 * v.reshape(2, -1) for v in (x, x_adv)))


def test_long_rows_are_summed_in_pieces_and_stay_accurate() -> None:
    shape = (2, 64, 112, 112)
    x, x_adv = pair(shape)
    scored = Scored("doubled", elements=64 * 112 * 112)
    comparison = compare(chain(shape), [scored], ["y"])
    results = run(comparison, x, x_adv)
    exact = ((2 * x.astype(np.float64)) ** 2).reshape(2, -1).sum(axis=1)
    assert results[comparison.sums["doubled"].clean] == pytest.approx(exact, rel=1e-6)


@settings(max_examples=30, deadline=None)
@given(
    shape=st.lists(st.integers(1, 5), min_size=1, max_size=5),
    axis=st.integers(0, 4),
    known=st.booleans(),
)
def test_any_shape_and_any_batch_axis(shape: list[int], axis: int, known: bool) -> None:
    axis %= len(shape)
    samples = shape[axis]
    elements = int(np.prod(shape)) // samples if known else None
    x, x_adv = pair(shape)
    comparison = compare(chain(shape), [Scored("doubled", axis, elements)], ["y"])
    rows = [2 * np.moveaxis(v, axis, 0).reshape(samples, -1) for v in (x, x_adv)]
    assert_sums(comparison, run(comparison, x, x_adv), *rows)


def test_a_tensor_without_a_batch_axis_is_one_sample() -> None:
    x, x_adv = pair((4, 3))
    comparison = compare(chain((4, 3)), [Scored("doubled", None)], ["y"])
    assert_sums(comparison, run(comparison, x, x_adv), *(2 * v.reshape(1, -1) for v in (x, x_adv)))


def test_rows_merged_into_the_batch_belong_to_their_sample() -> None:
    x, x_adv = pair((6, 5))
    comparison = compare(chain((6, 5)), [Scored("doubled", 0, elements=10)], ["y"])
    assert_sums(comparison, run(comparison, x, x_adv), *(2 * v.reshape(3, -1) for v in (x, x_adv)))


def test_the_argument_is_not_changed() -> None:
    model = chain((2, 3))
    before = model.SerializeToString()
    compare(model, [Scored("doubled")], ["y"])
    assert model.SerializeToString() == before


def test_names_that_look_like_ours_do_not_clash() -> None:
    model = chain((2, 3))
    model.graph.node[1].name = "abs__perturbed"
    comparison = compare(model, [Scored("doubled")], ["y"])
    assert not comparison.perturbed_inputs["x"].endswith("x__perturbed")
    x, x_adv = pair((2, 3))
    assert_sums(comparison, run(comparison, x, x_adv), 2 * x, 2 * x_adv)


def test_weights_are_shared() -> None:
    comparison = compare(chain((2, 3)), [Scored("doubled")], ["y"])
    weights = [t.name for t in comparison.model.graph.initializer]
    assert weights.count("two") == 1
    assert not any(name.startswith("two") and name != "two" for name in weights)


@pytest.mark.parametrize("name", ["nowhere", "two"])
def test_what_cannot_be_scored_is_named(name: str) -> None:
    with pytest.raises(ModelError, match=name):
        compare(chain((2, 3)), [Scored(name)], ["y"])


def test_a_tensor_that_does_not_vary_is_refused() -> None:
    model = chain((2, 3))
    model.graph.node.append(helper.make_node("Abs", ["two"], ["fixed"], "fixed"))
    with pytest.raises(ModelError, match="'fixed'"):
        compare(model, [Scored("fixed")], ["y"])


def test_dead_ends_run_right_after_what_they_read() -> None:
    nodes = [
        helper.make_node("Abs", ["x"], ["a"]),
        helper.make_node("Abs", ["a"], ["b"]),
        helper.make_node("Abs", ["b"], ["y"]),
        helper.make_node("Neg", ["a"], ["dead"]),
        helper.make_node("Neg", ["dead"], ["deader"]),
    ]
    order = [node.output[0] for node in dead_ends_early(nodes, ["y"])]
    assert order == ["a", "dead", "deader", "b", "y"]


@given(elements=st.integers(1, 10**7))
def test_pieces_divide_the_row(elements: int) -> None:
    assert elements % piece_length(elements) == 0


def test_a_rearranged_tensor_shares_the_sums_of_its_source() -> None:
    model = chain((2, 3, 4))
    model.graph.node.insert(
        1, helper.make_node("Transpose", ["doubled"], ["turned"], perm=[0, 2, 1])
    )
    model.graph.node[2].input[0] = "turned"
    scored = [
        Scored("doubled", elements=12),
        Scored("turned", elements=12),
        Scored("y", elements=12),
    ]
    comparison = compare(model, scored, ["y"])
    assert comparison.sums["turned"] == comparison.sums["doubled"]
    assert comparison.sums["y"] != comparison.sums["doubled"]
    x, x_adv = pair((2, 3, 4))
    results = run(comparison, x, x_adv)
    assert_sums(comparison, results, *(2 * v.reshape(2, -1) for v in (x, x_adv)))
