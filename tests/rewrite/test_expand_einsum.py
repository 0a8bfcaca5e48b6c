"""``Einsum`` of every kind of equation, against ONNX Runtime's kernel or numpy."""

from __future__ import annotations

import numpy as np
import pytest

from lsa_onnx.rewrite.expand import expand
from tests import graphs
from tests.graphs import Array, weight
from tests.rewrite.expansion import check, expanded, one_node, operators


@pytest.mark.parametrize(
    ("equation", "shapes"),
    [
        ("ij->ji", [(2, 3)]),
        ("ij->", [(2, 3)]),
        ("ij->j", [(2, 3)]),
        ("ii->i", [(3, 3)]),
        ("ii", [(3, 3)]),
        ("bii->bi", [(2, 3, 3)]),
        ("...ii->...i", [(2, 4, 3, 3)]),
        ("iji->j", [(3, 2, 3)]),
        ("i,i", [(4,), (4,)]),
        ("i,j->ij", [(2,), (3,)]),
        ("i,j->ji", [(2,), (3,)]),
        ("ij,jk", [(2, 3), (3, 4)]),
        ("ij,jk->ki", [(2, 3), (3, 4)]),
        ("ij,ij->i", [(2, 3), (2, 3)]),
        ("ij,ij->ij", [(2, 3), (2, 3)]),
        ("ij,ij", [(2, 3), (2, 3)]),
        ("ij,j->ij", [(2, 3), (3,)]),
        ("ijk,kl->ijl", [(2, 3, 4), (4, 5)]),
        ("bhid,bhjd->bhij", [(2, 3, 4, 5), (2, 3, 6, 5)]),
        ("bhij,bhjd->bhid", [(2, 3, 4, 6), (2, 3, 6, 5)]),
        ("bqhd,bkhd->bhqk", [(2, 4, 3, 5), (2, 6, 3, 5)]),
        ("bhqk,bkhd->bqhd", [(2, 3, 4, 6), (2, 6, 3, 5)]),
        ("abcd,cdef->abef", [(2, 3, 4, 5), (4, 5, 2, 3)]),
        ("abcd,abcd->", [(2, 3, 2, 2), (2, 3, 2, 2)]),
        ("nchw,cd->ndhw", [(2, 3, 4, 5), (3, 6)]),
        ("ij,kj,kl->il", [(2, 3), (4, 3), (4, 5)]),
        ("i,i,i->i", [(4,), (4,), (4,)]),
        ("bn,anm,bm->ba", [(2, 3), (5, 3, 4), (2, 4)]),
        ("...ij,...jk->...ik", [(2, 5, 3, 4), (2, 5, 4, 6)]),
        ("...ij,jk->...ik", [(2, 5, 3, 4), (4, 6)]),
        ("...ij,...jk", [(2, 3, 4), (2, 4, 6)]),
        ("...a,a...->...", [(2, 3, 4), (4, 2, 3)]),
        ("i...->...", [(4, 2, 3)]),
        (" b i d , b j d -> b i j ", [(2, 3, 4), (2, 5, 4)]),
        ("ik,jk->ij", [(2, 3), (4, 3)]),
        ("a,b,c->cab", [(2,), (3,), (4,)]),
    ],
)
def test_an_equation_equals_numpy(equation: str, shapes: list[tuple[int, ...]]) -> None:
    feeds: dict[str, Array] = {f"x{i}": weight(i, *shape) for i, shape in enumerate(shapes)}
    expected = np.asarray(np.einsum(equation.replace(" ", ""), *feeds.values()), np.float32)
    check("Einsum", feeds, equation=equation, expected={"y": expected})


@pytest.mark.parametrize(
    ("equation", "shapes"),
    [
        ("...ij,...jk->...ik", [(2, 5, 3, 4), (5, 4, 6)]),
        ("...ij,...jk->...ik", [(2, 1, 3, 4), (1, 5, 4, 6)]),
        ("...,...->...", [(2, 3), (3,)]),
    ],
)
def test_dimensions_behind_dots_broadcast(equation: str, shapes: list[tuple[int, ...]]) -> None:
    feeds: dict[str, Array] = {f"x{i}": weight(i, *shape) for i, shape in enumerate(shapes)}
    expected = np.einsum(equation, *feeds.values()).astype(np.float32)
    check("Einsum", feeds, equation=equation, expected={"y": expected})


@pytest.mark.parametrize("dtype", ["float64", "int64"])
def test_other_element_types(dtype: str) -> None:
    feeds = {name: (weight(i, 3, 3) * 5).astype(dtype) for i, name in enumerate("ab")}
    check("Einsum", feeds, equation="ii,ij->j", tolerance=1e-9)


def test_a_diagonal_ignores_what_is_beside_it() -> None:
    x = np.array([[1, np.inf], [np.nan, 2]], np.float32)
    changed = expanded(one_node("Einsum", {"x": x}, {}, ["x"], equation="ii->i"), fully=True)
    assert graphs.run(changed, {"x": x})["y"].tolist() == [1, 2]


def test_an_equation_of_unknown_ranks_is_left_alone() -> None:
    x = graphs.value("x", None)
    node = graphs.node("Einsum", ["x"], ["y"], equation="...i->...")
    proto = graphs.model([node], [x], [graphs.value("y", None)], opset=18)
    assert operators(expand(proto, lambda n: False).graph) == {"Einsum"}
