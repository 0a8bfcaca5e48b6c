"""How an unknown name is answered."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from lsa_onnx.errors import DataError


def unknown(what: str, name: str, accepted: Iterable[str], hint: str = "") -> DataError:
    """The error for a ``name`` that is none of ``accepted``, with the one that was likely meant."""
    names = list(accepted)
    near = difflib.get_close_matches(name.lower(), names, n=1)
    meant = f"did you mean {near[0]!r}? " if near else ""
    return DataError(f"unknown {what} {name!r}; {meant}accepted are {', '.join(names)}{hint}")
