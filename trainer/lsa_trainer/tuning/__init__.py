"""``tune``: a documented search for η, γ and the other choices of AT-LR, on held-out training samples alone.

What is searched is in ``plan``, the ranges are in ``space``. Names are loaded when they are first used: a plan
can be made without torch and without Optuna.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lsa_trainer.tuning.best import write_best as write_best
    from lsa_trainer.tuning.document import Tuning as Tuning
    from lsa_trainer.tuning.document import dumps as dumps
    from lsa_trainer.tuning.document import read_tuning as read_tuning
    from lsa_trainer.tuning.document import write_tuning as write_tuning
    from lsa_trainer.tuning.page import write_page as write_page
    from lsa_trainer.tuning.plan import TuningPlan as TuningPlan
    from lsa_trainer.tuning.run import tune as tune
    from lsa_trainer.tuning.terminal import print_tuning as print_tuning

_HOMES = {
    "Tuning": "document",
    "TuningPlan": "plan",
    "dumps": "document",
    "print_tuning": "terminal",
    "read_tuning": "document",
    "tune": "run",
    "write_best": "best",
    "write_page": "page",
    "write_tuning": "document",
}

__all__ = list(_HOMES)


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
