from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lsa_onnx.errors import DataError
from lsa_onnx.inputs import InputSpec, Layout, synthetic_data


@given(
    low=st.floats(-500, 500),
    width=st.floats(0.01, 1000),
    dtype=st.sampled_from([np.float32, np.float64]),
    seed=st.integers(0, 99),
)
def test_uniform_in_the_declared_range(low: float, width: float, dtype: Any, seed: int) -> None:
    spec = InputSpec(low=low, high=low + width)
    data = synthetic_data(spec, (3, 20, 30), 5, seed, dtype=dtype)
    x, y = data.batch(0, 5)
    assert y is None
    assert (x.shape, x.dtype) == ((5, 3, 20, 30), dtype)
    assert x.min() >= dtype(low)
    assert x.max() <= dtype(spec.high)
    share = (x.astype(np.float64) - low) / width
    counts = np.histogram(share, bins=4, range=(0, 1))[0] / x.size
    np.testing.assert_allclose(counts, 0.25, atol=0.03)


def test_batches_do_not_depend_on_how_they_are_cut_but_on_the_seed() -> None:
    data = synthetic_data(InputSpec(), (1, 4, 6), 7, 3)
    parts = np.concatenate([data.batch(start, start + 2)[0] for start in range(0, 7, 2)])
    np.testing.assert_array_equal(parts, data.batch(0, 7)[0])
    again = synthetic_data(InputSpec(), (1, 4, 6), 7, 3)
    other = synthetic_data(InputSpec(), (1, 4, 6), 7, 4)
    assert data.fingerprint == again.fingerprint != other.fingerprint
    assert not np.array_equal(parts[0], parts[1])
    assert not np.array_equal(data.batch(0, 1)[0], other.batch(0, 1)[0])


def test_it_says_so() -> None:
    data = synthetic_data(InputSpec(), (4, 6), 3, 0)
    assert data.synthetic
    assert data.source == "synthetic (uniform in the declared range)"
    assert (len(data), data.available, data.notes) == (3, 3, [])


@pytest.mark.parametrize(
    ("shape", "layout", "filled"),
    [
        ((3, None, None), None, (3, 224, 224)),
        ((None, None, 1), None, (224, 224, 1)),
        ((None, 20, 30), "NCHW", (3, 20, 30)),
        ((None, 8), None, (1, 8)),
        ((None, None, None), None, (1, 1, 1)),
        ((), None, ()),
    ],
)
def test_free_dimensions(
    shape: tuple[int | None, ...], layout: Layout | None, filled: tuple[int, ...]
) -> None:
    data = synthetic_data(InputSpec(layout=layout), shape, 2, 0)
    assert data.sample_shape == filled
    assert data.batch(0, 2)[0].shape == (2, *filled)
    assert any("free dimensions" in note for note in data.notes) == (None in shape)


@pytest.mark.parametrize(("samples", "seed", "flag"), [(0, 0, "--samples 0"), (3, -2, "--seed -2")])
def test_refuses(samples: int, seed: int, flag: str) -> None:
    with pytest.raises(DataError, match=flag):
        synthetic_data(InputSpec(), (4, 6), samples, seed)


def test_samples_beyond_reason_are_not_made_up() -> None:
    with pytest.raises(
        DataError, match=r"of shape .* has 4,398,046,511,104 elements; at most .*--data"
    ):
        synthetic_data(InputSpec(), (1 << 21, 1 << 21), 2, 0)


@pytest.mark.parametrize(("dtype", "high"), [("float16", 1e5), ("float32", 1e300)])
def test_a_range_that_the_type_cannot_hold_is_refused(dtype: str, high: float) -> None:
    with pytest.raises(DataError, match=rf"range 0 to .* is beyond what {dtype}"):
        synthetic_data(InputSpec(0, high), (4, 6), 2, 0, dtype=dtype)
