from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lsa_onnx.errors import DataError
from lsa_onnx.inputs import (
    InputSpec,
    as_layout,
    channel_count,
    parse_floats,
    parse_range,
    resolve_layout,
)

ranges = st.tuples(
    st.floats(-1e3, 1e3, allow_nan=False), st.floats(1e-2, 1e3, allow_nan=False)
).map(lambda pair: (pair[0], pair[0] + pair[1]))
means = st.lists(st.floats(-2, 2), min_size=3, max_size=3).map(tuple)
stds = st.lists(st.floats(0.01, 5), min_size=3, max_size=3).map(tuple)


@given(ranges, means, stds, st.floats(0, 1))
def test_affine_is_the_formula_of_the_field(
    bounds: tuple[float, float], mean: tuple[float, ...], std: tuple[float, ...], share: float
) -> None:
    low, high = bounds
    spec = InputSpec(low=low, high=high, mean=mean, std=std)
    x = low + share * (high - low)
    scale, offset = spec.affine(3)
    expected = ((x - low) / (high - low) - np.array(mean)) / np.array(std)
    np.testing.assert_allclose(x * scale + offset, expected, rtol=1e-6, atol=1e-5)


@given(ranges, means, stds, st.floats(0, 1), st.floats(0, 1))
def test_eps_per_channel_is_what_a_step_of_eps_becomes(
    bounds: tuple[float, float],
    mean: tuple[float, ...],
    std: tuple[float, ...],
    start: float,
    share: float,
) -> None:
    spec = InputSpec(low=bounds[0], high=bounds[1], mean=mean, std=std)
    eps = share * spec.width
    scale, offset = spec.affine(3)
    x = spec.low + start * spec.width
    moved = ((x + eps) * scale + offset) - (x * scale + offset)
    np.testing.assert_allclose(spec.eps_per_channel(eps, 3), moved, rtol=1e-6, atol=1e-5)


@given(ranges, st.floats(0, 1))
def test_eps_survives_being_written_as_number_or_percent(
    bounds: tuple[float, float], share: float
) -> None:
    spec = InputSpec(low=bounds[0], high=bounds[1])
    eps = share * spec.width
    assert spec.parse_eps(repr(eps)) == spec.parse_eps(eps) == eps
    assert math.isclose(spec.parse_eps(f"{share * 100!r}%"), eps, rel_tol=1e-9, abs_tol=1e-12)


@pytest.mark.parametrize(
    ("text", "high", "eps"),
    [
        ("0.03", 1.0, 0.03),
        (" 8/255 ", 1.0, 8 / 255),
        ("8/255", 255.0, 8 / 255),
        ("30%", 255.0, 76.5),
        ("100 %", 0.1, 0.1),
        ("1e-3", 1.0, 0.001),
        (".5", 1.0, 0.5),
        ("0", 1.0, 0.0),
        (2, 255.0, 2.0),
    ],
)
def test_eps_forms(text: str | float, high: float, eps: float) -> None:
    assert InputSpec(high=high).parse_eps(text) == pytest.approx(eps, rel=1e-15)


@pytest.mark.parametrize(
    "text",
    ["-0.1", "nan", "inf", "abc", "", "8/0", "1_0", "8//255", "__import__('os')", "1+1", "-3%"],
)
def test_eps_refuses(text: str) -> None:
    with pytest.raises(DataError, match="eps ") as caught:
        InputSpec().parse_eps(text)
    assert repr(text) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("value", [math.nan, math.inf, -1.0, True])
def test_eps_refuses_numbers(value: float) -> None:
    with pytest.raises(DataError, match=str(value)):
        InputSpec(high=5.0).parse_eps(value)


def test_eps_above_the_width_names_the_range() -> None:
    with pytest.raises(DataError, match=r"eps '8' is above the width 1 .* 0,1;.*--range"):
        InputSpec().parse_eps("8")


def test_no_normalisation_feeds_the_data_as_they_are() -> None:
    spec = InputSpec(low=-1.0, high=3.0)
    scale, offset = spec.affine(3)
    assert spec.is_identity
    assert spec.width == 4.0
    assert scale.tolist() == [1, 1, 1]
    assert offset.tolist() == [0, 0, 0]
    assert spec.eps_per_channel(0.5, 2).tolist() == [0.5, 0.5]


def test_one_value_serves_all_channels_and_a_missing_one_has_no_effect() -> None:
    spec = InputSpec(high=255.0, mean=(127 / 255,), std=(128 / 255,))
    scale, offset = spec.affine(3)
    np.testing.assert_allclose(200 * scale + offset, [(200 - 127) / 128] * 3)
    np.testing.assert_allclose(InputSpec(mean=(0.5, 0.25)).affine(2)[1], [-0.5, -0.25])
    np.testing.assert_allclose(InputSpec(std=(0.5,)).affine(2)[0], [2, 2])
    assert not spec.is_identity
    assert InputSpec(mean=(0.0, 0.0), std=(1.0, 1.0)).is_identity


def test_wrong_count_names_both() -> None:
    spec = InputSpec(mean=(0.1, 0.2, 0.3), std=(1.0, 1.0, 1.0))
    with pytest.raises(DataError, match=r"mean has 3 values, .* 2 channel"):
        spec.affine(2)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"low": 1.0, "high": 1.0}, "range 1,1"),
        ({"low": math.nan}, "range nan,1"),
        ({"high": math.inf}, "range 0,inf"),
        ({"low": -1.7e308, "high": 1.7e308}, r"range -1.7e\+308"),
        ({"std": (0.5, 0.0)}, "std '0.5,0'"),
        ({"std": (-1.0,)}, "std '-1'"),
        ({"mean": (math.nan,)}, "mean 'nan'"),
        ({"mean": ()}, "mean ''"),
        ({"mean": (0.1, 0.2), "std": (1.0, 1.0, 1.0)}, "mean has 2 values and std 3"),
        ({"layout": "CHWN"}, "layout 'CHWN'.*NCHW, NHWC, flat"),
        ({"source": "guess"}, "source 'guess'"),
    ],
)
def test_spec_refuses(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        InputSpec(**fields)


def test_lists_become_tuples() -> None:
    fields: dict[str, Any] = {"mean": [0.5, 1], "std": [1, 2]}
    spec = InputSpec(**fields)
    assert (spec.mean, spec.std) == ((0.5, 1.0), (1.0, 2.0))
    assert hash(spec) == hash(InputSpec(mean=(0.5, 1.0), std=(1.0, 2.0)))


@pytest.mark.parametrize(
    ("shape", "layout", "channels"),
    [
        ((3, 32, 48), "NCHW", 3),
        ((1, 28, 30), "NCHW", 1),
        ((3, None, None), "NCHW", 3),
        ((32, 48, 3), "NHWC", 3),
        ((None, None, 4), "NHWC", 4),
        ((3, 9, 3), "NCHW", 3),
        ((784, 1), "flat", 1),
        ((5,), "flat", 1),
        ((), "flat", 1),
        ((12, 20, 7), "flat", 1),
    ],
)
def test_layout_is_inferred(shape: tuple[int | None, ...], layout: str, channels: int) -> None:
    assert resolve_layout(None, shape) == layout
    assert channel_count(None, shape) == channels


def test_declared_layout_wins_and_must_fit() -> None:
    assert resolve_layout("NHWC", (3, 9, 3)) == "NHWC"
    assert resolve_layout("flat", (3, 9, 3)) == "flat"
    assert channel_count("NCHW", (None, 9, 8)) is None
    with pytest.raises(DataError, match=r"layout NCHW needs samples of 3 axes.*784x1"):
        resolve_layout("NCHW", (784, 1))


def test_flag_strings() -> None:
    assert parse_range("0,255") == (0.0, 255.0)
    assert parse_range("-1, 1") == (-1.0, 1.0)
    assert parse_floats("0.485,0.456, .406") == (0.485, 0.456, 0.406)
    assert as_layout("NHWC") == "NHWC"


@pytest.mark.parametrize("text", ["", "1", "1,0", "0,1,2", "0,0"])
def test_range_refuses(text: str) -> None:
    with pytest.raises(DataError, match=repr(text)):
        parse_range(text)


@pytest.mark.parametrize(("text", "part"), [("1,x", "x"), ("1,,2", ""), ("nan", "nan")])
def test_floats_refuse(text: str, part: str) -> None:
    with pytest.raises(DataError, match=f"--mean '{text}': '{part}' is not a number"):
        parse_floats(text, "--mean")


def test_layout_refuses() -> None:
    with pytest.raises(DataError, match="'nchw'"):
        as_layout("nchw")
