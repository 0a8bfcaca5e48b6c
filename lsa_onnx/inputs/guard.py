"""Turn what the operating system and the file formats raise into a ``DataError`` of one line."""

from __future__ import annotations

import gzip
import lzma
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lsa_onnx.errors import DataError

_DAMAGED = (
    zipfile.BadZipFile,
    tarfile.TarError,
    gzip.BadGzipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    EOFError,
    NotImplementedError,
    RuntimeError,
)


def one_line(error: BaseException) -> str:
    """The text of ``error`` on one line, or the name of its class where it has none."""
    return " ".join(str(error).split()) or type(error).__name__


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Translate failures while ``path`` is read.

    Raises:
        DataError: the file is absent, may not be read, is damaged or cut short, or does not fit in
            memory.
    """
    name = repr(str(path))
    try:
        yield
    except DataError:
        raise
    except FileNotFoundError as error:
        raise DataError(f"{name} does not exist; check the path") from error
    except PermissionError as error:
        raise DataError(f"{name} may not be read (permission denied); allow reading it") from error
    except _DAMAGED as error:
        # zipfile uses RuntimeError for encryption, NotImplementedError for compression.
        text = (
            f"{name} is damaged, cut short or unsupported ({one_line(error)}); "
            "copy or make the file again"
        )
        raise DataError(text) from error
    except MemoryError as error:
        raise DataError(
            f"{name} does not fit in memory; choose fewer samples with --samples N"
        ) from error
    except OSError as error:
        raise DataError(f"{name} cannot be read: {error.strerror or one_line(error)}") from error
