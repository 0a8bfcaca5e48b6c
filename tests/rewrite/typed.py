"""Element types and shapes of a model's tensors, straight from ONNX Runtime."""

from __future__ import annotations

import onnx
import onnxruntime as ort

from lsa_onnx.rewrite.graph import copy_model, made_in

Types = dict[str, "tuple[str, list[int | str | None] | None]"]
_NAMES = {"tensor(float)": "float32", "tensor(double)": "float64"}


def types_of(proto: onnx.ModelProto) -> Types:
    """As ``lsa_onnx.runtime.inspection`` gives them."""
    exposed = copy_model(proto)
    declared = {output.name for output in proto.graph.output}
    names = [name for name in made_in(proto.graph) if name not in declared]
    exposed.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    data = exposed.SerializeToString()
    outputs = ort.InferenceSession(data, options, ["CPUExecutionProvider"]).get_outputs()
    return {output.name: (_plain(output.type), list(output.shape)) for output in outputs}


def _plain(kind: str) -> str:
    inner = kind.removeprefix("tensor(").removesuffix(")") if kind.startswith("tensor(") else kind
    return _NAMES.get(kind, inner)
