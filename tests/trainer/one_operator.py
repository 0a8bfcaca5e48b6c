"""One operator, run by its table function and by ONNX Runtime on the same inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import torch
from numpy.typing import NDArray
from onnx import helper

from lsa_trainer.ops.registry import Op, attributes_for, find
from tests.graphs import model, node

Array = NDArray[Any]


def on_torch(kind: str, inputs: Sequence[Array | None], opset: int = 21, **how: Any) -> list[Array]:
    """The outputs that the table function gives; see ``compare`` for the arguments."""
    proto = _node(kind, inputs, **how)
    entry = find(proto, opset)
    assert entry is not None, f"{kind} is not in the table"
    assert entry.refuse is None or entry.refuse(Op(proto, opset)) is None
    forms = [*entry.forms, *[entry.rest or "Tensor"] * len(inputs)]
    given = [_as(form, array) for form, array in zip(forms, inputs, strict=False)]
    keywords = attributes_for(entry, Op(proto, opset))
    called = partial(entry.function, **keywords)
    result = called().eval()(*given) if entry.is_module else called(*given)
    results = result if isinstance(result, tuple) else (result,)
    return [r.detach().numpy() for r in results]


def on_runtime(
    kind: str, inputs: Sequence[Array | None], opset: int = 21, **how: Any
) -> list[Array]:
    """The outputs that ONNX Runtime gives."""
    proto = _node(kind, inputs, **how)
    feeds = {f"i{i}": array for i, array in enumerate(inputs) if array is not None}
    declared = [
        helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
        for n, a in feeds.items()
    ]
    results = [onnx.ValueInfoProto(name=name) for name in proto.output if name]
    imports = {proto.domain: 1} if proto.domain else None
    whole = model([proto], declared, results, opset=opset, ir=10, imports=imports)
    session = ort.InferenceSession(whole.SerializeToString(), providers=["CPUExecutionProvider"])
    return list(session.run(None, feeds))


def compare(
    kind: str,
    inputs: Sequence[Array | None],
    *,
    opset: int = 21,
    tolerance: float = 1e-5,
    **how: Any,
) -> None:
    """Hold the table function to ONNX Runtime.

    Args:
        kind: The operator.
        inputs: Its inputs in order, ``None`` for one that is left out.
        opset: Of the model.
        tolerance: Relative to the largest value.
        how: ``domain``, ``outputs`` (how many the node has) and attributes.
    """
    ours = on_torch(kind, inputs, opset, **how)
    theirs = on_runtime(kind, inputs, opset, **how)
    for index, (a, b) in enumerate(zip(ours, theirs, strict=False)):
        assert a.shape == b.shape, f"output {index}: {a.shape} for {b.shape}"
        assert a.dtype == b.dtype, f"output {index}: {a.dtype} for {b.dtype}"
        scale = max(1.0, float(np.max(np.abs(b), initial=0))) if b.dtype.kind == "f" else 1.0
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance * scale)


def slope_error(function: Any, *inputs: torch.Tensor) -> None:
    """Hold the gradient of ``function`` at doubles to differences."""
    assert torch.autograd.gradcheck(function, inputs)


def _node(kind: str, inputs: Sequence[Array | None], **how: Any) -> onnx.NodeProto:
    names: Mapping[int, str] = {i: f"i{i}" for i, a in enumerate(inputs) if a is not None}
    results = [f"o{i}" for i in range(how.pop("outputs", 1))]
    made: onnx.NodeProto = node(
        kind, [names.get(i, "") for i in range(len(inputs))], results, **how
    )
    return made


def _as(form: str, array: Array | None) -> Any:
    if array is None:
        return None
    if form in ("Ints", "Floats"):
        return array.reshape(-1).tolist()
    if form == "Scalar" and array.size == 1:
        return array.reshape(-1)[0].item()
    return torch.from_numpy(np.array(array))
