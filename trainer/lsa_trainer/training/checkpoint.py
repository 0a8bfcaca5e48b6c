"""Checkpoints that survive a kill at any moment, and never give other tensors than were saved.

A folder holds a tensor file for each of the last two checkpoints and ``state.json``, which names them
with their SHA-256. Each file is replaced in one step, ``state.json`` after the tensors that it names,
so it speaks of complete files at any moment. The folder belongs to one run alone, see ``claim``.
"""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import safetensors.torch

from lsa_onnx._version import __version__
from lsa_onnx.errors import DataError
from lsa_onnx.files import write_atomically

if TYPE_CHECKING:
    from torch import Tensor

FORMAT = 1
KEPT = 2

_STATE = "state.json"
_TENSORS = "step-*.safetensors"
# What lsa_onnx.files leaves where a kill keeps it from cleaning up.
_REMAINS = ".lsa-onnx-*.tmp"
# ``harden`` and ``fit`` both get here, and only one of them has the option.
ANEW = "start anew with --fresh or in another folder"
_REMEDY = f"delete the folder, or {ANEW}"


@dataclass(frozen=True)
class Checkpoint:
    """A run after some steps.

    Attributes:
        step: How many steps were done.
        tensors: Weights and whatever else is a tensor, by name; on the CPU after ``load``.
        record: All else that the run needs to go on, JSON-ready.
        notes: What the user should know of how it was loaded.
    """

    step: int
    tensors: Mapping[str, Tensor]
    record: Mapping[str, Any]
    notes: tuple[str, ...] = ()


def make_folder(folder: str | Path) -> None:
    """Make the folder of a run where it is missing.

    Raises:
        DataError: It cannot be made.
    """
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(
            f"cannot make the folder {str(folder)!r} for the run: {error.strerror}; name another one"
        ) from error


def save(folder: str | Path, checkpoint: Checkpoint) -> None:
    """Add a checkpoint to a folder, which is made where it is missing, and drop the oldest.

    Earlier checkpoints of this step or later ones, left by a run that went on from before them, go.

    Args:
        folder: Of the run.
        checkpoint: Its notes are not saved.

    Raises:
        DataError: It cannot be written, as when the disk is full; the one before is intact.
        ValueError: The record holds NaN or infinity.
    """
    folder = Path(folder)
    make_folder(folder)
    data = _to_bytes(checkpoint.tensors)
    entry = _entry(checkpoint, hashlib.sha256(data).hexdigest())
    earlier = [e for e in _known_entries(folder) if e["step"] < checkpoint.step]
    entries = [entry, *earlier][:KEPT]
    state = {"format": FORMAT, "checkpoints": entries}
    text = json.dumps(state, indent=1, allow_nan=False).encode("ascii")
    _remove(folder.glob(_REMAINS))
    write_atomically(folder / entry["file"], data)
    write_atomically(folder / _STATE, text + b"\n")
    named = {e["file"] for e in entries}
    _remove(path for path in folder.glob(_TENSORS) if path.name not in named)


def load(folder: str | Path) -> Checkpoint | None:
    """The newest checkpoint that is intact, ``None`` where the folder holds none.

    Raises:
        DataError: There were checkpoints and none of them is intact, or they are of another format.
    """
    folder = Path(folder)
    reasons: list[str] = []
    for entry in _entries(folder):
        found = _read(folder, entry)
        if isinstance(found, Checkpoint):
            return replace(found, notes=(*_fallback(reasons, found.step), *found.notes))
        reasons.append(found)
    if not reasons:
        return None
    raise DataError(
        f"no checkpoint in {str(folder)!r} can be used: {', '.join(reasons)}; {_REMEDY}"
    )


def clear(folder: str | Path) -> None:
    """Remove every checkpoint of a folder, so that a run starts anew.

    Raises:
        DataError: They may not be removed.
    """
    folder = Path(folder)
    try:
        # First what names the others: a kill in between leaves no checkpoint, not a damaged one.
        (folder / _STATE).unlink(missing_ok=True)
    except OSError as error:
        raise DataError(
            f"cannot remove {str(folder / _STATE)!r}: {error.strerror}; name another folder"
        ) from error
    _remove([*folder.glob(_TENSORS), *folder.glob(_REMAINS)])


def prefixed(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors under names that begin with the prefix and a dot."""
    return {f"{prefix}.{name}": tensor for name, tensor in tensors.items()}


def under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors that ``prefixed`` gave such names, under their own."""
    start = f"{prefix}."
    return {n.removeprefix(start): t for n, t in tensors.items() if n.startswith(start)}


def _to_bytes(tensors: Mapping[str, Tensor]) -> bytes:
    # A safetensors file holds no two tensors that share memory, as tied weights do.
    own = {n: t.detach().to("cpu", copy=True).contiguous() for n, t in tensors.items()}
    data: bytes = safetensors.torch.save(own)
    return data


def _entry(checkpoint: Checkpoint, sha256: str) -> dict[str, Any]:
    entry = {
        "step": checkpoint.step,
        "file": f"step-{checkpoint.step:06d}.safetensors",
        "sha256": sha256,
        "versions": _versions(),
        "record": dict(checkpoint.record),
    }
    return {**entry, "digest": _digest(entry)}


def _digest(entry: Mapping[str, Any]) -> str:
    """SHA-256 (hex) over an entry without its digest."""
    rest = {key: value for key, value in entry.items() if key != "digest"}
    text = json.dumps(rest, sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def _versions() -> dict[str, str]:
    packages = ("numpy", "safetensors", "torch")
    found = {name: version(name) for name in packages}
    return {"lsa-onnx": __version__, "python": platform.python_version(), **found}


def _known_entries(folder: Path) -> list[dict[str, Any]]:
    """What ``state.json`` names, as far as it is intact."""
    try:
        return [entry for entry in _entries(folder) if _is_intact(entry)]
    except DataError:
        return []


def _entries(folder: Path) -> list[Any]:
    """What ``state.json`` lists, newest first; nothing where there is none.

    Raises:
        DataError: It is damaged, or of another format.
    """
    path = folder / _STATE
    try:
        state = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise DataError(f"{str(path)!r} cannot be read ({error.strerror}); {_REMEDY}") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{str(path)!r} is damaged (no JSON); {_REMEDY}") from error
    number, entries = _parts(state)
    if not isinstance(number, int) or not isinstance(entries, list) or not entries:
        raise DataError(f"{str(path)!r} is damaged (no list of checkpoints); {_REMEDY}")
    if number != FORMAT:
        raise DataError(
            f"{str(path)!r} has format {number} and this version reads {FORMAT}; "
            f"resume with the version that wrote it, {_REMEDY}"
        )
    return entries


def _parts(state: Any) -> tuple[Any, Any]:
    return (state.get("format"), state.get("checkpoints")) if isinstance(state, dict) else (0, 0)


def _is_intact(entry: Any) -> bool:
    try:
        return isinstance(entry, dict) and entry.get("digest") == _digest(entry)
    except ValueError:  # a changed number may have become infinite
        return False


def _read(folder: Path, entry: Any) -> Checkpoint | str:
    """The checkpoint of an entry, or why it cannot be used: a clause for a message."""
    if not _is_intact(entry):
        return f"an entry of {_STATE} is not what was written"
    name = entry["file"]
    try:
        data = (folder / name).read_bytes()
    except FileNotFoundError:
        return f"{name} is missing"
    except OSError as error:
        return f"{name} cannot be read ({error.strerror})"
    if hashlib.sha256(data).hexdigest() != entry["sha256"]:
        return f"{name} is not what was written"
    tensors = safetensors.torch.load(data)
    return Checkpoint(entry["step"], tensors, entry["record"], tuple(_moves(entry["versions"])))


def _fallback(reasons: Sequence[str], step: int) -> list[str]:
    """A note on the checkpoints that were passed over."""
    return [f"resumed from the checkpoint of step {step}: {', '.join(reasons)}"] if reasons else []


def _moves(saved: Mapping[str, str]) -> Iterator[str]:
    """Notes on packages that are of another version now."""
    now = _versions()
    moved = [f"{n} {saved[n]} → {v}" for n, v in now.items() if n in saved and saved[n] != v]
    if moved:
        yield f"versions changed since the checkpoint ({', '.join(moved)}): results may differ"


def _remove(paths: Iterable[Path]) -> None:
    for path in paths:
        # What cannot be removed does no harm, and the next save tries again.
        with suppress(OSError):
            path.unlink()
