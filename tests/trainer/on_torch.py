"""A whole model, run by torch: what ``tests.graphs.run`` is for ONNX Runtime."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np
import torch
from numpy.typing import NDArray

from lsa_onnx.model import load_model
from lsa_onnx.rewrite import expose
from lsa_trainer.module import OnnxModule, from_model
from lsa_trainer.tensors import torch_tensor
from tests.conformance.agreement import disagreement
from tests.graphs import run, save

if TYPE_CHECKING:
    import onnx

Array = NDArray[Any]

# Types that numpy has by ml_dtypes → the integer that carries their bits.
_CARRIERS = {
    torch.bfloat16: (torch.int16, ml_dtypes.bfloat16),
    torch.float8_e4m3fn: (torch.uint8, ml_dtypes.float8_e4m3fn),
    torch.float8_e4m3fnuz: (torch.uint8, ml_dtypes.float8_e4m3fnuz),
    torch.float8_e5m2: (torch.uint8, ml_dtypes.float8_e5m2),
    torch.float8_e5m2fnuz: (torch.uint8, ml_dtypes.float8_e5m2fnuz),
}


def loaded(proto: onnx.ModelProto, folder: Path, **how: Any) -> OnnxModule:
    """The module of a model that is not a file yet; ``how`` as for ``load``."""
    return from_model(load_model(save(proto, folder / "model.onnx")), **how)


def run_torch(
    module: OnnxModule, feeds: Mapping[str, Any], names: Iterable[str] | None = None
) -> dict[str, Any]:
    """Tensors by name, all outputs unless ``names`` says otherwise; lists and ``None`` pass through."""
    wanted = module.output_names if names is None else names
    given = [as_tensors(feeds.get(name)) for name in module.input_names]
    with torch.no_grad():
        found = module.reading(wanted)(*given)
    return {name: as_arrays(result) for name, result in found.items()}


def pulled_back_by_torch(
    module: OnnxModule, feeds: Mapping[str, Any], wrt: Iterable[str], weights: Mapping[str, Array]
) -> dict[str, Array]:
    """The gradients of Σ weights · outputs by the inputs ``wrt``, 0 where none depends on one."""
    given = {name: as_tensors(feeds.get(name)) for name in module.input_names}
    sources = [given[name].requires_grad_() for name in wrt]
    found = module.reading(weights)(*given.values())
    parts = [(found[name], as_tensors(weight)) for name, weight in weights.items()]
    total = sum((y[w != 0] * w[w != 0]).sum() for y, w in parts)
    moving = isinstance(total, torch.Tensor) and total.requires_grad
    if not moving:
        return {name: np.zeros_like(feeds[name]) for name in wrt}
    made = torch.autograd.grad(total, sources, allow_unused=True, materialize_grads=True)
    return {name: as_arrays(gradient) for name, gradient in zip(wrt, made, strict=True)}


def require_equal(module: OnnxModule, proto: onnx.ModelProto, feeds: Mapping[str, Any]) -> None:
    """Hold every tensor of the main graph that ``module`` makes to ONNX Runtime."""
    made = (name for node in proto.graph.node for name in node.output)
    readable = set(module.tensor_names)
    inner = [name for name in made if name in readable and name not in module.output_names]
    theirs = run(expose(proto, inner) if inner else proto, feeds)
    ours = run_torch(module, feeds, theirs)
    found = {name: disagreement(ours[name], value) for name, value in theirs.items()}
    assert not any(found.values()), found


def as_tensors(value: Any) -> Any:
    """An array, a list of such or ``None``, for torch."""
    if isinstance(value, list):
        return [as_tensors(item) for item in value]
    return None if value is None else torch_tensor(np.asarray(value))


def as_arrays(value: Any) -> Any:
    """The other way."""
    if isinstance(value, (list, tuple)):
        return [as_arrays(item) for item in value]
    if value is None:
        return None
    if value.dtype in _CARRIERS:
        carrier, dtype = _CARRIERS[value.dtype]
        return value.detach().view(carrier).numpy().view(dtype)
    return value.detach().numpy()
