"""What a report says of a scan that is no whole one, and the inputs that it shows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from lsa_onnx.report.sections import FileDigest


@dataclass(frozen=True)
class Partial:
    """A scan that ended early, and how far it came.

    ``cut`` is the perturbation under way, with ``samples`` of the ``wanted`` ones scored (``None`` where
    it ended between two); ``missing`` are those that were not begun.
    """

    reason: Literal["interrupted"]
    cut: str | None
    samples: int
    wanted: int
    missing: list[str]


@dataclass(frozen=True)
class Shard:
    """Which part of the samples a scan is of: from ``start`` on, before ``stop``, of ``total``.

    ``number`` counts from 1 to ``count``. ``records`` holds what the runtime returned of each sample:
    `lsa-onnx merge` makes of it the report that a single run would have made.
    """

    number: int
    count: int
    start: int
    stop: int
    total: int
    records: FileDigest


@dataclass(frozen=True)
class Example:
    """An input that a perturbation changed to great effect, as pictures.

    ``index`` is the sample's position in the data that were read, ``label`` and the classes are
    numbers, ``None`` where there are none. ``mean_cm`` is the sample's CM, averaged over the layers.
    The pictures are PNG files of ``width`` × ``height`` pixels in base64; ``shrunk`` tells by which
    factor they are smaller than the input. ``difference`` is ``gain`` × (x̂ − x) around middle grey.
    """

    perturbation: str
    index: int
    label: int | None
    clean_class: int | None
    perturbed_class: int | None
    mean_cm: float | None
    width: int
    height: int
    shrunk: int
    gain: float
    clean: str
    perturbed: str
    difference: str
