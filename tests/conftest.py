"""Fixtures that all tests may use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

# On a developer's machine hypothesis looks for new examples in every run; a change must not fail in CI
# for one that has nothing to do with it.
settings.register_profile("ci", derandomize=True)
if os.environ.get("CI"):
    settings.load_profile("ci")

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real models and data; tests that need it skip where there is none."""
    folder = Path(os.environ.get("LSA_ONNX_SHARED") or REPOSITORY.parent / "shared")
    if not (folder / "models").is_dir():
        pytest.skip(f"no real models at {folder}; set LSA_ONNX_SHARED to their folder")
    return folder
