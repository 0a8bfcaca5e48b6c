"""What was saved comes back bit for bit, or the one before it does, or one line says what to do."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from lsa_onnx.errors import DataError
from lsa_onnx.files import write_atomically
from lsa_trainer.training import checkpoint as module
from lsa_trainer.training.checkpoint import Checkpoint, clear, load, prefixed, save, under


def at(step: int) -> Checkpoint:
    """A checkpoint all of whose parts follow from its step."""
    tensors = {
        "w": torch.arange(6, dtype=torch.float32).reshape(2, 3) + step / 7,
        "count": torch.tensor(step),
    }
    return Checkpoint(step, tensors, {"loss": 1 / (step + 1), "history": list(range(step % 5))})


def assert_is(found: Checkpoint | None, step: int) -> None:
    assert found is not None
    expected = at(step)
    assert (found.step, found.record) == (step, expected.record)
    assert found.tensors.keys() == expected.tensors.keys()
    assert all(torch.equal(found.tensors[n], t) for n, t in expected.tensors.items())


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@contextmanager
def folder_of_two() -> Iterator[Path]:
    """A folder with the checkpoints of steps 10 and 20."""
    with TemporaryDirectory() as name:
        for step in (10, 20):
            save(name, at(step))
        yield Path(name)


def test_comes_back_with_types_and_values(tmp_path: Path) -> None:
    tensors = {
        f"{dtype}": torch.arange(6).reshape(2, 3).to(dtype)
        for dtype in (torch.float16, torch.bfloat16, torch.float64, torch.int64, torch.bool)
    }
    tensors |= {
        "scalar": torch.tensor(1.5),
        "empty": torch.zeros(0, 3),
        "odd": torch.tensor([torch.nan, torch.inf, -0.0, 1e-45]),
        "parameter": torch.nn.Parameter(torch.ones(2)),
        "turned": torch.arange(6.0).reshape(2, 3).t(),
    }
    tensors["tied"] = tensors["scalar"]
    record = {"x": [1, 0.1, None, True, "ε"], "1e-300": 1e-300}
    save(tmp_path / "new" / "run", Checkpoint(7, tensors, record))
    found = load(tmp_path / "new" / "run")
    assert found is not None
    assert (found.step, found.record, found.notes) == (7, record, ())
    assert found.tensors.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert found.tensors[name].dtype == tensor.dtype
        assert bytes_of(found.tensors[name]) == bytes_of(tensor.detach())


def bytes_of(tensor: Tensor) -> tuple[tuple[int, ...], bytes]:
    """Shape and bits: NaN and negative zero are told apart, unlike by equality."""
    flat = tensor.contiguous().reshape(-1).view(torch.uint8)
    return tuple(tensor.shape), bytes(flat.tolist())


@pytest.mark.parametrize("place", ["", "absent", "a file/below"])
def test_none_where_there_is_none(tmp_path: Path, place: str) -> None:
    (tmp_path / "a file").write_text("x")
    assert load(tmp_path / place) is None


def test_the_last_two_are_kept_and_what_kills_left_is_removed(tmp_path: Path) -> None:
    (tmp_path / ".lsa-onnx-0123456789abcdef.tmp").write_bytes(b"half a checkpoint")
    (tmp_path / "log.jsonl").write_text("mine")
    for step in (1, 5, 999_999, 1_000_000):
        save(tmp_path, at(step))
        assert_is(load(tmp_path), step)
    files = ["step-1000000.safetensors", "step-999999.safetensors"]
    assert names_in(tmp_path) == ["log.jsonl", "state.json", *files]


def test_state_says_what_made_it(tmp_path: Path) -> None:
    save(tmp_path, at(3))
    state = json.loads((tmp_path / "state.json").read_text("ascii"))
    assert state["format"] == 1
    (entry,) = state["checkpoints"]
    assert (entry["step"], entry["file"]) == (3, "step-000003.safetensors")
    assert entry["versions"]["torch"] == torch.__version__
    assert set(entry["versions"]) == {"lsa-onnx", "numpy", "python", "safetensors", "torch"}


def test_notes_another_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "version", lambda name: "0.0" if name == "torch" else "9")
    save(tmp_path, at(3))
    monkeypatch.setattr(module, "version", lambda name: "1.0" if name == "torch" else "9")
    found = load(tmp_path)
    assert_is(found, 3)
    assert found is not None
    (note,) = found.notes
    assert "torch 0.0 → 1.0" in note


@pytest.mark.parametrize("damage", ["gone", "changed", "cut", "entry"])
def test_falls_back_to_the_one_before_and_goes_on_from_there(damage: str) -> None:
    with folder_of_two() as folder:
        newest = folder / "step-000020.safetensors"
        if damage == "gone":
            newest.unlink()
        elif damage == "changed":
            newest.write_bytes((folder / "step-000010.safetensors").read_bytes())
        elif damage == "cut":
            newest.write_bytes(newest.read_bytes()[:-1])
        else:
            text = (folder / "state.json").read_text("ascii")
            (folder / "state.json").write_text(text.replace('"step": 20', '"step": 21'), "ascii")
        found = load(folder)
        assert_is(found, 10)
        assert found is not None
        where = "an entry of state.json" if damage == "entry" else "step-000020.safetensors is"
        assert found.notes[0].startswith(f"resumed from the checkpoint of step 10: {where}")
        save(folder, at(15))
        assert_is(load(folder), 15)
        files = [f"step-0000{step}.safetensors" for step in (10, 15)]
        assert names_in(folder) == ["state.json", *files]


def test_one_line_where_nothing_is_left() -> None:
    with folder_of_two() as folder:
        (folder / "step-000010.safetensors").unlink()
        (folder / "step-000020.safetensors").write_bytes(b"")
        with pytest.raises(DataError, match=r"step-000020\.safetensors is not what was") as caught:
            load(folder)
        text = str(caught.value)
        assert "step-000010.safetensors is missing" in text
        assert text.endswith("delete the folder, or start anew with --fresh or in another folder")
        assert "\n" not in text


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is damaged"),
        (b"\xff\xfe", "is damaged"),
        (b"[1]", "is damaged"),
        (b'{"format": 1, "checkpoints": []}', "is damaged"),
        (b'{"format": 1, "checkpoints": [5, null]}', "an entry of state.json is not what was"),
        (b"[" * 100_000, "is damaged"),
        (b'{"format": 2, "checkpoints": [1]}', "has format 2 and this version reads 1"),
    ],
)
def test_state_that_was_not_written_here(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "state.json").write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        load(tmp_path)
    assert "start anew with --fresh or in another folder" in str(caught.value)
    save(tmp_path, at(4))
    assert_is(load(tmp_path), 4)


def load_strictly(folder: Path) -> int | None:
    """The step that loads, with all that belongs to it; ``None`` where one line refuses it."""
    found, message = None, ""
    try:
        found = load(folder)
    except DataError as error:
        message = str(error)
    assert "\n" not in message
    assert (found is None) == bool(message)
    if found is not None:
        assert_is(found, found.step)
    return found.step if found else None


def damaged(content: bytes, data: st.DataObject) -> bytes:
    """Cut short, or with some bits turned."""
    if data.draw(st.booleans(), "cut"):
        return content[: data.draw(st.integers(0, len(content) - 1), "length")]
    changed = bytearray(content)
    for bit in data.draw(st.sets(st.integers(0, 8 * len(content) - 1), min_size=1, max_size=3)):
        changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


@pytest.fixture(scope="module")
def intact() -> dict[str, bytes]:
    """The files of a folder of two, by name."""
    with folder_of_two() as folder:
        return {path.name: path.read_bytes() for path in folder.iterdir()}


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_damage_never_gives_other_tensors(intact: dict[str, bytes], data: st.DataObject) -> None:
    hit = data.draw(st.sets(st.sampled_from(sorted(intact)), min_size=1), "files")
    with TemporaryDirectory() as folder:
        for name, content in sorted(intact.items()):
            written = damaged(content, data) if name in hit else content
            (Path(folder) / name).write_bytes(written)
        step = load_strictly(Path(folder))
    left = [at for at in (10, 20) if f"step-0000{at}.safetensors" not in hit]
    allowed = [max(left, default=None)] if "state.json" not in hit else [*left, None]
    assert step in allowed


def raising(number: int) -> Any:
    def call(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    return call


@pytest.mark.parametrize("after", [0, 1])
def test_a_full_disk_costs_the_new_checkpoint_alone(
    monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    """Full while the tensors are written, or when they are and the state is next."""
    with folder_of_two() as folder:
        flush, calls = os.fsync, iter(range(100))

        def fsync(descriptor: int) -> None:
            if next(calls) >= 2 * after:  # a file and its folder
                raising(errno.ENOSPC)()
            flush(descriptor)

        monkeypatch.setattr(os, "fsync", fsync)
        with pytest.raises(DataError, match="the disk is full: free some space"):
            save(folder, at(30))
        monkeypatch.undo()
        assert_is(load(folder), 20)
        assert not any(name.endswith(".tmp") for name in names_in(folder))
        save(folder, at(40))
        assert_is(load(folder), 40)
        assert len(names_in(folder)) == 3


def test_a_kill_between_tensors_and_state_costs_one_checkpoint(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with folder_of_two() as folder:

        def killed(path: Path, content: bytes) -> None:
            if path.name == "state.json":
                raise KeyboardInterrupt
            write_atomically(path, content)

        for step, left in ((30, 20), (20, 20)):  # a step anew, as a run does that went on from 10
            with monkeypatch.context() as patch:
                patch.setattr(module, "write_atomically", killed)
                with pytest.raises(KeyboardInterrupt):
                    save(folder, at(step))
            assert_is(load(folder), left)


def test_clear_removes_the_run_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    with folder_of_two() as folder:
        (folder / "log.jsonl").write_text("mine")
        clear(folder)
        assert names_in(folder) == ["log.jsonl"]
        assert load(folder) is None
        clear(folder)
        clear(folder / "absent")
        monkeypatch.setattr(Path, "unlink", raising(errno.EACCES))
        with pytest.raises(DataError, match=r"cannot remove .*state\.json.*Permission denied"):
            clear(folder)


def test_refuses_a_folder_that_is_a_file_and_a_record_that_is_no_json(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("x")
    with pytest.raises(DataError, match=r"cannot make the folder .*run'.*name another one"):
        save(tmp_path / "run", at(1))
    with pytest.raises(ValueError, match="not JSON compliant"):
        save(tmp_path / "other", Checkpoint(1, {}, {"loss": float("nan")}))
    assert names_in(tmp_path / "other") == []


def test_prefixes_are_undone() -> None:
    a, b = torch.zeros(1), torch.ones(1)
    both = prefixed("model", {"a": a, "b.c": b}) | prefixed("model2", {"a": b})
    assert under("model", both) == {"a": a, "b.c": b}
    assert under("mode", both) == {}
