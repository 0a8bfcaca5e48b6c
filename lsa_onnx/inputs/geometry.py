"""From the shape of a stored sample to the shape that the model takes, by rules that are noted."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from lsa_onnx.errors import DataError
from lsa_onnx.inputs.spec import Layout, SampleShape, shape_text

if TYPE_CHECKING:
    from lsa_onnx.inputs.units import NameOf

Array = NDArray[Any]
Shape = tuple[int, ...]
Order = Literal["HW", "CHW", "HWC"]


@dataclass(frozen=True)
class Conversion:
    """How stored samples become samples of ``shape``.

    Attributes:
        shape: shape of a converted sample.
        notes: what is done, for the report; empty where samples fit as they are.
        order: axes of a stored sample that is read as an image; ``None`` for a plain reshape in C
            order.
        layout: axes of the converted image.
        channels: channels of the converted image.
        merges: whether equal channels become one, so that ``apply`` may refuse a sample for its
            values.
    """

    shape: Shape
    notes: tuple[str, ...] = ()
    order: Order | None = None
    layout: Layout = "flat"
    channels: int = 1
    merges: bool = False

    def apply(self, rows: Array, source: str, name_of: NameOf) -> Array:
        """``rows`` ``(n, *stored)`` as ``(n, *shape)``, dtype kept; often a view.

        Raises:
            DataError: the model has one channel and an image is not grey.
        """
        if self.order is None:
            return rows.reshape(len(rows), *self.shape)
        image = rows[..., np.newaxis] if self.order == "HW" else rows
        image = np.moveaxis(image, 1, -1) if self.order == "CHW" else image
        image = match_channels(image, self.channels, source, name_of)
        return np.moveaxis(image, -1, 1) if self.layout == "NCHW" else image


def match_channels(images: Array, channels: int, source: str, name_of: NameOf) -> Array:
    """``images`` ``(n, h, w, c)`` as ``(n, h, w, channels)``.

    A grey channel is replicated, equal channels are merged.

    Raises:
        DataError: three channels are to become one and they differ.
    """
    have = images.shape[-1]
    if have == channels:
        return images
    if have == 1:
        return np.repeat(images, channels, axis=-1)
    grey = (images == images[..., :1]).reshape(len(images), -1).all(axis=1)
    if not grey.all():
        name = name_of(int(np.argmin(grey)))
        text = f"{source}: {name} is a colour image of {have} channels, the model takes {channels}"
        raise DataError(f"{text}; convert the images to grey first")
    return images[..., :1]


def plan_conversion(stored: Shape, wanted: SampleShape, layout: Layout, source: str) -> Conversion:
    """The conversion of samples ``stored`` to ``wanted`` (``None`` for a free dimension).

    Raises:
        DataError: no rule leads from one to the other; both shapes are named.
    """
    if fits(stored, wanted):
        return Conversion(stored)
    found = None if layout == "flat" else _as_image(stored, wanted, layout)
    found = found or _as_reshape(stored, wanted, layout)
    if found is not None:
        return found
    have, want = shape_text(stored), shape_text(wanted)
    text = (
        f"{source}: samples have shape {have} (the first axis of the data counts them), "
        f"the model takes {want}"
    )
    raise DataError(
        f"{text}{_hint(stored, wanted)}; reshape the data, or check --layout and --x-key"
    )


def fits(shape: Shape, wanted: SampleShape) -> bool:
    """Whether ``shape`` has the axes of ``wanted``, where ``None`` takes any size."""
    return len(shape) == len(wanted) and all(
        want is None or size == want for size, want in zip(shape, wanted, strict=True)
    )


def _as_image(stored: Shape, wanted: SampleShape, layout: Layout) -> Conversion | None:
    own: Order = "CHW" if layout == "NCHW" else "HWC"
    other: Order = "HWC" if layout == "NCHW" else "CHW"
    height, width, channels = (wanted[1], wanted[2], wanted[0]) if layout == "NCHW" else wanted
    orders: tuple[Order, ...] = (
        ("HW",) if len(stored) == 2 else (own, other) if len(stored) == 3 else ()
    )
    for order in orders:
        # The model's own order first: what can be read without moving axes is read so.
        h, w, c = _split(stored, order)
        if fits((h, w), (height, width)) and _channels_match(c, channels):
            count = c if channels is None else channels
            shape = (count, h, w) if layout == "NCHW" else (h, w, count)
            return Conversion(
                shape, _image_notes(order, own, c, count), order, layout, count, c > count
            )
    return None


def _split(stored: Shape, order: Order) -> tuple[int, int, int]:
    if order == "HW":
        return stored[0], stored[1], 1
    return (
        (stored[1], stored[2], stored[0]) if order == "CHW" else (stored[0], stored[1], stored[2])
    )


def _channels_match(have: int, want: int | None) -> bool:
    return have in (1, 3, 4) if want is None else have == want or (have, want) in ((1, 3), (3, 1))


def _image_notes(order: Order, own: Order, have: int, want: int) -> tuple[str, ...]:
    notes = []
    if order == "HW":
        notes.append("channel axis added")
    elif order != own:
        notes.append(f"{order} transposed to {own}")
    if have < want:
        notes.append(f"grey channel replicated to {want}")
    elif have > want:
        notes.append(f"{have} equal channels merged to grey")
    return tuple(notes)


def _as_reshape(stored: Shape, wanted: SampleShape, layout: Layout) -> Conversion | None:
    shape = _filled(stored, wanted)
    if shape is None or math.prod(shape) != math.prod(stored):
        return None
    have, want = _long_axes(stored), _long_axes(shape)
    if have == want:
        return Conversion(
            shape, (f"unit axes changed, {shape_text(stored)} to {shape_text(shape)}",)
        )
    # A vector has one order of elements only; two matrices of equal size may well be transposed.
    vector = len(have) <= 1 or len(want) <= 1
    one_channel = layout == "flat" or shape[0 if layout == "NCHW" else -1] == 1
    if not (vector and one_channel):
        return None
    verb = "flattened" if len(want) <= 1 else "reshaped"
    return Conversion(shape, (f"{verb} {shape_text(stored)} to {shape_text(shape)}",))


def _filled(stored: Shape, wanted: SampleShape) -> Shape | None:
    """``wanted`` with its one free dimension taking all elements, where all the others are 1."""
    if None not in wanted:
        return tuple(size for size in wanted if size is not None)
    if wanted.count(None) > 1 or any(size not in (None, 1) for size in wanted):
        return None
    return tuple(math.prod(stored) if size is None else size for size in wanted)


def _long_axes(shape: Shape) -> Shape:
    return tuple(size for size in shape if size != 1)


def _hint(stored: Shape, wanted: SampleShape) -> str:
    # One sample saved without its sample axis is the commonest mistake.
    missing = stored and len(stored) + 1 == len(wanted) and fits(stored, wanted[1:])
    return " (is the axis that counts samples missing?)" if missing else ""
