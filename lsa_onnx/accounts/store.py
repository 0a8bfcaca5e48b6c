"""The records of a scan on disk: an npz that numpy can read, with a header that says what they are of.

Members are stored as they are, so that none can grow when it is read. ``i/perturbed/…`` are the samples
under perturbation i, ``i/noise/…`` those under noise of the same norm, ``i/attack/…`` what else is known of
an attack; ``clean/…`` the clean samples. ``header.json`` holds the frame, the shard and the examples.
"""

from __future__ import annotations

import dataclasses
import json
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy_format
from numpy.typing import NDArray

from lsa_onnx.accounts.frame import Frame
from lsa_onnx.accounts.records import Clean, Record, Series, worst_observed
from lsa_onnx.errors import DataError
from lsa_onnx.executions import joined
from lsa_onnx.files import writing_atomically
from lsa_onnx.report.document import Example

Array = NDArray[Any]

# Of what is written; changes when a reader would misunderstand it.
FORMAT = 1
HEADER = "header.json"


@dataclass(frozen=True)
class Part:
    """Which samples were recorded: shard ``number`` of ``count``, from ``start`` on, before ``stop``."""

    number: int
    count: int
    start: int
    stop: int
    total: int


@dataclass(frozen=True)
class Header:
    """What the records are of; ``outputs`` and ``flips`` belong to what was observed, by perturbation."""

    format: int
    part: Part
    frame: Frame
    examples: list[Example]
    outputs: list[list[str]]
    flips: list[int | None]


def part_of(total: int, step: int, shard: tuple[int, int] | None) -> Part:
    """Which samples a shard is of: a share of the batches, so that they are those of a single run.

    Args:
        total: Samples of the whole selection.
        step: Samples per batch.
        shard: ``(i, n)`` with i from 1 to n; ``None`` for all samples.

    Raises:
        DataError: There are fewer batches than shards.
    """
    number, count = shard or (1, 1)
    batches = -(-total // step)
    if count > batches:
        raise DataError(
            f"--shard {number}/{count} is too fine: {total} samples are {batches} batches of {step}, and a shard "
            f"takes whole ones; use at most {batches} shards, or a smaller --batch for all of them"
        )
    start, stop = (min(total, batches * i // count * step) for i in (number - 1, number))
    return Part(number, count, start, stop, total)


class RecordWriter:
    """Writes records, one perturbation after the other: memory holds those of one."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        """Start with nothing; ``archive`` is open for writing."""
        self._archive = archive
        self._outputs: list[list[str]] = []
        self._flips: list[int | None] = []

    def write(self, records: Sequence[Record]) -> None:
        """Write all records of the next perturbation, in the order of the samples."""
        place = len(self._flips)
        self._series(f"{place}/perturbed", [record.perturbed for record in records])
        attacks = [record.attack for record in records if record.attack is not None]
        if attacks:
            self._series(f"{place}/noise", [attack.noise for attack in attacks])
            for name in ("classes", "saturated", "flat"):
                self._joined(f"{place}/attack/{name}", [getattr(each, name) for each in attacks])
        seen = worst_observed([record.observed for record in records])
        self._write(f"{place}/observed", np.reshape(list(seen.extremes.values()), (-1, 2)))
        self._outputs.append(list(seen.extremes))
        self._flips.append(seen.flips)

    def finish(self, part: Part, frame: Frame, clean: Clean, examples: Sequence[Example]) -> None:
        """Write what all perturbations share."""
        self._joined("clean/classes", [clean.classes])
        self._joined("clean/labels", [clean.labels])
        header = {
            "format": FORMAT,
            "part": dataclasses.asdict(part),
            "frame": frame.to_dict(),
            "examples": [dataclasses.asdict(example) for example in examples],
            "outputs": self._outputs,
            "flips": self._flips,
        }
        text = json.dumps(header, ensure_ascii=False, allow_nan=False)
        self._archive.writestr(HEADER, text.encode("utf-8"))

    def _series(self, name: str, parts: Sequence[Series]) -> None:
        for measure in ("difference", "clean", "perturbed"):
            self._joined(f"{name}/{measure}", [getattr(part.sums, measure) for part in parts])
        self._joined(f"{name}/change", [part.change for part in parts])
        self._joined(f"{name}/classes", [part.classes for part in parts])
        for layer in parts[0].executions:
            found = joined([part.executions[layer] for part in parts])
            self._write(f"{name}/executions/{layer}/sums", found.sums)
            self._write(f"{name}/executions/{layer}/counts", found.counts)

    def _joined(self, name: str, parts: Sequence[Array | None]) -> None:
        """Write ``parts``, one after the other, unless a sample has nothing there."""
        known = [part for part in parts if part is not None]
        if known and len(known) == len(parts):
            self._write(name, np.concatenate(known))

    def _write(self, name: str, array: Array) -> None:
        with self._archive.open(f"{name}.npy", "w", force_zip64=True) as member:
            npy_format.write_array(member, np.asanyarray(array), allow_pickle=False)


@contextmanager
def writing_records(path: Path) -> Iterator[RecordWriter]:
    """Write records to ``path``, which appears when the block ends without an error.

    Raises:
        DataError: The file cannot be written; what was there before is intact.
    """
    with writing_atomically(path) as file, zipfile.ZipFile(file, "w") as archive:
        yield RecordWriter(archive)
