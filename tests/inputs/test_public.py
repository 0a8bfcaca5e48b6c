from __future__ import annotations

import subprocess
import sys

import pytest

import lsa_onnx.inputs as inputs


def test_every_public_name_is_there_and_documented() -> None:
    assert inputs.__all__ == sorted(inputs.__all__)
    for name in inputs.__all__:
        assert name in ("Layout", "SampleShape") or getattr(inputs, name).__doc__


@pytest.mark.parametrize("module", ["PIL", "onnx", "onnxruntime", "torch"])
def test_importing_loads_nothing_heavy(module: str) -> None:
    code = f"import sys, lsa_onnx.inputs; sys.exit({module!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
