"""What a command did to files that are none of its business, as Python and the file system tell."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.fuzz.case import DECOY, FOLDER, OUTSIDE, Case

_DECOY_CONTENT = bytes(range(256)) * 64
# Last read before it was last written: Linux then notes the next read, also one through a mapping.
_UNREAD_NS = (10**18, 2 * 10**18)
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
_OPENED = "opened"
_CHANGES = frozenset(
    {
        "os.remove",
        "os.rename",
        "os.rmdir",
        "os.mkdir",
        "os.chmod",
        "os.truncate",
        "os.link",
        "os.symlink",
        "shutil.rmtree",
    }
)
# What no file may bring a command to.
_NEVER = frozenset(
    {"pickle.find_class", "socket.connect", "socket.getaddrinfo", "os.system", "os.exec"}
)
# ONNX Runtime and torch write these when they are imported.
_OF_LIBRARIES = (".ses", "torchinductor_")
_HARMLESS = ("/dev/null", "/proc/self/")


class Watch:
    """Notes what Python is asked to do while a command runs; one for a process, it cannot be taken off."""

    def __init__(self, root: Path) -> None:
        self.active = False
        self.seen: list[str] = []
        self._may_write = tuple(
            f"{os.path.realpath(root / name)}{os.sep}" for name in (FOLDER, "tmp")
        )
        self._outside = f"{os.path.realpath(root / OUTSIDE)}{os.sep}"
        sys.addaudithook(self._heard)

    def noticed(self, case: Case) -> Iterator[str]:
        """What was seen and is no business of ``case``, each once."""
        for seen in dict.fromkeys(self.seen):
            if not (case.own_paths and seen.startswith(f"{_OPENED} ")):
                yield seen

    def _heard(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.active:
            return
        if event in _NEVER:
            self.seen.append(f"{event} {str(arguments)[:200]}")
        elif event == "open":
            self._opened(*arguments)
        elif event in _CHANGES:
            self._changed(event, arguments[0])

    def _opened(self, path: Any, _mode: Any, flags: int) -> None:
        place = _place(path)
        if place is None:
            return
        if place.startswith(self._outside):
            self.seen.append(f"{_OPENED} {place}")
        elif flags & _WRITES:
            self._changed("wrote", path)

    def _changed(self, what: str, path: Any) -> None:
        place = _place(path)
        if place is not None and not f"{place}{os.sep}".startswith((*self._may_write, *_HARMLESS)):
            self.seen.append(f"{what} {place}")


def _place(path: Any) -> str | None:
    """The real path, ``None`` for a descriptor."""
    if isinstance(path, (str, bytes, os.PathLike)):
        try:
            return os.path.realpath(os.fsdecode(path))
        except ValueError:  # a NUL character: nothing is opened
            return None
    return None


def lay_decoy(root: Path) -> None:
    """Make the file that must be neither read nor changed, and say that it was not yet read."""
    decoy = root / OUTSIDE / DECOY
    decoy.parent.mkdir(exist_ok=True)
    if not decoy.exists():
        decoy.write_bytes(_DECOY_CONTENT)
    os.utime(decoy, ns=_UNREAD_NS)


def changes(root: Path, case: Case) -> Iterator[str]:
    """What is not as it was, but for the outputs of ``case``."""
    status = (root / OUTSIDE / DECOY).stat()
    if status.st_mtime_ns != _UNREAD_NS[1] or (
        status.st_atime_ns != _UNREAD_NS[0] and not case.own_paths
    ):
        yield "the file outside was read or written"
    outside, temporary = (
        sorted(path.name for path in (root / name).iterdir()) for name in (OUTSIDE, "tmp")
    )
    if outside != [DECOY]:
        yield f"files outside: {outside}"
    left = [name for name in temporary if not name.startswith(_OF_LIBRARIES)]
    if left:
        yield f"temporary files left: {left}"
    yield from _changes_inside(root / FOLDER, case)


def _changes_inside(folder: Path, case: Case) -> Iterator[str]:
    found = {
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.is_symlink() or not path.is_dir()
    }
    for name in sorted({*case.files, *case.links} - found):
        yield f"{name!r} is gone"
    for name in sorted(found):
        if name in case.files:
            if (folder / name).is_symlink() or (folder / name).read_bytes() != case.files[name]:
                yield f"{name!r} was changed"
        elif name not in case.links and not _is_output(name, case.outputs):
            yield f"{name!r} was written"


def _is_output(name: str, outputs: tuple[str, ...]) -> bool:
    return any(name == each or name.startswith(f"{each}/") for each in outputs)
