"""Fixtures that all tests may use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real models and data; tests that need it skip where there is none."""
    folder = Path(os.environ.get("LSA_ONNX_SHARED") or REPOSITORY.parent / "shared")
    if not (folder / "models").is_dir():
        pytest.skip(f"no real models at {folder}; set LSA_ONNX_SHARED to their folder")
    return folder
