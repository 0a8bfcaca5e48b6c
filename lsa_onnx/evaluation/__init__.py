"""Robust accuracy: how many samples a model still gets right when attacks of growing strength try."""

from lsa_onnx.comparing.paired import r_and_g_difference, robust_difference
from lsa_onnx.evaluation.comparing import side_by_side
from lsa_onnx.evaluation.run import evaluate, require_evaluable
from lsa_onnx.scanning.options import EvaluationOptions

__all__ = [
    "EvaluationOptions",
    "evaluate",
    "r_and_g_difference",
    "require_evaluable",
    "robust_difference",
    "side_by_side",
]
