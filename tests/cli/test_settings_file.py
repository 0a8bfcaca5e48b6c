"""Where the configuration file is looked for, and what is read."""

from __future__ import annotations

from pathlib import Path

import pytest

from lsa_cli.settings_file import Looked, find_settings
from lsa_onnx.errors import DataError


@pytest.fixture
def inner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, two below ``tmp_path``."""
    folder = tmp_path / "a" / "b"
    folder.mkdir(parents=True)
    monkeypatch.chdir(folder)
    return folder


def write(path: Path, text: str) -> None:
    path.write_text(text, "utf-8")


def test_nothing_anywhere(inner: Path) -> None:
    found = find_settings()
    assert found.file is None
    assert found.looked == (
        Looked("lsa-onnx.toml", "not there"), Looked("pyproject.toml", "not there"),
    )  # fmt: skip


def test_the_current_folder(inner: Path) -> None:
    write(inner / "lsa-onnx.toml", "seed = 1")
    file = find_settings().file
    assert file is not None
    assert (file.path, file.folder, file.table) == ("lsa-onnx.toml", inner, {"seed": 1})
    assert file.where("scan", "eta") == "lsa-onnx.toml: scan.eta"


def test_folders_above_count_within_a_repository(inner: Path, tmp_path: Path) -> None:
    write(tmp_path / "lsa-onnx.toml", "seed = 1")
    assert find_settings().file is None
    (tmp_path / "a" / ".git").mkdir()
    assert find_settings().file is None
    (tmp_path / "a" / ".git").rmdir()
    # In a work tree this is a file.
    write(tmp_path / ".git", "gitdir: elsewhere")
    file = find_settings().file
    assert file is not None
    assert (file.path, file.folder) == (str(tmp_path / "lsa-onnx.toml"), tmp_path)


def test_the_nearest_wins_and_of_two_the_own_file(inner: Path, tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    write(tmp_path / "lsa-onnx.toml", "seed = 1")
    write(tmp_path / "a" / "pyproject.toml", "[tool.lsa-onnx]\nseed = 2")
    write(inner / "pyproject.toml", "[project]\nname = 'lsa-onnx-user'")
    found = find_settings()
    assert found.file is not None
    assert found.file.table == {"seed": 2}
    assert found.file.where("seed") == f"{tmp_path}/a/pyproject.toml: tool.lsa-onnx.seed"
    assert [look.found for look in found.looked] == [
        "not there", "no [tool.lsa-onnx]", "not there", "read",
        f"not read, for {tmp_path}/a/pyproject.toml comes first", "not there",
    ]  # fmt: skip
    write(tmp_path / "a" / "lsa-onnx.toml", "seed = 3")
    file = find_settings().file
    assert file is not None
    assert file.table == {"seed": 3}


@pytest.mark.parametrize("content", [b"\xff\xfe", b"no toml", b"[tool]\nx = 1", b"tool = 3"])
def test_a_pyproject_of_others_is_left_alone(inner: Path, content: bytes) -> None:
    (inner / "pyproject.toml").write_bytes(content)
    assert find_settings().file is None


def test_a_pyproject_that_cannot_be_read_is_left_alone(inner: Path) -> None:
    (inner / "pyproject.toml").mkdir()
    assert find_settings().file is None


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("lsa-onnx.toml", "seed 1", "'lsa-onnx.toml' is not TOML"),
        ("lsa-onnx.toml", "seed = " + "[" * 5000, "is not TOML"),
        ("pyproject.toml", "[tool.lsa-onnx\n", "'pyproject.toml' is not TOML"),
        ("pyproject.toml", "[tool]\nlsa-onnx = 3", "tool.lsa-onnx = 3 in 'pyproject.toml'"),
    ],
)
def test_files_of_no_use(inner: Path, name: str, text: str, said: str) -> None:
    write(inner / name, text)
    with pytest.raises(DataError) as caught:
        find_settings()
    assert said in str(caught.value)


def test_what_is_no_file(inner: Path) -> None:
    (inner / "lsa-onnx.toml").mkdir()
    with pytest.raises(DataError, match=r"'lsa-onnx.toml' cannot be read: .*directory"):
        find_settings()
    (inner / "lsa-onnx.toml").rmdir()
    write(inner / "lsa-onnx.toml", "#" * (1 << 20) + "\n")
    with pytest.raises(DataError, match="more than 1048576 bytes"):
        find_settings()


def test_a_file_by_name(inner: Path, tmp_path: Path) -> None:
    write(inner / "lsa-onnx.toml", "seed = 1")
    write(tmp_path / "strict.toml", "seed = 2")
    write(tmp_path / "pyproject.toml", "[tool.lsa-onnx]\nseed = 3")
    for name, seed in (("strict.toml", 2), ("pyproject.toml", 3)):
        file = find_settings(str(tmp_path / name)).file
        assert file is not None
        assert (file.table, file.folder) == ({"seed": seed}, tmp_path)
    assert find_settings("none").file is None
    with pytest.raises(DataError, match=r"'gone.toml' cannot be read: No such file"):
        find_settings("gone.toml")
    write(tmp_path / "pyproject.toml", "[project]")
    with pytest.raises(DataError, match=r"has no table \[tool.lsa-onnx\]"):
        find_settings(str(tmp_path / "pyproject.toml"))


def test_a_folder_that_is_gone(inner: Path) -> None:
    inner.rmdir()
    assert find_settings().file is None
