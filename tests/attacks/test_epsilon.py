from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lsa_onnx.attacks import check_eps, parse_eps
from lsa_onnx.errors import DataError


@pytest.mark.parametrize(
    ("text", "width", "eps"),
    [
        ("0.3", 1.0, 0.3),
        ("0.3", 255.0, 0.3),
        ("8/255", 1.0, 8 / 255),
        ("8/255", 255.0, 8.0),
        ("8/255", 2.0, 16 / 255),
        (" 1.5 / 3 ", 2.0, 1.0),
        ("30%", 1.0, 0.3),
        ("30%", 255.0, 76.5),
        ("1e-2", 1.0, 0.01),
        ("0", 1.0, 0.0),
    ],
)
def test_numbers_quotients_and_shares(text: str, width: float, eps: float) -> None:
    assert parse_eps(text, width) == pytest.approx(eps, rel=1e-11)


def test_eight_pixel_levels_are_exactly_eight() -> None:
    assert parse_eps("8/255", 255.0) == 8.0


@given(st.floats(0, 1e6), st.floats(1e-3, 1e3))
def test_the_three_spellings_agree(value: float, width: float) -> None:
    number = parse_eps(repr(value * width), width)
    assert parse_eps(f"{value!r}/1", width) == pytest.approx(number, rel=1e-9)
    assert parse_eps(f"{value * 100!r}%", width) == pytest.approx(number, rel=1e-9)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("lots", "eps 'lots' is not a finite number; give a number in units of the range, 8/255"),
        ("", "eps '' is not a finite number"),
        ("8/", "eps '8/' is not a finite number"),
        ("/255", "eps '/255' is not"),
        ("1/2/3", "eps '1/2/3' is not"),
        ("%", "eps '%' is not"),
        ("8/255%", "eps '8/255%' is not"),
        ("nan", "eps 'nan' is not a finite number"),
        ("inf", "eps 'inf' is not a finite number"),
        ("8/0", "eps '8/0' divides by 0"),
        ("8/-255", "eps '8/-255' divides by -255"),
        ("-0.1", "eps '-0.1' is negative"),
        ("-1/255", "eps '-1/255' is negative"),
        ("-3%", "eps '-3%' is negative"),
    ],
)
def test_errors_name_the_text(text: str, said: str) -> None:
    with pytest.raises(DataError) as caught:
        parse_eps(text, 255.0)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_above_the_range_is_refused_where_it_means_nothing() -> None:
    with pytest.raises(DataError, match="eps 300 is larger than the range's width 255;"):
        check_eps(300.0, "linf", 255.0)
    check_eps(255.0, "linf", 255.0)
    check_eps(300.0, "l2", 255.0)
    check_eps(300.0, "l1", 255.0)


@pytest.mark.parametrize("eps", [-1.0, math.nan, math.inf])
def test_what_is_no_distance_is_refused(eps: float) -> None:
    with pytest.raises(DataError, match=f"eps {eps:g} is not a distance"):
        check_eps(eps, "l2", 1.0)
