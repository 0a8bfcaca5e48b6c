"""Small models, and what becomes of their constants."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from lsa_trainer.module import OnnxModule
from lsa_trainer.weights import Weight
from tests.graphs import Array, model, value
from tests.trainer.on_torch import loaded

if TYPE_CHECKING:
    import onnx


def found(
    nodes: list[onnx.NodeProto],
    weights: dict[str, Array],
    folder: Path,
    inputs: list[onnx.ValueInfoProto] | None = None,
    opset: int = 17,
    dtype: str = "float32",
) -> OnnxModule:
    """The module of a model with output "y" and, unless ``inputs`` says otherwise, input "x" [N, 6]."""
    x = inputs or [value("x", ["N", 6])]
    proto = model(nodes, x, [value("y", None, dtype)], weights, opset=opset)
    return loaded(proto, folder)


def roles(module: OnnxModule) -> dict[str, str]:
    """Weight or statistics → "trains", "statistics" or why not; plain constants are left out."""
    named = {w.name: w.frozen or "trains" for w in module.constants.weights}
    return named | {w.name: w.frozen or "statistics" for w in module.constants.statistics}


def weight_of(module: OnnxModule, name: str) -> Weight:
    return next(w for w in module.constants.weights if w.name == name)
