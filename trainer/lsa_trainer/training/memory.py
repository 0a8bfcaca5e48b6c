"""How much memory is left on a device."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

_MEMINFO = Path("/proc/meminfo")
_CGROUP = Path("/sys/fs/cgroup")


def free_bytes(device: Any) -> int | None:
    """Bytes that can still be had on a device, ``None`` where the system does not tell.

    Args:
        device: As ``torch.device`` takes it.
    """
    kind = torch.device(device).type
    if kind == "cuda":
        free: int = torch.cuda.mem_get_info(device)[0]
        return free
    if kind != "cpu":
        return None
    known = [size for size in (_of_the_machine(), _of_the_container()) if size is not None]
    return min(known, default=None)


def _of_the_machine() -> int | None:
    """What Linux can give without swapping."""
    kibibytes = _figures(_MEMINFO).get("MemAvailable:")
    return None if kibibytes is None else kibibytes * 1024


def _of_the_container() -> int | None:
    """What the control group leaves, where it has a limit; caches of files make room when asked."""
    try:
        limit = (_CGROUP / "memory.max").read_text().strip()
        used = int((_CGROUP / "memory.current").read_text())
    except (OSError, ValueError):
        return None
    if not limit.isdigit():  # "max"
        return None
    caches = _figures(_CGROUP / "memory.stat").get("inactive_file", 0)
    return max(int(limit) - used + caches, 0)


def _figures(path: Path) -> dict[str, int]:
    """First word → second word of each line; nothing where there is no such file."""
    try:
        lines = [line.split() for line in path.read_text().splitlines()]
    except OSError:
        return {}
    return {words[0]: int(words[1]) for words in lines if len(words) > 1 and words[1].isdigit()}
