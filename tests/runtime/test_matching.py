"""Where the samples of a batch are in a tensor."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from lsa_onnx.rewrite import Scored, compare
from lsa_onnx.runtime.matching import Place, locate
from tests import graphs
from tests.graphs import node, value

Array = NDArray[Any]


def singles(count: int, shape: tuple[int, ...]) -> list[Array]:
    return [graphs.samples(seed, *shape) for seed in range(count)]


def merged(parts: list[Array], axis: int, *, interleaved: bool) -> Array:
    if interleaved:
        whole = np.stack(parts, axis=axis + 1)
        shape = list(parts[0].shape)
        shape[axis] *= len(parts)
        return whole.reshape(shape)
    return np.concatenate(parts, axis=axis)


@settings(max_examples=60, deadline=None)
@given(
    count=st.integers(2, 3),
    shape=st.lists(st.integers(1, 4), min_size=1, max_size=4),
    data=st.data(),
)
def test_merged_samples_are_found(count: int, shape: list[int], data: st.DataObject) -> None:
    axis = data.draw(st.integers(0, len(shape) - 1))
    interleaved = data.draw(st.booleans()) and shape[axis] > 1
    parts = singles(count, tuple(shape))
    found = locate(parts, merged(parts, axis, interleaved=interleaved), 1e-6)
    assert found == Place(axis, shape[axis], 0.0, interleaved)


def test_what_is_no_batch_of_the_singles_is_told() -> None:
    parts = singles(2, (1, 3))
    other = graphs.samples(9, 2, 3)
    assert "between a batch and single runs" in str(locate(parts, other, 1e-3))
    several = singles(2, (2, 3))
    assert "merges samples with other entries along axis 0" in str(
        locate(several, graphs.samples(9, 4, 3), 1e-3)
    )


@pytest.mark.parametrize("axis", [0, 1])
def test_interleaved_entries_are_summed_by_sample(axis: int) -> None:
    """A tensor of 3 entries per sample, the first of all 4 samples in front of the second."""
    order = [1, 0, 2] if axis == 0 else [2, 1, 0]
    shape = [12, 5] if axis == 0 else [5, 12]
    proto = graphs.model(
        [
            node("Transpose", ["x"], ["t"], perm=order),
            node("Reshape", ["t", "shape"], ["h"]),
            node("Relu", ["h"], ["y"]),
        ],
        [value("x", [4, 3, 5])],
        [value("y", shape)],
        {"shape": np.asarray(shape, np.int64)},
    )
    scored = Scored("h", axis, 15, interleaved=3)
    twin = compare(proto, [scored], ["y"])
    a, b = graphs.samples(1, 4, 3, 5), graphs.samples(2, 4, 3, 5)
    ran = graphs.run(twin.model, {"x": a, twin.perturbed_inputs["x"]: b})
    names = twin.sums["h"]
    for name, expected in ((names.difference, a - b), (names.clean, a), (names.perturbed, b)):
        np.testing.assert_allclose(ran[name], (expected**2).sum(axis=(1, 2)), rtol=1e-5)
