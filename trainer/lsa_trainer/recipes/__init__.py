"""The published experiments as data files, and what runs them.

A recipe says how a network is trained normally and exported; from there everything goes through the ONNX
file: scan, choice of layers, hardening, evaluation. Names are loaded when they are first used: recipes can
be listed and read without torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lsa_trainer.recipes.drawings import draw_figures as draw_figures
    from lsa_trainer.recipes.drawings import require_figures as require_figures
    from lsa_trainer.recipes.page import results_page as results_page
    from lsa_trainer.recipes.reading import read_recipe as read_recipe
    from lsa_trainer.recipes.reading import shipped as shipped
    from lsa_trainer.recipes.recipe import Recipe as Recipe
    from lsa_trainer.recipes.recipe import Row as Row
    from lsa_trainer.recipes.results import RowResult as RowResult
    from lsa_trainer.recipes.results import read_results as read_results
    from lsa_trainer.recipes.run import Ran as Ran
    from lsa_trainer.recipes.run import run_recipe as run_recipe

_HOMES = {
    "Ran": "run",
    "Recipe": "recipe",
    "Row": "recipe",
    "RowResult": "results",
    "draw_figures": "drawings",
    "require_figures": "drawings",
    "results_page": "page",
    "read_recipe": "reading",
    "read_results": "results",
    "run_recipe": "run",
    "shipped": "reading",
}

__all__ = list(_HOMES)


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
