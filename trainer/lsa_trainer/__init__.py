"""Retrains a scanned model: ONNX to torch, layer-wise regularised training, back into the same graph.

Names are loaded when they are first used: options can be read without torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lsa_trainer.fitting import fit as fit
    from lsa_trainer.hardening import harden as harden
    from lsa_trainer.module import OnnxModule as OnnxModule
    from lsa_trainer.module import load as load
    from lsa_trainer.options import HardenOptions as HardenOptions
    from lsa_trainer.options import TrainingOptions as TrainingOptions
    from lsa_trainer.recipes import read_recipe as read_recipe
    from lsa_trainer.recipes import run_recipe as run_recipe
    from lsa_trainer.training.loop import Trained as Trained
    from lsa_trainer.tuning import TuningPlan as TuningPlan
    from lsa_trainer.tuning import tune as tune

_HOMES = {
    "HardenOptions": "options",
    "OnnxModule": "module",
    "Trained": "training.loop",
    "TrainingOptions": "options",
    "TuningPlan": "tuning",
    "fit": "fitting",
    "harden": "hardening",
    "load": "module",
    "read_recipe": "recipes",
    "run_recipe": "recipes",
    "tune": "tuning",
}

__all__ = list(_HOMES)


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
