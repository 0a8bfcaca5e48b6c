"""Atomic writing: complete or untouched, nothing left behind, one line that helps."""

from __future__ import annotations

import errno
import os
import stat
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lsa_onnx.errors import DataError
from lsa_onnx.files import check_writable, write_atomically, writing_atomically

posix = pytest.mark.skipif(
    sys.platform == "win32", reason="needs POSIX permissions, links and devices"
)


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def raising(number: int) -> Callable[..., None]:
    def call(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    return call


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=20)
@given(first=st.binary(max_size=4096), second=st.binary(max_size=4096))
def test_last_content_wins_and_nothing_else_is_left(
    tmp_path: Path, first: bytes, second: bytes
) -> None:
    path = tmp_path / "report.json"
    for data in (first, second):
        write_atomically(path, data)
        assert path.read_bytes() == data
        assert names_in(tmp_path) == ["report.json"]


def test_accepts_a_name_without_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    check_writable("out.bin")
    write_atomically("out.bin", b"\0\r\n")
    assert (tmp_path / "out.bin").read_bytes() == b"\0\r\n"


def test_accepts_the_longest_name(tmp_path: Path) -> None:
    path = tmp_path / ("n" * 255)
    write_atomically(path, b"x")
    assert path.read_bytes() == b"x"


@posix
def test_new_file_obeys_umask_and_an_earlier_mode_is_kept(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        path = tmp_path / "a"
        write_atomically(path, b"1")
        assert stat.S_IMODE(path.stat().st_mode) == 0o640
        path.chmod(0o604)
        write_atomically(path, b"2")
        assert stat.S_IMODE(path.stat().st_mode) == 0o604
    finally:
        os.umask(before)


@posix
def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    target = tmp_path / "real" / "file"
    target.write_bytes(b"old")
    link = tmp_path / "link"
    link.symlink_to(target)
    write_atomically(link, b"new")
    assert link.is_symlink()
    assert target.read_bytes() == b"new"


@posix
def test_a_device_is_written_to_not_replaced() -> None:
    check_writable(os.devnull)
    with pytest.raises(DataError, match=r"this is no regular file: name another file"):
        check_writable(os.devnull, regular=True)
    write_atomically(os.devnull, b"x")
    assert stat.S_ISCHR(Path(os.devnull).stat().st_mode)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs the Linux device /dev/full")
def test_a_device_that_is_full_is_reported() -> None:
    with pytest.raises(DataError, match=r"'/dev/full': the disk is full: free some space"):
        write_atomically("/dev/full", b"x")


@pytest.mark.parametrize(
    "act", [check_writable, lambda path: write_atomically(path, b"x")], ids=["check", "write"]
)
@pytest.mark.parametrize(
    ("relative", "words"),
    [
        ("absent/report.json", r"absent.report\.json': its folder does not exist: create"),
        ("folder-to-be/", r"folder-to-be/': this is a folder: name a file"),
        (".", r"this is a folder: name a file"),
        (
            "file/report.json",
            r"file.report\.json': (part of the path is a file|its folder does not exist)",
        ),
        ("n" * 256, r"nnn': the name is too long: choose a shorter"),
        ("a\0b", r"a\\x00b': .*null (byte|character).*: name another file"),
        ("loop", r"loop': its symbolic links form a loop"),
    ],
)
def test_unusable_path_is_one_line_with_the_path(
    tmp_path: Path, act: Callable[[str], None], relative: str, words: str
) -> None:
    (tmp_path / "file").write_bytes(b"old")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(DataError, match=words) as caught:
        act(f"{tmp_path}/{relative}")
    assert "\n" not in str(caught.value)
    assert names_in(tmp_path) == ["file", "loop"]
    assert (tmp_path / "file").read_bytes() == b"old"


def test_empty_path_is_refused() -> None:
    with pytest.raises(DataError, match=r"cannot write '': the path is empty"):
        check_writable("")


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "the disk is full"),
        (errno.EDQUOT, "your disk quota is used up"),
        (errno.EIO, "error: name another file"),
    ],
)
@pytest.mark.parametrize("function", ["fsync", "replace"])
def test_failure_leaves_the_earlier_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, function: str, number: int, words: str
) -> None:
    path = tmp_path / "report.json"
    path.write_bytes(b"earlier")
    place = Path if function == "replace" else os
    monkeypatch.setattr(place, function, raising(number))
    with pytest.raises(DataError, match=rf"report\.json': .*{words}") as caught:
        write_atomically(path, b"new")
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == b"earlier"
    assert names_in(tmp_path) == ["report.json"]


@pytest.mark.parametrize("number", [errno.EACCES, errno.EPERM, errno.EROFS])
def test_no_permission_in_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    path = tmp_path / "report.json"
    monkeypatch.setattr(os, "open", raising(number))
    with pytest.raises(DataError, match=r"report\.json': .*(no permission|read-only).*choose"):
        check_writable(path)


def test_write_protected_file_is_not_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "report.json"
    path.write_bytes(b"earlier")
    # os.access is simulated because it always agrees for the superuser.
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(DataError, match=r"report\.json': no permission"):
        check_writable(path)
    with pytest.raises(DataError, match=r"report\.json': no permission"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"earlier"


def test_interrupt_leaves_no_temporary_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(tmp_path / "a", b"x")
    assert names_in(tmp_path) == []


def test_check_leaves_an_earlier_file_alone(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    path.write_bytes(b"earlier")
    for regular in (False, True):
        check_writable(path, regular=regular)
        assert path.read_bytes() == b"earlier"
        assert names_in(tmp_path) == ["report.json"]


def test_path_with_a_line_break_stays_on_one_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"ab\\nsent") as caught:
        check_writable(tmp_path / "ab\nsent" / "x")
    assert "\n" not in str(caught.value)


def test_a_stream_takes_the_place_of_the_earlier_file_at_its_end(tmp_path: Path) -> None:
    path = tmp_path / "adv.npz"
    path.write_bytes(b"earlier")
    with writing_atomically(path) as file:
        for part in (b"one, ", b"two, ", b"three"):
            file.write(part)
        file.flush()
        assert path.read_bytes() == b"earlier"
        assert len(names_in(tmp_path)) == 2
    assert path.read_bytes() == b"one, two, three"
    assert names_in(tmp_path) == ["adv.npz"]


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt])
def test_a_stream_that_is_left_in_the_middle_leaves_the_earlier_file(
    tmp_path: Path, error: type[BaseException]
) -> None:
    path = tmp_path / "adv.npz"
    path.write_bytes(b"earlier")

    def half() -> None:
        with writing_atomically(path) as file:
            file.write(b"half of it")
            raise error

    with pytest.raises(error):
        half()
    assert path.read_bytes() == b"earlier"
    assert names_in(tmp_path) == ["adv.npz"]


def test_a_disk_that_fills_up_in_the_middle_of_a_stream(tmp_path: Path) -> None:
    path = tmp_path / "adv.npz"
    with pytest.raises(DataError, match=r"adv\.npz': the disk is full"), writing_atomically(path):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert names_in(tmp_path) == []
