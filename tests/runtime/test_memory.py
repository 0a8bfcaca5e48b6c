"""Memory estimates, on graphs small enough to count by hand."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from lsa_onnx.runtime.memory import (
    DEFAULT_BUDGET_BYTES,
    MAX_BATCH,
    MEBIBYTE,
    batch_size,
    bytes_per_sample,
    estimate_bytes,
    give_back_memory,
    resident_bytes,
    tensor_bytes,
)
from tests import graphs

if TYPE_CHECKING:
    import onnx


def chain(dtype: str = "float32", batch: int | str = "N") -> onnx.ModelProto:
    """x → Relu = "a" → Neg = "y", of 4×5 elements each."""
    nodes = [graphs.node("Relu", ["x"], ["a"]), graphs.node("Neg", ["a"], ["y"])]
    shape: graphs.Shape = [batch, 4, 5]
    values = (graphs.value("x", shape, dtype), graphs.value("y", shape, dtype))
    return graphs.model(nodes, values[:1], values[1:])


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [
        # 2 × (80 + 80) alive, 80 for a difference, 6 × 80 of inputs.
        ("float32", 2 * 160 + 80 + 6 * 80),
        ("float64", 2 * 320 + 160 + 6 * 160),
        # "a" is cast to float32: 40 + 80 alive, 80 for a difference and 2 × 80 for casts.
        ("float16", 2 * 120 + 240 + 6 * 40),
    ],
)
def test_bytes_per_sample_of_a_chain(dtype: str, expected: int) -> None:
    assert bytes_per_sample(chain(dtype), {"x": (4, 5)}, {"a": 20}) == expected


def test_a_tensor_that_is_read_late_stays_alive() -> None:
    proto = chain()
    proto.graph.node[1].output[0] = "b"
    proto.graph.node.append(graphs.node("Add", ["b", "x"], ["y"]))
    # x, a and b are alive at once, and then x, b and y.
    assert bytes_per_sample(proto, {"x": (4, 5)}, {}) == 2 * 240 + 6 * 80


def test_tensor_bytes_are_those_of_one_sample() -> None:
    free = {"x": 105 * 4, "conv": 240, "relu": 240, "flat": 240, "y": 24}
    found = tensor_bytes(graphs.conv_net(), {"x": (3, 5, 7)})
    assert {name: found[name] for name in free} == free
    assert tensor_bytes(chain(), {"x": (6, 7)})["a"] == 6 * 7 * 4


def test_a_fixed_batch_without_the_axis_is_taken_as_declared() -> None:
    assert tensor_bytes(chain(batch=3), {"x": (3, 4, 5)})["a"] == 3 * 4 * 5 * 4


@pytest.mark.parametrize(
    ("per_sample", "budget", "expected"),
    [
        (MEBIBYTE, None, MAX_BATCH),
        (8 * MEBIBYTE, None, (512 - 48) // 8),
        (8 * MEBIBYTE, 128 * MEBIBYTE, 10),
        (MEBIBYTE, 1, 1),
        (1 << 40, None, 1),
        (0, None, MAX_BATCH),
    ],
)
def test_the_batch_fits_the_budget(per_sample: int, budget: int | None, expected: int) -> None:
    assert batch_size(per_sample, budget) == expected


def test_the_chosen_batch_is_estimated_within_the_budget() -> None:
    for per_sample in (2 * MEBIBYTE, 5 * MEBIBYTE + 3, 70 * MEBIBYTE):
        batch = batch_size(per_sample, None)
        assert estimate_bytes(per_sample, batch) <= DEFAULT_BUDGET_BYTES
        assert estimate_bytes(per_sample, batch + 1) > DEFAULT_BUDGET_BYTES or batch == MAX_BATCH


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_resident_memory_grows_with_what_is_held() -> None:
    give_back_memory()
    before = resident_bytes()
    held = b"\1" * (64 * MEBIBYTE)
    after = resident_bytes()
    assert before is not None
    assert after is not None
    assert after - before > 48 * MEBIBYTE
    assert len(held) == 64 * MEBIBYTE
