"""Records that a scan wrote down, read again: what ``store`` writes."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy_format
from numpy.typing import NDArray

from lsa_onnx.accounts.records import AttackRecord, Clean, Observed, Record, Series
from lsa_onnx.accounts.store import FORMAT, HEADER, Header
from lsa_onnx.errors import DataError
from lsa_onnx.executions import ExecutionSums
from lsa_onnx.files import MOST_READ_BYTES
from lsa_onnx.measures import SumsOfSquares
from lsa_onnx.report.decode import Misfit, decode_record

Array = NDArray[Any]

# What damaged or foreign files raise: zipfile, numpy's reader, and a header that is no JSON.
_DAMAGE = (zipfile.BadZipFile, KeyError, ValueError, EOFError, OSError, RecursionError)


@dataclass(frozen=True)
class RecordFile:
    """The records of one shard, or of a whole scan."""

    path: Path
    header: Header

    @property
    def samples(self) -> int:
        """How many it holds."""
        return self.header.part.stop - self.header.part.start

    def clean(self) -> Clean:
        """The clean samples.

        Raises:
            DataError: The file is damaged.
        """
        with _opened(self.path) as archive:
            return Clean(
                _array(archive, "clean/classes", self.samples),
                _array(archive, "clean/labels", self.samples),
            )

    def records(self, place: int) -> Iterator[Record]:
        """Those of perturbation ``place``, as many samples at a time as the scan entered.

        Raises:
            DataError: The file is damaged.
        """
        part, frame = self.header.part, self.header.frame
        with _opened(self.path) as archive:
            reader = _Reader(archive, self.samples, len(frame.layers))
            whole = reader.record(place, frame.applied[place].attack is not None)
            seen = reader.observed(place, self.header)
        for start in range(0, self.samples, frame.step):
            rows = slice(start, start + frame.step)
            yield Record(
                part.start + start,
                _rows(whole.perturbed, rows),
                # The extremes are those of all samples: entering them once is enough.
                seen if start == 0 else _nothing_seen(seen),
                _attack_rows(whole.attack, rows) if whole.attack else None,
            )


def open_records(path: Path) -> RecordFile:
    """Open a file that ``scan --records`` or ``scan --shard`` wrote.

    Raises:
        DataError: It is none, is damaged, or another version of lsa-onnx wrote it.
    """
    with _opened(path) as archive:
        if archive.getinfo(HEADER).file_size > MOST_READ_BYTES:
            raise ValueError("its header is too large")
        values = json.loads(archive.read(HEADER))
    written = values.get("format") if isinstance(values, dict) else None
    if written != FORMAT:
        raise DataError(
            f"the records in {str(path)!r} have format {written!r}, this tool reads {FORMAT}; make them again "
            "with `lsa-onnx scan`"
        )
    try:
        header = decode_record(Header, values, "")
        _require_sound(header)
    except Misfit as misfit:
        raise _damaged(path, misfit) from misfit
    return RecordFile(path, header)


def _require_sound(header: Header) -> None:
    """That the parts of a header fit each other.

    Raises:
        Misfit: They do not.
    """
    part, frame = header.part, header.frame
    if frame.step < 1:
        raise Misfit(f"its step is {frame.step}")
    if not 1 <= part.number <= part.count or not 0 <= part.start < part.stop <= part.total:
        raise Misfit(
            f"shard {part.number} of {part.count} is of samples {part.start} to {part.stop}"
        )
    if not len(header.outputs) == len(header.flips) == len(frame.applied):
        raise Misfit(f"{len(frame.applied)} perturbations have {len(header.outputs)} checks")
    if len(frame.sizes) != len(frame.layers):
        raise Misfit(f"{len(frame.layers)} layers have {len(frame.sizes)} sizes")


class _Reader:
    """Reads arrays of ``n`` samples and ``layers`` layers."""

    def __init__(self, archive: zipfile.ZipFile, n: int, layers: int) -> None:
        self._archive = archive
        self._n = n
        self._layers = layers

    def record(self, place: int, attacked: bool) -> Record:
        """All samples under perturbation ``place``, with nothing observed."""
        attack = None
        if attacked:
            attack = AttackRecord(
                self._series(f"{place}/noise"),
                *(
                    _array(self._archive, f"{place}/attack/{name}", self._n)
                    for name in ("classes", "saturated", "flat")
                ),
            )
        return Record(0, self._series(f"{place}/perturbed"), Observed({}, None), attack)

    def observed(self, place: int, header: Header) -> Observed:
        """How the clean outputs differed, over all samples."""
        names = header.outputs[place]
        found = _required(self._archive, f"{place}/observed", (len(names), 2))
        pairs = [(float(largest), float(scale)) for largest, scale in found]
        return Observed(dict(zip(names, pairs, strict=True)), header.flips[place])

    def _series(self, name: str) -> Series:
        shape = (self._n, self._layers)
        sums = [
            _required(self._archive, f"{name}/{measure}", shape)
            for measure in ("difference", "clean", "perturbed")
        ]
        return Series(
            SumsOfSquares(*sums),
            _required(self._archive, f"{name}/change", (self._n, 3)),
            _array(self._archive, f"{name}/classes", self._n),
            self._executions(f"{name}/executions/"),
        )

    def _executions(self, folder: str) -> dict[int, ExecutionSums]:
        members = [name for name in self._archive.namelist() if name.startswith(folder)]
        found = {}
        for layer in dict.fromkeys(
            int(name.removeprefix(folder).split("/")[0]) for name in members
        ):
            counts = _required(self._archive, f"{folder}{layer}/counts", (2, self._n))
            sums = _stored(self._archive, f"{folder}{layer}/sums")
            if sums.ndim != 3 or sums.shape[:2] != (3, self._n):
                raise ValueError(f"{folder}{layer}/sums has shape {sums.shape}")
            found[layer] = ExecutionSums(sums, counts)
        return found


def _rows(series: Series, rows: slice) -> Series:
    sums = series.sums
    return Series(
        SumsOfSquares(sums.difference[rows], sums.clean[rows], sums.perturbed[rows]),
        series.change[rows],
        None if series.classes is None else series.classes[rows],
        {
            layer: ExecutionSums(ran.sums[:, rows], ran.counts[:, rows])
            for layer, ran in series.executions.items()
        },
    )


def _attack_rows(attack: AttackRecord, rows: slice) -> AttackRecord:
    return AttackRecord(
        _rows(attack.noise, rows),
        None if attack.classes is None else attack.classes[rows],
        None if attack.saturated is None else attack.saturated[rows],
        None if attack.flat is None else attack.flat[rows],
    )


def _nothing_seen(seen: Observed) -> Observed:
    return Observed({}, None if seen.flips is None else 0)


def _array(archive: zipfile.ZipFile, name: str, n: int) -> Any:
    """An array of ``n`` rows; ``None`` where the file has none of this name."""
    if f"{name}.npy" not in archive.namelist():
        return None
    found = _stored(archive, name)
    if len(found) != n:
        raise ValueError(f"{name} has {len(found)} rows, not {n}")
    return found


def _required(archive: zipfile.ZipFile, name: str, shape: tuple[int, ...]) -> Array:
    found = _stored(archive, name)
    if found.shape != shape:
        raise ValueError(f"{name} has shape {found.shape}, not {shape}")
    return found


def _stored(archive: zipfile.ZipFile, name: str) -> Array:
    """An array that is stored as it is: one that grows when it is read could fill the memory."""
    info = archive.getinfo(f"{name}.npy")
    if info.compress_type != zipfile.ZIP_STORED:
        raise ValueError(f"{name} is compressed")
    with archive.open(info) as member:
        found = np.asarray(npy_format.read_array(member, allow_pickle=False))
    if found.dtype.kind not in "biuf":
        raise ValueError(f"{name} holds no numbers")
    return found


@contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except _DAMAGE as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> DataError:
    what = getattr(error, "strerror", None) or str(error)
    return DataError(
        f"{str(path)!r} does not hold the records of a scan: {what}; give what `lsa-onnx scan --records` or "
        "`--shard` wrote"
    )
