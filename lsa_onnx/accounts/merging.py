"""From the shards of a scan to the report that a single run would have made, to the last bit.

The records of all shards are entered in the order of the samples, and as many at a time as a single run
enters: the same numbers are added up in the same order. Only the runs themselves may differ between
machines.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lsa_onnx.accounts.account import Account, Entry
from lsa_onnx.accounts.balance import Extent, balance
from lsa_onnx.accounts.frame import Frame
from lsa_onnx.accounts.reading import RecordFile, open_records
from lsa_onnx.accounts.records import Clean
from lsa_onnx.accounts.shares import accuracy_of, require_accuracy
from lsa_onnx.errors import DataError
from lsa_onnx.model import digest
from lsa_onnx.report.document import Report, ReportWarning
from lsa_onnx.report.json_file import read_report

# Fields of a frame in which the shards of one scan may differ.
_OWN = frozenset({"created", "run", "compared", "repeatable", "doubts"})
_MACHINE = ("platform", "provider", "onnxruntime", "threads", "engine")


def merge(paths: Sequence[str | Path]) -> Report:
    """The report of a whole scan from those of its shards, in any order.

    Args:
        paths: Reports that ``scan --shard`` wrote, or their files of records.

    Returns:
        What a single run reports but for the time it took: figures are equal to the last bit where the
        shards ran on machines alike. Where they did not, the report says so.

    Raises:
        DataError: A file is no shard, a shard is missing or there twice, or they are not of one scan.
        GateFailed: The clean accuracy is below what the scan was to expect.
    """
    shards = sorted(map(_shard, map(Path, paths)), key=lambda shard: shard.header.part.number)
    _require_all(shards)
    for other in shards[1:]:
        _require_alike(shards[0], other)
    frame, clean = _whole_frame(shards), _clean(shards)
    require_accuracy(accuracy_of(clean.classes, clean.labels), frame.expect_accuracy)
    entries = [_entry(frame, shards, clean, place) for place in range(len(frame.applied))]
    examples = [example for shard in shards for example in shard.header.examples]
    seconds = sum(shard.header.frame.run.seconds for shard in shards)
    return balance(frame, entries, clean, Extent(seconds), examples)


def sources(paths: Sequence[str | Path]) -> list[Path]:
    """All files that ``merge`` would read.

    Raises:
        DataError: A file is no shard.
    """
    given = list(map(Path, paths))
    return [*given, *(_located(path)[0] for path in given)]


def _shard(path: Path) -> RecordFile:
    """The records that ``path`` is, or that the report at ``path`` names."""
    records, sha256 = _located(path)
    if sha256 is not None and digest(records).sha256 != sha256:
        raise DataError(
            f"{str(records)!r} is not the file that {str(path)!r} names: its SHA-256 differs; give the report "
            "and the records of one run"
        )
    return open_records(records)


def _located(path: Path) -> tuple[Path, str | None]:
    """Where the records are, and the SHA-256 that a report says they have."""
    if _is_archive(path):
        return path, None
    report = read_report(path)
    if report.shard is None:
        why = "it was interrupted" if report.partial else "it is of all samples"
        raise DataError(
            f"the report {str(path)!r} is no shard: {why}; give reports that `lsa-onnx scan --shard I/N` wrote"
        )
    named = Path(report.shard.records.path)
    # Files that were copied from several machines lie side by side.
    beside = path.parent / named.name
    records = beside if beside.exists() else named
    if not records.exists():
        raise DataError(
            f"the records of {str(path)!r} are missing: there is no {str(beside)!r}; copy the file that the "
            "shard wrote beside its report"
        )
    return records, report.shard.records.sha256


def _is_archive(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(2) == b"PK"
    except OSError:
        return False


def _require_all(shards: Sequence[RecordFile]) -> None:
    """That each shard of the scan is there once."""
    if not shards:
        raise DataError("there is nothing to merge; give the reports of all shards")
    count = shards[0].header.part.count
    numbers = [shard.header.part.number for shard in shards]
    other = next((s for s in shards if s.header.part.count != count), None)
    if other is not None:
        raise DataError(
            f"{str(other.path)!r} is shard {other.header.part.number} of {other.header.part.count}, "
            f"{str(shards[0].path)!r} is one of {count}; give the shards of one scan"
        )
    twice = sorted({number for number in numbers if numbers.count(number) > 1})
    if twice:
        raise DataError(f"shard {twice[0]} of {count} is given twice; give each shard once")
    missing = sorted(set(range(1, count + 1)) - set(numbers))
    if missing:
        named = ", ".join(map(str, missing))
        raise DataError(
            f"shard {named} of {count} is missing; run `lsa-onnx scan ... --shard {missing[0]}/{count}`, and give "
            "the reports of all shards"
        )


def _require_alike(first: RecordFile, other: RecordFile) -> None:
    """That two shards are of one scan: of the same model, samples, perturbations and choices."""
    ours, theirs = (_identity(shard) for shard in (first, other))
    for name, value in ours.items():
        if theirs[name] != value:
            raise DataError(
                f"{str(first.path)!r} and {str(other.path)!r} are not shards of one scan: {name} is "
                f"{_shown(value)} in one and {_shown(theirs[name])} in the other; run both shards alike"
            )


def _identity(shard: RecordFile) -> dict[str, Any]:
    """What the shards of one scan have in common, by a name that a user understands."""
    frame = shard.header.frame
    found = {
        "the model's SHA-256": frame.model.file.sha256,
        "the data's fingerprint": frame.data.fingerprint,
        "the number of samples": frame.data.samples,
        "the seed": frame.run.seed,
        "the batch": (frame.run.batch, frame.step),
        "the list of layers": [info.tensor for info in frame.layers],
        "the list of perturbations": [
            [each.name, each.parameters, dataclasses.asdict(each.attack) if each.attack else None]
            for each in frame.applied
        ],
        "the device": frame.run.device,
        "the version of lsa-onnx": frame.tool_version,
    }
    left = {name: value for name, value in frame.to_dict().items() if name not in _OWN}
    # What a machine measures of the layers may differ in its last digits.
    left["layers"] = [dataclasses.asdict(each) | {"numerical_floor": 0} for each in frame.layers]
    return {**found, **left}


def _shown(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 80 else text[:79] + "…"


def _whole_frame(shards: Sequence[RecordFile]) -> Frame:
    frames = [shard.header.frame for shard in shards]
    first = frames[0]
    doubts = dict.fromkeys(doubt for frame in frames for doubt in frame.doubts)
    return dataclasses.replace(
        first,
        created=max(frame.created for frame in frames),
        run=dataclasses.replace(first.run, command=_without_shard(first.run.command)),
        compared=sum(frame.compared for frame in frames),
        repeatable=all(frame.repeatable for frame in frames),
        doubts=[*doubts, *_mixed(frames)],
    )


def _mixed(frames: Sequence[Frame]) -> Iterator[ReportWarning]:
    """Where the shards ran on different machines."""
    for name in _MACHINE:
        found = list(dict.fromkeys(str(getattr(frame.run, name)) for frame in frames))
        if len(found) > 1:
            yield ReportWarning(
                "mixed-machines",
                f"The shards ran differently, {name}: {', '.join(found)}. Figures may differ from those of a "
                "single run by rounding.",
            )
            return


def _without_shard(command: Sequence[str]) -> list[str]:
    """The command line of a single run."""
    found: list[str] = []
    skipping = False
    for word in command:
        if skipping or word.startswith("--shard="):
            skipping = False
        elif word == "--shard":
            skipping = True
        else:
            found.append(word)
    return found


def _entry(frame: Frame, shards: Sequence[RecordFile], clean: Clean, place: int) -> Entry:
    account = Account(frame, frame.applied[place])
    for shard in shards:
        for record in shard.records(place):
            account.add(record)
    return account.close(clean)


def _clean(shards: Sequence[RecordFile]) -> Clean:
    parts = [shard.clean() for shard in shards]
    return Clean(_joined([p.classes for p in parts]), _joined([p.labels for p in parts]))


def _joined(parts: Sequence[NDArray[Any] | None]) -> NDArray[Any] | None:
    known = [part for part in parts if part is not None]
    return np.concatenate(known) if known and len(known) == len(parts) else None
