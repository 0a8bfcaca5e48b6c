"""Memory: how much a run will need, and giving back what is no longer used."""

from __future__ import annotations

import ctypes
import ctypes.util
import mmap
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx

from lsa_onnx.rewrite.graph import (
    dimensions,
    inferred,
    node_inputs,
    true_inputs,
    with_input_shapes,
)

MEBIBYTE = 1 << 20
DEFAULT_BUDGET_BYTES = 512 * MEBIBYTE
MAX_BATCH = 256
# Clean and perturbed inputs, what the perturbation makes on the way, and the feed that the runtime copies.
_INPUT_COPIES = 6
_FLOAT_BYTES = 4
# Interpreter, libraries and the sessions' own structures.
_RESERVE_BYTES = 48 * MEBIBYTE


def bytes_per_sample(
    model: onnx.ModelProto, sample_shapes: Mapping[str, Sequence[int]], scored: Mapping[str, int]
) -> int:
    """An upper estimate of what scoring one more sample in a batch needs.

    The twin holds two copies of the activations that are alive at once, and for the tensor being
    scored their difference, in float32 or better (with a copy of both where they are narrower).
    Shapes come from ONNX's inference for a batch of 1; fusions make the true figure smaller.

    Args:
        model: The model that is run.
        sample_shapes: Input name → shape of one sample, without the batch axis.
        scored: Tensor → elements per sample, of the tensors that are scored.
    """
    sizes = tensor_bytes(model, sample_shapes)
    reductions = []
    for name, elements in scored.items():
        stored = sizes.get(name, 0)
        casts = 2 * _FLOAT_BYTES * elements if stored < _FLOAT_BYTES * elements else 0
        sizes[name] = max(stored, _FLOAT_BYTES * elements)
        reductions.append(sizes[name] + casts)
    inputs = sum(sizes.get(v.name, 0) for v in true_inputs(model.graph))
    return 2 * _peak(model.graph, sizes) + max(reductions, default=0) + _INPUT_COPIES * inputs


def gradient_bytes_per_sample(
    model: onnx.ModelProto, sample_shapes: Mapping[str, Sequence[int]]
) -> int:
    """An upper estimate of what one more sample needs in a run that returns gradients.

    What the adjoints read stays alive until they have read it: nearly every activation.

    Args:
        model: The differentiated model.
        sample_shapes: Input name → shape of one sample, without the batch axis.
    """
    sizes = tensor_bytes(model, sample_shapes)
    inputs = sum(sizes.get(v.name, 0) for v in true_inputs(model.graph))
    return _peak(model.graph, sizes) + _INPUT_COPIES * inputs


def batch_size(per_sample: int, budget_bytes: int | None, most: int = MAX_BATCH) -> int:
    """How many samples fit into the budget, 1 to ``most``.

    Without a budget, ``DEFAULT_BUDGET_BYTES`` are taken.
    """
    budget = DEFAULT_BUDGET_BYTES if budget_bytes is None else budget_bytes
    return int(np.clip((budget - _RESERVE_BYTES) // max(per_sample, 1), 1, most))


def estimate_bytes(per_sample: int, batch: int) -> int:
    """What scoring batches of this size needs beyond the plain session, estimated."""
    return _RESERVE_BYTES + per_sample * batch


def give_back_memory() -> None:
    """Return freed heap pages to the system; glibc keeps those of a closed session otherwise.

    Matters for the peak: a model is parsed, optimised and loaded again, and each step would leave
    its pages behind.
    """
    name = ctypes.util.find_library("c") if sys.platform == "linux" else None
    trim = getattr(ctypes.CDLL(name), "malloc_trim", None) if name else None
    if trim is not None:
        trim(0)


def resident_bytes() -> int | None:
    """Resident memory of this process, ``None`` where the system does not tell."""
    status = Path("/proc/self/statm")
    if not status.exists():
        return None
    return int(status.read_text().split()[1]) * mmap.PAGESIZE


def tensor_bytes(
    model: onnx.ModelProto, sample_shapes: Mapping[str, Sequence[int]]
) -> dict[str, int]:
    """Tensor → bytes for one sample; the inputs alone where shapes cannot be inferred."""
    ranks = {value.name: len(dimensions(value) or ()) for value in true_inputs(model.graph)}
    alone = {
        name: (1, *shape) if ranks.get(name) == len(shape) + 1 else tuple(shape)
        for name, shape in sample_shapes.items()
    }
    single = with_input_shapes(model, alone)
    shaped = inferred(single)
    return {
        value.name: _bytes(value)
        for value in (*shaped.graph.value_info, *shaped.graph.output, *shaped.graph.input)
    }


def _bytes(value: onnx.ValueInfoProto) -> int:
    shape = dimensions(value) or []
    numbers = [d if isinstance(d, int) else 1 for d in shape]
    return _item_bytes(value) * int(np.prod(numbers, dtype=np.int64))


def _item_bytes(value: onnx.ValueInfoProto) -> int:
    element = value.type.tensor_type.elem_type
    if element in (onnx.TensorProto.UNDEFINED, onnx.TensorProto.STRING):
        return _FLOAT_BYTES
    return int(onnx.helper.tensor_dtype_to_np_dtype(element).itemsize)


def _peak(graph: onnx.GraphProto, sizes: Mapping[str, int]) -> int:
    """The most bytes alive at once when nodes run in graph order and tensors go after their last reader."""
    last = {name: index for index, node in enumerate(graph.node) for name in node_inputs(node)}
    alive: dict[str, int] = {v.name: sizes.get(v.name, 0) for v in true_inputs(graph)}
    now = peak = sum(alive.values())
    leaving: dict[int, list[str]] = {}
    for name, index in last.items():
        leaving.setdefault(index, []).append(name)
    for index, node in enumerate(graph.node):
        for name in filter(None, node.output):
            alive[name] = sizes.get(name, 0)
            now += alive[name]
        peak = max(peak, now)
        for name in leaving.get(index, ()):
            now -= alive.pop(name, 0)
    return peak
