"""What became of a row: one JSON file for each row and seed, from which pages are made."""

from __future__ import annotations

import base64
import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lsa_onnx.errors import DataError
from lsa_onnx.files import read_regular, write_atomically
from lsa_onnx.report.decode import Misfit, decode_record, with_lists
from lsa_onnx.report.evaluation import Evaluation

Bools = NDArray[np.bool_]

ROW = "row.json"
VERSION = 1


@dataclass(frozen=True)
class Attacked:
    """One attack at every ε.

    ``eps`` are in units of the declared range; ``right`` holds for each of them which of ``n`` test samples
    are classified right, as bits in base64; ``accuracy`` is their share in percent.
    """

    eps: list[float]
    n: int
    accuracy: list[float]
    right: list[str]
    parameters: dict[str, Any]
    seconds: float

    @classmethod
    def of(cls, evaluation: Evaluation, attack: str, seconds: float) -> Attacked:
        """What an evaluation found."""
        found = [result for result in evaluation.results if result.attack == attack]
        right = [evaluation.correct_at(attack, result.eps) for result in found]
        return cls(
            eps=[result.eps for result in found],
            n=found[0].n,
            accuracy=[100.0 * float(each.mean()) for each in right],
            right=[pack(each) for each in right],
            parameters=found[-1].parameters,
            seconds=seconds,
        )

    @property
    def correct(self) -> Bools:
        """Which samples are right, shape (strengths, n)."""
        return np.stack([unpack(text, self.n) for text in self.right])

    @property
    def r_and_g(self) -> float:
        """The R&G score: accuracies in percent, summed over ε."""
        return sum(self.accuracy)


@dataclass(frozen=True)
class RowResult:
    """A row that is done for one seed.

    ``index`` is its place in the recipe, whose ``title`` and ``source`` are told again.
    ``layers`` maps each regularised tensor to its γ, ``layers_from`` says who chose them, ``places`` are
    theirs among the scanned layers. ``train_eps`` is the ε of training, ``eta`` the cut-off of the scan;
    ``options`` are those of hardening. ``attacks`` holds results by attack, ``training_seconds`` the time
    of this row's own training, its verification included.
    """

    recipe: str
    scale: str
    title: str
    source: str
    index: int
    row: str
    seed: int
    base: str
    layers: dict[str, float]
    places: list[int]
    layers_from: str
    train_eps: float | None
    eta: float
    options: dict[str, Any]
    published: list[float]
    published_r_and_g: float | None
    attacks: dict[str, Attacked]
    training_seconds: float
    model_sha256: str
    machine: str
    versions: dict[str, str]
    version: int = VERSION

    def save(self, folder: Path) -> None:
        """Write it into the folder of the row.

        Raises:
            DataError: The file cannot be written.
        """
        text = json.dumps(with_lists(dataclasses.asdict(self)), indent=1, allow_nan=False)
        write_atomically(folder / ROW, text.encode("ascii") + b"\n")


def read_results(work: Path) -> list[RowResult]:
    """All rows that are done in a folder, by seed.

    Raises:
        DataError: A file is there that is none of these.
    """
    found = [_read(path) for path in sorted(work.glob(f"seed-*/*/{ROW}"))]
    return sorted(found, key=lambda result: result.seed)


def _read(path: Path) -> RowResult:
    try:
        return decode_record(RowResult, json.loads(read_regular(path)), "")
    except (OSError, ValueError, RecursionError, Misfit) as error:
        raise DataError(
            f"{str(path)!r} is no result of a row: {error}; remove it, and its row is run again"
        ) from error


def read_record(path: Path) -> Mapping[str, Any] | None:
    """A JSON object that an earlier run kept; ``None`` where there is none that can be read."""
    try:
        found = json.loads(read_regular(path))
    except (OSError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def write_record(path: Path, record: Mapping[str, Any]) -> None:
    """Keep a JSON object.

    Raises:
        DataError: The file cannot be written.
    """
    text = json.dumps(with_lists(dict(record)), indent=1, allow_nan=False)
    write_atomically(path, text.encode("ascii") + b"\n")


def pack(right: Bools) -> str:
    """Truth values, shape (n,), as bits in base64."""
    return base64.b64encode(np.packbits(right).tobytes()).decode("ascii")


def unpack(text: str, n: int) -> Bools:
    """What ``pack`` was given, shape (n,)."""
    bits = np.frombuffer(base64.b64decode(text), np.uint8)
    return np.unpackbits(bits, count=n).astype(np.bool_)
