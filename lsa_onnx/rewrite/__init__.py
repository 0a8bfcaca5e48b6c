"""Graph rewrites: ONNX in, ONNX out.

Each is one pure function that never changes its argument and never runs a model.
"""

from lsa_onnx.rewrite.compare import Comparison, compare
from lsa_onnx.rewrite.expose import expose
from lsa_onnx.rewrite.prepend import prepend
from lsa_onnx.rewrite.rebatch import rebatch
from lsa_onnx.rewrite.reductions import Scored, SumNames

__all__ = ["Comparison", "Scored", "SumNames", "compare", "expose", "prepend", "rebatch"]
