"""A model file that is written, looked at, and only then appears under its name."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
import weakref
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from google.protobuf.message import EncodeError
from numpy.typing import NDArray

from lsa_onnx.errors import DataError
from lsa_onnx.files import write_atomically, writing_atomically
from lsa_onnx.stored import StoredModel, read_stored
from lsa_onnx.weights import all_tensors, is_external
from lsa_trainer.writeback.errors import WriteBackError
from lsa_trainer.writeback.locations import checked_target, final_locations, locations_of
from lsa_trainer.writeback.placing import Patch, Placement, place
from lsa_trainer.writeback.provenance import add_metadata
from lsa_trainer.writeback.verify import verify_written

if TYPE_CHECKING:
    from types import TracebackType

    import onnx

_PIECE_BYTES = 8 << 20


@final
@dataclass(eq=False)
class Staged:
    """A complete model in a private folder beside its target; discarded unless it is published.

    Attributes:
        path: The staged model, which any runtime can load.
        target: The file that ``publish`` makes of it.
        locations: Its data files, relative to the folder of either.
    """

    path: Path
    target: Path
    locations: Sequence[str]
    _finalizer: Any = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._finalizer = weakref.finalize(self, shutil.rmtree, self.path.parents[1], True)

    @property
    def files(self) -> list[Path]:
        """What ``publish`` writes: the model, and its data files."""
        return [self.target, *(self.target.parent / location for location in self.locations)]

    def __enter__(self) -> Staged:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.discard()

    def discard(self) -> None:
        """Remove what was staged; nothing happens after ``publish`` or a second time."""
        self._finalizer()

    def publish(self) -> None:
        """Move the model to its target, data files first.

        Raises:
            DataError: That failed; the files that were there before are there again, and what was
                staged can be published once more.
        """
        earlier = self.path.parents[1] / "earlier"
        moved: list[str] = []
        try:
            self._refuse_strangers()
            for location in self.locations:
                moved.append(location)
                self._move_data(location, earlier)
            self._keep_mode()
            self.path.replace(self.target)
        except BaseException as error:
            # An interrupt may arrive when the model has its place already: then its data stay too.
            if self.path.exists():
                self._undo(moved, earlier)
            if isinstance(error, OSError):
                raise DataError(
                    f"cannot write {str(self.target)!r}: {error.strerror or error}; "
                    "check the permissions of its folder, or name another file"
                ) from error
            raise
        self.discard()

    def _refuse_strangers(self) -> None:
        """Data files that have appeared since the model was staged are somebody else's."""
        replaceable = locations_of(self.target)
        for location in self.locations:
            if os.path.lexists(self.target.parent / location) and location not in replaceable:
                raise DataError(
                    f"cannot write {str(self.target.parent / location)!r}: a file has appeared "
                    "there meanwhile; remove it, or name another file for the model"
                )

    def _move_data(self, location: str, earlier: Path) -> None:
        final = self.target.parent / location
        final.parent.mkdir(parents=True, exist_ok=True)
        if os.path.lexists(final):
            (earlier / location).parent.mkdir(parents=True, exist_ok=True)
            final.replace(earlier / location)
        (self.path.parent / location).replace(final)

    def _undo(self, moved: Sequence[str], earlier: Path) -> None:
        for location in reversed(moved):
            staged, final = self.path.parent / location, self.target.parent / location
            if not staged.exists():
                final.replace(staged)
            if os.path.lexists(earlier / location):
                (earlier / location).replace(final)

    def _keep_mode(self) -> None:
        with suppress(FileNotFoundError):
            self.path.chmod(stat.S_IMODE(self.target.stat().st_mode))


def stage(
    source: str | Path,
    target: str | Path,
    weights: Mapping[Placement, NDArray[Any]],
    metadata: Mapping[str, str],
    prefix: str = ".lsa-onnx-",
) -> Staged:
    """Write ``source`` with trained values into a private folder beside ``target``.

    All else stays: names, nodes, opsets, element types, metadata, and what is inside the file or in
    files beside it. A symbolic link at ``target`` is followed.

    Args:
        source: The model that was trained; it is never changed.
        target: The model file to write in the end. Its folder must exist.
        weights: What to replace, see ``lsa_trainer.writeback.placing.place``.
        metadata: Entries to add, see ``lsa_trainer.writeback.provenance.add_metadata``.
        prefix: How the name of the private folder begins.

    Raises:
        DataError: A file cannot be read or written, or ``target`` is a file of the source.
        ModelError: The source is not a valid model.
        UnsafeModelError: The source refers to data outside its own folder.
        WriteBackError: The values do not fit into the source.
    """
    stored = read_stored(source)
    file = checked_target(stored, target)
    patches = place(stored, weights)
    add_metadata(stored.proto, metadata)
    locations = final_locations(stored, file)
    folder = Path(tempfile.mkdtemp(dir=file.parent, prefix=prefix))
    staged = Staged(folder / "new" / file.name, file, list(locations.values()))
    try:
        staged.path.parent.mkdir()
        for location, kept in locations.items():
            here = [patch for patch in patches if patch.location == location]
            _write_data(stored.files[location], staged.path.parent / kept, here)
        _relocate(stored.proto, locations)
        write_atomically(staged.path, _serialised(stored))
    except BaseException:
        staged.discard()
        raise
    return staged


def write_weights(
    source: str | Path,
    target: str | Path,
    weights: Mapping[Placement, NDArray[Any]],
    metadata: Mapping[str, str],
) -> None:
    """Stage, verify and publish in one go; see ``stage`` and ``verify_written``.

    Raises:
        LsaError: See there. ``target`` is then as it was.
    """
    with stage(source, target, weights, metadata) as staged:
        verify_written(source, staged.path)
        staged.publish()


def _write_data(original: Path, file: Path, patches: Sequence[Patch]) -> None:
    """A copy of a data file with other bytes in places; never held in memory as a whole."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with writing_atomically(file) as written, original.open("rb") as read:
        shutil.copyfileobj(read, written, _PIECE_BYTES)
        for patch in patches:
            written.seek(patch.offset)
            written.write(patch.values.tobytes())


def _relocate(model: onnx.ModelProto, locations: Mapping[str, str]) -> None:
    for tensor in all_tensors(model):
        if not is_external(tensor):
            continue
        kept = [(entry.key, entry.value) for entry in tensor.external_data]
        del tensor.external_data[:]
        for key, value in kept:
            # A checksum would be that of the data before the training; it is optional.
            if key != "checksum":
                new = locations[value] if key == "location" else value
                tensor.external_data.add(key=key, value=new)


def _serialised(stored: StoredModel) -> bytes:
    try:
        content: bytes = stored.proto.SerializeToString()
    except (EncodeError, ValueError):
        raise WriteBackError(
            f"{str(stored.path)!r} with weights of their own for merged tensors is too large for one "
            "file (the limit is 2 GiB); save the model with external data and train that"
        ) from None
    return content
