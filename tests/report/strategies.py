"""Any document that the annotations of its records allow."""

from __future__ import annotations

import typing
from functools import cache
from typing import Any, Literal

from hypothesis import strategies as st

from lsa_onnx.report.comparison import COMPARISON_VERSION, Comparison
from lsa_onnx.report.document import SCHEMA_VERSION, Report
from lsa_onnx.report.evaluation import EVALUATION_VERSION, Evaluation
from lsa_onnx.report.evaluations import Evaluations
from lsa_onnx.report.hardening import HARDENING_VERSION, Hardening

VERSIONS: dict[object, str] = {
    Report: SCHEMA_VERSION,
    Evaluation: EVALUATION_VERSION,
    Evaluations: EVALUATION_VERSION,
    Hardening: HARDENING_VERSION,
    Comparison: COMPARISON_VERSION,
}

finite = st.floats(allow_nan=False, allow_infinity=False)
scalars: dict[Any, st.SearchStrategy[Any]] = {
    str: st.text(max_size=9),
    bool: st.booleans(),
    int: st.integers(),
    float: finite,
    type(None): st.none(),
    Any: st.recursive(
        st.none() | st.booleans() | st.integers() | finite | st.text(max_size=9),
        lambda inner: st.lists(inner, max_size=2),
        max_leaves=4,
    ),
}


@cache
def values_of(hint: object) -> st.SearchStrategy[Any]:
    """Any value that ``hint`` allows; lists are short, for speed."""
    parts = typing.get_args(hint)
    origin = typing.get_origin(hint)
    if hint in scalars:
        return scalars[hint]
    if origin is Literal:
        return st.sampled_from(parts)
    if origin is list:
        return st.lists(values_of(parts[0]), max_size=2)
    if origin is tuple:
        return st.tuples(*map(values_of, parts))
    if origin is dict:
        return st.dictionaries(st.text(max_size=9), values_of(parts[1]), max_size=2)
    if origin is None:
        hints = typing.get_type_hints(hint)
        fields = {name: values_of(part) for name, part in hints.items()}
        if hint in VERSIONS:
            fields["schema_version"] = st.just(VERSIONS[hint])
        return st.builds(typing.cast("type[Any]", hint), **fields)
    return st.one_of(*map(values_of, parts))
