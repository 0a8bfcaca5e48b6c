"""What measured times must be told with: the machine, and the versions of what ran."""

from __future__ import annotations

import platform
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch

from lsa_onnx._version import __version__
from lsa_onnx.runtime.devices import thread_count

_CPU_INFO = Path("/proc/cpuinfo")


def machine_line(device: str) -> str:
    """Processors, and the GPU if one is used, in one line."""
    found = f"{_cpu()}, {thread_count()} threads, {platform.system()}"
    if device != "cpu" and torch.cuda.is_available():
        return f"{torch.cuda.get_device_name()}; {found}"
    return found


def versions() -> dict[str, str]:
    """Of this tool and of what computes."""
    return {
        "lsa-onnx": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "onnxruntime": onnxruntime.__version__,
        "onnx": onnx.__version__,
        "numpy": np.__version__,
    }


def _cpu() -> str:
    # On Linux, ``platform`` knows no more than "x86_64".
    text = _CPU_INFO.read_text() if _CPU_INFO.exists() else ""
    names = [line.split(":", 1)[1] for line in text.splitlines() if line.startswith("model name")]
    return names[0].strip() if names else platform.processor()
