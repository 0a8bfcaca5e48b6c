"""The contract of every perturbation, and its enforcement."""

from __future__ import annotations

import abc
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, final

import numpy as np
from numpy.typing import NDArray

from lsa_onnx.attacks.oracle import Goal, Oracle, goal_rows
from lsa_onnx.errors import DataError

Array = NDArray[Any]


@dataclass(frozen=True)
class Batch:
    """What a perturbation is given.

    Attributes:
        x: Clean inputs in units of the declared range, shape (n, ...); not to be changed.
        labels: Class labels, shape (n,), or ``None``.
        start: Position of the first sample in the selection; seeds derive from it, so that the same
            sample gets the same perturbation whatever the batch size.
        low: Lower end of the declared range.
        high: Upper end.
        oracles: The model under audit together with an objective, by the objective's name ("ce",
            "margin", "dlr", "kl", "output", "layer:NAME"; ``None`` for the scan's default). ``None``
            where attacks are not offered.
        goal: What objectives aim at, see ``Goal``.
        channel_axis: Of ``x``: 1 for (n, channels, ...), 3 for (n, height, width, channels); ``None``
            for samples without channels.
        places: Position of each sample in the selection, shape (n,), where they are not consecutive;
            ``start`` is then the first.
    """

    x: Array
    labels: Array | None
    start: int
    low: float
    high: float
    oracles: Callable[[str | None], Oracle] | None = None
    goal: Goal = field(default_factory=dict)
    channel_axis: int | None = None
    places: NDArray[np.int64] | None = None

    @property
    def positions(self) -> NDArray[np.int64]:
        """Of the samples in the selection, shape (n,)."""
        if self.places is not None:
            return self.places
        return np.arange(self.start, self.start + len(self.x), dtype=np.int64)

    def rows(self, mask: NDArray[np.bool_]) -> Batch:
        """The samples under ``mask``, shape (n,): at least one."""
        places = self.positions[mask]
        return replace(
            self,
            x=self.x[mask],
            labels=None if self.labels is None else self.labels[mask],
            start=int(places[0]),
            goal=goal_rows(self.goal, mask),
            places=places,
        )

    @classmethod
    def joined(cls, parts: Sequence[Batch]) -> Batch:
        """The samples of all ``parts``, at least one and alike in all else, in their order."""
        first = parts[0]
        if len(parts) == 1:
            return first
        return replace(
            first,
            x=np.concatenate([part.x for part in parts]),
            labels=_concatenated([part.labels for part in parts]),
            goal={name: np.concatenate([part.goal[name] for part in parts]) for name in first.goal},
            places=np.concatenate([part.positions for part in parts]),
        )


def _concatenated(parts: Sequence[Array | None]) -> Array | None:
    known = [part for part in parts if part is not None]
    return np.concatenate(known) if known else None


class Perturbation(abc.ABC):
    """A perturbation is a value: it holds its parameters and no state. Subclasses write ``run``.

    ``name`` tells it from the other perturbations of a scan.
    """

    kind: Literal["noise", "attack", "pairs"]
    name: str

    @abc.abstractmethod
    def run(self, batch: Batch) -> Array:
        """The perturbed inputs, shape of ``batch.x``; the caller clips values beyond the range."""

    @abc.abstractmethod
    def parameters(self) -> dict[str, Any]:
        """What the report says of it: JSON-ready values in units of the declared range."""

    def verify(self, batch: Batch, result: Array) -> None:  # noqa: B027 - most promise no more
        """Hold the final result, shape of ``batch.x``, to what else this perturbation promises.

        Raises:
            DataError: It breaks the promise.
        """

    @final
    def __call__(self, batch: Batch) -> Array:
        """Perturb a batch and hold the result to the contract.

        Returns:
            Finite values within [low, high], of the shape and dtype of ``batch.x``.

        Raises:
            DataError: The perturbed inputs have another shape, are no real numbers, hold NaN or
                infinity, or break what this perturbation promises besides.
        """
        result = np.asarray(self.run(batch))
        if result.shape != batch.x.shape:
            raise DataError(
                f"perturbation {self.name!r} gave shape {result.shape} for inputs of shape "
                f"{batch.x.shape}; both must be equal"
            )
        if result.dtype.kind not in "fiu":
            raise DataError(
                f"perturbation {self.name!r} gave values of type {result.dtype}; "
                "perturbed inputs must be real numbers"
            )
        result = self._within_range(result, batch)
        self.verify(batch, result)
        return result

    def _within_range(self, result: Array, batch: Batch) -> Array:
        """``result`` itself where nothing is to be done: a copy of the batch is worth avoiding."""
        dtype = batch.x.dtype
        if result.size == 0:
            return result.astype(dtype, copy=False)
        # NaN and infinity show in the extremes, so no mask of the batch's size is needed.
        least, most = result.min(), result.max()
        if not (np.isfinite(least) and np.isfinite(most)):
            finite = np.isfinite(result.reshape(len(result), -1)).all(axis=1)
            raise DataError(
                f"perturbation {self.name!r} gave NaN or infinity for sample "
                f"{batch.positions[int(np.argmin(finite))]}; perturbed inputs must be finite"
            )
        low, high = dtype.type(batch.low), dtype.type(batch.high)
        if least < low or most > high:
            result = np.clip(result, low, high)
        return result.astype(dtype, copy=False)
