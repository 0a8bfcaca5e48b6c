"""Values of options as callers and TOML files give them, in the types that the fields are declared with."""

from __future__ import annotations

import dataclasses
import math
import os
import sys
from numbers import Integral, Rational, Real
from pathlib import Path
from typing import Any

from lsa_onnx.errors import DataError
from lsa_onnx.inputs.memory import Arrays, as_source, is_in_memory
from lsa_onnx.report.text import shorten

# By the annotation of a field; what is not listed is a choice among texts.
_TYPES = {"str": str, "int": int, "float": float, "bool": bool, "Path": Path}
# What is taken for each: a whole number will do for a float, a number of numpy's for one of Python's, a path
# for a text that may name a file.
_TAKEN: dict[type, tuple[Any, ...]] = {
    str: (str, os.PathLike),
    int: (Integral,),
    float: (Real,),
    bool: (bool,),
    Path: (str, os.PathLike),
}
# Texts such as 8/255 or auto, for which a number will do.
_OR_A_NUMBER = frozenset({"eps", "eps_list", "extent", "gamma", "step_size"})
_MAX_INT = 2**63 - 1
# Of a value that is refused: a list may be long.
_MOST_SHOWN = 200


def settle(options: Any) -> None:
    """Give every field of a dataclass the type that it is declared with, in place.

    Raises:
        DataError: A value is of another type.
    """
    for field in dataclasses.fields(options):
        given, kind = getattr(options, field.name), str(field.type)
        value = typed(field.name, given, kind, type(options).__name__)
        object.__setattr__(options, field.name, value)


def typed(name: str, value: Any, kind: str, where: str) -> Any:
    """``value`` of the option ``name`` as the annotation ``kind`` wants it.

    Raises:
        DataError: It is of another type; ``where`` says in what file or class.
    """
    wanted, *others = (part.strip() for part in kind.split("|"))
    if value is None and "None" in others:
        return None
    if Arrays.__name__ in others and is_in_memory(value):
        return as_source(value, f"option {name!r} in {where}")
    if not wanted.startswith("tuple["):
        return _one(name, value, _TYPES.get(wanted, str), where)
    items = wanted.removeprefix("tuple[").removesuffix("]").split(", ")
    item, exact = _TYPES[items[0]], "..." not in items
    if not isinstance(value, list | tuple) or (exact and len(value) != len(items)):
        count = f"{len(items)} values" if exact else "values"
        raise _wrong(name, value, where, f"a list of {count} of type {item.__name__}")
    return tuple(_one(name, each, item, where) for each in value)


def _one(name: str, value: Any, accepted: type, where: str) -> Any:
    truth = isinstance(value, bool)
    if name in _OR_A_NUMBER and accepted is str and isinstance(value, Real) and not truth:
        return repr(_number(name, value, float, where)).removesuffix(".0")
    # A truth value is a number in Python, but never meant as one.
    if truth != (accepted is bool) or not isinstance(value, _TAKEN[accepted]):
        shown = "str" if accepted is Path else accepted.__name__
        raise _wrong(name, value, where, f"a value of type {shown}")
    if isinstance(value, os.PathLike):
        return accepted(os.fspath(value))
    return _number(name, value, accepted, where) if isinstance(value, Real) else accepted(value)


def _number(name: str, value: Any, accepted: type, where: str) -> Any:
    """``value`` in a type of Python's, where that takes 64 bits at most.

    Raises:
        DataError: It takes more.
    """
    bound = sys.float_info.max if accepted is float else _MAX_INT
    # An infinite float stays: what an option makes of it is its own matter.
    exact = isinstance(value, Rational)
    if exact and abs(value) > bound:
        digits = int(math.log10(abs(int(value))))
        raise DataError(
            f"option {name!r} in {where} is about {'-' if value < 0 else ''}1e{digits}, too large for "
            f"a value of type {accepted.__name__}; give one of at most {bound:g}"
        )
    return accepted(value)


def _wrong(name: str, value: Any, where: str, wanted: str) -> DataError:
    shown = shorten(" ".join(repr(value).split()), _MOST_SHOWN)
    return DataError(f"option {name!r} in {where} is {shown}; give {wanted}")
