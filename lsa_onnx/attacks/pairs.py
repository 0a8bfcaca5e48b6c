"""Perturbed inputs that were made elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lsa_onnx.attacks.base import Array, Batch, Perturbation


@dataclass(frozen=True)
class Pairs(Perturbation):
    """Reads x̂ from a file that holds one perturbed input per clean one.

    ``read`` takes the positions ``(start, stop)`` in the selection and returns x̂, shape (stop − start, ...).
    """

    source: str
    read: Callable[[int, int], Array]

    kind = "pairs"
    name = "pairs"

    def run(self, batch: Batch) -> Array:
        """See ``Perturbation.run``."""
        return self.read(batch.start, batch.start + len(batch.x))

    def parameters(self) -> dict[str, Any]:
        """See ``Perturbation.parameters``."""
        return {"source": self.source}
