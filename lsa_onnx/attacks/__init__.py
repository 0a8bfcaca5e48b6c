"""Perturbations: noises, and pairs made elsewhere.

Arrays in, arrays out, in units of the declared range.
"""

from lsa_onnx.attacks.base import Batch, Perturbation
from lsa_onnx.attacks.noise import NOISES, Noise, parse_perturbations
from lsa_onnx.attacks.pairs import Pairs

__all__ = ["NOISES", "Batch", "Noise", "Pairs", "Perturbation", "parse_perturbations"]
