"""Rebuild typed records from parsed JSON, refusing what does not fit the record's annotations.

The annotations of the dataclasses are the only description that is read, so a field that is added
to a record is checked here without another line of code.
"""

from __future__ import annotations

import dataclasses
import json
import math
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, Literal, TypeVar, Union

from lsa_onnx.errors import DataError

T = TypeVar("T")

Kind = Literal[
    "report", "evaluation", "evaluations", "hardening", "landscape", "boundary", "comparison"
]

_SHOWN_CHARACTERS = 60
# What a document is called, and the command that makes it.
_KINDS: dict[str, tuple[str, str]] = {
    "report": ("a report", "scan"),
    "evaluation": ("an evaluation", "evaluate"),
    "evaluations": ("the evaluations of several models", "evaluate"),
    "hardening": ("a hardening", "harden"),
    "landscape": ("a landscape", "landscape"),
    "boundary": ("a decision boundary", "decision-boundary"),
    "comparison": ("a comparison", "compare"),
}


class Misfit(ValueError):
    """A value that is not what a record's annotations ask for; the message names its place."""


def decode_document(record: type[T], value: object, kind: Kind, version: str) -> T:
    """Build a whole document from what ``json.loads`` gave for it.

    Args:
        record: The dataclass of the document.
        value: The parsed JSON.
        kind: Which document is wanted.
        version: The schema version that is read.

    Raises:
        DataError: It is another document, of another version, or does not fit the record.
    """
    name, command = _KINDS[kind]
    if isinstance(value, Mapping):
        _require_version(value, kind, version)
    try:
        return decode_record(record, value, "")
    except Misfit as misfit:
        raise DataError(
            f"not {name}: {misfit}; make the {kind} again with `lsa-onnx {command}`"
        ) from misfit


def _require_version(value: Mapping[str, object], kind: Kind, version: str) -> None:
    """Told apart before the fields are read: a list of unknown fields would help nobody."""
    # A report has no such field: it is the older document.
    found, (name, command) = value.get("kind", "report"), _KINDS[kind]
    if found != kind and isinstance(found, str) and found in _KINDS:
        raise DataError(
            f"this is {_KINDS[found][0]}, not {name}; give the file that `lsa-onnx {command}` wrote"
        )
    written = value.get("schema_version")
    if written is not None and written != version:
        raise DataError(
            f"this {kind} has schema version {written!r}, this tool reads {version!r}; make the "
            f"{kind} again with `lsa-onnx {command}`, or read it with the tool that wrote it"
        )


def decode_record(record: type[T], value: object, where: str) -> T:
    """Build a ``record`` (a dataclass) and everything in it from parsed JSON.

    Args:
        record: The dataclass to build. Its fields may be annotated with dataclasses, ``bool``,
            ``int``, ``float``, ``str``, ``None``, ``Any``, ``Literal`` and unions, lists, fixed
            tuples and string-keyed dictionaries of those.
        value: What ``json.loads`` gave for it.
        where: The path of ``value`` in the document, for messages; empty for the whole document.

    Returns:
        The record. JSON arrays become tuples where the annotation says so, and whole numbers
        become floats.

    Raises:
        Misfit: A field is missing or unknown, or a value is not of its annotated type.
    """
    if not isinstance(value, Mapping):
        _refuse(where, value, "an object")
    key: object = record  # mypy does not see that a type[T] can be hashed
    hints = _hints(key)
    unknown = [key for key in value if key not in hints]
    missing = [name for name in hints if name not in value]
    if unknown:
        _refuse_fields(where, "unknown", unknown, f"accepted are {', '.join(hints)}")
    if missing:
        _refuse_fields(where, "missing", missing, "every field is there, null where undefined")
    fields = {name: _decode(hint, value[name], _join(where, name)) for name, hint in hints.items()}
    return record(**fields)


def with_lists(value: object) -> object:
    """``value`` with every tuple in it as a list, the only kind of array that JSON knows."""
    if isinstance(value, dict):
        return {key: with_lists(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [with_lists(item) for item in value]
    return value


@cache
def _hints(record: object) -> dict[str, object]:
    return typing.get_type_hints(record)


def _decode(hint: object, value: object, where: str) -> object:
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return decode_record(hint, value, where)
    scalar = _SCALARS.get(hint)
    if scalar is not None:
        return scalar(value, where)
    return _COMPOSITES[typing.get_origin(hint)](typing.get_args(hint), value, where)


def _string(value: object, where: str) -> str:
    if not isinstance(value, str):
        _refuse(where, value, "a string")
    return value


def _boolean(value: object, where: str) -> bool:
    if not isinstance(value, bool):
        _refuse(where, value, "true or false")
    return value


def _integer(value: object, where: str) -> int:
    # bool is a subclass of int in Python, and not a number in JSON.
    if not isinstance(value, int) or isinstance(value, bool):
        _refuse(where, value, "a whole number")
    return value


def _number(value: object, where: str) -> float:
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        _refuse(where, value, "a number")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        _refuse(where, value, "a finite number")
    return number


def _none(value: object, where: str) -> None:
    if value is not None:
        _refuse(where, value, "null")


def _anything(value: object, where: str) -> object:
    """Any JSON value; numbers in it must be finite like everywhere else."""
    if isinstance(value, Mapping):
        return {
            _string(key, where): _anything(item, _join(where, key)) for key, item in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [_anything(item, f"{where}[{index}]") for index, item in enumerate(value)]
    if isinstance(value, float):
        return _number(value, where)
    if value is not None and not isinstance(value, (str, int)):
        _refuse(where, value, "a JSON value")
    return value


def _literal(choices: tuple[object, ...], value: object, where: str) -> object:
    if value not in choices:
        _refuse(where, value, "one of " + ", ".join(json.dumps(choice) for choice in choices))
    return value


def _list(hints: tuple[object, ...], value: object, where: str) -> list[object]:
    items = _items(value, where, "an array")
    return [_decode(hints[0], item, f"{where}[{index}]") for index, item in enumerate(items)]


def _tuple(hints: tuple[object, ...], value: object, where: str) -> tuple[object, ...]:
    expected = f"an array of {len(hints)} values"
    items = _items(value, where, expected)
    if len(items) != len(hints):
        _refuse(where, value, expected)
    return tuple(
        _decode(hint, item, f"{where}[{index}]")
        for index, (hint, item) in enumerate(zip(hints, items, strict=True))
    )


def _dict(hints: tuple[object, ...], value: object, where: str) -> dict[str, object]:
    if not isinstance(value, Mapping):
        _refuse(where, value, "an object")
    return {
        _string(key, where): _decode(hints[1], item, _join(where, key))
        for key, item in value.items()
    }


def _union(hints: tuple[object, ...], value: object, where: str) -> object:
    """Take ``None`` where it is allowed, else the alternative whose JSON type ``value`` has."""
    if value is None and type(None) in hints:
        return None
    rest = [hint for hint in hints if hint is not type(None)]
    if len(rest) == 1:
        return _decode(rest[0], value, where)
    matching = [hint for hint in rest if type(value) is hint]
    if matching:
        return _decode(matching[0], value, where)
    return _refuse(where, value, " or ".join(getattr(hint, "__name__", str(hint)) for hint in rest))


def _items(value: object, where: str, expected: str) -> Sequence[object]:
    if not isinstance(value, (list, tuple)):
        _refuse(where, value, expected)
    return value


def _join(where: str, name: object) -> str:
    return f"{where}.{name}" if where else str(name)


def _refuse(where: str, value: object, expected: str) -> typing.NoReturn:
    field = f"field {where!r}" if where else "the document"
    raise Misfit(f"{field} is {_shown(value)}, not {expected}")


def _refuse_fields(where: str, what: str, names: list[Any], accepted: str) -> typing.NoReturn:
    listed = ", ".join(repr(name) for name in names[:5]) + (", …" if len(names) > 5 else "")
    place = f" in {where!r}" if where else ""
    raise Misfit(f"{what} field {listed}{place}; {accepted}")


def _shown(value: object) -> str:
    """The value as JSON on one line, cut where it is long: it may be a whole section."""
    if isinstance(value, (list, tuple)):
        return f"an array of {len(value)} values"
    if isinstance(value, Mapping):
        return f"an object of {len(value)} fields"
    text = json.dumps(value) if value is None or isinstance(value, (bool, str)) else repr(value)
    return text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "…"


_SCALARS: dict[object, Callable[[object, str], object]] = {
    str: _string,
    bool: _boolean,
    int: _integer,
    float: _number,
    type(None): _none,
    Any: _anything,
}

_COMPOSITES: dict[object, Callable[[tuple[object, ...], object, str], object]] = {
    Literal: _literal,
    list: _list,
    tuple: _tuple,
    dict: _dict,
    Union: _union,
    types.UnionType: _union,
}
