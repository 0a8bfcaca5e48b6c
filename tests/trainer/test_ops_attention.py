"""Attention and rotary embedding against ONNX Runtime."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto

from lsa_trainer.ops.attention import attention, rotary_embedding
from tests.graphs import samples
from tests.trainer.one_operator import Array, compare, slope_error

N, QUERIES, KEYS, SIZE, VALUE_SIZE = 2, 3, 5, 4, 6
OPSET = 24


def tensors(
    heads: int = 4, groups: int = 2, keys: int = KEYS, dtype: str = "float32"
) -> list[Array]:
    """Queries, keys and values of two groups of heads."""
    shapes = (heads, QUERIES, SIZE), (groups, keys, SIZE), (groups, keys, VALUE_SIZE)
    drawn = [samples(i, N, *shape) * 4 - 2 for i, shape in enumerate(shapes)]
    return [array.astype(dtype) for array in drawn]


def masks() -> dict[str, Array]:
    """Some of each form; a query of a boolean one may attend to nothing."""
    lets_through = samples(5, QUERIES, KEYS) > 0.4
    lets_through[1] = False
    per_head = samples(6, N, 4, QUERIES, KEYS)
    return {
        "bool": lets_through,
        "bool of each sample": per_head > 0.3,
        "float": samples(7, QUERIES, KEYS) - np.float32(0.5),
        "float of each head": per_head[0] * 3,
        "with −∞": np.where(lets_through, 0, -np.inf).astype(np.float32),
    }


@pytest.mark.parametrize("causal", [0, 1])
@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("mask", [None, *masks()])
def test_masks_and_groups_of_heads(mask: str | None, groups: int, causal: int) -> None:
    given = [*tensors(groups=groups), masks()[mask] if mask else None]
    compare("Attention", given, opset=OPSET, is_causal=causal)
    compare("Attention", given, opset=23, is_causal=causal, softcap=0.8, scale=0.3)


@pytest.mark.parametrize("mode", [0, 1, 2, 3])
@pytest.mark.parametrize("mask", [None, "bool", "float"])
def test_the_scores_at_each_stage(mask: str | None, mode: int) -> None:
    given = [*tensors(), masks()[mask] if mask else None]
    for softcap in (0.0, 0.7):
        how: dict[str, Any] = {"softcap": softcap, "is_causal": 1, "qk_matmul_output_mode": mode}
        compare("Attention", given, opset=OPSET, outputs=4, **how)


@pytest.mark.parametrize("causal", [0, 1])
@pytest.mark.parametrize("outputs", [3, 4])
def test_keys_and_values_of_the_past(causal: int, outputs: int) -> None:
    q, k, v = tensors()
    _, past_key, past_value = tensors(keys=2)
    for mask in (None, samples(5, QUERIES, KEYS + 2) > 0.5):
        given = [q, k, v, mask, past_key, past_value]
        compare("Attention", given, opset=OPSET, outputs=outputs, is_causal=causal)


@pytest.mark.parametrize("causal", [0, 1])
@pytest.mark.parametrize("outputs", [1, 4])
def test_samples_with_keys_of_their_own(causal: int, outputs: int) -> None:
    lengths = np.array([5, 2])
    for mask in (None, masks()["float"]):
        given = [*tensors(), mask, None, None, lengths]
        how = {"outputs": outputs, "is_causal": causal, "qk_matmul_output_mode": 3}
        compare("Attention", given, opset=OPSET, tolerance=1e-5, **how)


def merged(x: Array) -> Array:
    """(n, heads, tokens, size) as (n, tokens, heads × size)."""
    turned = x.swapaxes(1, 2)
    return turned.reshape(*turned.shape[:2], -1)


@pytest.mark.parametrize("causal", [0, 1])
def test_heads_that_are_merged(causal: int) -> None:
    given = [merged(x) for x in tensors()]
    how = {"q_num_heads": 4, "kv_num_heads": 2, "is_causal": causal}
    for outputs in (1, 4):
        compare("Attention", given, opset=OPSET, outputs=outputs, tolerance=1e-5, **how)


@pytest.mark.parametrize("precision", [None, TensorProto.FLOAT])
def test_half_precision(precision: int | None) -> None:
    how = {} if precision is None else {"softmax_precision": precision}
    given = [*tensors(dtype="float16"), masks()["bool"]]
    compare("Attention", given, opset=OPSET, tolerance=5e-3, **how)


def test_a_mask_that_ends_early_hides_the_rest() -> None:
    q, k, v = (torch.from_numpy(x) for x in tensors())
    for mask in ("bool of each sample", "float"):
        short = torch.from_numpy(masks()[mask][..., :3])
        (y,) = attention(q, k, v, short)
        (expected,) = attention(q, k[:, :, :3], v[:, :, :3], short)
        assert torch.allclose(y, expected)


def test_windows_of_opset_25() -> None:
    q, k, v = (torch.from_numpy(x) for x in tensors())
    ahead = torch.arange(KEYS) - torch.arange(QUERIES)[:, None]
    for left, right in ((1, -1), (-1, 0), (0, 1)):
        allowed = (ahead >= (-left if left >= 0 else -9)) & (ahead <= (right if right >= 0 else 9))
        (y,) = attention(q, k, v, left_window_size=left, right_window_size=right)
        assert torch.allclose(y, attention(q, k, v, allowed)[0])
        *_, scores = attention(
            q,
            k,
            v,
            left_window_size=left,
            right_window_size=right,
            outputs=4,
            qk_matmul_output_mode=3,
        )
        assert not scores[..., ~allowed].any()


@pytest.mark.parametrize("outputs", [1, 4])
@pytest.mark.parametrize("mask", ["bool", "float"])
def test_slopes_are_numbers_even_where_a_query_attends_to_nothing(outputs: int, mask: str) -> None:
    # Few of them: differences take a run for each number.
    drawn = [x[:1, :, :, :2].astype(np.float64) for x in tensors(heads=2, groups=1)]
    given = [torch.from_numpy(x).requires_grad_() for x in drawn]
    kept = torch.from_numpy(masks()[mask])
    how: dict[str, Any] = {"outputs": outputs, "qk_matmul_output_mode": 3}
    slope_error(partial(attention, attn_mask=kept, is_causal=1, **how), *given)


@settings(max_examples=40, deadline=None)
@given(
    heads=st.integers(1, 3),
    size=st.sampled_from([4, 8]),
    part=st.sampled_from([0, 4]),
    interleaved=st.integers(0, 1),
    whole=st.booleans(),
    by_position=st.booleans(),
)
def test_rotary_embeddings(
    heads: int, size: int, part: int, interleaved: int, whole: bool, by_position: bool
) -> None:
    x = samples(0, N, heads, QUERIES, size)
    shape = (7,) if by_position else (N, QUERIES)
    caches = [samples(i, *shape, (part or size) // 2) for i in (1, 2)]
    positions = [np.array([[0, 6, 3], [2, 2, 5]])] if by_position else []
    how: dict[str, Any] = {"interleaved": interleaved, "rotary_embedding_dim": part}
    if part or not whole:
        # Without merged heads, ONNX Runtime asks for their number too if a part is turned.
        how["num_heads"] = heads
    given = [x if whole else merged(x), *caches, *positions]
    compare("RotaryEmbedding", given, opset=23, **how)


def test_slopes_of_a_rotary_embedding() -> None:
    x = torch.rand(N, QUERIES, 12, dtype=torch.float64, requires_grad=True)
    cos, sin = torch.rand(2, N, QUERIES, 2, dtype=torch.float64, requires_grad=True)
    turn = partial(rotary_embedding, num_heads=2, rotary_embedding_dim=4, interleaved=1)
    slope_error(turn, x, cos, sin)
