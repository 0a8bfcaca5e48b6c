"""What ONNX Runtime knows about a model's tensors before anything runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx

from lsa_onnx.errors import ModelError
from lsa_onnx.layers.survey import Inside, Survey
from lsa_onnx.model import element_name
from lsa_onnx.rewrite import expose
from lsa_onnx.rewrite.bodies import Body, bodies
from lsa_onnx.rewrite.carry_out import CarriedOut, carry_out
from lsa_onnx.rewrite.graph import (
    copy_model,
    dimensions,
    forget_output_shapes,
    inferred,
    made_in,
    true_inputs,
    with_input_shapes,
)
from lsa_onnx.rewrite.readings import Readings
from lsa_onnx.runtime.devices import Device
from lsa_onnx.runtime.session import Session, SessionPlan

TensorType = tuple[str, "list[int | str | None] | None"]
TensorTypes = dict[str, TensorType]

_AS_IT_IS = SessionPlan(optimisation="none", prepack=False)

_RUNTIME_NAMES = {"float": "float32", "double": "float64"}


def survey(model: onnx.ModelProto, folder: Path, device: Device) -> Survey:
    """What the runtime knows of every tensor of ``model``, those of If, Loop and Scan bodies included.

    Args:
        model: The model, with external tensors in ``folder``.
        folder: Their folder.
        device: Where the model will run: operators are looked up among its kernels.

    Raises:
        ModelError: ONNX Runtime refuses the model.
    """
    found = bodies(model)
    if not found:
        return Survey.of_graph(model, tensor_types(model, folder, device))
    carried, refused = _carried(model, found, folder, device)
    types = tensor_types(carried.model, folder, device)
    inside = tuple(_inside(body, carried, types, refused) for body in found)
    return Survey(model, types, Readings(carried.model, types), inside)


def _carried(
    model: onnx.ModelProto, found: Sequence[Body], folder: Path, device: Device
) -> tuple[CarriedOut, str]:
    """What can be carried out of bodies, and why the rest cannot where ONNX Runtime refuses it."""
    wanted = {body.path: made_in(body.graph) for body in found}
    carried = carry_out(model, wanted)
    try:
        _session(carried.model, list(carried.names.values()), folder, device)
    except ModelError as error:
        return carry_out(model, {}), f"ONNX Runtime cannot return it from its body ({error})"
    return carried, ""


def _inside(body: Body, carried: CarriedOut, types: TensorTypes, refused: str) -> Inside:
    own = made_in(body.graph)
    names = {
        tensor: carried.names[body.path, tensor]
        for tensor in own
        if (body.path, tensor) in carried.names
    }
    reasons = {
        tensor: carried.refused.get((body.path, tensor), refused)
        for tensor in own
        if tensor not in names
    }
    known = {tensor: _of_one_execution(types[name]) for tensor, name in names.items()}
    return Inside(body, known, names, reasons)


def _of_one_execution(found: TensorType) -> TensorType:
    """Type and shape without the axis of executions in front."""
    dtype, shape = found
    return dtype, shape[1:] if shape else None


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
    names = made_in(model.graph)
    # What a model declares of its outputs may be more than is true for all inputs.
    undeclared = copy_model(model)
    forget_output_shapes(undeclared)
    try:
        seen = _session(undeclared, names, folder, device).tensor_types()
    except ModelError:
        # Some kinds of value (optional ones) may not leave a graph; the model must load all the same.
        _session(model, [], folder, device)
        return _inferred(model)
    shapes = _inferred(undeclared)
    types: TensorTypes = {}
    for name in names:
        kind, shape = seen[name]
        known = shapes.get(name, ("", None))[1]
        types[name] = (_plain_name(kind), list(shape) if shape else known)
    return types


def shapes_for(
    model: onnx.ModelProto, folder: Path, device: Device, shapes: Mapping[str, Sequence[int]]
) -> dict[str, list[int | str | None] | None]:
    """The shape of every tensor of the main graph when the inputs have these ``shapes``.

    Raises:
        ModelError: ONNX Runtime refuses the model with them.
    """
    types = tensor_types(with_input_shapes(model, shapes), folder, device)
    return {name: shape for name, (_, shape) in types.items()}


def _session(model: onnx.ModelProto, names: Sequence[str], folder: Path, device: Device) -> Session:
    return Session(expose(model, names), device, folder, _AS_IT_IS)


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
    try:
        values = _session(model, names, folder, device).run(feeds, names)
    except ModelError:
        return {}
    return {name: np.ndim(value) for name, value in values.items()}


def _plain_name(kind: str) -> str:
    """``tensor(float)`` → ``float32``; containers keep ONNX Runtime's spelling."""
    inner = kind.removeprefix("tensor(").removesuffix(")")
    return _RUNTIME_NAMES.get(inner, inner) if kind.startswith("tensor(") else kind


def _inferred(model: onnx.ModelProto) -> TensorTypes:
    shaped = inferred(model)
    found: TensorTypes = {}
    for value in (*shaped.graph.value_info, *shaped.graph.output):
        if value.type.WhichOneof("value") == "tensor_type":
            dtype = element_name(value.type.tensor_type.elem_type)
            found[value.name] = (dtype, dimensions(value))
    return found
