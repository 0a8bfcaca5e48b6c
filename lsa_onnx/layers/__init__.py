"""Which tensors of a graph are layers, and a reason for each one that is not scored."""

from lsa_onnx.layers.plan import LayerPlan, Source, plan_layers
from lsa_onnx.layers.reads import Read, Readable, make_readable
from lsa_onnx.layers.survey import Inside, Survey

__all__ = [
    "Inside",
    "LayerPlan",
    "Read",
    "Readable",
    "Source",
    "Survey",
    "make_readable",
    "plan_layers",
]
