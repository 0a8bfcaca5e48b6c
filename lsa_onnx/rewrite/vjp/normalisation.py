"""Adjoints of normalisations as they are at inference.

Statistics are taken in single precision where the tensors are in half, as the operators themselves do:
squares of values above 255 are too large for half precision.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import helper

from lsa_onnx.rewrite.vjp.formulas import HALVES, safe_divisor, square
from lsa_onnx.rewrite.vjp.registry import Adjoints, Op, RuleRefused, rule, rule_of_all
from lsa_onnx.rewrite.vjp.tape import Tape


@rule("BatchNormalization")
def batch_normalization(t: Tape, op: Op, g: str) -> Adjoints:
    """y = f (x − mean) + b with f = s r, r = 1 / √(var + ε) per channel: dx = f dy.

    db = Σ dy, ds = r D with D = Σ dy (x − mean), dmean = −f Σ dy and dvar = −½ s r³ D: constants in
    most models, but not where one sample is normalised by another.
    """
    if op.attribute("training_mode", 0):
        raise RuleRefused("it is in training mode")
    element = _precision(t, op.x)
    scale, variance = (_cast(t, op.inputs[index], element) for index in (1, 4))
    inverse = _inverse_root(t, variance, op.attribute("epsilon", 1e-5), element)
    factor = t.op("Mul", scale, inverse)
    dx = None
    if t.active(op.x):
        dx = t.op("Mul", g, _by_channel(t, _narrow(t, factor, element, op.x), op.x))
    if not any(t.active(name) for name in op.inputs[1:]):
        return [dx]
    return [dx, *_by_statistics(t, op, g, scale, inverse)]


def _by_statistics(t: Tape, op: Op, g: str, scale: str, inverse: str) -> list[str]:
    """The adjoints of scale, bias, mean and variance of a ``BatchNormalization``."""
    element, axes = _precision(t, op.x), t.ints(0, *range(2, t.rank(op.x)))
    wide, mean = _cast(t, g, element), _by_channel(t, op.inputs[3], op.x)
    centred = t.op("Sub", _cast(t, op.x, element), _cast(t, mean, element))
    total = t.op("ReduceSum", wide, axes, keepdims=0)
    along = t.op("ReduceSum", t.op("Mul", wide, centred), axes, keepdims=0)
    by_scale = t.op("Mul", inverse, along)
    by_mean = t.op("Neg", t.op("Mul", t.op("Mul", scale, inverse), total))
    root = t.op("Mul", t.op("Mul", scale, by_scale), square(t, inverse))
    by_variance = _times(t, root, -0.5, element)
    found = zip((by_scale, total, by_mean, by_variance), op.inputs[1:], strict=True)
    return [_narrow(t, adjoint, element, name) for adjoint, name in found]


def _by_channel(t: Tape, vector: str, x: str) -> str:
    """``vector``, of length c, in a shape that broadcasts to (n, c, …)."""
    rank = t.known.rank(x)
    if rank is not None:
        return t.op("Reshape", vector, t.ints(-1, *[1] * (rank - 2)))
    following = t.op("Sub", t.op("Shape", t.op("Shape", x)), t.ints(2))
    one = onnx.numpy_helper.from_array(np.ones(1, np.int64))
    ones = t.op("ConstantOfShape", following, value=one)
    return t.op("Reshape", vector, t.op("Concat", t.ints(-1), ones, axis=0))


@rule_of_all("LayerNormalization")
def layer_normalization(t: Tape, op: Op, adjoints: list[str | None]) -> Adjoints:
    """y = s x̂ + b, x̂ of mean 0 and variance 1 over the last axes: dx as in ``_standardising``.

    ds = Σ dy x̂, db = Σ dy. The mean and r = 1 / √(var + ε) can be outputs too: see ``_by_moments``.
    """
    element, (g, *moments) = _precision(t, op.x), adjoints
    axes = _last_axes(t, op)
    centred, inverse = _standardised(t, op, _cast(t, op.x, element), axes, element)
    found: list[str | None] = [None, None, None]
    if g is not None:
        found = _by_rows(t, op, g, centred, inverse)
    if t.active(op.x) and any(moments):
        parts = [found[0]] if found[0] else []
        found[0] = t.sum([*parts, *_by_moments(t, op, moments, centred, inverse)])
    return found


def _by_rows(t: Tape, op: Op, g: str, centred: str, inverse: str) -> list[str | None]:
    """The adjoints of x, scale and bias of a ``LayerNormalization``, from that of y."""
    element, scale, bias = _precision(t, op.x), op.inputs[1], op.input(2)
    wide = _cast(t, g, element)
    dx = ds = db = None
    if t.active(op.x):
        weighted = t.op("Mul", wide, _cast(t, scale, element))
        dx = _standardising(t, weighted, centred, inverse, _last_axes(t, op))
        dx = _narrow(t, dx, element, op.x)
    if t.active(scale):
        product = t.op("Mul", wide, t.op("Mul", centred, inverse))
        ds = _narrow(t, t.unbroadcast(product, scale, op.y), element, scale)
    if bias is not None and t.active(bias):
        db = _narrow(t, t.unbroadcast(wide, bias, op.y), element, bias)
    return [dx, ds, db]


def _by_moments(
    t: Tape, op: Op, adjoints: Sequence[str | None], centred: str, inverse: str
) -> list[str]:
    """What the mean and r of ``LayerNormalization`` add to dx: dmean / n, and −dr r³ (x − mean) / n."""
    element = _precision(t, op.x)
    ones = t.expand_like(_number(t, 1, element), op.x)
    share = t.op("Div", _number(t, 1, element), t.op("ReduceSum", ones, _last_axes(t, op)))
    parts = []
    by_mean, by_root = (*adjoints, None, None)[:2]
    if by_mean is not None:
        mean = t.op("Mul", _cast(t, by_mean, element), share)
        parts.append(t.expand_like(_narrow(t, mean, element, op.x), op.x))
    if by_root is not None:
        cube = t.op("Mul", inverse, square(t, inverse))
        factor = t.op("Mul", t.op("Mul", _cast(t, by_root, element), share), cube)
        root = t.op("Neg", t.op("Mul", factor, centred))
        parts.append(_narrow(t, root, element, op.x))
    return parts


@rule("RMSNormalization")
def rms_normalization(t: Tape, op: Op, g: str) -> Adjoints:
    """y = s x r, r = 1 / √(mean x² + ε): dx = r (u − x r² mean(u x)) with u = s dy, ds = Σ dy x r."""
    element, scale, axes = _precision(t, op.x), op.inputs[1], _last_axes(t, op)
    wide, x = _cast(t, g, element), _cast(t, op.x, element)
    power = t.op("ReduceMean", square(t, x), axes)
    inverse = _inverse_root(t, power, op.attribute("epsilon", 1e-5), element)
    dx = ds = None
    if t.active(op.x):
        weighted = t.op("Mul", wide, _cast(t, scale, element))
        share = t.op("ReduceMean", t.op("Mul", weighted, x), axes)
        along = t.op("Mul", x, t.op("Mul", share, square(t, inverse)))
        dx = t.op("Mul", t.op("Sub", weighted, along), inverse)
        dx = _narrow(t, dx, element, op.x)
    if t.active(scale):
        product = t.op("Mul", wide, t.op("Mul", x, inverse))
        ds = _narrow(t, t.unbroadcast(product, scale, op.y), element, scale)
    return [dx, ds]


def _last_axes(t: Tape, op: Op) -> str:
    """The axes from the attribute ``axis`` on, counted from the end."""
    axis = op.attribute("axis", -1)
    return t.ints(*range(axis if axis < 0 else axis - t.rank(op.x), 0))


@rule("InstanceNormalization")
def instance_normalization(t: Tape, op: Op, g: str) -> Adjoints:
    """y = s x̂ + b with x̂ of mean 0 and variance 1 in each channel."""
    return _in_groups(t, op, g, groups=0, scales=0)


@rule("GroupNormalization", since=21)
def group_normalization(t: Tape, op: Op, g: str) -> Adjoints:
    """y = s x̂ + b with x̂ of mean 0 and variance 1 in each group of channels."""
    return _in_groups(t, op, g, groups=op.attribute("num_groups"), scales=0)


@rule("GroupNormalization", until=20)
def group_normalization_18(t: Tape, op: Op, g: str) -> Adjoints:
    """The same, with one scale and bias for each group."""
    groups = op.attribute("num_groups")
    return _in_groups(t, op, g, groups=groups, scales=groups)


def _in_groups(t: Tape, op: Op, g: str, *, groups: int, scales: int) -> Adjoints:
    """Adjoints of a standardisation over groups of channels, followed by a scale and a bias.

    Args:
        t: The tape.
        op: The node, its scale and bias the second and third input.
        g: The adjoint of y.
        groups: How many groups there are, 0 for one per channel.
        scales: How many scales there are, 0 for one per channel.
    """
    element, scale, bias = _precision(t, op.x), op.inputs[1], op.inputs[2]
    # Axes: sample, group (or what shares a scale), all the rest.
    grouped, scaled, last = t.ints(0, groups, -1), t.ints(0, scales, -1), t.ints(-1)
    wide = t.op("Reshape", _cast(t, g, element), scaled)
    x = t.op("Reshape", _cast(t, op.x, element), grouped)
    centred, inverse = _standardised(t, op, x, last, element)
    dx = ds = db = None
    if t.active(op.x):
        weighted = t.op("Mul", wide, t.op("Reshape", _cast(t, scale, element), t.ints(-1, 1)))
        weighted = t.op("Reshape", weighted, grouped)
        dx = t.reshape_like(_standardising(t, weighted, centred, inverse, last), op.x)
        dx = _narrow(t, dx, element, op.x)
    if t.active(scale):
        standard = t.op("Reshape", t.op("Mul", centred, inverse), t.op("Shape", wide))
        ds = t.op("ReduceSum", t.op("Mul", wide, standard), t.ints(0, 2), keepdims=0)
        ds = _narrow(t, ds, element, scale)
    if t.active(bias):
        db = t.op("ReduceSum", wide, t.ints(0, 2), keepdims=0)
        db = _narrow(t, db, element, bias)
    return [dx, ds, db]


def _standardised(t: Tape, op: Op, x: str, axes: str, element: int) -> tuple[str, str]:
    """x − mean x, and 1 / √(var x + ε)."""
    centred = t.op("Sub", x, t.op("ReduceMean", x, axes))
    variance = t.op("ReduceMean", square(t, centred), axes)
    return centred, _inverse_root(t, variance, op.attribute("epsilon", 1e-5), element)


def _standardising(t: Tape, g: str, centred: str, inverse: str, axes: str) -> str:
    """The adjoint of x̂ = c r with c = x − mean x, r = 1 / √(var x + ε).

    dx = r (u − mean u) with u = dx̂ − c r² mean(dx̂ c).
    """
    share = t.op("ReduceMean", t.op("Mul", g, centred), axes)
    along = t.op("Mul", centred, t.op("Mul", share, square(t, inverse)))
    rest = t.op("Sub", g, along)
    return t.op("Mul", t.op("Sub", rest, t.op("ReduceMean", rest, axes)), inverse)


@rule("LpNormalization")
def lp_normalization(t: Tape, op: Op, g: str) -> Adjoints:
    """y = x / ‖x‖: dx = (dy − z Σ dy y) / ‖x‖ with z = y (p = 2) or sign x (p = 1), 0 at 0."""
    axis, p = t.ints(op.attribute("axis", -1)), op.attribute("p", 2)
    norm = t.op(f"ReduceL{p}", op.x, axis)
    total = t.op("ReduceSum", t.op("Mul", g, op.y), axis)
    towards = op.y if p == 2 else t.op("Sign", op.x)
    rest = t.op("Sub", g, t.op("Mul", towards, total))
    return [t.op("Div", rest, safe_divisor(t, norm, op.x))]


@rule("LRN")
def local_response_normalization(t: Tape, op: Op, g: str) -> Adjoints:
    """y = x d^(−β) with d = bias + α mean x² over neighbouring channels.

    dx = u − 2 α β x mean′(u x / d) with u = dy d^(−β), where mean′ looks the other way.
    """
    element, size = _precision(t, op.x), op.attribute("size")
    alpha, beta = op.attribute("alpha", 1e-4), op.attribute("beta", 0.75)
    before, after = (size - 1) // 2, size // 2
    wide, x = (_pooled_layout(t, _cast(t, name, element)) for name in (g, op.x))
    spread = _times(t, _neighbours(t, square(t, x), before, after), alpha, element)
    divisor = t.op("Add", spread, _number(t, op.attribute("bias", 1.0), element))
    # A power by way of logarithms: ONNX Runtime's Pow takes three times as long.
    power = t.op("Exp", _times(t, t.op("Log", divisor), -beta, element))
    direct = t.op("Mul", wide, power)
    felt = t.op("Div", t.op("Mul", direct, x), divisor)
    pull = t.op("Mul", x, _neighbours(t, felt, after, before))
    dx = t.op("Sub", direct, _times(t, pull, 2 * alpha * beta, element))
    return [_narrow(t, t.reshape_like(dx, op.x), element, op.x)]


def _pooled_layout(t: Tape, x: str) -> str:
    """(n, c, …) as (n, 1, c, the rest), in which pooling works on channels."""
    return t.op("Unsqueeze", t.op("Reshape", x, t.ints(0, 0, -1)), t.ints(1))


def _neighbours(t: Tape, x: str, before: int, after: int) -> str:
    """For each channel, the mean over those around it; channels that do not exist count as 0."""
    return t.op(
        "AveragePool",
        x,
        kernel_shape=[before + 1 + after, 1],
        pads=[before, 0, after, 0],
        count_include_pad=1,
    )


# Precision


def _precision(t: Tape, name: str) -> int:
    """The element type to compute in: that of the tensor, but no half precision."""
    element = t.element(name)
    return onnx.TensorProto.FLOAT if element in HALVES else element


def _cast(t: Tape, name: str, element: int) -> str:
    return name if t.known.element(name) == element else t.op("Cast", name, to=element)


def _narrow(t: Tape, result: str, element: int, like: str) -> str:
    """``result``, which was computed in ``element``, in the type of ``like``."""
    wanted = t.element(like)
    return result if wanted == element else t.op("Cast", result, to=wanted)


def _number(t: Tape, value: float, element: int) -> str:
    return t.constant(value, helper.tensor_dtype_to_np_dtype(element))


def _times(t: Tape, name: str, factor: float, element: int) -> str:
    return t.op("Mul", name, _number(t, factor, element))


def _inverse_root(t: Tape, variance: str, epsilon: float, element: int) -> str:
    """1 / √(variance + ε)."""
    total = t.op("Add", variance, _number(t, epsilon, element))
    return t.op("Reciprocal", t.op("Sqrt", total))
