"""What a worker is told to do. It starts with nothing but the installed package and the files."""

from __future__ import annotations

import dataclasses
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from lsa_onnx.errors import LsaError
from lsa_onnx.runtime.devices import limit_threads, resolve_device
from lsa_onnx.scanning.instrument import lay_groundwork
from lsa_onnx.scanning.options import ScanOptions
from lsa_onnx.scanning.run import scan
from lsa_onnx.scanning.subject import open_subject


@dataclass(frozen=True)
class Place:
    """Where relative paths begin, and how many threads a worker may run."""

    folder: str
    threads: int

    def enter(self) -> None:
        """Let this process work there."""
        os.chdir(self.folder)
        limit_threads(self.threads)


def survey(place: Place, model: str, options: ScanOptions) -> tuple[int, int] | LsaError:
    """How many samples there are, and how many a run takes: what can be shared out."""
    place.enter()
    try:
        device = resolve_device(options.device, options.libraries)
        subject = open_subject(model, options)
        return len(subject.dataset), lay_groundwork(subject, options, device).batch
    except LsaError as error:
        return error


def scan_shard(place: Place, model: str, options: ScanOptions) -> bytes | LsaError:
    """The file of records of one shard; an error that the user can act on is a result as well."""
    place.enter()
    with tempfile.TemporaryDirectory() as folder:
        records = Path(folder) / "records.npz"
        try:
            scan(model, dataclasses.replace(options, records=records))
        except LsaError as error:
            return error
        return records.read_bytes()
