"""What a table of measured times must say besides: when, on what, and with which versions."""

from __future__ import annotations

import datetime
import platform
from pathlib import Path

from lsa_onnx.runtime.devices import thread_count

_CPU_INFO = Path("/proc/cpuinfo")


def machine_line(*versions: str) -> str:
    """Date, CPU, threads, system, Python and ``versions``, in one line."""
    facts = [
        datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
        _cpu(),
        f"{thread_count()} threads",
        platform.system(),
        f"Python {platform.python_version()}",
        *versions,
    ]
    return ", ".join(facts)


def _cpu() -> str:
    # On Linux, ``platform`` knows no more than "x86_64".
    text = _CPU_INFO.read_text() if _CPU_INFO.exists() else ""
    names = [line.split(":", 1)[1] for line in text.splitlines() if line.startswith("model name")]
    return names[0].strip() if names else platform.processor()
