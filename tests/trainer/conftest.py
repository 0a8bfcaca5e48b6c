"""Fixtures of the trainer's tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests import graphs
from tests.trainer import fragile
from tests.trainer.small_runs import scored


@pytest.fixture(scope="package", autouse=True)
def one_thread() -> Iterator[None]:
    """Models here are so small that threads would only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def rising(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each validation finds more than the one before: the last weights are the best."""
    scored(monkeypatch, [(0.5, 0.5, 0.01 * step) for step in range(99)])


@pytest.fixture
def samples(tmp_path: Path) -> Path:
    """Labelled samples for ``model``."""
    return fragile.save_data(tmp_path / "train.npz", fragile.data(120))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A file that a small perturbation fools."""
    return graphs.save(fragile.mlp(), tmp_path / "model.onnx")
