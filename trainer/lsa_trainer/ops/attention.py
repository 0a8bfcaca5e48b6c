"""ONNX's Attention and its rotary embedding.

ONNX Runtime's own attention operators are not here: ``lsa_onnx.rewrite.expand`` writes them out.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import reduce

import onnx
import torch
from torch import Tensor
from torch.nn import functional

from lsa_trainer.ops.registry import operator

_PRECISIONS: dict[int, torch.dtype] = {
    onnx.TensorProto.FLOAT: torch.float32,
    onnx.TensorProto.FLOAT16: torch.float16,
    onnx.TensorProto.DOUBLE: torch.float64,
    onnx.TensorProto.BFLOAT16: torch.bfloat16,
}


@dataclass(frozen=True)
class _Mask:
    """Which keys a query may attend to.

    Attributes:
        causal: Whether none that come later.
        left: How far back at most, −1 for any.
        right: How far ahead at most, −1 for any.
        past: How many keys come before the first query: a number, or (n, 1, 1, 1), one per sample.
        lengths: (n,), how many keys a sample has; ``None`` where all are its own.
    """

    causal: bool
    left: int
    right: int
    past: int | Tensor
    lengths: Tensor | None

    @property
    def triangular(self) -> bool:
        """Whether the first query sees the first key, the second one two, and so on."""
        starts = isinstance(self.past, int) and self.past == 0 and self.lengths is None
        return self.causal and starts and self.left < 0 and self.right < 0

    def allowed(self, queries: int, keys: int, device: torch.device) -> Tensor | None:
        """What broadcasts to (n, heads, queries, keys), ``None`` where nothing is forbidden."""
        key = torch.arange(keys, device=device)
        ahead = key - torch.arange(queries, device=device)[:, None] - self.past
        limits = [ahead <= 0] if self.causal else []
        limits += [ahead <= self.right] if self.right >= 0 else []
        limits += [ahead >= -self.left] if self.left >= 0 else []
        limits += [key < self.lengths.view(-1, 1, 1, 1)] if self.lengths is not None else []
        return reduce(torch.logical_and, limits) if limits else None


@operator("Attention")
def attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    attn_mask: Tensor | None = None,
    past_key: Tensor | None = None,
    past_value: Tensor | None = None,
    nonpad_kv_seqlen: Tensor | None = None,
    *,
    is_causal: int = 0,
    kv_num_heads: int = 0,
    left_window_size: int = -1,
    outputs: int = 1,
    q_num_heads: int = 0,
    qk_matmul_output_mode: int = 0,
    right_window_size: int = -1,
    scale: float | None = None,
    softcap: float = 0.0,
    softmax_precision: int | None = None,
) -> tuple[Tensor, ...]:
    """What each query takes from the values, then the keys and values with their past, and the scores.

    Queries, keys and values are (n, heads, tokens, size), or (n, tokens, heads × size) as is then the
    result.
    """
    merged = q.dim() == 3
    if merged:
        q, k, v = _heads(q, q_num_heads), _heads(k, kv_num_heads), _heads(v, kv_num_heads)
    offset: int | Tensor = 0
    if past_key is not None and past_value is not None:
        k, v, offset = torch.cat([past_key, k], 2), torch.cat([past_value, v], 2), past_key.shape[2]
    elif nonpad_kv_seqlen is not None:
        offset = nonpad_kv_seqlen.view(-1, 1, 1, 1) - q.shape[2]
    limits = _Mask(bool(is_causal), left_window_size, right_window_size, offset, nonpad_kv_seqlen)
    precision = _PRECISIONS.get(softmax_precision or 0, q.dtype)
    scale = 1 / math.sqrt(q.shape[3]) if scale is None else scale
    if outputs < 4 and not softcap and precision == q.dtype:
        return _merged(_fused(q, k, v, attn_mask, limits, scale), merged), *(k, v)[: outputs - 1]
    groups = q.shape[1] // k.shape[1]
    raw = q * math.sqrt(scale) @ (k * math.sqrt(scale)).repeat_interleave(groups, 1).mT
    capped = softcap * torch.tanh(raw / softcap) if softcap else raw
    bias = _bias(*_forbidden(attn_mask, limits, q, k), q)
    scores = capped + bias
    weights = _weights(scores, bias, precision).to(q.dtype)
    y = weights.to(v.dtype) @ v.repeat_interleave(groups, 1)
    shown = (raw, capped, scores, weights)[qk_matmul_output_mode]
    return _merged(y, merged), *(k, v, shown)[: outputs - 1]


def _heads(x: Tensor, count: int) -> Tensor:
    """(n, tokens, heads × size) as (n, heads, tokens, size)."""
    return x.unflatten(2, (count, -1)).transpose(1, 2)


def _merged(y: Tensor, merged: bool) -> Tensor:
    """Of what ``_heads`` returns, what it took, if ``merged``."""
    return y.transpose(1, 2).flatten(2) if merged else y


def _fused(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, limits: _Mask, scale: float
) -> Tensor:
    """What torch's own function makes of all this."""
    attend = functional.scaled_dot_product_attention
    groups = {"enable_gqa": True} if q.shape[1] != k.shape[1] else {}
    if mask is None and limits.triangular:
        return attend(q, k, v, is_causal=True, scale=scale, **groups)
    added, allowed = _forbidden(mask, limits, q, k)
    if added is None or allowed is None:
        return attend(q, k, v, attn_mask=allowed if added is None else added, scale=scale, **groups)
    bias = torch.where(allowed, added, -torch.inf)
    return attend(q, k, v, attn_mask=bias, scale=scale, **groups)


def _forbidden(
    mask: Tensor | None, limits: _Mask, q: Tensor, k: Tensor
) -> tuple[Tensor | None, Tensor | None]:
    """What is added to the scores, and which of them count; ``None`` for nothing and all."""
    allowed = limits.allowed(q.shape[2], k.shape[2], q.device)
    if mask is None:
        return None, allowed
    missing = k.shape[2] - mask.shape[-1]
    if missing > 0:
        value = 0 if mask.dtype == torch.bool else -torch.inf
        mask = functional.pad(mask, (0, missing), value=value)
    if mask.dtype != torch.bool:
        return mask.to(q.dtype), allowed
    return None, mask if allowed is None else allowed & mask


def _bias(added: Tensor | None, allowed: Tensor | None, like: Tensor) -> Tensor:
    """What is added to the scores: the lowest number, as ONNX Runtime has it, where none counts."""
    added = like.new_zeros(()) if added is None else added
    return added if allowed is None else torch.where(allowed, added, torch.finfo(like.dtype).min)


def _weights(scores: Tensor, bias: Tensor, precision: torch.dtype) -> Tensor:
    """The softmax of the scores; zeros for a query that may attend to nothing."""
    idle = (bias <= torch.finfo(bias.dtype).min).all(-1, keepdim=True)
    return torch.where(idle, 0, torch.where(idle, 0, scores).to(precision).softmax(-1))


@operator("RotaryEmbedding")
def rotary_embedding(
    x: Tensor,
    cos: Tensor,
    sin: Tensor,
    position_ids: Tensor | None = None,
    *,
    interleaved: int = 0,
    num_heads: int = 0,
    rotary_embedding_dim: int = 0,
) -> Tensor:
    """Pairs of features turned by an angle that grows with the position; those beyond are passed on.

    ``x`` is (n, heads, tokens, size) or (n, tokens, heads × size), the caches (positions, pairs), or
    (n, tokens, pairs) without ``position_ids`` (n, tokens).
    """
    if position_ids is not None:
        cos, sin = cos[position_ids], sin[position_ids]
    heads = x if x.dim() == 4 else _heads(x, num_heads)
    size = rotary_embedding_dim or heads.shape[3]
    part, rest = heads[..., :size], heads[..., size:]
    cos, sin = cos[:, None], sin[:, None]
    first, second = part.unflatten(-1, (-1, 2)).unbind(-1) if interleaved else part.chunk(2, -1)
    turned = (cos * first - sin * second, sin * first + cos * second)
    both = torch.stack(turned, -1).flatten(-2) if interleaved else torch.cat(turned, -1)
    whole = torch.cat([both, rest], -1) if rotary_embedding_dim else both
    return _merged(whole, x.dim() == 3)
