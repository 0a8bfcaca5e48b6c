"""Free memory from what Linux writes of it, with and without a limit of the container."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from lsa_trainer.training import memory
from lsa_trainer.training.memory import free_bytes

KIBIBYTE = 1024


@pytest.fixture
def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "meminfo").write_text("MemTotal:  9000 kB\nMemAvailable:   5000 kB\nHugePages: 0\n")
    monkeypatch.setattr(memory, "_MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(memory, "_CGROUP", tmp_path)
    return tmp_path


def limit(folder: Path, most: str, used: int, caches: int) -> None:
    (folder / "memory.max").write_text(f"{most}\n")
    (folder / "memory.current").write_text(f"{used}\n")
    (folder / "memory.stat").write_text(f"anon 5\ninactive_file {caches}\n")


def test_what_the_machine_has(system: Path) -> None:
    assert free_bytes("cpu") == 5000 * KIBIBYTE
    limit(system, "max", 10, 0)
    assert free_bytes("cpu") == 5000 * KIBIBYTE


@pytest.mark.parametrize(
    ("most", "used", "caches", "left"),
    [
        (1_000_000, 400_000, 100_000, 700_000),
        (1_000_000, 1_000_500, 0, 0),
        (1 << 40, 0, 0, 5000 * KIBIBYTE),
    ],
)
def test_what_the_container_leaves(
    system: Path, most: int, used: int, caches: int, left: int
) -> None:
    limit(system, str(most), used, caches)
    assert free_bytes("cpu") == left


def test_unknown_is_none(system: Path) -> None:
    (system / "meminfo").unlink()
    assert free_bytes("cpu") is None
    assert free_bytes("meta") is None


@pytest.mark.skipif(sys.platform != "linux", reason="reads what Linux writes")
def test_of_this_machine_is_not_more_than_it_has() -> None:
    found = free_bytes("cpu")
    assert found is not None
    assert 0 < found < os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
