"""The part of a model before an inner tensor, run on clean samples: they become clean tensors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from numpy.typing import NDArray

from lsa_onnx.errors import ModelError
from lsa_onnx.rewrite.promote import front
from lsa_onnx.runtime.layout import padded
from lsa_onnx.runtime.matching import relative_difference
from lsa_onnx.runtime.session import Session

if TYPE_CHECKING:
    from lsa_onnx.inputs.units import Units
    from lsa_onnx.runtime.devices import Device
    from lsa_onnx.scanning.subject import Subject

Array = NDArray[Any]

# Rounding differs between a batch and single runs; a mix of samples differs by far more.
_TOLERANCE = 1e-3
_PROBE_SAMPLES = 2


class Front:
    """Computes an inner tensor of the samples of a subject, batch by batch.

    Attributes:
        source: The subject whose inputs it takes.
        tensor: What it computes.
        element: The tensor's ONNX element type; UNDEFINED for what is no tensor.
        declared: Its shape as ONNX Runtime infers it, [] where the rank is not known.
        sample_shape: Of one sample, by the first of them.
    """

    def __init__(self, source: Subject, tensor: str, device: Device) -> None:
        """Open it, and find out how many samples it takes at a time.

        Raises:
            ModelError: There is no such tensor between inputs and outputs, it does not run, or it has no
                row per sample.
        """
        self.source = source
        self.tensor = tensor
        self._session = Session(front(source.prepared, tensor), device, source.model.folder)
        kind, self.declared = self._session.tensor_types()[tensor]
        self.element = _element(kind)
        layout, total = source.layout, len(source.dataset)
        self._whole = layout.leading is None
        self._size: int | None = layout.leading or 1
        single = self._run(0, min(self._size or 1, total))
        self.sample_shape = single.shape[1:]
        if layout.free and self._agrees(total):
            self._size = None

    def read(self, start: int, stop: int) -> Array:
        """The tensor of samples ``start`` to ``stop``, shape (n, ...).

        Raises:
            ModelError: Its shape is not that of the other samples.
        """
        size = self._size or stop - start
        parts = [self._run(i, min(i + size, stop)) for i in range(start, stop, size)]
        for part in parts:
            if part.shape[1:] != self.sample_shape:
                raise ModelError(
                    f"cannot perturb {self.tensor!r}: its shape depends on the values of the sample, "
                    f"{self.sample_shape} and {part.shape[1:]}; give another tensor"
                )
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _agrees(self, total: int) -> bool:
        """Whether two samples in one run equal two single runs."""
        count = min(_PROBE_SAMPLES, total)
        try:
            together = self._run(0, count)
        except ModelError:
            return False
        apart = np.concatenate([self._run(i, i + 1) for i in range(count)])
        return together.shape == apart.shape and relative_difference(together, apart) <= _TOLERANCE

    def _run(self, start: int, stop: int) -> Array:
        """One run of (at most) as many samples as it takes."""
        layout, count = self.source.layout, stop - start
        feeds, _ = self.source.feeds(start, stop)
        size = max(count, self._size or count)
        fed = {n: layout.feed(padded(feeds[n], size)) for n in self._session.input_names}
        found = np.asarray(self._session.run(fed, [self.tensor])[self.tensor])
        if self._whole:
            return found[None]
        if found.shape[:1] != (size,):
            raise ModelError(
                f"cannot perturb {self.tensor!r}: {size} sample(s) give it the shape {found.shape}, "
                "whose first dimension does not count them; give another tensor"
            )
        return found[:count]


@dataclass(frozen=True)
class FrontSamples:
    """What ``front`` computes, as the samples of a dataset."""

    front: Front
    units: Units

    def __len__(self) -> int:
        return len(self.front.source.dataset)

    def read(self, start: int, stop: int) -> Array:
        """Samples ``start`` to ``stop``, shape (n, ...), in the units of the tensor.

        Raises:
            DataError: A value is not finite, or outside the declared range.
        """
        index = self.front.source.dataset.selection

        def name_of(position: int) -> str:
            return f"sample {index[start + position]}"

        return self.units.convert(self.front.read(start, stop), repr(self.front.tensor), name_of)


@dataclass(frozen=True)
class FedRows:
    """What a subject feeds an input, as the values of a further input of a dataset."""

    source: Subject
    name: str

    def read(self, start: int, stop: int) -> Array:
        """Those of samples ``start`` to ``stop``, shape (n, ...)."""
        return self.source.feeds(start, stop)[0][self.name]


def _element(kind: str) -> int:
    """The ONNX element type of what ONNX Runtime calls ``tensor(float)``."""
    inner = kind.removeprefix("tensor(").removesuffix(")").upper()
    known = onnx.TensorProto.DataType.items()
    return int(dict(known).get(inner, onnx.TensorProto.UNDEFINED))
