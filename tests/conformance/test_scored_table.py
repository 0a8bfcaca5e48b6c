"""How the table of scored tensors counts, and what its examination takes for equal."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from tests.conformance.scored_checks import same_bits
from tests.conformance.scored_examine import kind_of, unaccounted
from tests.conformance.scored_outcomes import Account, Fate
from tests.conformance.scored_table import table


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        (
            "its shape depends on the input's values, by NonZero node 'n'; ask",
            "its shape depends on the input's values, by NonZero node …",
        ),
        ("a sequence, made inside Loop_0/body/If_3/else_branch", "a sequence, made inside …"),
        ("empty: its shape is [0, 'N']", "empty: its shape is […]"),
        ("'d.npz' has shape (2, 0): no values; give more", "… has shape (…): no values"),
        ("a fixed batch of 3, but 'y' mixes", "a fixed batch of …, but … mixes"),
        ("no float input in '/a/b.onnx': its inputs are 'x' (int8)", "no float input in …"),
    ],
)
def test_kinds_of_reasons(reason: str, kind: str) -> None:
    assert kind_of(reason) == kind


def test_tensors_of_bodies_are_told_apart_by_their_path() -> None:
    assert unaccounted(["a", "b", "b", "y"], ["a", "If_0/then_branch/b", "b", "y"]) == []
    assert unaccounted(["a", "b", "b", "y"], ["a", "b", "y"]) == ["b"]
    assert unaccounted(["a", "y"], ["a", "y", "z"]) == ["z"]


def test_the_table_counts_and_names() -> None:
    reasons = {"a | b": 2, "c": 1}
    tanh = Account("a", "Tanh", Fate.SCORED, exposed=3, not_scored=reasons, exact=True)
    rows = [
        tanh,
        dataclasses.replace(tanh, exact=False),
        Account("b", "Wibble", Fate.NOT_RUN, "no kernel"),
        Account("c", "simple", Fate.ERROR, "KeyError: 't0'"),
    ]
    text = table(rows)
    assert "| scored | 2 | 6 | 6 |" in text
    assert "| all | 4 | 6 | 6 |" in text
    assert "1 of 2 models keep every bit" in text
    assert "| trigonometry | Tanh | 2 | 6 | 6 | 2 scored |" in text
    assert "| simple |  | 1 | 0 | 0 | 1 error |" in text
    assert "| others | Wibble | 1 | 0 | 0 | 1 not run by ONNX Runtime |" in text
    assert "| a \\| b | 4 |\n| c | 2 |" in text
    assert "| no kernel | 1 |" in text
    assert "- c: error: KeyError: 't0'" in text


@pytest.mark.parametrize(
    ("a", "b", "same"),
    [
        (np.array([0.0]), np.array([-0.0]), False),
        (np.array([np.nan, 1]), np.array([np.nan, 1]), True),
        (np.zeros((2, 0)), np.zeros((0, 2)), False),
        (np.zeros(2, np.int32), np.zeros(2, np.float32), False),
        (np.array(["a", "b"], object), np.array(["a", "b"], object), True),
        (np.array(["a", "b"], object), np.array(["a", "c"], object), False),
        ([np.ones(2), None], [np.ones(2), None], True),
        ([np.ones(2)], [np.ones(2), np.ones(2)], False),
        (None, np.ones(2), False),
    ],
)
def test_bits(a: Any, b: Any, same: bool) -> None:
    assert same_bits(a, b) is same
