"""Gates: bounds on what a report may say, and baselines that it may not fall behind. Pure, of documents alone."""

from lsa_onnx.gates.baseline import Baseline, read_baseline
from lsa_onnx.gates.expression import Gate, parse_gate
from lsa_onnx.gates.judging import judge, require_all_passed, require_passed
from lsa_onnx.gates.plan import Gates, parse_gates

__all__ = [
    "Baseline",
    "Gate",
    "Gates",
    "judge",
    "parse_gate",
    "parse_gates",
    "read_baseline",
    "require_all_passed",
    "require_passed",
]
