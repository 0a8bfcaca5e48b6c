"""Devices by name, and what several processes learn from the first."""

from __future__ import annotations

import pickle
import queue
import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch

from lsa_onnx.errors import DataError, DeviceError, GateFailed, LsaError, ModelError
from lsa_onnx.rewrite.differentiate import NotDifferentiable
from lsa_trainer.training.setup import launch, made_once
from lsa_trainer.training.stepper import TrainingFailed
from lsa_trainer.translation.dialect import Unsupported
from lsa_trainer.writeback import WriteBackError
from tests.trainer.small_runs import options

ERRORS = [
    LsaError("a"),
    DataError("b"),
    GateFailed("c"),
    NotDifferentiable("d"),
    Unsupported("e"),
    TrainingFailed("f"),
    WriteBackError("g"),
    ModelError("h"),
]


class Process:
    """One of two, as far as broadcasts go: objects travel pickled, as torch sends them."""

    def __init__(self, pipe: queue.Queue[bytes], *, first: bool) -> None:
        self.is_global_zero, self._pipe = first, pipe

    def broadcast(self, value: Any) -> Any:
        if self.is_global_zero:
            self._pipe.put(pickle.dumps(value))
            return value
        return pickle.loads(self._pipe.get(timeout=5))  # noqa: S301 - it was put there above


def ends(make: Callable[[], Any]) -> list[Any]:
    """What ``made_once`` gives or raises in either process."""
    pipe: queue.Queue[bytes] = queue.Queue()
    found: dict[bool, Any] = {}

    def one(first: bool) -> None:
        try:
            found[first] = made_once(Process(pipe, first=first), make)
        except Exception as error:  # noqa: BLE001 - it is what is looked at
            found[first] = error

    threads = [threading.Thread(target=one, args=(first,)) for first in (True, False)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [found[True], found[False]]


def test_all_get_what_the_first_makes() -> None:
    calls: list[int] = []

    def made() -> dict[str, int]:
        calls.append(1)
        return {"a": 1}

    assert ends(made) == [{"a": 1}, {"a": 1}]
    assert ends(lambda: None) == [None, None]
    assert calls == [1]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_all_end_with_the_error_of_the_first(error: LsaError) -> None:
    def failing() -> None:
        raise error

    first, second = ends(failing)
    assert first is error
    assert (type(second), str(second)) == (type(error), str(error))
    assert second.exit_code == error.exit_code


def test_a_defect_in_the_first_ends_the_others() -> None:
    first, second = ends(lambda: 1 // 0)
    assert isinstance(first, ZeroDivisionError)
    assert (type(second), str(second)) == (LsaError, "the first process failed: ZeroDivisionError")


@pytest.mark.parametrize(
    "device", ["gpu", "tpu", "cpu:1", "auto:0", "cuda:", "cuda:-1", "CUDA", ""]
)
def test_devices_that_there_are_not(device: str) -> None:
    with pytest.raises(DataError) as caught:
        launch(options(), device)
    accepted = "auto, cpu, cuda or cuda:N (N = 0, 1, ...)"
    assert str(caught.value) == f"device {device!r} is not known; use {accepted}"


@pytest.mark.parametrize(
    ("count", "device", "message"),
    [
        (0, "cuda", r"device 'cuda': torch .* finds no CUDA device; use cpu"),
        (1, "cuda:1", r"device 'cuda:1': torch .* finds 1 CUDA device; use cpu"),
        (2, "cuda:77", r"device 'cuda:77': torch .* finds 2 CUDA devices; use cpu"),
    ],
)
def test_devices_that_are_not_here(
    count: int, device: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    with pytest.raises(DeviceError, match=message):
        launch(options(), device)


def test_the_cpu_is_always_there() -> None:
    assert launch(options(), "cpu").device == torch.device("cpu")
