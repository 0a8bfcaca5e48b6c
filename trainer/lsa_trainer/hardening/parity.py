"""Torch against ONNX Runtime, tensor by tensor: is what was trained what will run?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto

from lsa_onnx.errors import ModelError
from lsa_onnx.model import load_model
from lsa_onnx.rewrite import expose
from lsa_onnx.runtime.devices import resolve_device
from lsa_onnx.runtime.session import Session
from lsa_onnx.weights import all_tensors
from lsa_trainer.inference import random_tensors
from lsa_trainer.module import OnnxModule

Array = NDArray[Any]

# Relative to the largest value of a tensor; a file in half precision rounds what torch computes in float32.
_TOLERANCE = 1e-3
_HALF_TOLERANCE = 3e-2
_HALF_BYTES = 2
_HALF = frozenset({TensorProto.FLOAT16, TensorProto.BFLOAT16})


@dataclass(frozen=True)
class Difference:
    """How far a tensor is apart in the two runtimes: the largest difference over the largest value.

    ``overflows`` where the file, in half precision, gives infinity or NaN for what torch gives a number.
    """

    tensor: str
    relative: float
    overflows: bool = False


def widened(tensor: torch.Tensor) -> torch.Tensor:
    """In float32 what is in half precision: so training computes."""
    half = tensor.dtype in (torch.float16, torch.bfloat16)
    return tensor.float() if half else tensor


def tolerance(model: onnx.ModelProto) -> float:
    """How far torch and ONNX Runtime may be apart, over the largest value of a tensor."""
    types = {tensor.data_type for tensor in all_tensors(model)}
    types |= {value.type.tensor_type.elem_type for value in model.graph.input}
    return _HALF_TOLERANCE if types & _HALF else _TOLERANCE


def differences(
    module: OnnxModule, path: Path, feeds: Mapping[str, Array], device: str = "cpu"
) -> list[Difference]:
    """Every float tensor of the main graph that both runtimes make, in the order of the graph.

    Those that depend on random numbers are left out.

    Args:
        module: The model in torch, computing in float32 where the file says half precision.
        path: The model as a file.
        feeds: Inputs of one run, by name.
        device: Where ONNX Runtime is to run.
    """
    model = load_model(path)
    made = [name for node in model.proto.graph.node for name in node.output if name]
    common = set(module.tensor_names) - set(random_tensors(model.proto.graph))
    names = [name for name in made if name in common]
    session = Session(expose(model.proto, names), resolve_device(device), folder=model.folder)
    theirs = session.run(dict(feeds), names)
    target = next(module.parameters()).device
    inputs = [torch.from_numpy(np.array(feeds[name])) for name in module.input_names]
    given = [widened(tensor).to(target) for tensor in inputs]
    with torch.no_grad():
        ours = module.reading(names)(*given)
    pairs = [(name, ours[name].detach().cpu(), theirs[name]) for name in names]
    return [
        _difference(name, a.double().numpy(), np.asarray(b))
        for name, a, b in pairs
        if a.is_floating_point()
    ]


def require_parity(found: Sequence[Difference], allowed: float) -> None:
    """Refuse what the two runtimes compute differently; ``allowed`` is from ``tolerance``.

    Raises:
        ModelError: The first tensor that differs is named.
    """
    for difference in found:
        if difference.overflows:
            raise ModelError(
                f"the model overflows in half precision: tensor {difference.tensor!r} is infinite or NaN in the "
                "file where float32 has numbers; export it in float32, or scale its weights down, and harden that"
            )
        if not difference.relative <= allowed:
            raise ModelError(
                f"torch and ONNX Runtime differ from tensor {difference.tensor!r} on, by "
                f"{difference.relative:.2g} of its largest value (allowed {allowed:g}); the model cannot "
                "be trained faithfully: please report this model"
            )


def _difference(name: str, ours: Array, theirs: Array) -> Difference:
    wide = theirs.astype(np.float64)
    spoilt = np.isfinite(ours) & ~np.isfinite(wide) if ours.shape == wide.shape else np.False_
    overflows = theirs.dtype.itemsize == _HALF_BYTES and bool(spoilt.any())
    return Difference(name, _relative(ours, wide), overflows)


def _relative(a: Array, b: Array) -> float:
    if a.shape != b.shape:
        return float("inf")
    if a.size == 0:
        return 0.0
    finite = np.isfinite(b)
    if not np.array_equal(np.isfinite(a), finite):
        return float("inf")
    scale = float(np.abs(b[finite]).max(initial=0.0))
    apart = float(np.abs(a[finite] - b[finite]).max(initial=0.0))
    return apart / scale if scale else apart
