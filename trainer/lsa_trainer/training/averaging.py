"""The exponential moving average of weights, which generalises better than the last weights do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from lsa_onnx.errors import DataError
from lsa_trainer.training.checkpoint import ANEW


class Average:
    """The average of some tensors, in float32 or better; what is not floating is taken over as it is.

    Attributes:
        decay: Share of the earlier average that an update keeps at most. Early on it is
            (1 + t) / (10 + t) after t updates, so that the first weights are soon forgotten.
        updates: How many there were.
    """

    def __init__(self, tensors: Mapping[str, Tensor], decay: float) -> None:
        """Start with the values that the tensors have now.

        Args:
            tensors: Weights by name; they are read at each update.
            decay: 0 to 1, without 1.

        Raises:
            DataError: ``decay`` is outside of that.
        """
        if not 0 <= decay < 1:
            raise DataError(f"a decay of {decay} is not usable; give 0 or more and less than 1")
        self.decay = decay
        self.updates = 0
        self._current = dict(tensors)
        self._average = {name: _wide(t.detach()).clone() for name, t in tensors.items()}

    @torch.no_grad()
    def update(self) -> None:
        """Take in the values that the tensors have now."""
        keep = min(self.decay, (1 + self.updates) / (10 + self.updates))
        for name, average in self._average.items():
            current = self._current[name]
            if average.is_floating_point():
                average.lerp_(current.to(average.dtype), 1 - keep)
            else:
                average.copy_(current)
        self.updates += 1

    def adopt(self) -> None:
        """Give the tensors the average for good."""
        _write(self._current, self._average)

    @contextmanager
    def swapped_in(self) -> Iterator[None]:
        """The tensors hold the average inside the block, and bit for bit their own values after it."""
        own = {name: tensor.detach().clone() for name, tensor in self._current.items()}
        try:
            _write(self._current, self._average)
            yield
        finally:
            _write(self._current, own)

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Tensors and a JSON-ready record for a checkpoint; the tensors are those of the average."""
        return dict(self._average), {"updates": self.updates}

    def restore(self, tensors: Mapping[str, Tensor], record: Mapping[str, Any]) -> None:
        """Go on from what ``state`` gave.

        Raises:
            DataError: It is of other tensors.
        """
        for name, average in self._average.items():
            shape = tuple(tensors[name].shape) if name in tensors else None
            if shape != tuple(average.shape):
                raise DataError(
                    f"the checkpoint holds shape {shape} for the average of {name!r}, the model has "
                    f"{tuple(average.shape)}; resume with the same model, or {ANEW}"
                )
        _write(self._average, tensors)
        self.updates = int(record["updates"])


def _wide(tensor: Tensor) -> Tensor:
    half = tensor.is_floating_point() and tensor.element_size() < torch.float32.itemsize
    return tensor.to(torch.float32) if half else tensor


@torch.no_grad()
def _write(targets: Mapping[str, Tensor], values: Mapping[str, Tensor]) -> None:
    for name, target in targets.items():
        target.copy_(values[name])
