"""What a constant is to the operator that reads it, by the place at which it is read."""

from __future__ import annotations

from collections.abc import Mapping

from onnx import TensorProto

FLOATS = frozenset(
    {TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.BFLOAT16}
)
# Operator → the inputs at which a constant is a weight.
SLOTS: Mapping[str, frozenset[int]] = {
    "BatchNormalization": frozenset({1, 2}),
    "BiasGelu": frozenset({1}),
    "Conv": frozenset({1, 2}),
    "ConvTranspose": frozenset({1, 2}),
    "DeformConv": frozenset({1, 3}),
    "Einsum": frozenset(range(8)),
    "FusedConv": frozenset({1, 2}),
    "FusedGemm": frozenset({0, 1, 2}),
    "FusedMatMul": frozenset({0, 1}),
    "GRU": frozenset({1, 2, 3, 5}),
    "Gather": frozenset({0}),
    "Gemm": frozenset({0, 1, 2}),
    "GroupNormalization": frozenset({1, 2}),
    "InstanceNormalization": frozenset({1, 2}),
    "LSTM": frozenset({1, 2, 3, 5, 6, 7}),
    "LayerNormalization": frozenset({1, 2}),
    "MatMul": frozenset({0, 1}),
    "PRelu": frozenset({1}),
    "RMSNormalization": frozenset({1}),
    "RNN": frozenset({1, 2, 3, 5}),
    "SimplifiedLayerNormalization": frozenset({1}),
}
# They mix the features of a sample: what comes after them is no pixel any more.
LINEAR = frozenset(SLOTS) - {"BatchNormalization", "InstanceNormalization", "PRelu", "Gather"}
STATISTICS = {"BatchNormalization": frozenset({3, 4})}
# What is read here says how other numbers are changed: it is none of those.
SETTINGS = {
    "Clip": frozenset({1, 2}),
    "DequantizeLinear": frozenset({1, 2}),
    "Pow": frozenset({1}),
    "QuantizeLinear": frozenset({1, 2}),
}
# Where integers stand for a weight.
QUANTISED: Mapping[str, frozenset[int]] = {
    "ConvInteger": frozenset({1}),
    "DequantizeLinear": frozenset({0}),
    "MatMulInteger": frozenset({1}),
}
# First states, which are weights unless all values are alike: then nobody has learnt them.
STATES: Mapping[str, frozenset[int]] = {
    "GRU": frozenset({5}),
    "LSTM": frozenset({5, 6}),
    "RNN": frozenset({5}),
}
# They hand on a weight of a single number as it is.
MOVING = frozenset(
    {
        "Cast",
        "Concat",
        "Flatten",
        "Identity",
        "Reshape",
        "Slice",
        "Split",
        "Squeeze",
        "Transpose",
        "Unsqueeze",
    }
)
# A constant of several values here is a bias or a scale, unless it meets the input itself. So is one
# beside features in a Concat (the token of a class), unless it is padding: all values alike.
ELEMENTWISE = frozenset({"Add", "Sub", "Mul", "Div"})
