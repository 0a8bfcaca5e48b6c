"""Convolutions, also transposed ones and those of integers."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F  # noqa: N812 - as all of torch's users call it
from torch import Tensor

from lsa_trainer.ops.fused_activations import activated, unknown_activation
from lsa_trainer.ops.registry import Floats, Ints, Op, operator
from lsa_trainer.ops.windows import Window, as_torch_pads, halves

# By number of spatial axes.
_CONVOLUTIONS = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
_TRANSPOSED = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}
# The attributes that have one entry or two per spatial axis.
_PER_AXIS = {"kernel_shape": 1, "strides": 1, "dilations": 1, "output_padding": 1, "pads": 2}


def _too_many_axes(op: Op) -> str | None:
    for name, entries in _PER_AXIS.items():
        spatial = len(op.attributes.get(name, ())) // entries
        if spatial > len(_CONVOLUTIONS):
            return f"{spatial} spatial axes are more than 3"
    return None


def _fused_refusal(op: Op) -> str | None:
    return _too_many_axes(op) or unknown_activation(op)


@operator("Conv", refuse=_too_many_axes)
def conv(
    x: Tensor,
    w: Tensor,
    b: Tensor | None = None,
    *,
    auto_pad: str = "NOTSET",
    dilations: Ints | None = None,
    group: int = 1,
    pads: Ints | None = None,
    strides: Ints | None = None,
) -> Tensor:
    """The convolution of x (n, c, ...) with w (m, c / group, ...), plus b (m,)."""
    window = Window.of(w.shape[2:], strides, dilations)
    begins, ends = window.margins(x.shape[2:], auto_pad, pads)
    if begins != ends:
        x, begins = F.pad(x, as_torch_pads(begins, ends)), [0] * len(begins)
    convolve = _CONVOLUTIONS[len(begins)]
    return convolve(x, w, b, window.strides, begins, window.dilations, group)


@operator("FusedConv", domain="com.microsoft", refuse=_fused_refusal)
def fused_conv(
    x: Tensor,
    w: Tensor,
    b: Tensor | None = None,
    z: Tensor | None = None,
    *,
    activation: str = "",
    activation_params: Floats | None = None,
    auto_pad: str = "NOTSET",
    dilations: Ints | None = None,
    group: int = 1,
    pads: Ints | None = None,
    strides: Ints | None = None,
) -> Tensor:
    """``conv``, plus z, then an activation."""
    y = conv(
        x, w, b, auto_pad=auto_pad, dilations=dilations, group=group, pads=pads, strides=strides
    )
    return activated(y if z is None else y + z, activation, activation_params or [])


@operator("ConvInteger", refuse=_too_many_axes)
def conv_integer(
    x: Tensor,
    w: Tensor,
    x_zero_point: Tensor | None = None,
    w_zero_point: Tensor | None = None,
    *,
    auto_pad: str = "NOTSET",
    dilations: Ints | None = None,
    group: int = 1,
    pads: Ints | None = None,
    strides: Ints | None = None,
) -> Tensor:
    """The convolution of bytes less their zero points, as int32; w may have one for each output.

    Of the floats that ``quantisation`` gives in place of bytes, as floats: a gradient goes through them.
    In doubles, which hold every sum exactly and which all devices multiply.
    """
    signal, kernel = x.double(), w.double()
    if x_zero_point is not None:
        signal = signal - x_zero_point
    if w_zero_point is not None:
        kernel = kernel - w_zero_point.reshape(-1, *[1] * (w.dim() - 1))
    y = conv(
        signal,
        kernel,
        auto_pad=auto_pad,
        dilations=dilations,
        group=group,
        pads=pads,
        strides=strides,
    )
    return y if x.is_floating_point() else y.to(torch.int32)


@operator("ConvTranspose", refuse=_too_many_axes)
def conv_transpose(
    x: Tensor,
    w: Tensor,
    b: Tensor | None = None,
    *,
    auto_pad: str = "NOTSET",
    dilations: Ints | None = None,
    group: int = 1,
    output_padding: Ints | None = None,
    output_shape: Ints | None = None,
    pads: Ints | None = None,
    strides: Ints | None = None,
) -> Tensor:
    """The transposed convolution of x (n, c, ...) with w (c, m / group, ...), plus b (m,)."""
    window = Window.of(w.shape[2:], strides, dilations)
    sizes = x.shape[2:]
    whole = [(n - 1) * s + span for n, s, span in _axes(sizes, window.strides, window.spans)]
    added = output_padding or [0] * len(whole)
    if output_shape is None and auto_pad in ("SAME_UPPER", "SAME_LOWER"):
        output_shape = [n * s for n, s in zip(sizes, window.strides, strict=True)]
        # A kernel that does not reach so far gives a smaller result.
        output_shape = [
            min(wanted, n + more) for wanted, n, more in _axes(output_shape, whole, added)
        ]
    if output_shape is None:
        begins, ends = window.margins(sizes, auto_pad, pads)
        extra = [more - end for more, end in zip(added, ends, strict=True)]
    else:
        wanted = output_shape[-len(whole) :]
        totals = [max(0, n + more - size) for n, more, size in _axes(whole, added, wanted)]
        begins, _ = halves(totals, auto_pad)
        extra = [size - (n - begin) for size, n, begin in _axes(wanted, whole, begins)]
    return _transposed(x, w, b, window, group, begins, extra)


def _axes(*sequences: Sequence[int]) -> zip[tuple[int, ...]]:
    return zip(*sequences, strict=True)


def _transposed(
    x: Tensor,
    w: Tensor,
    b: Tensor | None,
    window: Window,
    group: int,
    begins: Ints,
    extra: Ints,
) -> Tensor:
    """The transposed convolution without its first ``begins`` entries, with ``extra`` ones behind.

    Torch takes away as much behind as before, then adds what has to be less than a stride.
    """
    convolve = _TRANSPOSED[len(begins)]
    strides, dilations = window.strides, window.dilations
    behind = [begin + more for begin, more in zip(begins, extra, strict=True)]
    if all(0 <= n < max(s, d) for n, s, d in _axes(behind, strides, dilations)):
        return convolve(x, w, b, strides, begins, behind, group, dilations)
    whole = convolve(x, w, None, strides, 0, 0, group, dilations)
    y = F.pad(whole, as_torch_pads([-begin for begin in begins], extra))
    return y if b is None else y + b.reshape(-1, *[1] * len(begins))
