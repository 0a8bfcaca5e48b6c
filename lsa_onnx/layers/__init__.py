"""Which tensors of a graph are layers, and a reason for each one that is not scored."""

from lsa_onnx.layers.plan import LayerPlan, plan_layers

__all__ = ["LayerPlan", "plan_layers"]
