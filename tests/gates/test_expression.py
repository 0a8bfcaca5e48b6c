"""The grammar of gates: every gate survives the way to text and back, and what is none is named."""

from __future__ import annotations

import re
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lsa_onnx.errors import DataError
from lsa_onnx.gates import Gate, parse_gate
from lsa_onnx.gates.codes import WARNING_CODES
from lsa_onnx.gates.expression import METRICS, OPERATORS
from tests.accounts.test_cautions import ALL_CODES

# Letters, what names of tensors hold, wildcards, quotes, spaces, and what reverses the text after it.
PLAIN = "aZ0 /._-*?[]\"'%&,é名\t\n\u202e"
words = st.text(PLAIN, max_size=12).map(str.strip).filter(bool)


@st.composite
def gates(draw: st.DrawFn) -> Gate:
    """Any gate that can be asked for."""
    name = draw(st.sampled_from(sorted(METRICS)))
    metric = METRICS[name]
    layers = st.text(PLAIN + "@<>=:", min_size=1, max_size=20)
    parts = {"layer": layers, "warning": st.sampled_from(WARNING_CODES)}
    part = draw(st.none() | parts[metric.part]) if metric.part else None
    under = draw(st.none() | words) if metric.under else None
    strength = draw(st.none() | words) if under and name != "r&g" else None
    share = metric.unit == "share"
    bound = draw(st.floats(0, 1) if share else st.floats(allow_nan=False, allow_infinity=False))
    return Gate(name, part, under, strength, draw(st.sampled_from(sorted(OPERATORS))), bound)


@given(gates())
def test_a_gate_survives_the_way_to_text_and_back(gate: Gate) -> None:
    assert parse_gate(str(gate)) == gate


@given(st.text(PLAIN + "@<>=:", max_size=12))
def test_whatever_is_understood_is_understood_again(inner: str) -> None:
    gate = None
    with suppress(DataError):
        gate = parse_gate(f"cm{inner}>1")
    assert gate is None or parse_gate(str(gate)) == gate


@pytest.mark.parametrize(
    ("text", "gate"),
    [
        ("mvl>3", Gate("mvl", None, None, None, ">", 3)),
        ("accuracy<0.9", Gate("accuracy", None, None, None, "<", 0.9)),
        ("accuracy@pgd:8/255<40%", Gate("accuracy", None, "pgd", "8/255", "<", 0.4)),
        ("accuracy@pgd=8/255<7%", Gate("accuracy", None, "pgd", "8/255", "<", 0.07)),
        ("cm:layer4@fgsm >= 0.5", Gate("cm", "layer4", "fgsm", None, ">=", 0.5)),
        (" flips @ pgd <= 1e-1 ", Gate("flips", None, "pgd", None, "<=", 0.1)),
        ("cm:/a/b:0>120%", Gate("cm", "/a/b:0", None, None, ">", 1.2)),
        ('cm:"a@b"@pgd>1', Gate("cm", "a@b", "pgd", None, ">", 1)),
        ('cm:"say ""no"""@pgd>1', Gate("cm", 'say "no"', "pgd", None, ">", 1)),
        ("cm:a<b>1", Gate("cm", "a<b", None, None, ">", 1)),
        ("success@pgd>20%", Gate("success", None, "pgd", None, ">", 0.2)),
        ("r&g@pgd<300", Gate("r&g", None, "pgd", None, "<", 300)),
        ("warnings:empty-mvl>0", Gate("warnings", "empty-mvl", None, None, ">", 0)),
    ],
)
def test_what_texts_ask_for(text: str, gate: Gate) -> None:
    found = parse_gate(text)
    assert found == gate
    assert found.text == text


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "gate '' compares nothing; give one such as"),
        ("mvl", "gate 'mvl' compares nothing"),
        ("mvl==3", "gate 'mvl==3' compares nothing"),
        ("acuracy<1", "unknown metric in gate 'acuracy<1': 'acuracy'; did you mean 'accuracy'?"),
        ("mvl>three", "compares with 'three', which is no number"),
        ("mvl>nan", "compares with 'nan', which is no number"),
        ("mvl>3%", "gate 'mvl>3%' counts, and '3%' is a percentage"),
        ("accuracy<40", "compares a share with '40'; give 0 to 1, or 0% to 100%"),
        ("accuracy<101%", "compares a share with '101%'"),
        ("accuracy:conv<1", "names 'conv', and accuracy takes no layer"),
        ("warnings@pgd>1", "names 'pgd', and warnings takes no perturbation"),
        ("warnings:empty>0", "'empty'; did you mean 'empty-mvl'?"),
        ("cm:>1", "names nothing behind its colon"),
        ("cm@>1", "names no perturbation or strength at ''"),
        ("cm@pgd:>1", "names no perturbation or strength at 'pgd:'"),
        ("cm x>1", "is not understood at 'x'"),
        ('cm:"a"b>1', "is not understood at 'b'"),
        ("r&g@pgd:8/255<1", "names a strength, and r&g adds up all; leave '8/255' out"),
    ],
)
def test_what_is_no_gate_is_named(text: str, words: str) -> None:
    with pytest.raises(DataError, match=re.escape(words)):
        parse_gate(text)


@pytest.mark.parametrize(
    ("operator", "below", "equal", "above"),
    [
        ("<", True, False, False),
        ("<=", True, True, False),
        (">", False, False, True),
        (">=", False, True, True),
    ],
)
def test_it_fails_where_the_comparison_is_true(
    operator: str, below: bool, equal: bool, above: bool
) -> None:
    gate = parse_gate(f"mvl{operator}3")
    assert [gate.holds(value) for value in (2, 3, 4)] == [below, equal, above]


def test_every_warning_can_be_named() -> None:
    assert set(WARNING_CODES) == ALL_CODES
    assert len(WARNING_CODES) == len(set(WARNING_CODES))
