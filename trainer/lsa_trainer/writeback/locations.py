"""Which files a written model may use: never those of its source, nor anybody else's."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from itertools import count
from pathlib import Path

from lsa_onnx.errors import DataError, LsaError
from lsa_onnx.files import check_writable
from lsa_onnx.stored import StoredModel, read_stored


def checked_target(stored: StoredModel, target: str | Path) -> Path:
    """The regular file that ``target`` leads to, which is to be written.

    Raises:
        DataError: It cannot be written, or is a file of the source under any name.
    """
    check_writable(target)
    file = Path(os.path.realpath(target))
    if file.exists() and not file.is_file():
        raise DataError(f"{str(target)!r} is not a regular file; name a file for the model")
    for source in (stored.path, *stored.files.values()):
        if _same_file(file, source):
            raise DataError(
                f"{str(target)!r} is {str(source)!r}, a file of the model that was trained; "
                "name another file for the hardened model"
            )
    return file


def final_locations(stored: StoredModel, target: Path) -> dict[str, str]:
    """Location of external data in the source → in the model at ``target``.

    A location is kept unless a file is there already that does not belong to an earlier ``target``;
    then one named after ``target`` takes its place.
    """
    replaceable, taken = locations_of(target), {target}
    chosen: dict[str, str] = {}
    for location in stored.files:
        for candidate in _candidates(location, target.name):
            file = Path(os.path.realpath(target.parent / candidate))
            inside = target.parent in file.parents and file not in taken
            if inside and _is_free(target.parent / candidate, candidate in replaceable, stored):
                chosen[location] = candidate
                taken.add(file)
                break
    return chosen


def locations_of(model: Path) -> Collection[str]:
    """Where the model at ``model`` keeps external data; nowhere where there is no model."""
    try:
        return read_stored(model).files
    except LsaError:
        return ()


def _candidates(location: str, name: str) -> Iterator[str]:
    yield location
    yield f"{name}.data"
    for number in count(1):
        yield f"{name}.{number}.data"


def _is_free(file: Path, replaceable: bool, stored: StoredModel) -> bool:
    if not os.path.lexists(file):
        return True
    own = (stored.path, *stored.files.values())
    return replaceable and not any(_same_file(file, source) for source in own)


def _same_file(one: Path, other: Path) -> bool:
    """Whether two paths lead to one existing file, through links of either kind or another spelling."""
    return one.exists() and other.exists() and one.samefile(other)
