"""Adjoints are of the element types that ONNX allows, also where no CPU kernel could show it."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

from tests.graphs import ELEMENTS, model, node, value
from tests.rewrite.gradients import pulled_back

# Operator → number of float inputs, attributes. Opset 24 has all of them.
OPERATORS: list[tuple[str, int, dict[str, Any]]] = [
    *((kind, 2, {}) for kind in ("Add", "Sub", "Mul", "Div", "Max", "Mean", "Pow", "PRelu")),
    *((kind, 1, {}) for kind in ("Abs", "Erf", "Exp", "Log", "Reciprocal", "Sqrt", "Tanh", "Tan")),
    *((kind, 1, {}) for kind in ("Acosh", "Asin", "Asinh", "Atan", "Atanh", "Cosh", "Sinh")),
    *((kind, 1, {}) for kind in ("Elu", "HardSigmoid", "HardSwish", "LeakyRelu", "Mish", "Relu")),
    *((kind, 1, {}) for kind in ("Selu", "Sigmoid", "Softplus", "Softsign", "ThresholdedRelu")),
    *((kind, 1, {}) for kind in ("Gelu", "LogSoftmax", "Softmax", "LpNormalization")),
    ("Gelu", 1, {"approximate": "tanh"}),
    ("Clip", 3, {}),
    ("CumSum", 1, {}),
    ("Mod", 2, {"fmod": 1}),
    ("Swish", 1, {"alpha": 2.0}),
    ("BatchNormalization", 1, {}),
    ("InstanceNormalization", 3, {}),
    ("GroupNormalization", 3, {"num_groups": 2}),
    ("LayerNormalization", 3, {}),
    ("RMSNormalization", 2, {}),
    ("LRN", 1, {"size": 3}),
    *(
        (f"Reduce{kind}", 1, {"keepdims": 0})
        for kind in ("L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Prod", "Sum", "SumSquare")
    ),
]
SHAPES = {
    "Clip": [[2, 4, 3], [], []],
    "BatchNormalization": [[2, 4, 3]] + [[4]] * 4,
    "InstanceNormalization": [[2, 4, 3], [4], [4]],
    "GroupNormalization": [[2, 4, 3], [4], [4]],
    "LayerNormalization": [[2, 4, 3], [3], [3]],
    "RMSNormalization": [[2, 4, 3], [3]],
}


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float64"])
@pytest.mark.parametrize(("kind", "active", "attributes"), OPERATORS)
def test_every_adjoint_has_the_type_of_its_tensor(
    kind: str, active: int, attributes: dict[str, Any], dtype: str
) -> None:
    shapes = SHAPES.get(kind, [[2, 4, 3]] * active)
    names = [f"x{index}" for index in range(len(shapes))]
    inputs = [value(name, shape, dtype) for name, shape in zip(names, shapes, strict=True)]
    weights = {"axis": np.array(1, np.int64)} if kind == "CumSum" else {}
    proto = model(
        [node(kind, [*names, *weights], ["y"], **attributes)],
        inputs,
        [value("y", None, dtype)],
        weights,
        opset=24,
    )
    pulled, gradients, _ = pulled_back(proto, names[:active])
    assert sorted(gradients) == names[:active]
    # The declared types would hide what the nodes make.
    for output in pulled.graph.output:
        output.type.Clear()
    inferred = onnx.shape_inference.infer_shapes(pulled, check_type=True, strict_mode=True)
    found = {output.name: output.type.tensor_type.elem_type for output in inferred.graph.output}
    assert set(found.values()) == {ELEMENTS[dtype]}
