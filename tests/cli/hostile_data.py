"""Data, labels and settings made to harm whoever reads them. The model beside them is a good one."""

from __future__ import annotations

import gzip
import io
import os
import struct
import tarfile
import zipfile
import zlib
from pathlib import Path

import numpy as np

from tests import graphs
from tests.cli.hostile_models import Make, write


def _with_model(make: Make) -> Make:
    def both(folder: Path) -> None:
        write(graphs.conv_net(), folder)
        make(folder)

    return both


def _png(width: int, height: int) -> bytes:
    """A PNG that declares a size; all its pixels are missing."""
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(b"")),
        (b"IEND", b""),
    ]
    body = b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + body


def _npy_header(text: str) -> bytes:
    header = text.encode()
    return b"\x93NUMPY\x02\x00" + struct.pack("<I", len(header)) + header


class _Payload:
    """Writes a file when it is unpickled."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("owned",)


@_with_model
def pickled_array(folder: Path) -> None:
    """An npy whose objects run code when they are unpickled."""
    np.save(folder / "data.npy", np.array([_Payload()], dtype=object), allow_pickle=True)


@_with_model
def pickled_member(folder: Path) -> None:
    """The same in an npz."""
    np.savez(folder / "data.npz", x=np.array([_Payload()], dtype=object))


@_with_model
def promised_array(folder: Path) -> None:
    """An npy of 2⁸⁰ images by its header, and of no byte."""
    shape = (2**80, 3, 5, 7)
    head = _npy_header(f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}\n")
    (folder / "data.npy").write_bytes(head)


@_with_model
def nested_header(folder: Path) -> None:
    """An npy whose header is nested deeper than a parser of Python goes."""
    (folder / "data.npy").write_bytes(_npy_header("(" * 9000 + ")" * 9000))


@_with_model
def member_that_grows(folder: Path) -> None:
    """An npz of 8 GiB by its directory, in some hundred bytes."""
    shape = (20_000_000, 3, 5, 7)
    head = _npy_header(f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}\n")
    with zipfile.ZipFile(folder / "data.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", head)
        archive.infolist()[0].file_size = 1 << 33


@_with_model
def climbing_zip(folder: Path) -> None:
    """A zip whose entries would land outside of where it is unpacked."""
    with zipfile.ZipFile(folder / "data.zip", "w") as archive:
        for name in ("../owned.png", "/tmp/owned.png", "a/../../owned.png"):  # noqa: S108 - it is the attack
            archive.writestr(name, _png(7, 5))


@_with_model
def linked_tar(folder: Path) -> None:
    """A tar of a link, a device, a pipe and a climbing name."""
    with tarfile.open(folder / "data.tar", "w") as archive:
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE):
            info = tarfile.TarInfo(f"{kind!r}.png")
            info.type, info.linkname = kind, "/etc/passwd"
            archive.addfile(info)
        content = _png(7, 5)
        info = tarfile.TarInfo("../owned.png")
        info.size = len(content)
        archive.addfile(info, io.BytesIO(content))


@_with_model
def huge_entry(folder: Path) -> None:
    """A zip bomb: an image of 1 GiB of zeros in a megabyte."""
    with zipfile.ZipFile(folder / "data.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open(zipfile.ZipInfo("a.png"), "w", force_zip64=True) as member:
            member.write(b"\0")
        archive.infolist()[0].file_size = 1 << 30


@_with_model
def understated_entry(folder: Path) -> None:
    """A zip whose directory says less than an image unpacks to."""
    with zipfile.ZipFile(folder / "data.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.png", _png(7, 5) + b"\0" * (1 << 20))
        archive.infolist()[0].file_size = 100


@_with_model
def tar_bomb(folder: Path) -> None:
    """A tar.gz of an image that declares 1 TiB."""
    info = tarfile.TarInfo("a.png")
    info.size = 1 << 40
    with gzip.open(folder / "data.tar.gz", "wb") as file:
        file.write(info.tobuf(tarfile.GNU_FORMAT))
        file.write(b"\0" * 1024)


@_with_model
def huge_image(folder: Path) -> None:
    """An image of 3.6 billion pixels by its header."""
    (folder / "images").mkdir()
    (folder / "images" / "a.png").write_bytes(_png(60_000, 60_000))


@_with_model
def endless_data(folder: Path) -> None:
    """A link to a device without end."""
    (folder / "data.npz").symlink_to("/dev/zero")


@_with_model
def silent_data(folder: Path) -> None:
    """A pipe to which nobody writes."""
    os.mkfifo(folder / "data.npz")


@_with_model
def promised_idx(folder: Path) -> None:
    """An IDX file of 2⁹⁶ bytes by its header, gzipped."""
    head = b"\0\0\x08\x04" + struct.pack(">4I", *[2**32 - 1] * 4)
    (folder / "data.gz").write_bytes(gzip.compress(head))


def _good_data(folder: Path) -> None:
    x = graphs.samples(0, 40, 3, 5, 7)
    np.savez(folder / "data.npz", x=x, y=np.arange(40) % 6)


@_with_model
def endless_labels(folder: Path) -> None:
    """Labels in a device without end."""
    _good_data(folder)
    (folder / "labels.txt").symlink_to("/dev/zero")


@_with_model
def silent_labels(folder: Path) -> None:
    """Labels in a pipe to which nobody writes."""
    _good_data(folder)
    os.mkfifo(folder / "labels.txt")


@_with_model
def held_pickle(folder: Path) -> None:
    """A held input that runs code when it is unpickled."""
    write(graphs.two_input_net(), folder)
    np.savez(folder / "data.npz", a=graphs.samples(0, 6, 5))
    np.save(folder / "b.npy", np.array([_Payload()], dtype=object), allow_pickle=True)


@_with_model
def nested_sidecar(folder: Path) -> None:
    """A sidecar nested deeper than a parser goes."""
    (folder / "model.lsa.toml").write_text("a = " + "[" * 5000 + "]" * 5000, encoding="utf-8")


@_with_model
def long_number_in_sidecar(folder: Path) -> None:
    """A sidecar with a number too long to read."""
    text = f"[input]\nrange = [0, {'9' * 5000}]\n"
    (folder / "model.lsa.toml").write_text(text, encoding="utf-8")


@_with_model
def endless_sidecar(folder: Path) -> None:
    """A sidecar that is a device without end."""
    (folder / "model.lsa.toml").symlink_to("/dev/zero")


@_with_model
def silent_sidecar(folder: Path) -> None:
    """A sidecar that is a pipe to which nobody writes."""
    os.mkfifo(folder / "model.lsa.toml")


@_with_model
def sidecar_of_control(folder: Path) -> None:
    """A sidecar with control characters in a key."""
    text = '[input]\n"\\u001b[31mkey" = 1\n'
    (folder / "model.lsa.toml").write_text(text, encoding="utf-8")


@_with_model
def nested_report(folder: Path) -> None:
    """A report nested deeper than a parser goes."""
    _good_data(folder)
    (folder / "report.json").write_text("[" * 100_000 + "]" * 100_000, encoding="utf-8")


@_with_model
def long_number_in_report(folder: Path) -> None:
    """A report with a number too long to read."""
    _good_data(folder)
    (folder / "report.json").write_text('{"schema_version": ' + "9" * 5000 + "}", encoding="utf-8")


@_with_model
def endless_report(folder: Path) -> None:
    """A report that is a device without end."""
    _good_data(folder)
    (folder / "report.json").symlink_to("/dev/zero")


@_with_model
def nested_config(folder: Path) -> None:
    """A configuration nested deeper than a parser goes."""
    _good_data(folder)
    (folder / "run.toml").write_text("a = " + "[" * 5000 + "]" * 5000, encoding="utf-8")


@_with_model
def endless_config(folder: Path) -> None:
    """A configuration that is a device without end."""
    (folder / "run.toml").symlink_to("/dev/zero")


@_with_model
def long_label(folder: Path) -> None:
    """A label too long to read."""
    _good_data(folder)
    (folder / "labels.txt").write_text("9" * 5000 + "\n" + "0\n" * 39, encoding="utf-8")


@_with_model
def config_that_loads_code(folder: Path) -> None:
    """A configuration that names a library of custom operators."""
    _good_data(folder)
    (folder / "run.toml").write_text('custom_ops = ["./evil.so"]\n', encoding="utf-8")
