"""``model.lsa.toml`` beside ``model.onnx``: the input declaration that belongs to a model.

It holds one table, ``[input]``, with any of ``range = [0, 255]``, ``mean = [0.485, 0.456, 0.406]``,
``std = [0.229, 0.224, 0.225]`` and ``layout = "NCHW"``.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeGuard

from lsa_onnx.errors import DataError
from lsa_onnx.files import read_regular
from lsa_onnx.inputs.guard import one_line, reading
from lsa_onnx.inputs.spec import InputSpec, Source, as_layout

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_KEYS = ("range", "mean", "std", "layout")


def sidecar_path(model_path: str | os.PathLike[str]) -> Path:
    """``<stem>.lsa.toml`` in the model's folder."""
    return Path(model_path).with_suffix(".lsa.toml")


def load_spec(
    model_path: str | os.PathLike[str],
    *,
    range: tuple[float, float] | None = None,  # noqa: A002 - named as the flag and the key are
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    layout: str | None = None,
) -> InputSpec:
    """The input declaration of a model: its sidecar, single fields overridden by arguments.

    An empty ``mean``, ``std`` or ``layout`` overrides with none. A sidecar of which nothing would be
    in force is not read. ``source`` of the result is "sidecar" where a field of the sidecar is in
    force, else "flags" where an argument is, else "default".

    Raises:
        DataError: the sidecar cannot be read or has an unknown key or a value of the wrong type, or
            a value is unusable.
    """
    given = {"range": range, "mean": mean, "std": std, "layout": layout}
    flags = {key: value for key, value in given.items() if value is not None}
    path = sidecar_path(model_path)
    stored = _read_sidecar(path) if len(flags) < len(_KEYS) and os.path.lexists(path) else {}
    source: Source = "sidecar" if set(stored) - set(flags) else "flags" if flags else "default"
    try:
        return _spec({**stored, **flags}, source)
    except DataError as error:
        if source != "sidecar":
            raise
        raise DataError(f"{str(path)!r}: {error}") from error


def write_sidecar(spec: InputSpec, model_path: str | os.PathLike[str]) -> Path:
    """Write ``spec`` beside the model; an older sidecar is replaced whole or not at all.

    Raises:
        DataError: the folder cannot be written.
    """
    path = sidecar_path(model_path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("w", encoding="utf-8") as file:
            file.write(_toml(spec))
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        reason = error.strerror or one_line(error)
        raise DataError(
            f"{str(path)!r} cannot be written: {reason}; choose a folder that can be written"
        ) from error
    return path


def _spec(fields: dict[str, Any], source: Source) -> InputSpec:
    ends = tuple(fields.get("range", (0.0, 1.0)))
    if len(ends) != 2:
        raise DataError(
            f"range {ends} is not usable; give two numbers, LO and HI, such as (0, 255)"
        )
    layout = fields.get("layout")
    return InputSpec(
        low=float(ends[0]),
        high=float(ends[1]),
        mean=tuple(fields.get("mean", ())) or None,
        std=tuple(fields.get("std", ())) or None,
        layout=as_layout(layout) if layout else None,
        source=source,
    )


def _read_sidecar(path: Path) -> dict[str, Any]:
    with reading(path):
        content = read_regular(path)
    try:
        document = tomllib.loads(content.decode("utf-8"))
    # ValueError: of the format, the encoding, or of a number too long to read.
    except (ValueError, RecursionError) as error:
        raise DataError(
            f"{str(path)!r} is not valid TOML ({one_line(error)}); correct it or remove it"
        ) from error
    for key in document:
        if key != "input":
            raise DataError(
                f"{str(path)!r}: unknown key {key!r}; "
                f"accepted is one table [input] with {', '.join(_KEYS)}"
            )
    table = document.get("input", {})
    if not isinstance(table, dict):
        raise DataError(
            f"{str(path)!r}: input is {table!r}; "
            f"accepted is a table [input] with {', '.join(_KEYS)}"
        )
    return {key: _checked(path, key, value) for key, value in table.items()}


def _checked(path: Path, key: str, value: object) -> object:
    if key not in _KEYS:
        raise DataError(
            f"{str(path)!r}: unknown key {key!r} in [input]; accepted are {', '.join(_KEYS)}"
        )
    if key == "layout":
        accepted, fits = 'a text, "NCHW", "NHWC" or "flat"', isinstance(value, str)
    elif key == "range":
        accepted, fits = (
            "two numbers, for example [0, 255]",
            _are_numbers(value) and len(value) == 2,
        )
    else:
        accepted, fits = "a list of numbers, one per channel", _are_numbers(value)
    if not fits:
        raise DataError(
            f"{str(path)!r}: {key} = {value!r} in [input] is not usable; accepted is {accepted}"
        )
    return value


def _are_numbers(value: object) -> TypeGuard[list[float]]:
    # bool is an int in Python, but true is not a number in TOML.
    return isinstance(value, list) and all(type(item) in (int, float) for item in value)


def _toml(spec: InputSpec) -> str:
    def numbers(values: Sequence[float]) -> str:
        return "[" + ", ".join(repr(float(value)) for value in values) + "]"

    lines = ["# How inputs of the model beside this file are prepared.", "[input]"]
    lines.append(f"range = {numbers((spec.low, spec.high))}")
    if spec.mean is not None:
        lines.append(f"mean = {numbers(spec.mean)}")
    if spec.std is not None:
        lines.append(f"std = {numbers(spec.std)}")
    if spec.layout is not None:
        lines.append(f'layout = "{spec.layout}"')
    return "\n".join(lines) + "\n"
