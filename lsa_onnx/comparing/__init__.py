"""What changed between two scans or two evaluations: pure, of their documents alone."""

from lsa_onnx.comparing.compare import compare
from lsa_onnx.comparing.frame import Side

__all__ = ["Side", "compare"]
