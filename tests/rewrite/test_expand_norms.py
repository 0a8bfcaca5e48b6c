"""Normalisations and attention, written out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lsa_onnx.rewrite.expand import expand
from tests import graphs
from tests.graphs import Array, samples, weight
from tests.rewrite.expansion import MICROSOFT, check, one_node, operators

TOKENS = weight(0, 2, 3, 6) * 2
IMAGES = weight(1, 2, 6, 3, 4)


def scale_and_bias(*shape: int) -> dict[str, Array]:
    return {"scale": weight(5, *shape) + 1, "bias": weight(6, *shape)}


@pytest.mark.parametrize("axis", [-1, 2, 1, -2])
def test_layer_normalization_over_the_last_axes(axis: int) -> None:
    parameters = scale_and_bias(*TOKENS.shape[axis:])
    check("LayerNormalization", {"x": TOKENS}, parameters, axis=axis, epsilon=0.1)


def test_layer_normalization_returns_its_statistics() -> None:
    check(
        "LayerNormalization",
        {"x": TOKENS},
        scale_and_bias(6),
        outputs=["y", "mean", "inverse"],
    )


def test_layer_normalization_without_a_bias_in_half_precision() -> None:
    x, scale = weight(0, 2, 3, 6, dtype="float16"), weight(1, 6, dtype="float16")
    check("LayerNormalization", {"x": x}, {"scale": scale}, tolerance=5e-3)


@pytest.mark.parametrize("axis", [-1, 1])
def test_simplified_layer_normalization_of_either_domain(axis: int) -> None:
    scale = weight(1, *TOKENS.shape[axis:])
    check("SimplifiedLayerNormalization", {"x": TOKENS}, {"scale": scale}, axis=axis, epsilon=1e-3)


def test_rms_normalization() -> None:
    check("RMSNormalization", {"x": TOKENS}, {"scale": weight(1, 6)}, version=23, axis=-1)


@pytest.mark.parametrize("bias", [False, True])
def test_skip_layer_normalization(bias: bool) -> None:
    constants = {"gamma": weight(2, 6), "beta": weight(3, 6)}
    if bias:
        constants["bias"] = weight(4, 6)
    check(
        "SkipLayerNormalization",
        {"x": TOKENS, "skip": weight(1, 2, 3, 6)},
        constants,
        outputs=["y", "", "", "sum"],
        domain=MICROSOFT,
        epsilon=1e-5,
    )


@pytest.mark.parametrize("bias", [False, True])
def test_skip_simplified_layer_normalization(bias: bool) -> None:
    constants = {"gamma": weight(2, 6)} | ({"bias": weight(4, 6)} if bias else {})
    check(
        "SkipSimplifiedLayerNormalization",
        {"x": TOKENS, "skip": weight(1, 2, 3, 6)},
        constants,
        outputs=["y", "", "", "sum"],
        domain=MICROSOFT,
        epsilon=1e-5,
    )


@pytest.mark.parametrize("segments", [False, True])
@pytest.mark.parametrize("mask", [False, True])
def test_embed_layer_normalization(segments: bool, mask: bool) -> None:
    feeds: dict[str, Array] = {"ids": np.array([[1, 4, 2], [0, 3, 3]], np.int32)}
    constants = {"words": weight(1, 5, 6), "places": weight(2, 4, 6)}
    order = ["ids", "", "words", "places", "", "gamma", "beta"]
    if segments:
        feeds["parts"] = np.array([[0, 0, 1], [0, 1, 1]], np.int32)
        constants["segments"] = weight(3, 2, 6)
        order[1], order[4] = "parts", "segments"
    if mask:
        feeds["mask"] = np.array([[1, 1, 0], [1, 0, 0]], np.int32)
        order.append("mask")
    check(
        "EmbedLayerNormalization",
        feeds,
        constants | {"gamma": weight(4, 6), "beta": weight(5, 6)},
        order=order,
        outputs=["y", "lengths", "sum"],
        domain=MICROSOFT,
        epsilon=1e-5,
    )


def test_embed_layer_normalization_with_positions() -> None:
    feeds: dict[str, Array] = {
        "ids": np.array([[1, 4, 2], [0, 3, 3]], np.int32),
        "at": np.array([[0, 1, 2], [3, 2, 0]], np.int32),
    }
    check(
        "EmbedLayerNormalization",
        feeds,
        {"words": weight(1, 5, 6), "places": weight(2, 4, 6), "g": weight(4, 6), "b": weight(5, 6)},
        order=["ids", "", "words", "places", "", "g", "b", "", "at"],
        outputs=["y", "lengths"],
        domain=MICROSOFT,
    )


@pytest.mark.parametrize("shape", [(2, 6), (2, 6, 5), (2, 6, 3, 4)])
def test_batch_normalization_with_stored_statistics(shape: tuple[int, ...]) -> None:
    statistics = {"mean": weight(2, 6), "variance": samples(3, 6) + 0.1}
    constants = scale_and_bias(6) | statistics
    check("BatchNormalization", {"x": weight(0, *shape)}, constants, epsilon=0.01)


def test_batch_normalization_that_trains_is_left_alone() -> None:
    constants = scale_and_bias(6) | {"mean": weight(2, 6), "variance": samples(3, 6)}
    order = ["x", "scale", "bias", "mean", "variance"]
    proto = one_node("BatchNormalization", {"x": IMAGES}, constants, order, training_mode=1)
    assert operators(expand(proto, lambda n: False).graph) == {"BatchNormalization"}


@pytest.mark.parametrize("shape", [(2, 6, 5), (2, 6, 3, 4)])
def test_instance_normalization(shape: tuple[int, ...]) -> None:
    check("InstanceNormalization", {"x": weight(0, *shape)}, scale_and_bias(6), epsilon=0.01)


def test_group_normalization_with_parameters_per_channel() -> None:
    check("GroupNormalization", {"x": IMAGES}, scale_and_bias(6), version=21, num_groups=3)


def test_group_normalization_with_parameters_per_group() -> None:
    check("GroupNormalization", {"x": IMAGES}, scale_and_bias(3), version=18, num_groups=3)


@pytest.mark.parametrize("axes", [[0, 2, 3], [1, 2]])
def test_mean_variance_normalization(axes: list[int]) -> None:
    check("MeanVarianceNormalization", {"x": IMAGES}, axes=axes)


@pytest.mark.parametrize("p", [1, 2])
def test_lp_normalization(p: int) -> None:
    check("LpNormalization", {"x": IMAGES}, p=p, axis=1)


def test_the_norm_of_zeros_divides_nothing() -> None:
    feeds = {"x": np.zeros((2, 3), np.float32)}
    check("LpNormalization", feeds, expected={"y": np.zeros((2, 3), np.float32)})


def group_norm(x: Array, groups: int, scale: Array, bias: Array) -> Array:
    """Of (n, c, h, w), in double precision."""
    grouped = x.astype(np.float64).reshape(len(x), groups, -1)
    rest = grouped - grouped.mean(-1, keepdims=True)
    deviation = np.sqrt(grouped.var(-1, keepdims=True) + 1e-5)
    normed = (rest / deviation).reshape(x.shape)
    result: Array = normed * scale.reshape(-1, 1, 1) + bias.reshape(-1, 1, 1)
    return result


@pytest.mark.parametrize("last", [0, 1])
@pytest.mark.parametrize("activation", [0, 1])
def test_group_norm_of_onnx_runtime(last: int, activation: int) -> None:
    parameters = scale_and_bias(6)
    y = group_norm(IMAGES, 3, *parameters.values())
    y = (y / (1 + np.exp(-y)) if activation else y).astype(np.float32)
    order = (0, 2, 3, 1) if last else (0, 1, 2, 3)
    check(
        "GroupNorm",
        {"x": np.ascontiguousarray(IMAGES.transpose(order))},
        parameters,
        domain=MICROSOFT,
        expected={"y": y.transpose(order)},
        channels_last=last,
        activation=activation,
        groups=3,
    )


@pytest.mark.parametrize("skip_shape", [(2, 3, 4, 6), (2, 1, 1, 6), (2, 6)])
def test_skip_group_norm_of_onnx_runtime(skip_shape: tuple[int, ...]) -> None:
    parameters, bias = scale_and_bias(6), weight(9, 6)
    x, skip = np.ascontiguousarray(IMAGES.transpose(0, 2, 3, 1)), weight(8, *skip_shape)
    total = x + skip.reshape((2, -1, 1, 6) if len(skip_shape) == 2 else skip_shape) + bias
    y = group_norm(total.transpose(0, 3, 1, 2), 2, *parameters.values())
    check(
        "SkipGroupNorm",
        {"x": x, "skip": skip},
        parameters | {"b": bias},
        order=["x", "scale", "bias", "skip", "b"],
        outputs=["y", "sum"],
        domain=MICROSOFT,
        expected={"y": y.transpose(0, 2, 3, 1).astype(np.float32), "sum": total},
        activation=0,
        groups=2,
    )


MASKS: dict[str, Any] = {
    "none": None,
    "ends": np.array([3, 1], np.int32),
    "ends and starts": np.array([4, 3, 1, 0], np.int32),
    "raw": np.array([[1, 1, 0, 1], [0, 1, 1, 1]], np.int32),
    "3-D": np.random.default_rng(0).integers(0, 2, (2, 4, 4)).astype(np.int32),
}


@pytest.mark.parametrize("causal", [0, 1])
@pytest.mark.parametrize("mask", MASKS)
def test_attention_with_every_mask(mask: str, causal: int) -> None:
    feeds: dict[str, Array] = {"x": weight(0, 2, 4, 6) * 3}
    order = ["x", "w", "b"]
    if MASKS[mask] is not None:
        feeds["mask"] = MASKS[mask]
        order.append("mask")
    check(
        "Attention",
        feeds,
        {"w": weight(1, 6, 18) * 2, "b": weight(2, 18)},
        order=order,
        domain=MICROSOFT,
        num_heads=2,
        unidirectional=causal,
    )


def test_attention_of_unequal_sizes_with_a_scale_and_a_bias_of_scores() -> None:
    check(
        "Attention",
        {"x": weight(0, 2, 4, 5), "scores": weight(3, 2, 2, 4, 4)},
        {"w": weight(1, 5, 20), "b": weight(2, 20)},
        order=["x", "w", "b", "", "", "scores"],
        domain=MICROSOFT,
        num_heads=2,
        qkv_hidden_sizes=[6, 6, 8],
        scale=0.7,
    )


def test_attention_without_a_bias_is_that_with_zeros() -> None:
    # ONNX Runtime 1.31's own CPU kernel reads the bias that is not there, and crashes.
    feeds, constants = {"x": weight(0, 2, 4, 5)}, {"w": weight(1, 5, 12)}
    options: dict[str, Any] = {"domain": MICROSOFT, "num_heads": 2}
    zeros = constants | {"b": np.zeros(12, np.float32)}
    expected = graphs.run(one_node("Attention", feeds, zeros, ["x", "w", "b"], **options), feeds)
    check("Attention", feeds, constants, expected=expected, **options)


def test_attention_with_a_past_is_left_alone() -> None:
    feeds = {"x": weight(0, 2, 4, 6), "past": weight(4, 2, 2, 2, 3, 3)}
    constants = {"w": weight(1, 6, 18), "b": weight(2, 18)}
    order = ["x", "w", "b", "", "past"]
    proto = one_node(
        "Attention", feeds, constants, order, outputs=["y", "p"], domain=MICROSOFT, num_heads=2
    )
    assert operators(expand(proto, lambda n: False).graph) == {"Attention"}


@pytest.mark.parametrize(
    ("extra", "options"),
    [
        ({}, {}),
        ({"bias": weight(4, 20)}, {"scale": 0.4}),
        ({"padding": np.array([2, 5], np.int32)}, {}),
        ({"padding": np.array([[1, 1, 0, 1, 1], [1, 0, 0, 1, 1]], np.int32)}, {}),
        ({"scores": weight(5, 1, 2, 3, 5)}, {}),
        ({"bias": weight(4, 20), "scores": weight(5, 2, 1, 3, 5)}, {"mask_filter_value": -5.0}),
    ],
)
def test_multi_head_attention_to_other_tokens(
    extra: dict[str, Array], options: dict[str, Any]
) -> None:
    feeds = {"q": weight(0, 2, 3, 6) * 3, "k": weight(1, 2, 5, 6) * 3, "v": weight(2, 2, 5, 8)}
    order = [*feeds, *(name if name in extra else "" for name in ("bias", "padding", "scores"))]
    check(
        "MultiHeadAttention", feeds | extra, order=order, domain=MICROSOFT, num_heads=2, **options
    )


def test_multi_head_attention_that_looks_back_and_returns_its_keys() -> None:
    feeds = {name: weight(i, 2, 4, 6) * 3 for i, name in enumerate("qkv")}
    check(
        "MultiHeadAttention",
        feeds,
        outputs=["y", "keys", "values"],
        domain=MICROSOFT,
        num_heads=2,
        unidirectional=1,
    )


def test_multi_head_attention_to_keys_by_head() -> None:
    feeds = {"q": weight(0, 2, 3, 6), "k": weight(1, 2, 2, 5, 3), "v": weight(2, 2, 2, 5, 3)}
    check("MultiHeadAttention", feeds, domain=MICROSOFT, num_heads=2)


@pytest.mark.parametrize("interleaved", [0, 1])
@pytest.mark.parametrize("per_token", [False, True])
def test_rotary_embedding_by_head(interleaved: int, per_token: bool) -> None:
    at = np.array([[0, 1, 2], [4, 3, 1]] if per_token else [1])
    check(
        "RotaryEmbedding",
        {"x": weight(0, 2, 4, 3, 6), "at": at},
        {"cos": weight(1, 5, 3), "sin": weight(2, 5, 3)},
        domain=MICROSOFT,
        interleaved=interleaved,
    )


@pytest.mark.parametrize("options", [{}, {"num_heads": 2, "rotary_embedding_dim": 4}])
def test_rotary_embedding_of_joined_heads(options: dict[str, Any]) -> None:
    half = options.get("rotary_embedding_dim", 6) // 2
    check(
        "RotaryEmbedding",
        {"x": weight(0, 2, 3, 12), "at": np.array([[0, 1, 2], [4, 3, 1]])},
        {"cos": weight(1, 5, half), "sin": weight(2, 5, half)},
        domain=MICROSOFT,
        **options,
    )


def test_attention_of_onnx() -> None:
    feeds = {name: weight(i, 2, 2, 4, 3) for i, name in enumerate("qkv")}
    check("Attention", feeds, version=23, is_causal=1)
