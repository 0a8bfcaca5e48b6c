"""The samples of a training run: in memory, split once, and in an order that a step number gives."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lsa_onnx.errors import DataError
from lsa_onnx.scanning.subject import Subject
from lsa_trainer.training.memory import free_bytes
from lsa_trainer.training.randomness import ORDER_STREAM, SPLIT_STREAM, counter_bits, derived

# Of the memory that is free: model, activations and the runtime need some too.
_SHARE = 0.8
_PIECE_BYTES = 1 << 24
_GIBIBYTE = 1 << 30


@dataclass(frozen=True)
class TrainingSet:
    """Samples in memory.

    Attributes:
        x: The perturbed input, shape (n, ...), in units of the declared range.
        y: Class labels, shape (n,), int64; for a model without classes what it should give, shape
            (n, ...); or ``None``.
        extra: The model's other inputs by name, each (n, ...).
    """

    x: Tensor
    y: Tensor | None
    extra: Mapping[str, Tensor] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.x)

    def rows(self, index: Tensor) -> TrainingSet:
        """A copy of the samples that ``index``, shape (m,), int64, names."""
        index = index.to(self.x.device)
        y = None if self.y is None else self.y[index]
        return TrainingSet(self.x[index], y, {n: t[index] for n, t in self.extra.items()})

    @classmethod
    def of(cls, subject: Subject, device: Any = "cpu", most: int | None = None) -> TrainingSet:
        """The samples of a subject, read piece by piece.

        Args:
            subject: The model with its data.
            device: Where the tensors go.
            most: How many of the first; ``None`` for all.

        Raises:
            DataError: They do not fit into memory, or one cannot be read.
        """
        count, source = len(subject.dataset), subject.dataset.source
        count = count if most is None else min(count, most)
        feeds, _ = subject.feeds(0, 1)
        row = sum(array.nbytes for array in feeds.values())
        _require_room(count, row, source, device)
        whole = {name: _room(count, array, source, device) for name, array in feeds.items()}
        step = max(_PIECE_BYTES // max(row, 1), 1)
        for start in range(0, count, step):
            part, _ = subject.feeds(start, min(start + step, count))
            for name, array in part.items():
                whole[name][start : start + step] = torch.from_numpy(array)
        labels = subject.dataset.labels
        y = None if labels is None else torch.tensor(labels[:count], device=device)
        return cls(whole.pop(subject.input.name), y, whole)


@dataclass(frozen=True)
class Split:
    """Indices of disjoint samples, ascending, each of shape (m,), int64, on the CPU."""

    training: Tensor
    validation: Tensor
    verification: Tensor


def split(
    count: int,
    seed: int,
    validation: float,
    verification: float,
    labels: Tensor | None = None,
) -> Split:
    """Set samples aside before anything else; with labels, in each class about the same share.

    Args:
        count: How many samples there are.
        seed: Any integer.
        validation: Share that chooses among checkpoints and stops the run, 0 to below 1.
        verification: Share that nothing but the final comparison sees, 0 to below 1.
        labels: Class labels, shape (count,), or ``None``.

    Raises:
        DataError: The shares are not usable, or leave nothing to train on.
    """
    for what, share in (("validation", validation), ("verification", verification)):
        if not 0 <= share < 1:
            raise DataError(f"a {what} share of {share} is not usable; give 0 to below 1")
    first, second = (_part(count, share) for share in (validation, verification))
    if first + second >= count:
        raise DataError(
            f"{first} samples for validation and {second} for verification leave none of {count} "
            "to train on; give smaller shares or more samples"
        )
    order = _stratified(count, seed, None if labels is None else labels.cpu().numpy())
    parts = (order[first + second :], order[:first], order[first : first + second])
    return Split(*(torch.from_numpy(np.sort(part)) for part in parts))


@dataclass(frozen=True)
class Batches:
    """Which samples each step sees: a function of the step alone.

    An epoch is a permutation that follows from seed and epoch. It is cut into batches of one size; what
    is left over waits for another epoch. Every process takes its own part of a batch.

    Attributes:
        count: Samples to train on; batches are positions among them.
        batch: Size of a batch over all processes. A smaller dataset is one batch, cut down to what the
            processes can share.
        seed: Any integer.
        rank: Number of this process.
        world: How many processes there are.

    Raises:
        DataError: A batch cannot be shared evenly, or there are fewer samples than processes.
    """

    count: int
    batch: int
    seed: int
    rank: int = 0
    world: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.rank < self.world:
            raise ValueError(f"rank {self.rank} is not among {self.world} processes")
        if self.batch < 1:
            raise DataError(f"a batch of {self.batch} is not usable; give 1 or more")
        if self.batch % self.world:
            raise DataError(
                f"a batch of {self.batch} cannot be shared evenly by {self.world} processes; "
                f"give a multiple of {self.world}"
            )
        if self.count < self.world:
            raise DataError(
                f"{self.count} samples to train on cannot be shared by {self.world} processes; "
                f"give more samples or at most {max(self.count, 1)} processes"
            )

    @property
    def size(self) -> int:
        """Samples of a step, over all processes."""
        return min(self.batch, self.count - self.count % self.world)

    @property
    def per_epoch(self) -> int:
        """Steps of an epoch, 1 or more."""
        return self.count // self.size

    def epoch_of(self, step: int) -> int:
        """The epoch, from 0, that a step, from 0, belongs to."""
        return step // self.per_epoch

    def batch_at(self, step: int) -> Tensor:
        """What this process sees at a step: positions, shape (size / world,), int64, on the CPU."""
        epoch, place = divmod(step, self.per_epoch)
        share = self.size // self.world
        start = place * self.size + self.rank * share
        return _permutation(self.count, self.seed, epoch)[start : start + share].clone()

    def of_epoch(self, epoch: int) -> Iterator[Tensor]:
        """``batch_at`` for each step of an epoch."""
        first = epoch * self.per_epoch
        return (self.batch_at(step) for step in range(first, first + self.per_epoch))


# The epochs around a boundary; making a permutation takes longer than a step may.
@lru_cache(maxsize=2)
def _permutation(count: int, seed: int, epoch: int) -> Tensor:
    return torch.argsort(_hashes(count, derived(seed, ORDER_STREAM, epoch)), stable=True)


def _hashes(count: int, key: int) -> Tensor:
    return counter_bits(key, torch.arange(count), 1)[:, 0]


def _part(count: int, share: float) -> int:
    """How many samples a share is: one at least where it is not zero."""
    return max(round(count * share), int(share > 0))


def _stratified(count: int, seed: int, labels: NDArray[Any] | None) -> NDArray[np.int64]:
    """A random order of which any stretch holds about as much of each class as the whole does."""
    chance = _hashes(count, derived(seed, SPLIT_STREAM)).numpy()
    if labels is None:
        return np.argsort(chance, kind="stable")
    by_class = np.lexsort((chance, labels))
    _, start, size = np.unique(labels[by_class], return_index=True, return_counts=True)
    rank = np.arange(count) - np.repeat(start, size)
    place = np.empty(count)
    place[by_class] = (rank + 0.5) / np.repeat(size, size)
    return np.lexsort((chance, place))


def _require_room(count: int, row: int, source: str, device: Any) -> None:
    free = free_bytes(device)
    if free is None or count * row <= free * _SHARE:
        return
    fitting = int(free * _SHARE) // row
    raise DataError(
        f"{count} samples of {source} take {count * row / _GIBIBYTE:.1f} GiB, and training may use "
        f"{free * _SHARE / _GIBIBYTE:.1f} GiB of the memory that is free ({device}); "
        f"give --samples {max(fitting, 1)} or fewer"
    )


def _room(count: int, row: NDArray[Any], source: str, device: Any) -> Tensor:
    """An uninitialised tensor for ``count`` of what ``row``, shape (1, ...), is one of."""
    dtype = torch.from_numpy(row).dtype
    try:
        return torch.empty((count, *row.shape[1:]), dtype=dtype, device=device)
    except RuntimeError as error:  # what torch raises on every device where memory is short
        raise DataError(
            f"{count} samples of {source} do not fit into memory ({device}); give fewer with --samples N"
        ) from error
