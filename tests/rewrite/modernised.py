"""What every test of ``modernise`` asks: the same outputs, a valid model, an argument left alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper

from lsa_onnx.rewrite.graph import copy_model, opset, subgraphs
from lsa_onnx.rewrite.modernise import TARGET, modernise
from tests import graphs


def assert_same(
    proto: onnx.ModelProto, feeds: Mapping[str, Any], *, rel: float = 0.0
) -> onnx.ModelProto:
    """``modernise`` leaves the outputs as they are; returns its result."""
    before = copy_model(proto)
    raised = modernise(proto)
    assert proto == before
    assert_modern(raised)
    expected, got = graphs.run(proto, feeds), graphs.run(raised, feeds)
    assert list(got) == list(expected)
    for name, wanted in expected.items():
        assert_equal(got[name], wanted, rel)
    return raised


def assert_modern(raised: onnx.ModelProto) -> None:
    """The checker accepts each node in the new opset, and nothing of an old file is left."""
    assert opset(raised) >= TARGET
    assert raised.ir_version >= 8
    declared = copy_model(raised)
    for value in (*declared.graph.input, *declared.graph.output):
        # The checker wants a type; ONNX Runtime has no need of one.
        value.type.tensor_type.elem_type = (
            value.type.tensor_type.elem_type or onnx.TensorProto.FLOAT
        )
        value.type.tensor_type.shape.SetInParent()
    onnx.checker.check_model(declared)
    constants = {t.name for t in raised.graph.initializer}
    assert constants.isdisjoint(value.name for value in raised.graph.input)
    assert not any(graph.value_info for graph in all_graphs(raised.graph))


def assert_equal(got: Any, wanted: Any, rel: float) -> None:
    """Equal values, to ``rel`` of the largest; lists of arrays too."""
    if isinstance(wanted, list):
        for one, other in zip(got, wanted, strict=True):
            assert_equal(one, other, rel)
        return
    if not isinstance(wanted, np.ndarray):
        assert got == wanted
        return
    assert got.dtype == wanted.dtype
    assert got.shape == wanted.shape
    if rel and np.issubdtype(wanted.dtype, np.floating):
        scale = float(np.max(np.abs(wanted), initial=0.0, where=np.isfinite(wanted)))
        np.testing.assert_allclose(got, wanted, rtol=rel, atol=rel * scale)
    else:
        np.testing.assert_array_equal(got, wanted)


def all_graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """The graph and every body inside it."""
    yield graph
    for node in graph.node:
        for body in subgraphs(node):
            yield from all_graphs(body)


def operators(graph: onnx.GraphProto) -> list[str]:
    """The operators of the main graph, in order."""
    return [node.op_type for node in graph.node]


def single(
    op: str,
    feeds: Mapping[str, Any],
    opset_version: int,
    *,
    outputs: Sequence[str] = ("y",),
    shapes: bool = True,
    inputs: Sequence[str] | None = None,
    **attributes: Any,
) -> onnx.ModelProto:
    """A model of one node that reads all ``feeds`` (or ``inputs``), of declared shape or not."""
    declared = [
        helper.make_tensor_value_info(
            name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape if shapes else None
        )
        for name, array in feeds.items()
    ]
    node = graphs.node(op, list(feeds) if inputs is None else inputs, outputs, **attributes)
    returned = [onnx.ValueInfoProto(name=name) for name in outputs if name]
    return graphs.model([node], declared, returned, opset=opset_version)
