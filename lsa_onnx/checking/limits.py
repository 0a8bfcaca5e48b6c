"""How much time and memory the check of a model may take."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

GIBIBYTE = 1 << 30

# Interpreter, libraries and the activations of a model with few weights.
_BASE_BYTES = 8 * GIBIBYTE
# The file, its message, the weights moved out of it, and what ONNX Runtime makes of them.
_BYTES_PER_BYTE = 8
_USABLE_SHARE = 0.9
_CGROUP_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


@dataclass(frozen=True)
class Limits:
    """Bounds of one check.

    Attributes:
        seconds: Wall-clock time for a model of no size.
        seconds_per_gib: What each GiB of the file and its weights adds.
        memory_bytes: Bound on memory that can be written to, where the system enforces one (Linux);
            ``None`` for 8 GiB and 8 times the size of the model, but no more than 90 % of what the machine can
            give.
    """

    seconds: float = 120.0
    seconds_per_gib: float = 60.0
    memory_bytes: int | None = None

    def seconds_for(self, size_bytes: int) -> float:
        """The time that a model of this size may take."""
        return self.seconds + self.seconds_per_gib * size_bytes / GIBIBYTE

    def memory_for(self, size_bytes: int, available_bytes: int | None) -> int:
        """The memory that a model of this size may take where so much is to be had, in bytes."""
        if self.memory_bytes is not None:
            return self.memory_bytes
        wanted = _BASE_BYTES + _BYTES_PER_BYTE * size_bytes
        if available_bytes is None:
            return wanted
        return min(wanted, int(_USABLE_SHARE * available_bytes))


def available_bytes() -> int | None:
    """Memory that a new process can take, ``None`` where the system does not tell."""
    known = [_available_to_all(), *map(_bound_of, _CGROUP_LIMITS)]
    return min((each for each in known if each is not None), default=None)


def _available_to_all() -> int | None:
    found = re.search(r"^MemAvailable:\s+(\d+) kB$", _text("/proc/meminfo"), re.MULTILINE)
    if found is not None:
        return int(found[1]) << 10
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return None


def _bound_of(path: str) -> int | None:
    """The bound of a container; ``max`` stands for none."""
    text = _text(path).strip()
    return int(text) if text.isdigit() else None


def _text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError):
        return ""
