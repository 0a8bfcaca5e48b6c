"""Decision boundaries: the class that models of two features see everywhere in their plane."""

from lsa_onnx.boundary.options import BoundaryOptions
from lsa_onnx.boundary.run import decision_boundary

__all__ = ["BoundaryOptions", "decision_boundary"]
