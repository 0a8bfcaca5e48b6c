"""One composite node on ONNX Runtime, and what it is expanded into."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper

from lsa_onnx.rewrite.expand import expand
from lsa_onnx.rewrite.graph import subgraphs
from tests import graphs
from tests.graphs import Array

MICROSOFT = "com.microsoft"


def one_node(
    op: str,
    feeds: Mapping[str, Array],
    constants: Mapping[str, Array],
    order: Sequence[str],
    *,
    outputs: Sequence[str] = ("y",),
    version: int = 18,
    domain: str = "",
    **attributes: Any,
) -> onnx.ModelProto:
    """A model of one node; its inputs declare their ranks, but no sizes."""
    node = helper.make_node(op, list(order), list(outputs), op, domain=domain, **attributes)
    inputs = [
        helper.make_tensor_value_info(
            name,
            helper.np_dtype_to_tensor_dtype(array.dtype),
            [f"{name}{axis}" for axis in range(array.ndim)],
        )
        for name, array in feeds.items()
    ]
    results = [onnx.ValueInfoProto(name=name) for name in outputs if name]
    return graphs.model([node], inputs, results, constants, opset=version, imports={MICROSOFT: 1})


def operators(graph: onnx.GraphProto) -> set[str]:
    """The types of all nodes, bodies included."""
    found = {node.op_type for node in graph.node}
    return found.union(*(operators(g) for node in graph.node for g in subgraphs(node)))


def expanded(proto: onnx.ModelProto, *, fully: bool) -> onnx.ModelProto:
    """Without its composite node; ``fully`` leaves nothing that could still be expanded."""
    composites = {(n.domain, n.op_type) for n in proto.graph.node}
    before = proto.SerializeToString()
    changed = expand(proto, lambda n: not fully and (n.domain, n.op_type) not in composites)
    assert proto.SerializeToString() == before
    assert not {(n.domain, n.op_type) for n in changed.graph.node} & composites
    return changed


def assert_same(
    proto: onnx.ModelProto,
    feeds: Mapping[str, Array],
    expected: Mapping[str, Array] | None = None,
    tolerance: float = 1e-5,
) -> None:
    """The expansion, half way and in full, equals ONNX Runtime's kernel (or ``expected``)."""
    wanted = graphs.run(proto, feeds) if expected is None else expected
    for fully in (False, True):
        got = graphs.run(expanded(proto, fully=fully), feeds)
        assert list(got) == list(wanted)
        for name, value in wanted.items():
            assert got[name].dtype == value.dtype
            np.testing.assert_allclose(
                got[name].astype(np.float64),
                value.astype(np.float64),
                rtol=tolerance,
                atol=tolerance,
                err_msg=name,
            )


def check(
    op: str,
    feeds: Mapping[str, Array],
    constants: Mapping[str, Array] | None = None,
    *,
    order: Sequence[str] | None = None,
    tolerance: float = 1e-5,
    expected: Mapping[str, Array] | None = None,
    **options: Any,
) -> None:
    """``assert_same`` for a model of one node that reads these arrays in this order."""
    names = order if order is not None else [*feeds, *(constants or {})]
    proto = one_node(op, feeds, constants or {}, names, **options)
    assert_same(proto, feeds, expected, tolerance)
