"""Stand-ins for operators of which ONNX infers nothing, though they keep the type and shape of an input."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import onnx

from lsa_onnx.rewrite.graph import (
    DEFAULT_DOMAIN,
    copy_model,
    import_default_domain,
    replace_nodes,
    subgraphs,
)

_MICROSOFT = "com.microsoft"
_AS_FIRST = (
    "BiasAdd",
    "BiasGelu",
    "BiasSoftmax",
    "FastGelu",
    "Gelu",
    "GroupNorm",
    "QLinearLeakyRelu",
    "QLinearSigmoid",
    "QLinearSoftmax",
    "QuickGelu",
    "RotaryEmbedding",
)
# Operator → the places of the outputs that are as the first input is.
_KEPT: dict[tuple[str, str], tuple[int, ...]] = {
    (DEFAULT_DOMAIN, "GroupNormalization"): (0,),
    (DEFAULT_DOMAIN, "MeanVarianceNormalization"): (0,),
    **{(_MICROSOFT, kind): (0,) for kind in _AS_FIRST},
    (_MICROSOFT, "SkipGroupNorm"): (0, 1),
    (_MICROSOFT, "SkipLayerNormalization"): (0, 3),
    (_MICROSOFT, "SkipSimplifiedLayerNormalization"): (0, 3),
}
# ONNX Runtime's own in ONNX's domain, the first until ONNX has it: of the shape of the first input, and
# of the type of the second, the scale. CastLike says so from its first version on.
_TYPE_OF_SCALE = ("LayerNormalization", "SimplifiedLayerNormalization")
_CAST_LIKE = 15


def with_stand_ins(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model as inference should read it; it computes something else, so it is for nothing but that.

    Returns:
        A copy in which Identity or CastLike stands for those operators; the model itself where it has
        none.
    """
    versions = {_domain(o.domain): o.version for o in model.opset_import}
    if not any(_stands(node, versions) for graph in _graphs(model.graph) for node in graph.node):
        return model
    copied = copy_model(model)
    import_default_domain(copied)
    for graph in _graphs(copied.graph):
        nodes = ((node, _stands(node, versions)) for node in graph.node)
        replace_nodes(graph, [new for node, stands in nodes for new in stands or [node]])
    return copied


def _graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """The bodies in ``graph``, and then itself: to replace its nodes is to copy its bodies."""
    for node in graph.node:
        for body in subgraphs(node):
            yield from _graphs(body)
    yield graph


def _stands(node: onnx.NodeProto, versions: Mapping[str, int]) -> list[onnx.NodeProto]:
    """What stands for ``node``, nothing where ONNX needs no help or there is none."""
    domain = _domain(node.domain)
    version = versions.get(domain, 0)
    if _is_inferred(node.op_type, version, domain):
        return []
    if domain == DEFAULT_DOMAIN and node.op_type in _TYPE_OF_SCALE and version >= _CAST_LIKE:
        return [onnx.helper.make_node("CastLike", node.input[:2], node.output[:1])]
    places = _KEPT.get((domain, node.op_type), ())
    kept = [node.output[place] for place in places if place < len(node.output)]
    return [onnx.helper.make_node("Identity", node.input[:1], [name]) for name in kept if name]


def _is_inferred(kind: str, version: int, domain: str) -> bool:
    """Whether ONNX infers what an operator makes."""
    try:
        schema = onnx.defs.get_schema(kind, version, domain)
    except onnx.defs.SchemaError:
        return False
    return bool(schema.has_type_and_shape_inference_function)


def _domain(domain: str) -> str:
    return DEFAULT_DOMAIN if domain == "ai.onnx" else domain
