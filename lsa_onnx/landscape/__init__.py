"""Loss landscapes: the objective over a plane through the samples, one surface per model."""

from lsa_onnx.landscape.options import LandscapeOptions
from lsa_onnx.landscape.run import input_landscape

__all__ = ["LandscapeOptions", "input_landscape"]
