"""Recipes as TOML files: strictly read, every error in one line with the file's name."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from lsa_onnx.attacks.choices import unknown
from lsa_onnx.errors import DataError
from lsa_onnx.files import read_regular
from lsa_onnx.option_values import typed
from lsa_onnx.scanning.options import SubjectOptions
from lsa_trainer.options import HardenOptions, TrainingOptions
from lsa_trainer.recipes.recipe import (
    DataSpec,
    EvaluateSpec,
    FigureSpec,
    Recipe,
    Row,
    ScanSpec,
)
from lsa_trainer.recipes.specified import require_usable

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

T = TypeVar("T")

_SUFFIX = ".toml"
_FOLDER = Path(__file__).parent
# What the engine decides: a recipe that said otherwise would not be run.
_ENGINE = frozenset(
    {
        *(f.name for f in dataclasses.fields(SubjectOptions)),
        *("report", "mvl", "fresh", "force", "reexport", "tensorboard", "base"),
    }
) - {"batch"}
_NORMAL_ENGINE = frozenset({"base", "gamma", "seed", "tensorboard"})
_TABLES = frozenset({"data", "normal", "scan", "harden", "evaluate", "figures", "rows", "scales"})


def shipped() -> dict[str, Path]:
    """The recipes that come with the tool, by name."""
    return {path.stem: path for path in sorted(_FOLDER.glob(f"*{_SUFFIX}"))}


def read_recipe(recipe: str | Path, scale: str | None = None) -> Recipe:
    """Read a recipe.

    Args:
        recipe: The name of one that comes with the tool, or a path of a file with the ending .toml.
        scale: One of its reduced runs; the full one if ``None``.

    Raises:
        DataError: There is no such recipe or scale, or the file does not say what a recipe says.
    """
    path = _located(str(recipe))
    try:
        return _recipe(path.stem, _table(path), scale)
    except DataError as error:
        raise DataError(f"recipe {str(path.name)!r}: {error}") from error


def _located(recipe: str) -> Path:
    if recipe.endswith(_SUFFIX):
        return Path(recipe)
    known = shipped()
    if recipe not in known:
        raise unknown(
            "recipe", recipe, known, ", or the path of a file of your own that ends in .toml"
        )
    return known[recipe]


def _table(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(read_regular(path).decode("utf-8-sig"))
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror or error}; check the path") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"is no TOML: {error}; correct it") from error


def _recipe(name: str, given: dict[str, Any], scale: str | None) -> Recipe:
    scales = _subtable(given, "scales", "the recipe")
    for each in scales:
        _merged(given, _subtable(scales, each, "scales"), each)
    if scale is not None and scale not in scales:
        raise unknown("scale", scale, scales or ["none"])
    table = given if scale is None else _merged(given, scales[scale], scale)
    kinds = {f.name: f for f in dataclasses.fields(Recipe) if f.name not in ("scale", "name")}
    plain = {key: value for key, value in table.items() if key not in _TABLES}
    parts = {
        "data": _record(DataSpec, _subtable(table, "data", "the recipe"), "[data]"),
        "normal": _options(TrainingOptions, table, "normal", _NORMAL_ENGINE),
        "scan": _record(ScanSpec, _subtable(table, "scan", "the recipe"), "[scan]"),
        "harden": _options(HardenOptions, table, "harden", _ENGINE),
        "evaluate": _evaluations(table),
        "rows": _rows(table),
        "figures": _figures(table),
    }
    for key in plain:
        if key not in kinds:
            raise unknown("key", key, sorted({*kinds, *_TABLES}))
    optional = {"width": None, "threads": None}
    named = {"name": name, "scale": scale or "", "scales": tuple(scales)}
    recipe = _made(Recipe, {**optional, **plain}, "the recipe", {**named, **parts})
    require_usable(recipe)
    return recipe


def _merged(table: Mapping[str, Any], over: Mapping[str, Any], scale: str) -> dict[str, Any]:
    """``table`` with what a scale says over it; of tables that both have, entry by entry.

    Raises:
        DataError: The scale says more than numbers.
    """
    for key in ("rows", "scales", "architecture", "title", "source"):
        if key in over:
            raise DataError(
                f"scale {scale!r} changes {key!r}; a scale may change the other keys alone"
            )
    return {key: value for key, value in _over(table, over).items() if key != "scales"}


def _over(table: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    both = dict(table)
    for key, value in over.items():
        inner = both.get(key)
        nested = isinstance(value, Mapping) and isinstance(inner, Mapping)
        both[key] = _over(inner, value) if nested else value  # type: ignore[arg-type] # both mappings
    return both


def _subtable(table: Mapping[str, Any], key: str, where: str) -> dict[str, Any]:
    found = table.get(key, {})
    if not isinstance(found, dict):
        raise DataError(f"{key!r} in {where} is {found!r}; give a table")
    return found


def _record(kind: type[T], table: Mapping[str, Any], where: str) -> T:
    return _made(kind, table, where, {})


def _made(kind: type[T], table: Mapping[str, Any], where: str, parts: Mapping[str, Any]) -> T:
    """A record of ``table``, each value in the type of its field, and of ``parts`` as they are.

    Raises:
        DataError: A key is unknown or missing, or a value is of another type.
    """
    fields = {f.name: f for f in dataclasses.fields(kind) if f.name not in parts}  # type: ignore[arg-type]
    found = {}
    for key, value in table.items():
        if key not in fields:
            raise unknown(f"key in {where}", key, sorted(fields))
        found[key] = typed(key, value, str(fields[key].type), where)
    for key, field in fields.items():
        plain = field.default is dataclasses.MISSING
        if key not in found and plain and field.default_factory is dataclasses.MISSING:
            raise DataError(f"{where} lacks {key!r}; add it")
    return kind(**found, **parts)


def _options(
    kind: type[TrainingOptions], table: Mapping[str, Any], key: str, kept: frozenset[str]
) -> dict[str, Any]:
    """Options by name in their types; ``kept`` are not for recipes to say."""
    return _options_of(kind, _subtable(table, key, "the recipe"), f"[{key}]", kept)


def _options_of(
    kind: type[TrainingOptions], table: Mapping[str, Any], where: str, kept: frozenset[str]
) -> dict[str, Any]:
    known = {f.name: str(f.type) for f in dataclasses.fields(kind) if f.name not in kept}
    for key in table:
        if key not in known:
            raise unknown(f"option in {where}", key, sorted(known))
    return {key: typed(key, value, known[key], where) for key, value in table.items()}


def _evaluations(table: Mapping[str, Any]) -> dict[str, EvaluateSpec]:
    found = _subtable(table, "evaluate", "the recipe")
    if not found:
        raise DataError("there is no attack to evaluate with; add a table such as [evaluate.fgsm]")
    return {
        attack: _record(
            EvaluateSpec, _subtable(found, attack, "[evaluate]"), f"[evaluate.{attack}]"
        )
        for attack in found
    }


def _figures(table: Mapping[str, Any]) -> FigureSpec | None:
    found = _subtable(table, "figures", "the recipe")
    return _record(FigureSpec, found, "[figures]") if found else None


def _rows(table: Mapping[str, Any]) -> tuple[Row, ...]:
    rows = table.get("rows", [])
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise DataError(f"'rows' is {rows!r}; give tables [[rows]]")
    return tuple(_row(index, row) for index, row in enumerate(rows))


def _row(index: int, table: Mapping[str, Any]) -> Row:
    where = f"row {table.get('name', index)!r}"
    own = {f.name for f in dataclasses.fields(Row)} - {"options"}
    plain = {key: value for key, value in table.items() if key in own}
    if isinstance(plain.get("layers"), str):
        plain["layers"] = [plain["layers"]]
    rest = {key: value for key, value in table.items() if key not in own}
    options = _options_of(HardenOptions, rest, where, _ENGINE - {"base"})
    return _made(Row, plain, where, {"options": options})
