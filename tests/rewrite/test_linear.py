"""Rewrites of large graphs take time in proportion to the number of nodes."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import TypeVar

import onnx
import pytest
from onnx import helper, numpy_helper

from lsa_onnx.model import load_model
from lsa_onnx.rewrite import Scored, compare, expose, rebatch
from lsa_onnx.rewrite.graph import copy_model
from lsa_onnx.rewrite.inline import inline_functions
from lsa_onnx.rewrite.names import separate_names
from lsa_onnx.rewrite.tidy import tidy
from tests.graphs import model, save, value, weight

SMALL, LARGE = 500, 8_000
# Linear is LARGE / SMALL; quadratic would be its square.
MOST_TIMES = 4 * LARGE / SMALL
make = helper.make_node
T = TypeVar("T")


@cache
def residual(count: int) -> onnx.ModelProto:
    """Blocks of product, activation and a sum with a stream that all blocks share."""
    nodes, stream = [], "x"
    for index in range(count // 4):
        end = f"block{index}/end"
        nodes += [
            make("MatMul", [stream, "w"], [f"block{index}/product"], name=f"block{index}/MatMul"),
            make("Relu", [f"block{index}/product"], [f"block{index}/act"]),
            make("Tanh", ["x"], [f"block{index}/other"]),
            make("Sum", [stream, f"block{index}/act", f"block{index}/other"], [end], name=end),
        ]
        stream = end
    ends = [value("x", [1, 4])], [value(stream, [1, 4])]
    return model(nodes, *ends, {"w": weight(0, 4, 4)})


@cache
def called(count: int) -> onnx.ModelProto:
    """Calls of one function of four nodes."""
    proto = copy_model(residual(4))
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    result = [proto.graph.output[0].name]
    body = helper.make_function("own", "B", ["x", "w"], result, list(proto.graph.node), imports)
    names = ["x", *(f"h{index}" for index in range(count // 4))]
    calls = [make("B", [before, "w"], [after], domain="own") for before, after in pairwise(names)]
    return model(
        calls,
        [value("x", [1, 4])],
        [value(names[-1], None)],
        {"w": weight(0, 4, 4)},
        functions=[body],
        imports={"own": 1},
    )


def backwards(proto: onnx.ModelProto) -> onnx.ModelProto:
    copied = copy_model(proto)
    del copied.graph.node[:]
    copied.graph.node.extend(reversed(proto.graph.node))
    return copied


def names(proto: onnx.ModelProto) -> list[str]:
    return [name for node in proto.graph.node for name in node.output]


def scored(proto: onnx.ModelProto) -> list[Scored]:
    return [Scored(name, 0, 4) for name in names(proto)[::100]]


REWRITES: dict[str, Callable[[onnx.ModelProto], object]] = {
    "expose": lambda proto: expose(proto, names(proto)),
    "compare": lambda proto: compare(proto, scored(proto), [proto.graph.output[0].name]),
    "rebatch": rebatch,
    "separate names": separate_names,
    "tidy": lambda proto: tidy(backwards(proto)),
}


def slowdown(task: Callable[[T], object], small: T, large: T) -> float:
    """How many times the processor time of ``small`` ``large`` takes; other processes add little to that."""
    few = min(seconds(task, small) for _ in range(3))
    return seconds(task, large) / few


def seconds(task: Callable[[T], object], given: T) -> float:
    start = time.process_time()
    task(given)
    return time.process_time() - start


@pytest.mark.parametrize("name", REWRITES)
def test_a_rewrite_is_linear_in_nodes(name: str) -> None:
    assert slowdown(REWRITES[name], residual(SMALL), residual(LARGE)) < MOST_TIMES


def test_inlining_is_linear_in_nodes() -> None:
    assert len(inline_functions(called(SMALL)).graph.node) == SMALL
    assert slowdown(inline_functions, called(SMALL), called(LARGE)) < MOST_TIMES


def test_loading_is_linear_in_nodes(tmp_path: Path) -> None:
    small, large = (save(residual(n), tmp_path / f"{n}.onnx") for n in (SMALL, LARGE))
    assert slowdown(load_model, small, large) < MOST_TIMES


def test_weights_are_moved_in_linear_time(tmp_path: Path) -> None:
    """Each of a size that goes to the file of weights."""
    paths = []
    for count in (100, 1600):
        proto = copy_model(residual(4))
        extra = {f"extra{index}": weight(0, 300) for index in range(count)}
        proto.graph.initializer.extend(numpy_helper.from_array(w, n) for n, w in extra.items())
        paths.append(save(proto, tmp_path / f"{count}.onnx"))
    assert slowdown(load_model, *paths) < MOST_TIMES
