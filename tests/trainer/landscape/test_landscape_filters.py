"""Filters by hand, for every operator that has some."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray

from lsa_trainer.landscape.filters import OUTSIDE, filters_of
from lsa_trainer.landscape.plane import normalised
from lsa_trainer.translation import in_dialect
from lsa_trainer.weights import Weight
from tests.graphs import model, node, value, weight

Array = NDArray[Any]


def found(
    nodes: list[Any], arrays: Mapping[str, Array], x: tuple[int, ...], **how: Any
) -> dict[str, Array]:
    """The filters of the arrays that a model of these nodes reads, from "x" to "y"."""
    ends = value("x", x), value("y", None)
    proto = model(nodes, [ends[0]], [ends[1]], arrays, opset=18, **how)
    return {n: ids.tolist() for n, ids in filters_of(in_dialect(proto), weights(arrays)).items()}


def weights(arrays: Mapping[str, Array]) -> list[Weight]:
    return [Weight(name, name, array.size, array.shape) for name, array in arrays.items()]


def test_a_kernel_has_one_for_each_output() -> None:
    nodes = [node("Conv", ["x", "w", "b"], ["y"])]
    ids = found(nodes, {"w": weight(0, 3, 2, 1, 2), "b": weight(1, 3)}, (2, 2, 4, 5))
    assert ids == {"w": [[[[i, i]]] * 2 for i in range(3)]}


def test_a_grouped_kernel_too() -> None:
    nodes = [node("Conv", ["x", "w"], ["y"], group=2)]
    ids = found(nodes, {"w": weight(0, 4, 1, 1, 1)}, (2, 2, 4, 5))
    assert ids == {"w": [[[[i]]] for i in range(4)]}


def test_a_transposed_kernel_has_them_along_its_second_axis() -> None:
    nodes = [node("ConvTranspose", ["x", "w"], ["y"])]
    ids = found(nodes, {"w": weight(0, 2, 3, 1, 1)}, (2, 2, 4, 5))
    assert ids == {"w": [[[[0]], [[1]], [[2]]]] * 2}


def test_groups_of_a_transposed_kernel_share_no_filter() -> None:
    nodes = [node("ConvTranspose", ["x", "w"], ["y"], group=2)]
    ids = found(nodes, {"w": weight(0, 4, 2, 1, 1)}, (2, 4, 4, 5))
    first, second = [[[0]], [[1]]], [[[2]], [[3]]]
    assert ids == {"w": [first, first, second, second]}


# Operator, attributes, the inputs with the weight in its place, its shape, and its filters.
PRODUCTS: list[tuple[str, dict[str, int], list[str], tuple[int, ...], Any]] = [
    ("Gemm", {}, ["x", "w"], (3, 2), [[0, 1]] * 3),
    ("Gemm", {"transB": 1}, ["x", "w"], (2, 3), [[0] * 3, [1] * 3]),
    ("Gemm", {"transB": 1}, ["w", "x"], (2, 3), [[0] * 3, [1] * 3]),
    ("Gemm", {"transA": 1, "transB": 1}, ["w", "x"], (3, 2), [[0, 1]] * 3),
    ("MatMul", {}, ["x", "w"], (3, 2), [[0, 1]] * 3),
    ("MatMul", {}, ["x", "w"], (3,), [0, 0, 0]),
    ("MatMul", {}, ["x", "w"], (2, 3, 2), [[[0, 1]] * 3, [[2, 3]] * 3]),
]


@pytest.mark.parametrize(("op", "attributes", "inputs", "shape", "wanted"), PRODUCTS)
def test_a_matrix_has_one_for_each_output(
    op: str, attributes: dict[str, int], inputs: list[str], shape: tuple[int, ...], wanted: Any
) -> None:
    nodes = [node(op, inputs, ["y"], **attributes)]
    assert found(nodes, {"w": weight(0, *shape)}, (5, 3)) == {"w": wanted}


def test_a_matrix_on_the_left_of_a_product_has_one_for_each_row() -> None:
    nodes = [node("MatMul", ["w", "x"], ["y"])]
    assert found(nodes, {"w": weight(0, 2, 3)}, (4, 3, 5)) == {"w": [[0] * 3, [1] * 3]}


FUSED: list[tuple[dict[str, int], tuple[int, ...], list[int]]] = [
    ({}, (4, 3, 2), [0, 2]),
    ({"transB": 1}, (4, 2, 3), [0, 1]),
    ({"transBatchB": 1}, (3, 4, 2), [1, 2]),
    ({"transBatchB": 1, "transB": 1}, (2, 4, 3), [0, 1]),
]


@pytest.mark.parametrize(("attributes", "shape", "axes"), FUSED)
def test_a_turned_batch_of_matrices(
    attributes: dict[str, int], shape: tuple[int, ...], axes: list[int]
) -> None:
    nodes = [node("FusedMatMul", ["x", "w"], ["y"], domain="com.microsoft", **attributes)]
    ids = found(nodes, {"w": weight(0, *shape)}, (4, 5, 3), imports={"com.microsoft": 1})
    # Two numbers are in one filter if they are at the same place along these axes.
    places = np.moveaxis(np.array(ids["w"]), axes, [0, 1]).reshape(8, 3)
    assert (places == places[:, :1]).all()
    assert len(np.unique(places)) == 8


def test_an_einsum_sums_over_what_is_not_in_its_result() -> None:
    nodes = [node("Einsum", ["x", "w"], ["y"], equation="b i, o i -> b o")]
    assert found(nodes, {"w": weight(0, 2, 3)}, (5, 3)) == {"w": [[0] * 3, [1] * 3]}
    implicit = [node("Einsum", ["x", "w"], ["y"], equation="bi,oi")]
    assert found(implicit, {"w": weight(0, 2, 3)}, (5, 3)) == {"w": [[0] * 3, [1] * 3]}


def test_an_einsum_may_leave_axes_out() -> None:
    nodes = [node("Einsum", ["x", "w"], ["y"], equation="...i,...io->...o")]
    ids = found(nodes, {"w": weight(0, 2, 3, 2)}, (5, 2, 3))
    assert ids == {"w": [[[0, 1]] * 3, [[2, 3]] * 3]}


def test_scales_biases_and_norms_have_none() -> None:
    nodes = [
        node("Gemm", ["x", "w", "b"], ["g"]),
        node("LayerNormalization", ["g", "s", "t"], ["l"]),
        node("Einsum", ["l", "e"], ["p"], equation="bi,i->bi"),
        node("PRelu", ["p", "a"], ["q"]),
        node("Add", ["q", "c"], ["y"]),
    ]
    arrays = {"w": weight(0, 3, 2), **{name: weight(1, 2) for name in "bsteac"}}
    assert found(nodes, arrays, (5, 3)) == {"w": [[0, 1]] * 3}


def test_a_recurrent_unit_has_one_for_each_gate_and_direction() -> None:
    nodes = [node("GRU", ["x", "w", "r", "b"], ["y"], hidden_size=1, direction="bidirectional")]
    arrays = {"w": weight(0, 2, 3, 4), "r": weight(1, 2, 3, 1), "b": weight(2, 2, 6)}
    ids = found(nodes, arrays, (5, 7, 4))
    assert ids == {
        "w": [[[3 * d + g] * 4 for g in range(3)] for d in range(2)],
        "r": [[[3 * d + g] for g in range(3)] for d in range(2)],
    }


def test_a_table_has_one_for_each_entry() -> None:
    nodes = [node("Cast", ["x"], ["i"], to=7), node("Gather", ["w", "i"], ["y"])]
    assert found(nodes, {"w": weight(0, 3, 2)}, (5,)) == {"w": [[0, 0], [1, 1], [2, 2]]}


def test_what_moves_a_weight_on_its_way_is_undone() -> None:
    nodes = [
        node("Transpose", ["w"], ["t"], perm=[1, 0]),
        node("Identity", ["t"], ["i"]),
        node("Gemm", ["x", "i"], ["y"], transB=1),
    ]
    # Transposed it is (2, 3), of which transB takes rows: columns of the weight.
    assert found(nodes, {"w": weight(0, 3, 2)}, (5, 3)) == {"w": [[0, 1]] * 3}


def test_a_reshaped_weight() -> None:
    proto_nodes = [node("Reshape", ["w", "s"], ["m"]), node("MatMul", ["x", "m"], ["y"])]
    arrays = {"w": weight(0, 3, 2, 2), "s": np.array([6, 2])}
    assert found(proto_nodes, arrays, (5, 6))["w"] == [[[0, 1], [0, 1]]] * 3


def test_parts_of_a_weight_have_filters_of_their_own() -> None:
    nodes = [
        node("Split", ["w", "s"], ["p", "q"], axis=1),
        node("MatMul", ["x", "p"], ["a"]),
        node("MatMul", ["x", "q"], ["b"]),
        node("Add", ["a", "b"], ["y"]),
    ]
    arrays = {"w": weight(0, 3, 4), "s": np.array([2, 2])}
    assert found(nodes, arrays, (5, 3))["w"] == [[0, 1, 2, 3]] * 3


def test_a_part_that_no_filter_holds_is_outside() -> None:
    nodes = [
        node("Slice", ["w", "from", "to"], ["p"]),
        node("MatMul", ["x", "p"], ["y"]),
    ]
    arrays = {"w": weight(0, 4, 2), "from": np.array([0]), "to": np.array([3])}
    assert found(nodes, arrays, (5, 3))["w"] == [[0, 1]] * 3 + [[OUTSIDE, OUTSIDE]]


def test_a_tied_weight_is_told_by_its_first_reader() -> None:
    nodes = [
        node("Cast", ["x"], ["i"], to=7),
        node("Gather", ["w", "i"], ["e"]),
        node("MatMul", ["e", "t"], ["y"]),
        node("Transpose", ["w"], ["t"]),
    ]
    nodes = [nodes[0], nodes[1], nodes[3], nodes[2]]
    assert found(nodes, {"w": weight(0, 3, 2)}, (5,)) == {"w": [[0, 0], [1, 1], [2, 2]]}


def test_an_untied_copy_is_told_by_its_own_reader() -> None:
    nodes = [node("Gemm", ["x", "w"], ["a"]), node("Gemm", ["a", "w"], ["y"], transB=1)]
    ends = value("x", (5, 3)), value("y", None)
    proto = in_dialect(model(nodes, [ends[0]], [ends[1]], {"w": weight(0, 3, 3)}))
    copies = [Weight(n, "w", 9, (3, 3), use=(out, 1)) for n, out in (("w", "a"), ("w.2", "y"))]
    ids = filters_of(proto, copies)
    assert ids["w"].tolist() == [[0, 1, 2]] * 3
    assert ids["w.2"].tolist() == [[i] * 3 for i in range(3)]


def test_directions_have_the_norms_of_filters() -> None:
    # Columns of norm 5, 0 and 2; of the direction 1, 2 and 0.
    theta = torch.tensor([[3.0, 0, 2], [4, 0, 0]])
    raw = torch.tensor([[1.0, 0, 0], [0, 2, 0]])
    ids = np.array([[0, 1, 2]] * 2)
    assert normalised(raw, theta, ids).tolist() == [[5, 0, 0], [0, 0, 0]]


def test_outside_of_filters_directions_are_0() -> None:
    theta, raw = torch.tensor([3.0, 4, 9]), torch.tensor([0.0, 2, 7])
    ids = np.array([0, 0, OUTSIDE])
    assert normalised(raw, theta, ids).tolist() == [0, 5, 0]


def test_large_and_small_numbers_keep_their_norms() -> None:
    theta = torch.tensor([[3e25, 4e25], [3e-25, 4e-25]])
    ids = np.array([[0, 0], [1, 1]])
    moved = normalised(torch.tensor([[1.0, 0], [0, 1]]), theta, ids)
    assert torch.allclose(moved, torch.tensor([[5e25, 0], [0, 5e-25]]), rtol=1e-6, atol=0)


def test_a_bias_alone_has_no_filter() -> None:
    nodes = [onnx.helper.make_node("Add", ["x", "b"], ["y"])]
    assert found(nodes, {"b": weight(0, 3)}, (5, 3)) == {}
