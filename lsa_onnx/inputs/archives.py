"""Encoded images in folders, .tar, .tar.gz and .zip files, without extracting anything by name."""

from __future__ import annotations

import contextlib
import gzip
import os
import stat
import tarfile
import tempfile
import threading
import weakref
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO, Protocol, cast

from lsa_onnx.errors import DataError
from lsa_onnx.inputs.guard import one_line, reading

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png"})
MAX_ENCODED_BYTES = 1 << 28

Place = Path | zipfile.ZipInfo | tuple[int, int]


@dataclass(frozen=True)
class Member:
    """One image file: its path inside the container and where its bytes are."""

    parts: tuple[str, ...]
    place: Place

    @property
    def name(self) -> str:
        """Path inside the container, with slashes."""
        return "/".join(self.parts)


@dataclass
class Listing:
    """The images of a container, sorted by path, and how many other entries were passed over."""

    members: list[Member] = field(default_factory=list)
    other: int = 0
    irregular: int = 0
    unsafe: int = 0

    def add(self, name: str, place: Place, size_bytes: int) -> None:
        """Take up a regular file if it is an image.

        Raises:
            DataError: it is larger than ``MAX_ENCODED_BYTES``.
        """
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts:
            self.unsafe += 1
        elif any(part.startswith(".") or part == "__MACOSX" for part in path.parts):
            return
        elif path.suffix.lower() not in IMAGE_SUFFIXES:
            self.other += 1
        elif size_bytes > MAX_ENCODED_BYTES:
            text = (
                f"image {name!r} has {size_bytes} bytes; accepted are {MAX_ENCODED_BYTES} at most"
            )
            raise DataError(f"{text}; remove it or store it smaller")
        else:
            self.members.append(Member(path.parts, place))

    def notes(self) -> list[str]:
        """What was passed over, in words."""
        counts = {
            "not JPEG or PNG": self.other,
            "links or devices": self.irregular,
            "with an absolute path or '..'": self.unsafe,
        }
        return [f"{count} entries ignored ({what})" for what, count in counts.items() if count]


@dataclass(frozen=True)
class EncodedImages:
    """Chosen images by position: ``names[i]`` and, undecoded, ``read(i)``."""

    names: list[str]
    read: Callable[[int], bytes]

    def __len__(self) -> int:
        return len(self.names)


class Container(Protocol):
    """A place that holds image files."""

    def list_images(self) -> Listing:
        """All image files, sorted by path."""

    def pick(self, members: Sequence[Member]) -> EncodedImages:
        """Access to ``members``, in that order."""


class Folder:
    """Image files under a folder; links are followed (they are the user's own), each once."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def list_images(self) -> Listing:
        """As ``Container.list_images``.

        Raises:
            DataError: the source cannot be read, is damaged, or holds an image that is too large.
        """
        listing = Listing()
        with reading(self.path):
            for file in self._files():
                if file.suffix.lower() in IMAGE_SUFFIXES and not file.is_file():
                    listing.irregular += 1
                else:
                    listing.add(file.relative_to(self.path).as_posix(), file, 0)
        listing.members.sort(key=lambda member: member.parts)
        return listing

    def pick(self, members: Sequence[Member]) -> EncodedImages:
        """As ``Container.pick``; reading raises ``DataError`` where the source fails."""
        paths = [self.path.joinpath(*member.parts) for member in members]

        def read(index: int) -> bytes:
            with reading(paths[index]), paths[index].open("rb") as file:
                content = file.read(MAX_ENCODED_BYTES + 1)
            if len(content) > MAX_ENCODED_BYTES:
                text = f"image {str(paths[index])!r} has more than {MAX_ENCODED_BYTES} bytes"
                raise DataError(f"{text}; remove it or store it smaller")
            return content

        return EncodedImages([member.name for member in members], read)

    def _files(self) -> Iterator[Path]:
        def refuse(error: OSError) -> None:
            raise error

        seen: set[Path] = set()
        for folder, folders, files in os.walk(self.path, onerror=refuse, followlinks=True):
            real = Path(folder).resolve()
            if real in seen:
                folders.clear()
                continue
            seen.add(real)
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            yield from (Path(folder, name) for name in files)


class TarFile:
    """Image files of a .tar, or of a .tar.gz when ``gzipped``."""

    def __init__(self, path: Path, *, gzipped: bool) -> None:
        self.path = path
        self.gzipped = gzipped

    def list_images(self) -> Listing:
        """As ``Container.list_images``.

        Raises:
            DataError: the source cannot be read, is damaged, or holds an image that is too large.
        """
        listing = Listing()
        with (
            reading(self.path),
            self._open() as file,
            tarfile.open(fileobj=file, mode="r:") as archive,
        ):
            for info in _entries(archive):
                if info.isreg() and not info.issparse():
                    listing.add(info.name, (info.offset_data, info.size), info.size)
                elif not info.isdir():
                    listing.irregular += 1
            with _parsing():
                file.seek(archive.offset)
            if any(file.read(tarfile.BLOCKSIZE).rjust(tarfile.BLOCKSIZE, b"?")):
                # tarfile takes garbage, or nothing at all, for the end.
                raise EOFError("no end mark after the last entry")
        listing.members.sort(key=lambda member: member.parts)
        return listing

    def pick(self, members: Sequence[Member]) -> EncodedImages:
        """As ``Container.pick``; reading raises ``DataError`` where the source fails."""
        places = [member.place for member in members if isinstance(member.place, tuple)]
        with reading(self.path):
            if self.gzipped:
                file, places = self._copy(places)
            else:
                file = self.path.open("rb")
        return EncodedImages([member.name for member in members], _reader(self.path, file, places))

    def _open(self) -> IO[bytes]:
        opened = gzip.open(self.path, "rb") if self.gzipped else self.path.open("rb")  # noqa: SIM115 - the caller closes
        return cast("IO[bytes]", opened)

    def _copy(self, places: Sequence[tuple[int, int]]) -> tuple[IO[bytes], list[tuple[int, int]]]:
        """The bytes at ``places`` in a nameless temporary file, and where they are there.

        A compressed file has no random access: the chosen images are copied in one pass forward.
        """
        copied: dict[int, tuple[int, int]] = {}
        with contextlib.ExitStack() as on_failure, self._open() as source:
            target: IO[bytes] = on_failure.enter_context(tempfile.TemporaryFile())
            for index in sorted(range(len(places)), key=places.__getitem__):
                offset, size = places[index]
                source.seek(offset)
                copied[index] = (target.tell(), size)
                target.write(source.read(size))
            target.flush()
            on_failure.pop_all()
        return target, [copied[index] for index in range(len(places))]


class ZipFile:
    """Image files of a .zip."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def list_images(self) -> Listing:
        """As ``Container.list_images``.

        Raises:
            DataError: the source cannot be read, is damaged, or holds an image that is too large.
        """
        listing = Listing()
        with reading(self.path), _parsing(), zipfile.ZipFile(self.path) as archive:
            for info in archive.infolist():
                kind = stat.S_IFMT(info.external_attr >> 16)
                if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                    listing.irregular += 1
                # An entry may be without a name, of which zipfile asks for the last character.
                elif info.filename and not info.is_dir():
                    listing.add(info.filename, info, info.file_size)
        listing.members.sort(key=lambda member: member.parts)
        return listing

    def pick(self, members: Sequence[Member]) -> EncodedImages:
        """As ``Container.pick``; reading raises ``DataError`` where the source fails."""
        with reading(self.path):
            archive = zipfile.ZipFile(self.path)
        places = [member.place for member in members if isinstance(member.place, zipfile.ZipInfo)]

        def read(index: int) -> bytes:
            with reading(self.path), _parsing():
                return archive.read(places[index])

        weakref.finalize(read, archive.close)
        return EncodedImages([member.name for member in members], read)


@contextlib.contextmanager
def _parsing() -> Iterator[None]:
    """Translate what Python's own parsers raise for numbers that are no sizes or places in a file."""
    try:
        yield
    except (ValueError, OverflowError) as error:
        raise EOFError(one_line(error)) from error


def _entries(archive: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """The entries of a tar, in order; each must lie behind the one before it, or they never end."""
    reached = -1
    while True:
        with _parsing():
            info = archive.next()
        if info is None:
            return
        if info.size < 0 or archive.offset <= reached:
            raise EOFError(f"an entry of {info.size} bytes")
        reached = archive.offset
        # tarfile keeps every entry that it has passed: a gigabyte for a million.
        archive.members = []  # type: ignore[attr-defined]  # not in the type stubs
        yield info


def _reader(
    path: Path, file: IO[bytes], places: Sequence[tuple[int, int]]
) -> Callable[[int], bytes]:
    lock = threading.Lock()

    def read(index: int) -> bytes:
        offset, size = places[index]
        with reading(path), lock:
            file.seek(offset)
            content = file.read(size)
            if len(content) != size:
                raise EOFError(f"{size - len(content)} bytes are missing at its end")
        return content

    # The file lives as long as its reader, and is closed before the interpreter has to complain.
    weakref.finalize(read, file.close)
    return read
