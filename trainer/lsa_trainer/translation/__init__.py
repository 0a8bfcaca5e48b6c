"""From an ONNX graph to a ``torch.fx`` graph, node by node."""

from __future__ import annotations

from lsa_trainer.translation.dialect import Unsupported, in_dialect, unsupported_nodes
from lsa_trainer.translation.program import Program, translate

__all__ = ["Program", "Unsupported", "in_dialect", "translate", "unsupported_nodes"]
