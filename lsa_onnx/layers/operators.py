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
    "AttnLSTM": (1,),
    "CausalConvWithState": (1,),
    "ConvTransposeWithDynamicPads": (1,),
    "DecoderAttention": (2, 3),
    "DecoderMaskedSelfAttention": (1,),
    "DynamicQuantizeLSTM": (1,),
    "DynamicQuantizeMatMul": (1,),
    "FusedConv": (1,),
    "FusedGemm": (0, 1),
    "FusedMatMul": (0, 1),
    "FusedMatMulActivation": (0, 1),
    "GemmFastGelu": (1,),
    "GemmFloat8": (0, 1),
    "LongformerAttention": (1,),
    "MatMulBlockQuantizedFp4Weight": (1,),
    "MatMulBlockQuantizedFp8Weight": (1,),
    "MatMulBnb4": (1,),
    "MatMulFpQ4": (1,),
    "MatMulInteger16": (0, 1),
    "MatMulIntegerToFloat": (1,),
    "MatMulNBits": (1,),
    "MatMulNBitsMlp": (3, 6),
    "MatMulNBitsQkv": (3, 6, 9),
    "MoE": (2, 4, 6),
    "NhwcConv": (1,),
    "NhwcFusedConv": (1,),
    "PackedAttention": (1,),
    "QAttention": (1,),
    "QGemm": (3,),
    "QMoE": (2, 5, 8),
    "QOrderedMatMul": (0, 2),
    "SparseToDenseMatMul": (0, 1),
    "TransposeMatMul": (0, 1),
    "WordConvEmbedding": (1,),
}

# Of two representations they make one that no layer made alone (attention).
PRODUCTS = frozenset(
    {
        "Attention",
        "Einsum",
        "MatMul",
        "MatMulInteger",
        "QLinearMatMul",
        # com.microsoft
        "DecoderMaskedMultiHeadAttention",
        "DynamicQuantizeMatMul",
        "FusedMatMul",
        "FusedMatMulActivation",
        "GroupQueryAttention",
        "LinearAttention",
        "MatMulIntegerToFloat",
        "MultiHeadAttention",
        "PackedMultiHeadAttention",
        "PagedAttention",
        "SparseAttention",
        "TransposeMatMul",
    }
)

# Fused operators that apply their activation themselves.
SELF_ACTIVATED = frozenset(
    {
        "AttnLSTM",
        "DynamicQuantizeLSTM",
        "FusedConv",
        "FusedGemm",
        "FusedMatMulActivation",
        "GRU",
        "GemmFastGelu",
        "LSTM",
        "MatMulNBitsMlp",
        "MoE",
        "NhwcFusedConv",
        "QMoE",
        "RNN",
    }
)

ACTIVATIONS = frozenset(
    {
        "BiasGelu",
        "BiasSplitGelu",
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
        "ScaledSiLU",
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
GATES = frozenset({"Clip", "Erf", "HardSigmoid", "QLinearSigmoid", "Sigmoid", "Softplus", "Tanh"})
GATE_PRODUCTS = frozenset({"Mul", "QLinearMul"})

# A last layer behind one of these is an output head, not a hidden representation.
HEAD_ACTIVATIONS = frozenset({"HardSigmoid", "QLinearSigmoid", "Sigmoid", "Tanh"})

# Affine maps that belong to the layer before them where their other operand is constant.
ARITHMETIC = frozenset(
    {"Add", "BiasAdd", "Div", "Mul", "Pow", "QLinearAdd", "QLinearMul", "Sub", "Sum"}
)

NORMALISATIONS = frozenset(
    {
        "BatchNormalization",
        "GroupNormalization",
        "InstanceNormalization",
        "LRN",
        "LayerNormalization",
        "LpNormalization",
        "MeanVarianceNormalization",
        "RMSNormalization",
        # com.microsoft
        "BranchwiseRMSNorm",
        "GroupNorm",
        "SimplifiedLayerNormalization",
        "SkipGroupNorm",
        "SkipLayerNormalization",
        "SkipSimplifiedLayerNormalization",
    }
)

# What may stand between a layer and its activation: the representation is still that layer's.
PASS_THROUGH = (
    NORMALISATIONS
    | ARITHMETIC
    | frozenset(
        {
            "AveragePool",
            "BiasDropout",
            "Cast",
            "DequantizeLinear",
            "Dropout",
            "Flatten",
            "Identity",
            "MaxPool",
            "NhwcMaxPool",
            "Pad",
            "QLinearAveragePool",
            "QuantizeLinear",
            "Reshape",
            "Squeeze",
            "Transpose",
            "Unsqueeze",
            # ai.onnx.ml
            "Imputer",
            "Normalizer",
            "Scaler",
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
VALUE_SHAPED = frozenset(
    {
        "Compress",
        "ImageDecoder",
        "NonMaxSuppression",
        "NonZero",
        "StringNormalizer",
        "StringSplit",
        "Unique",
        # com.microsoft
        "BeamSearch",
        "GreedySearch",
        "RemovePadding",
        "Sampling",
        "WhisperBeamSearch",
    }
)

# Positions of inputs whose values decide how large the outputs are.
SHAPE_SLOTS: dict[str, tuple[int, ...]] = {
    "AffineGrid": (1,),
    "BlackmanWindow": (0,),
    "CenterCropPad": (1,),
    "Col2Im": (1, 2),
    "ConstantOfShape": (0,),
    "DFT": (1,),
    "Expand": (1,),
    "HammingWindow": (0,),
    "HannWindow": (0,),
    "If": (0,),
    "Loop": (0, 1),
    "MaxUnpool": (2,),
    "MelWeightMatrix": (0, 1),
    "OneHot": (1,),
    "Pad": (1,),
    "Range": (0, 1, 2),
    "Reshape": (1,),
    "Resize": (1, 2, 3),
    "STFT": (1, 3),
    # Members differ in size: which one it is decides.
    "SequenceAt": (1,),
    "SequenceErase": (1,),
    "SequenceInsert": (2,),
    "Slice": (1, 2, 3, 4),
    "Split": (1,),
    "SplitToSequence": (1,),
    "Tile": (1,),
    "TopK": (1,),
    "Upsample": (1,),
    # com.microsoft
    "ConvTransposeWithDynamicPads": (2,),
    "CropAndResize": (3,),
    "ExpandDims": (1,),
    "RelativePositionBias": (1, 2),
}

# Positions of scales and zero points: constants of a learnable node that are no weights of it.
SCALE_SLOTS: dict[str, tuple[int, ...]] = {
    "ConvInteger": (2, 3),
    "DynamicQuantizeMatMul": (2, 3),
    "MatMulInteger": (2, 3),
    "MatMulIntegerToFloat": (2, 3, 4, 5),
    "QAttention": (3, 4, 6, 7),
    "QGemm": (1, 2, 4, 5, 7, 8),
    "QLinearConv": (1, 2, 4, 5, 6, 7),
    "QLinearMatMul": (1, 2, 4, 5, 6, 7),
}
