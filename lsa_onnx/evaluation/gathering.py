"""Samples that lie apart in the data, brought together in full batches."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lsa_onnx.attacks import Attack, Batch
from lsa_onnx.scanning.adversary import Adversary

Array = NDArray[Any]
Places = NDArray[np.int64]

# What all samples that are attacked together may take; of each, an attack holds some copies and the
# random numbers that it drew ahead.
_BYTES = 64 << 20
_COPIES = 16
_DRAWN_BYTES = 4 << 10


@dataclass(frozen=True)
class Gathered:
    """Some samples, as an attack is given them and as the model's inputs by name."""

    batch: Batch
    feeds: dict[str, Array]

    def rows(self, mask: NDArray[np.bool_]) -> Gathered:
        """The samples under ``mask``, shape (n,): at least one."""
        return Gathered(self.batch.rows(mask), {name: x[mask] for name, x in self.feeds.items()})


def attacked_at_once(sample_bytes: int, batch: int) -> int:
    """How many samples an attack works on together: at least as many as the model takes per run.

    What an attack costs beside the model is mostly the same for one sample and for thousands.

    Args:
        sample_bytes: Size of a sample.
        batch: Samples per run of the model, which is cut to that by whoever runs it.
    """
    return max(batch, _BYTES // (_COPIES * sample_bytes + _DRAWN_BYTES))


def full_batches(
    adversary: Adversary, attack: Attack, places: Places, size: int
) -> Iterator[Gathered]:
    """The samples at ``places`` in batches of ``size``; the last one may be smaller.

    Args:
        adversary: What attacks are given of the model and its data.
        attack: The attack that is to be made on them.
        places: Positions in the selection, ascending, shape (n,).
        size: Samples per batch.
    """
    for start in range(0, len(places), size):
        yield _gathered(adversary, attack, places[start : start + size], size)


def _gathered(adversary: Adversary, attack: Attack, places: Places, size: int) -> Gathered:
    """The samples at ``places``; what lies between them is read ``size`` samples at a time."""
    parts, end = [], int(places[-1]) + 1
    for start in range(int(places[0]), end, size):
        stop = min(start + size, end)
        wanted = np.isin(np.arange(start, stop), places, assume_unique=True)
        if wanted.any():
            feeds, _ = adversary.subject.feeds(start, stop)
            whole = Gathered(adversary.batch(attack, start, feeds), feeds)
            parts.append(whole if wanted.all() else whole.rows(wanted))
    if len(parts) == 1:
        return parts[0]
    names = parts[0].feeds
    feeds = {name: np.concatenate([part.feeds[name] for part in parts]) for name in names}
    return Gathered(Batch.joined([part.batch for part in parts]), feeds)
