"""Operator families: what learns, what is an activation, what passes a representation through."""

from __future__ import annotations

import onnx

# Operators whose weights are learned, with the positions those weights can take among the inputs.
LEARNABLE: dict[str, tuple[int, ...]] = {
    "Conv": (1,),
    "ConvTranspose": (1,),
    "ConvInteger": (1,),
    "DeformConv": (1,),
    "QLinearConv": (3,),
    "Gemm": (0, 1),
    "MatMul": (0, 1),
    "MatMulInteger": (0, 1),
    "QLinearMatMul": (0, 3),
    "LSTM": (1,),
    "GRU": (1,),
    "RNN": (1,),
    # com.microsoft
    "Attention": (1,),
    "DynamicQuantizeMatMul": (1,),
    "FusedConv": (1,),
    "FusedGemm": (0, 1),
    "FusedMatMul": (0, 1),
    "MatMulIntegerToFloat": (1,),
    "MatMulNBits": (1,),
    "NhwcConv": (1,),
    "NhwcFusedConv": (1,),
    "QAttention": (1,),
    "QGemm": (3,),
}

# Of two representations they make one that no layer made alone (attention).
PRODUCTS = frozenset({"Attention", "Einsum", "MatMul"})

# Fused operators that apply their activation themselves.
SELF_ACTIVATED = frozenset({"LSTM", "GRU", "RNN", "FusedGemm", "FusedConv", "NhwcFusedConv"})

ACTIVATIONS = frozenset(
    {
        "BiasGelu",
        "Celu",
        "Clip",
        "Elu",
        "Erf",
        "FastGelu",
        "Gelu",
        "HardSigmoid",
        "HardSwish",
        "LeakyRelu",
        "Mish",
        "PRelu",
        "QLinearLeakyRelu",
        "QLinearSigmoid",
        "QuickGelu",
        "Relu",
        "Selu",
        "Shrink",
        "Sigmoid",
        "Softplus",
        "Softsign",
        "Swish",
        "Tanh",
        "ThresholdedRelu",
    }
)

# Activations that exporters use as one factor of a gate: SiLU is the product of x and its sigmoid,
# GELU that of x and 1 + Erf, Mish has Tanh and Softplus, HardSwish a Clip of x + 3.
GATES = frozenset({"Clip", "Erf", "HardSigmoid", "Sigmoid", "Softplus", "Tanh"})

# A last layer behind one of these is an output head, not a hidden representation.
HEAD_ACTIVATIONS = frozenset({"Sigmoid", "Tanh", "HardSigmoid"})

# Affine maps that belong to the layer before them where their other operand is constant.
ARITHMETIC = frozenset({"Add", "Sub", "Mul", "Div", "Pow", "Sum"})

NORMALISATIONS = frozenset(
    {
        "BatchNormalization",
        "GroupNormalization",
        "InstanceNormalization",
        "LayerNormalization",
        "RMSNormalization",
        "SimplifiedLayerNormalization",
        "LRN",
    }
)

# What may stand between a layer and its activation: the representation is still that layer's.
PASS_THROUGH = (
    NORMALISATIONS
    | ARITHMETIC
    | frozenset(
        {
            "AveragePool",
            "Cast",
            "DequantizeLinear",
            "Dropout",
            "Flatten",
            "Identity",
            "MaxPool",
            "Pad",
            "QLinearAdd",
            "QuantizeLinear",
            "Reshape",
            "Squeeze",
            "Transpose",
            "Unsqueeze",
        }
    )
)

# Types that are scored, with their ONNX element types.
FLOAT_ELEMENTS: dict[str, int] = {
    "float16": onnx.TensorProto.FLOAT16,
    "bfloat16": onnx.TensorProto.BFLOAT16,
    "float32": onnx.TensorProto.FLOAT,
    "float64": onnx.TensorProto.DOUBLE,
}
FLOAT_TYPES = frozenset(FLOAT_ELEMENTS)

# They draw new numbers in every run.
RANDOM = frozenset(
    {
        "Bernoulli",
        "Multinomial",
        "RandomNormal",
        "RandomNormalLike",
        "RandomUniform",
        "RandomUniformLike",
    }
)

# The values of their inputs decide how many elements they return.
VALUE_SHAPED = frozenset({"Compress", "NonMaxSuppression", "NonZero", "Unique"})

# Positions of inputs whose values decide how large the outputs are.
SHAPE_SLOTS: dict[str, tuple[int, ...]] = {
    "CenterCropPad": (1,),
    "ConstantOfShape": (0,),
    "Expand": (1,),
    "If": (0,),
    "Loop": (0, 1),
    "OneHot": (1,),
    "Pad": (1,),
    "Range": (0, 1, 2),
    "Reshape": (1,),
    "Resize": (2, 3),
    "Slice": (1, 2, 3, 4),
    "Split": (1,),
    "Tile": (1,),
    "TopK": (1,),
    "Upsample": (1,),
}
