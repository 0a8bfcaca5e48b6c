"""Normalisations: over the features of a token, over groups of channels, over windows of channels."""

from __future__ import annotations

from collections.abc import Sequence

import onnx

from lsa_onnx.rewrite.expand import activations
from lsa_onnx.rewrite.expand.builder import HALVES, MICROSOFT, Builder, Expansion, NotExpandable
from lsa_onnx.rewrite.expand.fused import channels_first, channels_last


def standardised(
    b: Builder, x: str, axes: Sequence[int], epsilon: float, *, centred: bool = True
) -> tuple[str, str, str]:
    """``x`` less its mean, over its deviation, along ``axes``.

    Args:
        b: Where the nodes go.
        x: The tensor.
        axes: What to average over.
        epsilon: Added to the variance.
        centred: Whether the mean is taken away at all; the "variance" is the mean square otherwise.

    Returns:
        The result, the mean (``""`` if nothing was taken away) and one over the deviation.
    """
    mean = b("ReduceMean", x, axes, keepdims=1) if centred else ""
    rest = b("Sub", x, mean) if centred else x
    variance = b("ReduceMean", b("Mul", rest, rest), axes, keepdims=1)
    inverse = b("Reciprocal", b("Sqrt", b("Add", variance, epsilon)))
    return b("Mul", rest, inverse), mean, inverse


def layer_norm(
    b: Builder,
    x: str,
    scale: str,
    bias: str,
    *,
    kind: int,
    epsilon: float,
    axes: tuple[int, ...] = (-1,),
    centred: bool = True,
) -> tuple[str, str, str]:
    """``standardised`` in single precision at least; scaled, and shifted if there is a bias.

    ``kind`` is the element type of ``x``.
    """
    half = kind in HALVES
    b.dtype = onnx.TensorProto.FLOAT if half else kind
    wide = b.cast(x, onnx.TensorProto.FLOAT) if half else x
    y, mean, inverse = standardised(b, wide, axes, epsilon, centred=centred)
    y = b("Mul", b.cast(y, kind) if half else y, scale)
    return b("Add", y, bias) if bias else y, mean, inverse


def _axes_from(b: Builder, x: str) -> tuple[int, ...]:
    """The last axes, from the node's ``axis`` on, counted from the end."""
    axis = b.attribute("axis", -1)
    return tuple(range(axis - b.rank(x) if axis >= 0 else axis, 0))


def _layer_normalization(b: Builder) -> list[str]:
    x = b.input(0)
    kind = b.element(x)
    if b.attribute("stash_type", 1) != 1 and kind in HALVES:
        raise NotExpandable("the statistics are wanted in half precision")
    epsilon, axes = b.attribute("epsilon", 1e-5), _axes_from(b, x)
    return [*layer_norm(b, x, b.input(1), b.input(2), kind=kind, epsilon=epsilon, axes=axes)]


def _rms_normalization(b: Builder) -> list[str]:
    """Both ONNX's operator and ONNX Runtime's ``SimplifiedLayerNormalization``."""
    x = b.input(0)
    kind, epsilon, axes = b.element(x), b.attribute("epsilon", 1e-5), _axes_from(b, x)
    y, _, inverse = layer_norm(
        b, x, b.input(1), "", kind=kind, epsilon=epsilon, axes=axes, centred=False
    )
    return [y, inverse]


def _skip_norm(b: Builder, beta: str, bias: str, *, centred: bool) -> list[str]:
    """The norm of a sum, and the sum itself."""
    total = b("Add", b.input(0), b.input(1))
    if bias:
        total = b("Add", total, bias)
    kind, epsilon = b.element(b.input(0)), b.attribute("epsilon", 1e-12)
    y, mean, inverse = layer_norm(
        b, total, b.input(2), beta, kind=kind, epsilon=epsilon, centred=centred
    )
    return [y, mean or inverse, inverse, total]


def _embed_layer_norm(b: Builder) -> list[str]:
    """Word, position and segment embeddings, their sum and its norm; and the lengths of the mask."""
    ids, words, positions = b.input(0), b.input(2), b.input(3)
    first = "" if b.has(8) else b("Slice", positions, [0], b.dims(ids, 1), [0])
    total = b("Add", b("Gather", words, ids), first or b("Gather", positions, b.input(8)))
    if b.has(4) and b.has(1):
        total = b("Add", total, b("Gather", b.input(4), b.input(1)))
    kind, epsilon = b.element(words), b.attribute("epsilon", 1e-12)
    y, _, _ = layer_norm(b, total, b.input(5), b.input(6), kind=kind, epsilon=epsilon)
    return [y, _lengths(b, ids), total]


def _lengths(b: Builder, ids: str) -> str:
    """How many tokens of each sample the mask keeps (n,); 0 where there is no mask."""
    int32 = onnx.TensorProto.INT32
    one = b.scalar(1, int32)
    kept = b("Equal", b.input(7), one) if b.has(7) else b("Less", ids, ids)
    return b("ReduceSum", b.cast(kept, int32), [1], keepdims=0)


def _per_channel(b: Builder, x: str, scale: str, shift: str) -> str:
    """``x`` (n, c, pixels) times ``scale`` plus ``shift``, both (c,)."""
    return b("Add", b("Mul", x, b("Unsqueeze", scale, [1])), b("Unsqueeze", shift, [1]))


def _instance_normalization(b: Builder) -> str:
    x, flat = b.input(0), b("Reshape", b.input(0), [0, 0, -1])
    y, _, _ = standardised(b, flat, (2,), b.attribute("epsilon", 1e-5))
    return b("Reshape", _per_channel(b, y, b.input(1), b.input(2)), b("Shape", x))


def _group_norm(b: Builder, x: str) -> str:
    """ONNX Runtime's: NHWC unless it says otherwise, then maybe a SiLU; parameters may be wider."""
    last, wide, kind = b.attribute("channels_last", 1), b.element(b.input(1)), b.element(b.input(0))
    x = b.cast(channels_first(b, x) if last else x, wide)
    b.dtype = wide
    grouped = b("Reshape", x, [0, b.attribute("groups", 0), -1])
    y, _, _ = standardised(b, grouped, (2,), b.attribute("epsilon", 1e-5))
    y = b("Reshape", y, b.concat_dims(b("Shape", x, end=2), [-1]))
    y = b("Reshape", _per_channel(b, y, b.input(1), b.input(2)), b("Shape", x))
    if b.attribute("activation", 0):
        y = activations.silu(b, y)
    return b.cast(channels_last(b, y) if last else y, kind)


def _skip_group_norm(b: Builder) -> list[str]:
    """The norm of a sum, and the sum; what is added may be one value per channel (n, c)."""
    skip = b.input(3)
    if b.rank(skip) == 2:
        skip = b("Unsqueeze", skip, [1, 2])
    total = b("Add", b.input(0), skip)
    if b.has(4):
        total = b("Add", total, b.input(4))
    return [_group_norm(b, total), total]


def _batch_normalization(b: Builder) -> str:
    """With the stored statistics, as at inference."""
    if b.attribute("training_mode", 0) or b.wants(1):
        raise NotExpandable("statistics of the batch are wanted")
    x, scale, shift, mean, variance = (b.input(index) for index in range(5))
    deviation = b("Sqrt", b("Add", variance, b.attribute("epsilon", 1e-5)))
    factor = b("Div", scale, deviation)
    offset = b("Sub", shift, b("Mul", mean, factor))
    y = _per_channel(b, b("Reshape", x, [0, 0, -1]), factor, offset)
    return b("Reshape", y, b("Shape", x))


def _mean_variance_normalization(b: Builder) -> str:
    """The deviation, not the variance, has a small number added."""
    x, axes = b.input(0), b.attribute("axes", [0, 2, 3])
    rest = b("Sub", x, b("ReduceMean", x, axes, keepdims=1))
    deviation = activations.root(b, b("ReduceMean", b("Mul", rest, rest), axes, keepdims=1))
    return b("Div", rest, b("Add", deviation, 1e-9))


def _local_response_normalization(b: Builder) -> str:
    """Squares averaged over a window of channels: a pooling over (n, 1, c, pixels)."""
    x, size = b.input(0), b.attribute("size", 1)
    shape = b.concat_dims([0, 1], b.dims(x, 1, 2), [-1])
    squares = b("Reshape", b("Mul", x, x), shape)
    before = (size - 1) // 2
    pads = [before, 0, size - 1 - before, 0]
    mean = b("AveragePool", squares, kernel_shape=[size, 1], pads=pads, count_include_pad=1)
    alpha, bias = b.attribute("alpha", 1e-4), b.attribute("bias", 1.0)
    base = b("Add", b("Mul", b("Reshape", mean, b("Shape", x)), alpha), bias)
    return b("Div", x, b("Pow", base, b.attribute("beta", 0.75)))


def _lp_normalization(b: Builder) -> str:
    """Over the norm along one axis; zeros stay zeros."""
    x, axis = b.input(0), [b.attribute("axis", -1)]
    if b.attribute("p", 2) == 1:
        norm = b("ReduceSum", b("Abs", x), axis, keepdims=1)
    else:
        norm = activations.root(b, b("ReduceSum", b("Mul", x, x), axis, keepdims=1))
    return b("Div", x, b("Where", b("Equal", norm, 0.0), 1.0, norm))


EXPANSIONS: dict[tuple[str, str], Expansion] = {
    ("", "BatchNormalization"): _batch_normalization,
    ("", "InstanceNormalization"): _instance_normalization,
    ("", "LRN"): _local_response_normalization,
    ("", "LayerNormalization"): _layer_normalization,
    ("", "LpNormalization"): _lp_normalization,
    ("", "MeanVarianceNormalization"): _mean_variance_normalization,
    ("", "RMSNormalization"): _rms_normalization,
    ("", "SimplifiedLayerNormalization"): _rms_normalization,
    (MICROSOFT, "EmbedLayerNormalization"): _embed_layer_norm,
    (MICROSOFT, "GroupNorm"): lambda b: _group_norm(b, b.input(0)),
    (MICROSOFT, "LayerNormalization"): _layer_normalization,
    (MICROSOFT, "SimplifiedLayerNormalization"): _rms_normalization,
    (MICROSOFT, "SkipGroupNorm"): _skip_group_norm,
    (MICROSOFT, "SkipLayerNormalization"): lambda b: _skip_norm(
        b, b.input(3), b.input(4), centred=True
    ),
    (MICROSOFT, "SkipSimplifiedLayerNormalization"): lambda b: _skip_norm(
        b, "", b.input(3), centred=False
    ),
}
