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

# Each worker of pytest-xdist keeps to a processor of its own: runtimes that start a thread for each
# processor would otherwise wait for those of the other workers.
_WORKER = os.environ.get("PYTEST_XDIST_WORKER")
if _WORKER and hasattr(os, "sched_setaffinity"):
    _PROCESSORS = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {_PROCESSORS[int(_WORKER.removeprefix("gw")) % len(_PROCESSORS)]})

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real models and data; tests that need it skip where there is none."""
    folder = Path(os.environ.get("LSA_ONNX_SHARED") or REPOSITORY.parent / "shared")
    if not (folder / "models").is_dir():
        pytest.skip(f"no real models at {folder}; set LSA_ONNX_SHARED to their folder")
    return folder
