"""The whole table: importing this fills it."""

from __future__ import annotations

import importlib
import pkgutil

import lsa_trainer.ops
from lsa_trainer.ops.registry import entry_of, operators, why_not

__all__ = ["entry_of", "operators", "why_not"]

# Every file of this folder is a family; one that is added is found.
for _family in pkgutil.iter_modules(lsa_trainer.ops.__path__):
    if _family.name != "table":
        importlib.import_module(f"lsa_trainer.ops.{_family.name}")
