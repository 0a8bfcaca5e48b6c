from __future__ import annotations

import numpy as np

from lsa_onnx.scanning.rows import join_rows, same_shape

NAN = np.nan


def test_equal_shapes_are_joined_as_they_are() -> None:
    parts = [np.arange(6).reshape(2, 3), np.arange(3).reshape(1, 3)]
    found = join_rows(parts)
    np.testing.assert_array_equal(found, np.concatenate(parts))
    assert found.dtype == parts[0].dtype
    assert join_rows(parts[:1]) is parts[0]


def test_other_shapes_are_filled_up() -> None:
    found = join_rows([np.ones((1, 2, 1), np.int64), np.full((2, 1, 3), 5.0)])
    np.testing.assert_array_equal(found[0], [[1, NAN, NAN], [1, NAN, NAN]])
    np.testing.assert_array_equal(found[2], [[5, 5, 5], [NAN, NAN, NAN]])


def test_another_number_of_axes_is_laid_flat() -> None:
    found = join_rows([np.ones((1, 2)), np.zeros((1, 2, 2))])
    np.testing.assert_array_equal(found, [[1, 1, NAN, NAN], [0, 0, 0, 0]])


def test_what_holds_no_numbers_loses_its_values() -> None:
    assert join_rows([np.array([["a"]]), np.array([["b", "c"]])]).shape == (2, 0)


def test_rows_are_compared_in_one_shape() -> None:
    first, second = same_shape(np.ones((2, 1)), np.zeros((2, 3)))
    np.testing.assert_array_equal(first, [[1, NAN, NAN]] * 2)
    np.testing.assert_array_equal(second, np.zeros((2, 3)))
