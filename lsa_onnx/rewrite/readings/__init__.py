"""How tensors that are not plain floats are read as numbers: through their scale, or by a cast."""

from lsa_onnx.rewrite.readings.reading import Reading, add_readings
from lsa_onnx.rewrite.readings.readings import Readings

__all__ = ["Reading", "Readings", "add_readings"]
