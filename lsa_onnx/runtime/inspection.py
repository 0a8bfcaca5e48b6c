"""What ONNX Runtime knows about a model's tensors before anything runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx

from lsa_onnx.errors import ModelError
from lsa_onnx.model import element_name
from lsa_onnx.rewrite import expose
from lsa_onnx.rewrite.graph import dimensions, true_inputs
from lsa_onnx.runtime.devices import Device
from lsa_onnx.runtime.session import Session, SessionPlan

TensorTypes = dict[str, "tuple[str, list[int | str | None] | None]"]

_RUNTIME_NAMES = {"float": "float32", "double": "float64"}


def tensor_types(model: onnx.ModelProto, folder: Path, device: Device) -> TensorTypes:
    """Element type and shape of every tensor that a node of the main graph makes.

    ONNX Runtime infers types for every operator it can run, those of other domains included. It
    reports an unknown rank like a scalar's, so shapes fall back on ONNX's own inference there;
    ``None`` where neither knows.

    Args:
        model: The model, with external tensors in ``folder``.
        folder: Their folder.
        device: Where the model will run: operators are looked up among its kernels.

    Raises:
        ModelError: ONNX Runtime refuses the model.
    """
    names = [name for node in model.graph.node for name in node.output if name]
    plan = SessionPlan(optimisation="none", prepack=False)
    try:
        seen = Session(expose(model, names), device, folder, plan).tensor_types()
    except ModelError:
        # Some kinds of value (optional ones) may not leave a graph; the model must load all the same.
        Session(model, device, folder, plan)
        return _inferred(model)
    inferred = _inferred(model)
    types: TensorTypes = {}
    for name in names:
        kind, shape = seen[name]
        known = inferred.get(name, ("", None))[1]
        types[name] = (_plain_name(kind), list(shape) if shape else known)
    return types


def observed_ranks(
    model: onnx.ModelProto, folder: Path, device: Device, names: Sequence[str]
) -> dict[str, int]:
    """The rank of each tensor in one run on zeros, every free dimension taken as 1.

    For tensors whose rank no inference knows. Empty where the model does not run on such inputs.
    """
    feeds = {}
    for value in true_inputs(model.graph):
        shape = [d if isinstance(d, int) else 1 for d in dimensions(value) or []]
        dtype = onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
        feeds[value.name] = np.zeros(shape, dtype)
    plan = SessionPlan(optimisation="none", prepack=False)
    try:
        values = Session(expose(model, names), device, folder, plan).run(feeds, names)
    except ModelError:
        return {}
    return {name: np.ndim(value) for name, value in values.items()}


def _plain_name(kind: str) -> str:
    """``tensor(float)`` → ``float32``; containers keep ONNX Runtime's spelling."""
    inner = kind.removeprefix("tensor(").removesuffix(")")
    return _RUNTIME_NAMES.get(inner, inner) if kind.startswith("tensor(") else kind


def _inferred(model: onnx.ModelProto) -> TensorTypes:
    try:
        shaped = onnx.shape_inference.infer_shapes(model, data_prop=True)
    except (RuntimeError, ValueError, onnx.shape_inference.InferenceError):
        shaped = model
    found: TensorTypes = {}
    for value in (*shaped.graph.value_info, *shaped.graph.output):
        if value.type.WhichOneof("value") == "tensor_type":
            dtype = element_name(value.type.tensor_type.elem_type)
            found[value.name] = (dtype, dimensions(value))
    return found
