"""What archives and folders may hold besides plain files, and how reading them ends when it fails."""

from __future__ import annotations

import gzip
import io
import os
import stat
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lsa_onnx.errors import DataError
from lsa_onnx.inputs import InputSpec, open_data
from tests.inputs.files import (
    encoded,
    idx_bytes,
    pixels,
    write_folder,
    write_npy,
    write_npz,
    write_tar,
    write_zip,
)

H, W = 5, 8
SHAPE = (3, H, W)
SPEC = InputSpec()
PNGS = {f"{name}/0.png": encoded(pixels(i, H, W, 3)) for i, name in enumerate("abc")}


def opened(path: Path, **options: Any) -> Any:
    return open_data(path, SPEC, SHAPE, **options)


@pytest.mark.parametrize("suffix", ["tar", "tar.gz"])
def test_links_and_devices_in_a_tar_are_passed_over(suffix: str, tmp_path: Path) -> None:
    path = write_tar(tmp_path / f"a.{suffix}", PNGS)
    mode = "w:gz" if suffix == "tar.gz" else "w"
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]  # mode is no literal
        for name, content in PNGS.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        for number, kind in enumerate([tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE]):
            info = tarfile.TarInfo(f"a/{number}.png")
            info.type, info.linkname = kind, "/etc/passwd"
            archive.addfile(info)
        folder = tarfile.TarInfo("d")
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
    data = opened(path)
    assert len(data) == 3
    assert "3 entries ignored (links or devices)" in data.notes


def test_links_in_a_zip_are_passed_over(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", PNGS)
    with zipfile.ZipFile(path, "a") as archive:
        info = zipfile.ZipInfo("a/link.png")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(info, "/etc/passwd")
        archive.writestr("d/", b"")
    data = opened(path)
    assert len(data) == 3
    assert "1 entries ignored (links or devices)" in data.notes


def test_links_of_a_folder_are_followed_once(tmp_path: Path) -> None:
    path = write_folder(tmp_path / "set", PNGS)
    elsewhere = write_folder(tmp_path / "store", {"0.png": PNGS["a/0.png"]})
    (path / "d").symlink_to(elsewhere)
    (path / "a" / "loop").symlink_to(path)
    (path / "a" / "dead.png").symlink_to(tmp_path / "gone.png")
    os.mkfifo(path / "a" / "pipe.png")
    data = opened(path)
    assert (len(data), data.classes) == (4, ["a", "b", "c", "d"])
    assert "2 entries ignored (links or devices)" in data.notes


def test_an_archive_may_vanish_after_opening(tmp_path: Path) -> None:
    compressed = opened(write_tar(tmp_path / "a.tar.gz", PNGS))
    (tmp_path / "a.tar.gz").unlink()
    assert compressed.batch(0, 3)[0].shape == (3, *SHAPE)
    folder = opened(write_folder(tmp_path / "set", PNGS))
    (tmp_path / "set/b/0.png").unlink()
    with pytest.raises(DataError, match=r"b/0.png' does not exist"):
        folder.batch(0, 3)


def test_an_image_that_changes_size_after_opening(tmp_path: Path) -> None:
    data = opened(write_folder(tmp_path / "set", PNGS))
    (tmp_path / "set/b/0.png").write_bytes(encoded(pixels(0, 6, 9, 3)))
    with pytest.raises(DataError, match=r"'b/0.png' is 6x9, expected 5x8"):
        data.batch(0, 3)


def cut(path: Path, share: float = 0.5) -> Path:
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    return path


@pytest.mark.parametrize(
    "name", ["a.tar", "a.tar.gz", "a.zip", "a.npz", "a.npy", "a-idx4-ubyte", "a-idx4-ubyte.gz"]
)
def test_files_cut_short(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    images = pixels(0, 200, *SHAPE)
    if ".tar" in name:
        write_tar(path, PNGS)
    elif name == "a.zip":
        write_zip(path, PNGS)
    elif name == "a.npz":
        write_npz(path, x=images)
    elif name == "a.npy":
        write_npy(path, images)
    else:
        content = idx_bytes(images)
        path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    assert len(opened(path)) in (3, 200)
    with pytest.raises(DataError, match=f"{name}' is damaged, cut short") as caught:
        opened(cut(path, 0.13 if name == "a.tar" else 0.5))  # a tar ends in padding
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("suffix", ["tar", "tar.gz"])
@pytest.mark.parametrize("tail", [b"", b"garbage" * 100])
def test_a_tar_that_stops_between_two_entries(suffix: str, tail: bytes, tmp_path: Path) -> None:
    with tarfile.open(write_tar(tmp_path / "whole.tar", PNGS)) as archive:
        end = archive.getmembers()[2].offset
    content = (tmp_path / "whole.tar").read_bytes()[:end] + tail
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(gzip.compress(content) if suffix == "tar.gz" else content)
    with pytest.raises(DataError, match=r"a.tar.*' is damaged.*no end mark"):
        opened(path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.npz", b"", "a.npz' is empty .0 bytes."),
        ("a.txt", b"hello world", "a.txt' is of no supported kind.*hello.*accepted are npz, npy"),
        ("a.npz", b"hello world", "a.npz' is of no supported kind"),
        ("a.npy", b"\x93NUMPY", "a.npy' is not a usable npy array"),
        ("a.npy", b"\x93NUMPY\x01\x00\x05\x00{}{}\n", "a.npy' is not a usable npy array"),
        ("a.npy", b"\x93NUMPY\x01\x00\x05\x00{'a'(\n", "a.npy' is not a usable npy array"),
        (
            "a.npy",
            b"\x93NUMPY\x01\x00\x3c\x00{'descr': '<f4', 'fortran_order': False, 'shape': (-2, 3)}  \n",
            r"a.npy' is damaged.*its shape \(-2, 3\) has a negative size",
        ),
        ("a.npy", b"\x93NUMPY\x09\x00", "a.npy' is not a usable npy array .*9"),
        ("a.tgz", gzip.compress(b"hello", mtime=0), "a.tgz' is damaged"),
        ("a.gz", b"\x1f\x8b", "a.gz' is damaged"),
        ("a.idx", b"\0\0\x08\x03\0\0", "a.idx' is damaged"),
        ("a.zip", b"PK\x03\x04", "a.zip' is damaged"),
        ("a.idx", b"\0\0\x08\x02" + b"\xff" * 8, "a.idx' is damaged.*4294967295x4294967295"),
        (
            "b.gz",
            gzip.compress(b"\0\0\x08\x04" + b"\x7f" * 16, mtime=0),
            "b.gz' is damaged.*2139062143x2139062143",
        ),
    ],
)
def test_files_of_no_use(name: str, content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        open_data(tmp_path / name, SPEC, (None, None), samples=2)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["a.npy", "a.npz"])
@pytest.mark.parametrize("values", [[{"a": 1}], [np.zeros(2), None]])
def test_objects_are_never_unpickled(name: str, values: list[Any], tmp_path: Path) -> None:
    array = np.empty(len(values), dtype=object)
    array[:] = values
    if name == "a.npy":
        np.save(tmp_path / name, array, allow_pickle=True)
    else:
        np.savez(tmp_path / name, x=array)
    with pytest.raises(DataError, match=r"a.np.' holds Python objects \(dtype object\)"):
        opened(tmp_path / name)


def test_a_bare_pickle_is_of_no_supported_kind(tmp_path: Path) -> None:
    (tmp_path / "a.npy").write_bytes(b"\x80\x04\x95\x05\x00\x00\x00\x00\x00\x00\x00")
    with pytest.raises(DataError, match=r"a.npy' is of no supported kind"):
        opened(tmp_path / "a.npy")


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((3, 2), complex), "dtype complex128"),
        (np.array(["a", "b"]), "dtype <U1"),
        (np.zeros(3, [("a", "u1")]), "dtype .*'a'"),
        (np.array(3.0), "single value"),
        (np.zeros((0, *SHAPE), np.uint8), "holds 0 samples"),
        (np.zeros((3, 0, 2), np.uint8), r"shape \(3, 0, 2\)"),
    ],
)
def test_arrays_of_no_use(array: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        opened(write_npy(tmp_path / "a.npy", array))


def test_arrays_that_cannot_be_told_apart(tmp_path: Path) -> None:
    path = write_npz(tmp_path / "a.npz", left=pixels(0, 3, *SHAPE), right=pixels(1, 3, *SHAPE))
    with pytest.raises(DataError, match=r"arrays 'left', 'right'; .*--x-key"):
        opened(path)
    with pytest.raises(DataError, match="no array 'middle'; it holds 'left', 'right'"):
        opened(path, x_key="middle")
    with pytest.raises(DataError, match="no array 'x_val'"):
        opened(path, split="val")
    np.savez(tmp_path / "b.npz")
    with pytest.raises(DataError, match=r"b.npz' holds no arrays"):
        opened(tmp_path / "b.npz")


@pytest.mark.parametrize("kind", ["folder", "tar", "zip"])
def test_containers_without_images(kind: str, tmp_path: Path) -> None:
    files = {"notes.txt": b"x", "data.csv": b"x"}
    if kind == "folder":
        path = write_folder(tmp_path / "set", files)
    else:
        path = (write_tar if kind == "tar" else write_zip)(tmp_path / f"a.{kind}", files)
    with pytest.raises(DataError, match=r"no JPEG or PNG images \(2 entries ignored"):
        opened(path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="empty' holds no JPEG or PNG images"):
        opened(tmp_path / "empty")


def test_an_encrypted_zip(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", PNGS)
    content = bytearray(path.read_bytes())
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = content.find(mark)
        while at >= 0:
            content[at + offset] |= 1
            at = content.find(mark, at + 4)
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"a.zip' is damaged.*encrypted"):
        opened(path)


def test_paths_of_no_use(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone.npz' does not exist"):
        opened(tmp_path / "gone.npz")
    os.mkfifo(tmp_path / "pipe.npz")
    with pytest.raises(DataError, match=r"pipe.npz' is a device or pipe"):
        opened(tmp_path / "pipe.npz")


@pytest.mark.parametrize("kind", ["file", "folder", "image"])
def test_permission(kind: str, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "set", PNGS)
    path = {
        "file": write_npy(tmp_path / "a.npy", pixels(0, 3, *SHAPE)),
        "folder": folder,
        "image": folder,
    }[kind]
    locked = folder / "a/0.png" if kind == "image" else path
    locked.chmod(0)
    try:
        if os.access(locked, os.R_OK):
            pytest.skip("this user may read everything, whatever the mode")
        with pytest.raises(DataError, match=r"(a.npy|set|0.png)' may not be read"):
            opened(path)
    finally:
        locked.chmod(0o700)


def test_permission_error_is_translated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError(13, "Permission denied")

    path = write_npy(tmp_path / "a.npy", pixels(0, 3, *SHAPE))
    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(DataError, match=r"a.npy' may not be read \(permission denied\)"):
        opened(path)


def test_a_full_disk_while_copying(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(io.BytesIO):
        def write(self, _: Any) -> int:
            raise OSError(28, "No space left on device")

    path = write_tar(tmp_path / "a.tar.gz", PNGS)
    monkeypatch.setattr("tempfile.TemporaryFile", Full)
    with pytest.raises(DataError, match=r"a.tar.gz' cannot be read: No space left"):
        opened(path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"samples": 0}, "--samples 0"),
        ({"samples": -3}, "--samples -3"),
        ({"seed": -1}, "--seed -1"),
        ({"x_key": "k"}, "--x-key 'k' .*a.npy' is npy"),
        ({"y_key": "k"}, "--y-key 'k' .*a.npy' is npy"),
        ({"split": "test"}, "--split 'test': .*npy and has no splits"),
    ],
)
def test_options_that_do_not_apply(options: Any, message: str, tmp_path: Path) -> None:
    path = write_npy(tmp_path / "a.npy", pixels(0, 3, *SHAPE))
    with pytest.raises(DataError, match=message):
        opened(path, **options)


def test_without_pillow_images_end_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_zip(tmp_path / "a.zip", PNGS)
    monkeypatch.setitem(__import__("sys").modules, "PIL", None)
    with pytest.raises(DataError, match="needs Pillow; install it with: pip install pillow"):
        opened(path)


def test_a_member_whose_compression_is_damaged_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("x.npy", bytes(range(256)) * 40)
    content = bytearray(path.read_bytes())
    # Behind the local header and the properties of the stream.
    content[50:70] = bytes(20)
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"a\.npz' is damaged, cut short or unsupported"):
        open_data(path, SPEC, (3, 5, 7), dtype=np.float32)
