"""The programs in ``examples``, run as a user runs them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from lsa_onnx.demo.assets import digits_data, digits_model

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"

Ran = subprocess.CompletedProcess[str]


def furnish(folder: Path) -> Path:
    """Put ``model.onnx`` and ``images.npz`` into a folder, and ``bin/lsa-onnx``, which runs this checkout."""
    shutil.copy(digits_model(), folder / "model.onnx")
    shutil.copy(digits_data(), folder / "images.npz")
    (folder / "bin").mkdir()
    command(folder, "lsa-onnx", f'exec "{sys.executable}" -m lsa_cli "$@"')
    return folder


def command(folder: Path, name: str, script: str) -> None:
    """A program in ``folder/bin``."""
    path = folder / "bin" / name
    path.write_text(f"#!/usr/bin/env bash\n{script}\n", encoding="utf-8")
    path.chmod(0o755)


def run(folder: Path, *words: str | Path, **variables: str) -> Ran:
    """Run a program in a folder that ``furnish`` prepared."""
    places = [ROOT, ROOT / "cli", ROOT / "trainer"]
    environment = {
        **os.environ,
        "PATH": os.pathsep.join([str(folder / "bin"), os.environ["PATH"]]),
        "PYTHONPATH": os.pathsep.join(map(str, places)),
        **variables,
    }
    options: dict[str, Any] = {"cwd": folder, "env": environment, "capture_output": True}
    return subprocess.run(list(map(str, words)), text=True, timeout=300, **options)
