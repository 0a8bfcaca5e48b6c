"""Searches that end within seconds: a model of six features, an epoch, few samples."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lsa_trainer.listener import TrainingListener
from lsa_trainer.options import HardenOptions
from lsa_trainer.tuning import TuningPlan, tune
from lsa_trainer.tuning.document import Tuning
from lsa_trainer.tuning.layers import Ranking
from tests import graphs
from tests.trainer import fragile

Array = NDArray[Any]

SAMPLES = 100
HELD_OUT = 20
QUICK = {
    "eps": fragile.EPS,
    "steps": 1,
    "epochs": 1,
    "batch_size": 32,
    "lr": 0.05,
    "validation": 16,
    "validation_steps": 2,
    "max_clean_drop": 1.0,
    "verify_attack": "pgd",
    "verify_steps": 3,
    "device": "cpu",
}


def prepared(folder: Path) -> Path:
    """A folder with a model that a small perturbation fools, and samples."""
    graphs.save(fragile.mlp(), folder / "model.onnx")
    fragile.save_data(folder / "train.npz", fragile.data(SAMPLES))
    return folder


def options(data: Path, **changes: Any) -> HardenOptions:
    return HardenOptions(**{**QUICK, "data": data, **changes})


def plan(**changes: Any) -> TuningPlan:
    return TuningPlan(**{"trials": 4, "search": ("gamma",), **changes})


def tuned(
    folder: Path, *, listener: TrainingListener | None = None, given: Any = None, **planned: Any
) -> Tuning:
    """A search among the settings of ``planned`` for the model and the samples in ``folder``."""
    return tune(
        folder / "model.onnx",
        options(folder / "train.npz", **(given or {})),
        plan(**planned),
        folder=folder / "study",
        listener=listener,
    )


def rows(path: Path) -> list[bytes]:
    """The samples of a file, each as something to compare."""
    with np.load(path) as arrays:
        return [row.tobytes() for row in arrays["x"]]


def ranking(**changes: Any) -> Ranking:
    """Three layers of CM .6, .4 and .2: μ = .4, and with σ = .2 they leave the list at η = 1, 0 and −1."""
    values = {
        "perturbation": "pgd",
        "means": {"a": 0.6, "b": 0.4, "c": 0.2},
        "growth": {"b": 3.0, "a": 1.5, "c": 0.5},
        "mu": 0.4,
        "sigma": 0.2,
        "listed": ("a",),
    }
    return Ranking(**{**values, **changes})
