"""The inputs that perturbations change to most effect, as pictures: what a person looks at first."""

from __future__ import annotations

import base64
import io
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lsa_onnx.accounts import Clean, Record
from lsa_onnx.accounts.examples import SHOWN_OF_HEADLINE, effects, order, order_of, worst
from lsa_onnx.report.document import Example
from lsa_onnx.scanning.clean import CleanRun
from lsa_onnx.scanning.subject import Subject

Array = NDArray[Any]

# A change of a few levels of a pixel cannot be seen; ten times as much can.
GAIN = 10.0
# Larger pictures are shrunk: a page full of them must stay one that can be sent.
LARGEST_SIDE = 96
# Below this, two axes of numbers are hardly a picture.
_SMALLEST_SIDE = 8
_CHANNELS = (1, 3)
_WHITE = 255.0


class PictureAxes(NamedTuple):
    """How a sample becomes a picture: its shape, and the order of height, width and channels in it."""

    shape: tuple[int, ...]
    order: tuple[int, int, int]

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.shape[self.order[0]], self.shape[self.order[1]]

    @property
    def channels(self) -> int:
        """How many there are."""
        return self.shape[self.order[2]]


class Gallery:
    """Keeps the pictures of a few samples of each perturbation, whatever the number of samples."""

    def __init__(self, subject: Subject, clean: CleanRun, axes: PictureAxes) -> None:
        """Start with nothing.

        Args:
            subject: Model and data.
            clean: What the untouched model says of the clean samples.
            axes: How a sample of ``subject`` becomes a picture.
        """
        self._subject = subject
        self._clean = clean
        self._axes = axes
        self._kept: dict[str, list[Example]] = {}

    @property
    def examples(self) -> list[Example]:
        """What was kept, the worst of each perturbation first."""
        return [example for kept in self._kept.values() for example in kept]

    def offer(self, perturbation: str, record: Record, x: Array, x_adv: Array) -> None:
        """Keep those samples of a batch that belong to the worst ones so far.

        Args:
            perturbation: Its name.
            record: What it did.
            x: Clean inputs in units of the declared range, shape (n, ...).
            x_adv: Perturbed inputs, likewise.
        """
        clean = self._known(record)
        classes = record.attack.classes if record.attack else record.perturbed.classes
        found = effects(record.perturbed, classes, clean)
        start, stop = record.start, record.start + len(record)
        places = self._subject.dataset.selection[start:stop].tolist()
        kept = self._kept.get(perturbation, [])
        # Most batches of a long scan hold nothing worse than what is kept: no picture is drawn of them.
        last = order_of(kept[-1]) if len(kept) == SHOWN_OF_HEADLINE else None
        ranked = sorted((order(*found[row], places[row]), row) for row in range(len(record)))
        fresh = [
            Example(
                perturbation=perturbation,
                index=places[row],
                label=_at(clean.labels, row),
                clean_class=_at(clean.classes, row),
                perturbed_class=_at(classes, row),
                mean_cm=found[row][1] if found[row][1] >= 0 else None,
                **self._pictures(x[row], x_adv[row]),
            )
            for rank, row in ranked[:SHOWN_OF_HEADLINE]
            if last is None or rank < last
        ]
        self._kept[perturbation] = worst([*kept, *fresh], SHOWN_OF_HEADLINE)

    def _known(self, record: Record) -> Clean:
        """What is known of the clean samples of a batch."""
        start, stop = record.start, record.start + len(record)
        classes, labels = self._clean.classes, self._subject.dataset.labels
        if classes is None:
            return Clean(None, None)
        place = start - self._clean.start
        return Clean(
            classes[place : place + len(record)], None if labels is None else labels[start:stop]
        )

    def _pictures(self, x: Array, x_adv: Array) -> dict[str, Any]:
        """The fields of an ``Example`` that hold its pictures."""
        spec, (height, width) = self._subject.spec, self._axes.size
        clean, perturbed = (self._levels((each - spec.low) / spec.width) for each in (x, x_adv))
        change = self._levels((x_adv.astype(np.float64) - x) / spec.width)
        factor = -(-max(height, width) // LARGEST_SIDE)
        difference = _WHITE / 2 + GAIN * _largest(change, factor)
        clean, perturbed = clean[::factor, ::factor], perturbed[::factor, ::factor]
        return {
            "width": clean.shape[1],
            "height": clean.shape[0],
            "shrunk": factor,
            "gain": GAIN,
            "clean": _png(clean),
            "perturbed": _png(perturbed),
            "difference": _png(difference),
        }

    def _levels(self, shares: Array) -> Array:
        """A sample of 0 to 1 as levels of a pixel, shape (height, width, channels)."""
        return shares.reshape(self._axes.shape).transpose(self._axes.order) * _WHITE


def open_gallery(subject: Subject, clean: CleanRun, *, wanted: bool = True) -> Gallery | None:
    """What keeps pictures of the samples of ``subject``; ``None`` where they are no images."""
    axes = _axes_of(subject) if wanted else None
    return None if axes is None else Gallery(subject, clean, axes)


def _axes_of(subject: Subject) -> PictureAxes | None:
    """How samples become pictures; ``None`` where they are no images of one or three channels."""
    shape, stored = subject.dataset.sample_shape, subject.dataset.stored_shape
    if subject.promotion is not None:
        return None
    if subject.channel_axis is not None and len(shape) == 3:
        order = (1, 2, 0) if subject.channel_axis == 1 else (0, 1, 2)
        return _if_image(PictureAxes(shape, order))
    # A model that takes flat vectors can be given images.
    flat = max(shape, default=0) == np.prod(shape)
    if stored is None or not flat or len(stored) not in (2, 3):
        return None
    if len(stored) == 2:
        return _if_image(PictureAxes((*stored, 1), (0, 1, 2)))
    return _if_image(PictureAxes(stored, (0, 1, 2))) or _if_image(PictureAxes(stored, (1, 2, 0)))


def _if_image(axes: PictureAxes) -> PictureAxes | None:
    fits = axes.channels in _CHANNELS and min(axes.size) >= _SMALLEST_SIDE
    return axes if fits else None


def _largest(change: Array, factor: int) -> Array:
    """The largest change, with its sign, of each square of ``factor`` pixels: a mean would hide noise."""
    height, width, channels = change.shape
    spare = ((0, -height % factor), (0, -width % factor), (0, 0))
    padded = np.pad(change, spare)
    rows, columns = padded.shape[0] // factor, padded.shape[1] // factor
    squares = padded.reshape(rows, factor, columns, factor, channels).transpose(0, 2, 4, 1, 3)
    flat = squares.reshape(rows, columns, channels, factor * factor)
    place = np.abs(flat).argmax(axis=-1)[..., None]
    return np.take_along_axis(flat, place, axis=-1)[..., 0]


def _png(levels: Array) -> str:
    """Levels of 0 to 255, shape (height, width, 1 or 3), as a PNG file in base64; others are cut off."""
    pixels = np.rint(np.nan_to_num(levels)).clip(0, _WHITE).astype(np.uint8)
    image = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
    file = io.BytesIO()
    image.save(file, "png", optimize=True)
    return base64.b64encode(file.getvalue()).decode("ascii")


def _at(values: Array | None, row: int) -> int | None:
    return None if values is None else int(values[row])
