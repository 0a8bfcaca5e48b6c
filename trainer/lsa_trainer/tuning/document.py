"""What a search found: every trial, the best of them, and whether it beats plain adversarial training.

``Tuning.to_dict`` gives JSON-ready values like ``lsa_onnx.report.Report.to_dict``.
"""

from __future__ import annotations

import dataclasses
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from lsa_onnx.errors import DataError
from lsa_onnx.files import read_regular, write_atomically
from lsa_onnx.report.decode import Misfit, decode_record, with_lists

TUNING_VERSION = "1.0"

Role = Literal["plain", "searched", "without the term"]


@dataclass(frozen=True)
class Trial:
    """One setting, trained and scored.

    ``role`` "plain" is adversarial training with γ = 0 and nothing else changed, the first of every
    search; "without the term" is another trial once more with γ = 0. ``chosen`` is what the search
    chose, ``options`` the fields of ``HardenOptions`` that follow from it; ``layers`` maps each
    regularised tensor to its γ, of the first seed. ``score`` is the mean over the seeds, with the 95 %
    ``interval`` of a bootstrap over the samples; ``by_seed`` holds each seed's, ``spread`` their sample
    standard deviation (``None`` for one seed); ``clean`` is the mean clean accuracy. A trial that failed
    has its error as ``reason`` and no scores.
    """

    name: str
    role: Role
    chosen: dict[str, Any]
    options: dict[str, Any]
    layers: dict[str, float]
    reason: str | None
    score: float | None
    interval: tuple[float, float] | None
    by_seed: list[float]
    spread: float | None
    clean: float | None
    seconds: float


@dataclass(frozen=True)
class Gain:
    """``trial``'s score less ``over``'s, sample by sample.

    ``interval`` is the 95 % interval of the paired bootstrap for these two alone. The better of many
    trials is partly better by chance: ``among_all`` are bounds that hold for the gains of all trials at
    once, and so for one that was picked for its score (bootstrap of the largest abs(t)); ``None`` where the trial was
    not picked.
    """

    trial: str
    over: str
    value: float
    interval: tuple[float, float]
    among_all: tuple[float, float] | None

    @property
    def holds(self) -> bool:
        """Whether 0 is below the bounds."""
        return (self.among_all or self.interval)[0] > 0


@dataclass(frozen=True)
class Tuning:
    """A whole search for ``model``.

    ``score`` is "robust" (accuracy under ``attack`` at the only one of ``eps``, a share) or "rg" (the sum
    over ``eps`` of accuracies in percent); ``steps`` of the attack. Each trial trained on
    ``training_samples``, from which it also took those that choose its checkpoint, and was scored on
    ``scoring_samples`` others, all from ``data``. ``original`` is the score of the model as it was.
    ``best`` names the trial of the highest score; ``gain`` is its lead over plain adversarial training
    (``None`` if it is that, or that failed), ``term_gain`` over itself with γ = 0, where it differs from plain
    training in more than the term. ``importance`` is the share of the differences between scores that each
    choice explains; ``config`` holds the options of the best for the whole data.
    """

    tool_version: str
    created: str
    model: str
    model_sha256: str
    data: str
    score: Literal["robust", "rg"]
    attack: str
    steps: int | None
    norm: str
    eps: list[str]
    search: list[str]
    seeds: list[int]
    training_samples: int
    scoring_samples: int
    original: float
    trials: list[Trial]
    best: str
    gain: Gain | None
    term_gain: Gain | None
    importance: dict[str, float]
    notes: list[str]
    config: dict[str, Any]
    folder: str
    command: list[str]
    seconds: float
    schema_version: str = TUNING_VERSION
    kind: Literal["tuning"] = "tuning"

    @property
    def statement(self) -> str:
        """On what the best was chosen."""
        return f"chosen on {self.scoring_samples:,} held-out training samples, never on test data"

    def trial(self, name: str) -> Trial:
        """The trial of this name."""
        return next(trial for trial in self.trials if trial.name == name)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready values, fields in the order of this class, arrays as lists."""
        return {name: with_lists(value) for name, value in dataclasses.asdict(self).items()}

    @classmethod
    def from_dict(cls, values: object) -> Tuning:
        """Rebuild it from what ``json.loads`` gave.

        Raises:
            DataError: It is another document, of another schema version, has a missing or unknown field, or a
                value of the wrong type.
        """
        kind = values.get("kind") if isinstance(values, dict) else None
        version = values.get("schema_version") if isinstance(values, dict) else None
        if (kind, version) != ("tuning", TUNING_VERSION):
            raise DataError(
                f"this is no tuning of schema version {TUNING_VERSION!r} but has kind {kind!r} and version "
                f"{version!r}; give the JSON file of `lsa-onnx tune`"
            )
        try:
            return decode_record(cls, values, "")
        except Misfit as misfit:
            raise DataError(f"not a tuning: {misfit}; run `lsa-onnx tune` again") from misfit


def dumps(tuning: Tuning) -> str:
    """The document as strictly valid JSON in ASCII, indented, ending in a line break."""
    return json.dumps(tuning.to_dict(), indent=2, allow_nan=False) + "\n"


def write_tuning(tuning: Tuning, path: str | os.PathLike[str]) -> None:
    """Write the document; an earlier file is replaced only by a complete one.

    Raises:
        DataError: The file cannot be written.
    """
    write_atomically(path, dumps(tuning).encode("ascii"))


def read_tuning(path: str | os.PathLike[str]) -> Tuning:
    """Read what ``write_tuning`` wrote.

    Raises:
        DataError: The file cannot be read, is no JSON, or no tuning.
    """
    return Tuning.from_dict(read_json(path))


def write_trial(trial: Trial, path: Path) -> None:
    """Keep a finished trial in its folder.

    Raises:
        DataError: The file cannot be written.
    """
    write_json_atomically(with_lists(dataclasses.asdict(trial)), path)


def read_trial(path: Path) -> Trial:
    """Read what ``write_trial`` wrote.

    Raises:
        DataError: It cannot be read, or is no trial.
    """
    try:
        return decode_record(Trial, read_json(path), "")
    except Misfit as misfit:
        raise DataError(
            f"{str(path)!r} is no trial of this tool: {misfit}; delete its folder, or give --fresh"
        ) from misfit


def write_json_atomically(values: object, path: Path) -> None:
    """Write plain values as JSON in ASCII.

    Raises:
        DataError: The file cannot be written.
    """
    write_atomically(path, json.dumps(values, indent=1, allow_nan=False).encode("ascii") + b"\n")


def read_json(path: str | os.PathLike[str]) -> Any:
    """The values of a JSON file.

    Raises:
        DataError: It cannot be read, or is no JSON.
    """
    try:
        return json.loads(read_regular(path).decode("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise DataError(
            f"cannot read {os.fspath(path)!r}: {reason or error}; check the file"
        ) from error
