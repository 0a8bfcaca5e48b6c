"""Each line is JSON, each step is there once, and what JSON cannot hold is named."""

from __future__ import annotations

import errno
import json
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lsa_onnx.errors import DataError
from lsa_trainer.training.log import RunLog, TensorBoard, read_log


def test_lines_are_there_as_soon_as_they_are_written(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    log = RunLog(path)
    log.write(1, "step", {"loss": 0.5})
    log.write(1, "validation", {"clean": 0.9, "notes": ["ε", None]})
    lines = path.read_bytes().splitlines()
    assert [json.loads(line) for line in lines] == [
        {"step": 1, "event": "step", "loss": 0.5},
        {"step": 1, "event": "validation", "clean": 0.9, "notes": ["ε", None]},
    ]
    log.close()


def test_what_is_not_finite_becomes_null_and_is_named(tmp_path: Path) -> None:
    inf, nan = float("inf"), float("nan")
    with RunLog(tmp_path / "log.jsonl") as log:
        log.write(3, "step", {"loss": nan, "norms": {"a": [1.0, -inf], "b": inf}, "lr": 0.1})
    assert read_log(tmp_path / "log.jsonl") == [
        {
            "step": 3,
            "event": "step",
            "loss": None,
            "norms": {"a": [1.0, None], "b": None},
            "lr": 0.1,
            "not_finite": {"loss": "nan", "norms.a.1": "-inf", "norms.b": "inf"},
        }
    ]


def test_a_new_run_starts_anew(tmp_path: Path) -> None:
    for loss in (0.5, 0.25):
        with RunLog(tmp_path / "log.jsonl") as log:
            log.write(1, "step", {"loss": loss})
    assert [event["loss"] for event in read_log(tmp_path / "log.jsonl")] == [0.25]


@pytest.mark.parametrize(
    "end", [b"", b'{"step": 4, "ev', b'{"step": 2, "event": "cut"}', b"\xff\n", b"[1]\n{}\n\n"]
)
def test_resuming_removes_later_steps_and_what_was_cut_short(tmp_path: Path, end: bytes) -> None:
    path = tmp_path / "log.jsonl"
    with RunLog(path) as log:
        for step in (0, 1, 2, 2, 3):
            log.write(step, "step", {})
    path.write_bytes(path.read_bytes() + end)
    with RunLog(path, resume_step=2) as log:
        log.write(3, "again", {})
    found = [(event["step"], event["event"]) for event in read_log(path)]
    assert found == [(0, "step"), (1, "step"), (2, "step"), (2, "step"), (3, "again")]
    assert all(json.loads(line) for line in path.read_bytes().splitlines())


@given(st.data())
@settings(max_examples=40, deadline=None)
def test_however_often_it_is_killed_each_step_is_there_once(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path, checkpoint = tmp_path_factory.mktemp("run") / "log.jsonl", 0
    for _ in range(data.draw(st.integers(1, 4), "kills")):
        reached = checkpoint + data.draw(st.integers(0, 6), "steps")
        with RunLog(path, checkpoint) as log:
            for step in range(checkpoint + 1, reached + 1):
                log.write(step, "step", {})
        content = path.read_bytes()
        lost = data.draw(st.integers(0, 20), "bytes of the last line") if reached else 0
        checkpoint = data.draw(st.integers(checkpoint, max(reached - 1, checkpoint)), "checkpoint")
        path.write_bytes(content[: len(content) - lost] if reached > checkpoint else content)
    with RunLog(path, checkpoint):
        pass
    assert [event["step"] for event in read_log(path)] == list(range(1, checkpoint + 1))


def test_resuming_without_a_log_starts_one(tmp_path: Path) -> None:
    with RunLog(tmp_path / "log.jsonl", resume_step=9) as log:
        log.write(10, "step", {})
    assert len(read_log(tmp_path / "log.jsonl")) == 1


def test_one_line_where_it_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"absent/log\.jsonl.*folder does not exist"):
        RunLog(tmp_path / "absent" / "log.jsonl")
    with pytest.raises(DataError, match=r"cannot read the log .*absent\.jsonl"):
        read_log(tmp_path / "absent.jsonl")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_one_line_where_the_disk_is_full() -> None:
    log = RunLog("/dev/full")
    with pytest.raises(DataError, match=f"log '/dev/full': {os.strerror(errno.ENOSPC)}; free"):
        log.write(1, "step", {})


class Writer:
    """Stands for torch's, which needs the extra."""

    def __init__(self, **options: Any) -> None:
        self.options, self.scalars, self.closed = options, dict[tuple[str, int], Any](), False
        made.append(self)

    def add_scalar(self, name: str, value: float, step: int) -> None:
        self.scalars[name, step] = value

    def flush(self) -> None:
        pass

    def close(self) -> None:
        self.closed = True


made: list[Writer] = []


def test_tensorboard_gets_every_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in = ModuleType("torch.utils.tensorboard")
    stand_in.SummaryWriter = Writer  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", stand_in)
    board = TensorBoard(tmp_path, resume_step=4)
    board.write(5, "validation", {"clean": 0.5, "robust": {"pgd": 1, "on": True}, "name": "x"})
    board.close()
    writer = made.pop()
    assert writer.options == {"log_dir": str(tmp_path), "purge_step": 5}
    assert writer.scalars == {("validation/clean", 5): 0.5, ("validation/robust/pgd", 5): 1}
    assert writer.closed
    TensorBoard(tmp_path)
    assert made.pop().options["purge_step"] is None


def test_names_the_extra_that_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(DataError, match=r"pip install 'lsa-onnx\[tensorboard\]'") as caught:
        TensorBoard(tmp_path)
    assert "\n" not in str(caught.value)


def test_tensorboard_itself(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    board = TensorBoard(tmp_path)
    board.write(1, "step", {"loss": 0.25})
    board.close()
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(tmp_path))
    events.Reload()
    assert [(e.step, e.value) for e in events.Scalars("step/loss")] == [(1, 0.25)]
