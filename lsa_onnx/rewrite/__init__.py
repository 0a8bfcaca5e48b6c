"""Graph rewrites: ONNX in, ONNX out.

Each is one pure function that never changes its argument and never runs a model.
"""

from lsa_onnx.rewrite.compare import Comparison, compare
from lsa_onnx.rewrite.differentiate import Differentiated, NotDifferentiable, differentiate
from lsa_onnx.rewrite.expand import expand
from lsa_onnx.rewrite.expose import expose
from lsa_onnx.rewrite.modernise import modernise
from lsa_onnx.rewrite.objectives import Objective
from lsa_onnx.rewrite.prepend import prepend
from lsa_onnx.rewrite.rebatch import rebatch
from lsa_onnx.rewrite.reductions import Scored, SumNames

__all__ = [
    "Comparison",
    "Differentiated",
    "NotDifferentiable",
    "Objective",
    "Scored",
    "SumNames",
    "compare",
    "differentiate",
    "expand",
    "expose",
    "modernise",
    "prepend",
    "rebatch",
]
