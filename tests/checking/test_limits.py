"""How much time and memory a check may take."""

from __future__ import annotations

import sys

import pytest

from lsa_onnx.checking import Limits, limits
from lsa_onnx.checking.limits import GIBIBYTE, available_bytes

MEBIBYTE = 1 << 20


@pytest.mark.parametrize(
    ("size_gib", "seconds"), [(0, 120.0), (0.5, 150.0), (1, 180.0), (2.5, 270.0)]
)
def test_time_grows_with_the_model(size_gib: float, seconds: float) -> None:
    assert Limits().seconds_for(int(size_gib * GIBIBYTE)) == seconds


@pytest.mark.parametrize(
    ("size_gib", "available_gib", "wanted_gib"),
    [(0, 64, 8), (2, 64, 24), (2, 20, 18), (0, 4, 3.6), (3, None, 32)],
)
def test_memory_grows_with_the_model_as_far_as_the_machine_allows(
    size_gib: int, available_gib: int | None, wanted_gib: float
) -> None:
    available = None if available_gib is None else available_gib * GIBIBYTE
    found = Limits().memory_for(size_gib * GIBIBYTE, available)
    assert found == pytest.approx(wanted_gib * GIBIBYTE, abs=1)


def test_a_bound_that_was_given_stands() -> None:
    assert Limits(memory_bytes=5 * MEBIBYTE).memory_for(GIBIBYTE, MEBIBYTE) == 5 * MEBIBYTE


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"/proc/meminfo": "MemFree: 1 kB\nMemAvailable:    2048 kB\n"}, 2 * MEBIBYTE),
        ({"/proc/meminfo": "MemAvailable: 2048 kB\n", "/sys/fs/cgroup/memory.max": "max\n"}, 2 * MEBIBYTE),
        ({"/proc/meminfo": "MemAvailable: 2048 kB\n", "/sys/fs/cgroup/memory.max": "4096\n"}, 4096),
    ],
    ids=["machine", "unbounded container", "container"],
)  # fmt: skip
def test_what_is_to_be_had(
    monkeypatch: pytest.MonkeyPatch, files: dict[str, str], expected: int
) -> None:
    monkeypatch.setattr(limits, "_text", lambda path: files.get(path, ""))
    assert available_bytes() == expected


@pytest.mark.skipif(sys.platform == "win32", reason="asks POSIX")
def test_without_a_file_system_of_processes_all_memory_counts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "_text", lambda path: "")
    assert (available_bytes() or 0) > 64 * MEBIBYTE
