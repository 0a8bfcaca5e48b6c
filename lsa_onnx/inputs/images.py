"""Decode JPEG and PNG files to what the model takes, a batch at a time."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from lsa_onnx.errors import DataError
from lsa_onnx.inputs.geometry import match_channels
from lsa_onnx.inputs.guard import one_line
from lsa_onnx.inputs.spec import Layout, SampleShape, channel_count, shape_text

if TYPE_CHECKING:
    from PIL import Image

    from lsa_onnx.inputs.archives import EncodedImages
    from lsa_onnx.inputs.units import Units

Array = NDArray[Any]

MAX_PIXELS = 64_000_000
"""Largest width times height of an image that is decoded."""

_GREY = frozenset({"1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L", "I;16N"})
_WORDS = frozenset({"I", "I;16", "I;16B", "I;16L", "I;16N"})
_ALPHA = frozenset({"LA", "La", "PA", "RGBA", "RGBa"})
# Pillow raises all of these for damaged files.
_CORRUPT = (OSError, SyntaxError, ValueError, EOFError, IndexError, TypeError, OverflowError)
_MODES = {1: "L", 3: "RGB", 4: "RGBA"}


class Hash(Protocol):
    """The part of a ``hashlib`` object that is needed here."""

    def update(self, data: bytes, /) -> None:
        """Take in ``data``."""


@dataclass
class Survey:
    """What the headers of all chosen images say."""

    sizes: dict[tuple[int, int], str] = field(default_factory=dict)
    """(height, width) to the first image of that size."""
    first_mode: str = "RGB"
    images: int = 0
    grey: int = 0
    alpha: int = 0


@dataclass(frozen=True)
class Target:
    """What images are brought to: ``height`` by ``width`` by ``channels``, then ``shape``."""

    height: int
    width: int
    channels: int
    layout: Layout
    shape: tuple[int, ...]
    resize: bool
    notes: tuple[str, ...]


@dataclass(frozen=True)
class ImageSamples:
    """Samples that are decoded when read."""

    images: EncodedImages
    target: Target
    units: Units

    def __len__(self) -> int:
        return len(self.images)

    def read(self, start: int, stop: int) -> Array:
        """Samples ``start`` to ``stop`` ``(stop - start, *target.shape)`` in the declared range.

        Raises:
            DataError: an image is corrupt, has other channels or another size.
        """
        target = self.target
        size = (stop - start, target.height, target.width, target.channels)
        out = np.empty(size, self.units.dtype)
        with _quiet():
            for index in range(start, stop):
                content, name = self.images.read(index), self.images.names[index]
                out[index - start] = _decode(content, name, target, self.units)
        if target.layout == "NCHW":
            return np.ascontiguousarray(np.moveaxis(out, -1, 1))
        return out.reshape(stop - start, *target.shape)


def survey_images(images: EncodedImages, digest: Hash) -> Survey:
    """Read the header of every image once, and feed all encoded bytes to ``digest``.

    Raises:
        DataError: a file is no JPEG or PNG image, or is too large.
    """
    found = Survey(images=len(images))
    with _quiet():
        for index, name in enumerate(images.names):
            content = images.read(index)
            digest.update(content)
            with _opened(content, name) as image:
                width, height = image.size
                found.sizes.setdefault((height, width), name)
                found.grey += image.mode in _GREY
                found.alpha += image.mode in _ALPHA or "transparency" in image.info
                found.first_mode = image.mode if index == 0 else found.first_mode
    return found


def plan_images(
    found: Survey, wanted: SampleShape, layout: Layout, *, resize: bool, source: str
) -> Target:
    """How images of these headers become samples of the model's shape.

    Args:
        found: what the headers say.
        wanted: the model's sample shape, ``None`` for a free dimension.
        layout: of ``wanted``.
        resize: scale images of another size bilinearly.
        source: how messages call the data.

    Raises:
        DataError: the model takes no images of this kind, or sizes differ and ``resize`` is off or
            has no target.
    """
    first = next(iter(found.sizes))
    if layout == "flat":
        height, width, channels = _flat_size(first, wanted, source)
        shape = tuple(size or 0 for size in wanted)
    else:
        free_height, free_width = wanted[1:3] if layout == "NCHW" else wanted[:2]
        height, width = free_height or first[0], free_width or first[1]
        channels = channel_count(layout, wanted) or (1 if found.first_mode in _GREY else 3)
        shape = (channels, height, width) if layout == "NCHW" else (height, width, channels)
    if channels not in _MODES:
        text = f"{source}: the model takes samples of shape {shape_text(wanted)}, layout {layout}"
        raise DataError(f"{text}; images have 1, 3 or 4 channels: check --layout, or give an npz")
    fixed = layout == "flat" or None not in (wanted[1:3] if layout == "NCHW" else wanted[:2])
    _require_size(found, (height, width), fixed=fixed, resize=resize, source=source)
    notes = _notes(found, channels, (height, width), layout, shape)
    return Target(height, width, channels, layout, shape, resize, notes)


def _flat_size(first: tuple[int, int], wanted: SampleShape, source: str) -> tuple[int, int, int]:
    height, width = first
    count = int(np.prod([size or 0 for size in wanted]))
    for channels in (1, 3):
        if count == height * width * channels:
            return height, width, channels
    text = (
        f"{source}: images of {height}x{width} do not fit the model's samples {shape_text(wanted)}"
    )
    raise DataError(
        f"{text}; declare --layout NCHW or NHWC if these are images, or store them in that size"
    )


def _require_size(
    found: Survey, size: tuple[int, int], *, fixed: bool, resize: bool, source: str
) -> None:
    other = next(((have, name) for have, name in found.sizes.items() if have != size), None)
    if other is None or (resize and fixed):
        return
    (height, width), name = other
    text = f"{source}: image {name!r} is {height}x{width} (height x width)"
    if fixed:
        raise DataError(
            f"{text}, the model takes {size[0]}x{size[1]}; scale the images with --resize"
        )
    text = f"{text}, others are {size[0]}x{size[1]}, and the model takes any size"
    raise DataError(f"{text}; store all images in one size first")


def _notes(
    found: Survey, channels: int, size: tuple[int, int], layout: Layout, shape: tuple[int, ...]
) -> tuple[str, ...]:
    notes = []
    resized = [have for have in found.sizes if have != size]
    if resized:
        notes.append(f"images resized to {size[0]}x{size[1]} (bilinear)")
    if channels == 3 and found.grey:
        notes.append(f"{found.grey} grey images replicated to 3 channels")
    if channels == 1 and found.grey < found.images:
        notes.append(f"{found.images - found.grey} images of equal channels merged to grey")
    if channels != 4 and found.alpha:
        notes.append(f"alpha channel of {found.alpha} images dropped")
    if layout == "flat":
        notes.append(f"flattened {size[0]}x{size[1]}x{channels} to {shape_text(shape)}")
    return tuple(notes)


def _decode(content: bytes, name: str, target: Target, units: Units) -> Array:
    """One image as ``(height, width, channels)`` in the declared range."""
    with _opened(content, name) as image:
        words = image.mode in _WORDS
        values = _words(image, target) if words else _bytes(image, name, target)
    values = units.from_words(values) if words else units.from_bytes(values)
    if words and target.channels == 4:
        values[..., 3] = units.spec.high  # opaque
    if values.shape[:2] != (target.height, target.width):
        text = f"image {name!r} is {values.shape[0]}x{values.shape[1]}"
        raise DataError(f"{text}, expected {target.height}x{target.width}; was it changed?")
    return values


def _bytes(image: Image.Image, name: str, target: Target) -> Array:
    from PIL import Image

    grey = image.mode in _GREY
    converted = image.convert(
        "L" if grey and target.channels == 1 else _MODES[max(target.channels, 3)]
    )
    if target.channels == 1 and not grey:
        # Judged before scaling, whose rounding could hide a difference.
        merged = match_channels(
            np.asarray(converted)[np.newaxis], 1, "images", lambda _: f"image {name!r}"
        )
        converted = Image.fromarray(np.ascontiguousarray(merged[0, ..., 0]))
    size = (target.width, target.height)
    if target.resize and converted.size != size:
        converted = converted.resize(size, Image.Resampling.BILINEAR)
    values = np.asarray(converted)
    return values if values.ndim == 3 else values[..., np.newaxis]


def _words(image: Image.Image, target: Target) -> Array:
    """A grey image of 16 bits; Pillow's own conversion to 8 would clip it, not scale it."""
    from PIL import Image

    words = np.asarray(image, dtype=np.float32) / 65535
    size = (target.width, target.height)
    if target.resize and image.size != size:
        scaled = Image.fromarray(words).resize(size, Image.Resampling.BILINEAR)
        words = np.clip(np.asarray(scaled), 0, 1)
    return np.repeat(words[..., np.newaxis], target.channels, axis=-1)


@contextmanager
def _opened(content: bytes, name: str) -> Iterator[Image.Image]:
    try:
        from PIL import Image
    except ImportError as error:
        raise DataError(
            "reading images needs Pillow; install it with: pip install pillow"
        ) from error
    try:
        # Only these two decoders: the others are attack surface that nobody asked for.
        with Image.open(io.BytesIO(content), formats=("JPEG", "PNG")) as image:
            _require_pixels(image, name)
            yield image
    except DataError:
        raise
    except Image.DecompressionBombError as error:
        raise DataError(
            f"image {name!r} is too large to decode ({one_line(error)}); remove it"
        ) from error
    except _CORRUPT as error:
        reason = "no JPEG or PNG image" if "cannot identify" in str(error) else one_line(error)
        raise DataError(f"image {name!r} is corrupt ({reason}); remove or replace it") from error


def _require_pixels(image: Image.Image, name: str) -> None:
    if image.width * image.height > MAX_PIXELS:
        text = f"image {name!r} has {image.width}x{image.height} pixels"
        raise DataError(f"{text}; accepted are {MAX_PIXELS} at most; remove it or store it smaller")


@contextmanager
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        # Said by our own limit above, or about metadata that is not used.
        warnings.simplefilter("ignore")
        yield
