"""How often the body of an If, Loop or Scan ran, and how far a tensor in it moved each time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lsa_onnx.report.document import Executions

Array = NDArray[np.float64]

# Of more executions than these, the report tells how many there were, not each one's mean CM.
MOST_LISTED = 256


@dataclass(frozen=True)
class ExecutionSums:
    """Sums of squares of one tensor for n samples, by execution of its body.

    Attributes:
        sums: ‖a − b‖², ‖a‖² and ‖b‖², shape (3, n, t); what is beyond a sample's ``common``
            executions means nothing.
        counts: How often the body ran for the clean and for the perturbed sample, shape (2, n).
    """

    sums: Array
    counts: NDArray[np.int64]

    @classmethod
    def of(cls, difference: Array, clean: Array, perturbed: Array) -> ExecutionSums:
        """From the sums of each branch, shape (n, t_i); ``difference`` is of what both have."""
        count, common = difference.shape
        sums = np.stack([difference, clean[:, :common], perturbed[:, :common]], dtype=np.float64)
        ran = [[part.shape[1]] * count for part in (clean, perturbed)]
        return cls(sums, np.asarray(ran, np.int64).reshape(2, count))

    @property
    def common(self) -> NDArray[np.int64]:
        """Executions that both branches have, shape (n,)."""
        return np.asarray(self.counts.min(axis=0))

    @property
    def total(self) -> Array:
        """The sums over all common executions, shape (3, n)."""
        return np.asarray(np.where(self._held, self.sums, 0.0).sum(axis=2))

    def relative_errors(self) -> Array:
        """CM of each execution, shape (n, t): NaN where there was none, or no clean norm."""
        difference, clean, _ = self.sums
        defined = self._held & (clean > 0) & np.isfinite(difference)
        ratio = np.divide(difference, clean, out=np.full(clean.shape, np.nan), where=defined)
        return np.asarray(np.sqrt(ratio))

    def first(self, count: int) -> ExecutionSums:
        """Those of the first ``count`` samples."""
        return ExecutionSums(self.sums[:, :count], self.counts[:, :count])

    @property
    def _held(self) -> NDArray[np.bool_]:
        return np.arange(self.sums.shape[2]) < self.common[:, None]


def joined(parts: Sequence[ExecutionSums]) -> ExecutionSums:
    """Batches, one after the other."""
    longest = max(part.sums.shape[2] for part in parts)
    padded = [
        np.pad(part.sums, [(0, 0), (0, 0), (0, longest - part.sums.shape[2])]) for part in parts
    ]
    return ExecutionSums(
        np.concatenate(padded, axis=1), np.concatenate([part.counts for part in parts], axis=1)
    )


def joined_layers(parts: Sequence[dict[int, ExecutionSums]]) -> dict[int, ExecutionSums]:
    """Batches of several tensors, one after the other."""
    return {key: joined([part[key] for part in parts]) for key in parts[0]}


class ExecutionTally:
    """What a report says of the executions of one tensor, accumulated batch by batch."""

    def __init__(self) -> None:
        self._samples = self._total = self._skipped = self._diverged = 0
        self._fewest: int | None = None
        self._most = 0
        self._sum, self._count = np.zeros(MOST_LISTED), np.zeros(MOST_LISTED, np.int64)

    def add(self, batch: ExecutionSums) -> None:
        """Take in a batch."""
        clean, perturbed = batch.counts
        self._samples += len(clean)
        self._total += int(clean.sum())
        self._skipped += int((batch.common == 0).sum())
        self._diverged += int((clean != perturbed).sum())
        fewest = int(clean.min(initial=np.iinfo(np.int64).max))
        self._fewest = fewest if self._fewest is None else min(self._fewest, fewest)
        self._most = max(self._most, int(clean.max(initial=0)))
        errors = batch.relative_errors()[:, :MOST_LISTED]
        width = errors.shape[1]
        self._count[:width] += np.isfinite(errors).sum(axis=0)
        self._sum[:width] += np.nansum(errors, axis=0)

    def record(self, path: str) -> Executions:
        """For the report; ``path`` is the body's."""
        listed = [s / n if n else None for s, n in zip(self._sum, self._count, strict=True)]
        return Executions(
            body=path,
            minimum=self._fewest or 0,
            maximum=self._most,
            mean=self._total / self._samples if self._samples else 0.0,
            skipped_samples=self._skipped,
            diverged_samples=self._diverged,
            relative_error=_plain(listed[: min(self._most, MOST_LISTED)]),
        )


def _plain(values: Sequence[Any]) -> list[float | None]:
    return [None if value is None else float(value) for value in values]
