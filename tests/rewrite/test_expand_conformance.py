"""ONNX's own node tests: an expanded node computes what it did."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
import pytest

from lsa_onnx.layers.operators import RANDOM
from lsa_onnx.rewrite.expand import expand
from tests import graphs
from tests.rewrite.expansion import operators

# Masked scores: −inf in ONNX's bodies, the lowest number in ONNX Runtime's kernels.
_MASKED = 1e38


def _cases() -> Iterator[tuple[str, onnx.ModelProto, dict[str, Any]]]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from onnx.backend.test.case.node import collect_testcases

        found = collect_testcases(None)
    for case in found:
        assert case.model is not None
        assert case.data_sets is not None
        standard = all(o.domain in ("", "ai.onnx") for o in case.model.opset_import)
        if not standard or "expanded" in case.name or operators(case.model.graph) & RANDOM:
            continue
        names = [v.name for v in case.model.graph.input]
        yield case.name, case.model, dict(zip(names, case.data_sets[0][0], strict=False))


def _runnable(model: onnx.ModelProto, feeds: dict[str, Any]) -> tuple[onnx.ModelProto, Any] | None:
    """The model in the dialect that ``expand`` reads, and its outputs, if ONNX Runtime has both."""
    raised = onnx.ModelProto()
    raised.CopyFrom(model)
    version = raised.opset_import[0].version
    raised.opset_import[0].version = version if 18 <= version <= 23 else 18
    raised.ir_version = 10
    try:
        return raised, graphs.run(raised, feeds)
    except Exception:  # noqa: BLE001 - its errors share no base class, and any of them means no
        return None


def _same(got: Any, wanted: Any) -> bool:
    if not isinstance(wanted, np.ndarray) or wanted.dtype.kind not in "fiub":
        return True
    if got.shape != wanted.shape or got.dtype != wanted.dtype:
        return False
    tolerance = 2e-2 if wanted.dtype == np.float16 else 1e-5
    a, b = (np.clip(array.astype(np.float64), -_MASKED, _MASKED) for array in (got, wanted))
    return np.allclose(a, b, rtol=tolerance, atol=tolerance, equal_nan=True)


@pytest.mark.slow
@pytest.mark.conformance
def test_expanded_nodes_of_onnx_equal_the_kernels() -> None:
    wrong, compared = [], 0
    for name, model, feeds in _cases():
        runnable = _runnable(model, feeds)
        if runnable is None:
            continue
        raised, wanted = runnable
        changed = expand(raised, lambda n: False)
        if operators(changed.graph) == operators(raised.graph):
            continue
        compared += 1
        got = graphs.run(changed, feeds)
        if not all(_same(got[key], wanted[key]) for key in wanted):
            wrong.append(name)
    assert wrong == []
    assert compared > 300
