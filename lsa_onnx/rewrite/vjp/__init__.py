"""Adjoint rules (vector-Jacobian products) by operator family, and the sweep that applies them."""

from __future__ import annotations

from importlib import import_module

from lsa_onnx.rewrite.vjp.naming import Names
from lsa_onnx.rewrite.vjp.registry import find_rule, ruled_by_family, ruled_operators
from lsa_onnx.rewrite.vjp.sweep import MissingRules, active_tensors, sweep
from lsa_onnx.rewrite.vjp.tape import Tape

# Importing a family registers its rules.
FAMILIES = tuple(
    import_module(f"{__name__}.{family}")
    for family in (
        "activations",
        "arithmetic",
        "control_if",
        "control_loop",
        "control_scan",
        "convolution",
        "indexing",
        "linear",
        "movement",
        "normalisation",
        "padding",
        "pooling",
        "quantisation",
        "reductions",
        "resampling",
        "sampling",
        "trigonometry",
    )
)

__all__ = [
    "FAMILIES",
    "MissingRules",
    "Names",
    "Tape",
    "active_tensors",
    "find_rule",
    "ruled_by_family",
    "ruled_operators",
    "sweep",
]
