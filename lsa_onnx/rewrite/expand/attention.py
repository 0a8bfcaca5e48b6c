"""ONNX Runtime's attention operators, without a past, and its rotary embedding."""

from __future__ import annotations

import numpy as np
import onnx

from lsa_onnx.rewrite.expand.builder import MICROSOFT, Builder, Expansion, NotExpandable, Operand

_LOWEST = float(np.finfo(np.float32).min)


def _heads(b: Builder, x: str) -> str:
    """(n, tokens, heads × size) as (n, heads, tokens, size)."""
    split = b("Reshape", x, [0, 0, b.attribute("num_heads", 0), -1])
    return b("Transpose", split, perm=[0, 2, 1, 3])


def _joined(b: Builder, x: str) -> str:
    """(n, heads, tokens, size) as (n, tokens, heads × size)."""
    return b("Reshape", b("Transpose", x, perm=[0, 2, 1, 3]), [0, 0, -1])


def _scores(b: Builder, query: str, key: str) -> str:
    """Scaled products (n, heads, queries, keys) of what ``_heads`` returns."""
    products = b("MatMul", query, b("Transpose", key, perm=[0, 1, 3, 2]))
    scale = b.attribute("scale", 0.0)
    if scale:
        return b("Mul", products, scale)
    return b("Div", products, b("Sqrt", b.cast(b.dims(query, 3), b.dtype)))


def _token_numbers(b: Builder, x: str) -> str:
    """0, 1, … for each token of (n, heads, tokens, size)."""
    count = b("Squeeze", b.dims(x, 2, 3))
    zero, one = (b.scalar(number, onnx.TensorProto.INT64) for number in (0, 1))
    return b("Range", zero, count, one)


def _kept_by_lengths(b: Builder, mask: str, query: str, key: str) -> str:
    """Which keys (n, 1, 1, keys) lie before the end, and not before the start if there are starts.

    ``mask`` holds n ends, or n ends and n starts.
    """
    count, place = b("Shape", query, end=1), _token_numbers(b, key)
    bounds = b("Reshape", b.cast(mask, onnx.TensorProto.INT64), b.concat_dims([-1], count, [1]))
    before_end = b("Less", place, b("Gather", bounds, b.scalar(0, onnx.TensorProto.INT64)))
    # With ends alone the last row is the first: then every start is made 0.
    has_starts = b("Sub", b("Shape", bounds, end=1), [1])
    starts = b("Mul", b("Gather", bounds, b.scalar(-1, onnx.TensorProto.INT64)), has_starts)
    kept = b("And", before_end, b("GreaterOrEqual", place, starts))
    return b("Unsqueeze", kept, [1, 2])


def _kept(b: Builder, mask: str, query: str, key: str) -> str:
    """Which (n, 1, queries or 1, keys) take part, from any of the forms of the mask.

    Raises:
        NotExpandable: The mask is of another form (4-D, or its rank is not known).
    """
    rank = b.rank(mask)
    if rank == 1:
        return _kept_by_lengths(b, mask, query, key)
    if rank not in (2, 3):
        raise NotExpandable(f"a mask of rank {rank}")
    valid = b("Greater", mask, b.scalar(0, b.element(mask)))
    return b("Unsqueeze", valid, [1, 2] if rank == 2 else [1])


def _attended(b: Builder, query: str, key: str, value: str, mask: str, bias: str) -> str:
    """What each query takes from the values: (n, queries, heads × size)."""
    scores = _scores(b, query, key)
    if bias:
        scores = b("Add", scores, bias)
    if mask:
        off = b.attribute("mask_filter_value", -10000.0)
        scores = b("Add", scores, b("Where", _kept(b, mask, query, key), 0.0, off))
    if b.attribute("unidirectional", 0):
        row = b("Unsqueeze", _token_numbers(b, query), [1])
        allowed = b("LessOrEqual", _token_numbers(b, key), row)
        scores = b("Where", allowed, scores, _lowest(b))
    return _joined(b, b("MatMul", b("Softmax", scores, axis=-1), value))


def _lowest(b: Builder) -> float:
    """The most negative number that the data can hold, or something like it."""
    return -65504.0 if b.dtype == onnx.TensorProto.FLOAT16 else _LOWEST


def _attention(b: Builder) -> str:
    """Projection to queries, keys and values, then attention among the tokens."""
    if any(b.has(index) for index in (4, 6)) or b.attribute("do_rotary", 0) or b.wants(1):
        raise NotExpandable("there is a past, or a rotation")
    projected = b("MatMul", b.input(0), b.input(1))
    if b.has(2):
        projected = b("Add", projected, b.input(2))
    sizes = b.attribute("qkv_hidden_sizes", list[int]())
    if sizes:
        parts = b.several("Split", 3, projected, sizes, axis=-1)
    else:
        parts = b.several("Split", 3, projected, axis=-1, num_outputs=3)
    query, key, value = (_heads(b, part) for part in parts)
    return _attended(b, query, key, value, b.input(3), b.input(5))


def _multi_head_attention(b: Builder) -> list[str]:
    """Attention of queries to keys and values that were projected before."""
    ranks = [b.rank(b.input(index)) if b.has(index) else 0 for index in range(3)]
    if any(b.has(index) for index in range(6, 10)) or ranks[0] != 3 or b.wants(3):
        raise NotExpandable("there is a past, packed inputs, or the scores are wanted")
    if ranks[1:] == [4, 4] and not b.has(3):
        query, key, value = _heads(b, b.input(0)), b.input(1), b.input(2)
    elif ranks[1:] == [3, 3]:
        query, key, value = (_heads(b, part) for part in _with_bias(b))
    else:
        raise NotExpandable(f"keys and values of rank {ranks[1]} and {ranks[2]}")
    return [_attended(b, query, key, value, b.input(4), b.input(5)), key, value]


def _with_bias(b: Builder) -> list[str]:
    """Query, key and value, each plus its part of the bias."""
    parts = [b.input(index) for index in range(3)]
    if not b.has(3):
        return parts
    sizes = b.concat_dims(*(b.dims(part, 2) for part in parts))
    biases = b.several("Split", 3, b.input(3), sizes, axis=0)
    return [b("Add", part, bias) for part, bias in zip(parts, biases, strict=True)]


def _rotary_embedding(b: Builder) -> str:
    """Pairs of features turned by an angle that grows with the token's position."""
    if b.attribute("is_packed_batching", 0) or b.attribute("scale", 1.0) != 1:
        raise NotExpandable("packed batches and scaled rotations are not known here")
    x = b.input(0)
    if b.rank(x) == 4:
        turned = _turned(b, b("Transpose", x, perm=[0, 2, 1, 3]))
        return b("Transpose", turned, perm=[0, 2, 1, 3])
    heads: Operand = [0, 0, b.attribute("num_heads", 0), -1]
    if not b.attribute("num_heads", 0):
        heads = b.concat_dims([0, 0, -1], b("Mul", b.dims(b.input(2), 1), [2]))
    return b("Reshape", _turned(b, b("Reshape", x, heads)), b("Shape", x))


def _turned(b: Builder, x: str) -> str:
    """(n, tokens, heads, size) turned; features beyond the rotated ones are passed on."""
    size = b.attribute("rotary_embedding_dim", 0)
    rest = b("Slice", x, [size], [np.iinfo(np.int64).max], [-1]) if size else ""
    part = b("Slice", x, [0], [size], [-1]) if size else x
    first, second = _pairs(b, part)
    cos, sin = (_angles(b, cache, part) for cache in (b.input(2), b.input(3)))
    left = b("Sub", b("Mul", cos, first), b("Mul", sin, second))
    right = b("Add", b("Mul", sin, first), b("Mul", cos, second))
    if b.attribute("interleaved", 0):
        both = b("Concat", b("Unsqueeze", left, [-1]), b("Unsqueeze", right, [-1]), axis=-1)
        turned = b("Reshape", both, b("Shape", part))
    else:
        turned = b("Concat", left, right, axis=-1)
    return b("Concat", turned, rest, axis=-1) if rest else turned


def _pairs(b: Builder, x: str) -> list[str]:
    """The two features of each pair: neighbours, or one from each half."""
    if not b.attribute("interleaved", 0):
        return b.several("Split", 2, x, axis=-1, num_outputs=2)
    end = np.iinfo(np.int64).max
    return [b("Slice", x, [start], [end], [-1], [2]) for start in (0, 1)]


def _angles(b: Builder, cache: str, x: str) -> str:
    """The rows of a cache for the tokens of ``x``, ready to be broadcast over its heads."""
    positions = b.input(1)
    if b.rank(positions) == 2:
        return b("Unsqueeze", b("Gather", cache, positions), [2])
    zero, one = (b.scalar(number, onnx.TensorProto.INT64) for number in (0, 1))
    steps = b("Range", zero, b("Squeeze", b.dims(x, 1, 2)), one)
    return b("Unsqueeze", b("Gather", cache, b("Add", steps, positions)), [1])


EXPANSIONS: dict[tuple[str, str], Expansion] = {
    (MICROSOFT, "Attention"): _attention,
    (MICROSOFT, "MultiHeadAttention"): _multi_head_attention,
    (MICROSOFT, "RotaryEmbedding"): _rotary_embedding,
}
