"""Which results in a folder are of the recipe as it reads now: its file may have changed since."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from typing import Any

from lsa_onnx.attacks import parse_eps
from lsa_onnx.report.decode import with_lists
from lsa_trainer.recipes.recipe import NORMAL, Recipe, Row
from lsa_trainer.recipes.results import RowResult


def told_of(recipe: Recipe, row: Row) -> dict[str, Any]:
    """What a result repeats of its recipe, by field of ``RowResult``."""
    return {
        "recipe": recipe.name,
        "scale": recipe.scale,
        "title": recipe.title,
        "source": recipe.source,
        "index": recipe.rows.index(row),
        "row": row.name,
        "base": row.base,
        "eta": recipe.scan.eta,
        "options": {} if row.base == NORMAL else {**recipe.harden, **row.options},
        "published": list(row.published),
        "published_r_and_g": row.published_r_and_g,
    }


def current(recipe: Recipe, results: Sequence[RowResult]) -> tuple[list[RowResult], int]:
    """Results of the recipe as it reads now, retold by it, and the number of others.

    Others are of a row that it has no longer, of other training options, or of other attacks or strengths: in
    a table beside these they would not compare.
    """
    rows = {row.name: row for row in recipe.rows}
    found = [
        dataclasses.replace(result, **told_of(recipe, rows[result.row]))
        for result in results
        if result.row in rows and _is_of(result, recipe, rows[result.row])
    ]
    return found, len(results) - len(found)


def _is_of(result: RowResult, recipe: Recipe, row: Row) -> bool:
    told = told_of(recipe, row)
    # A file holds lists where a recipe holds tuples.
    same = all(_plain(getattr(result, name)) == _plain(told[name]) for name in ("base", "options"))
    low, high = recipe.data.range
    eps = [parse_eps(text, high - low) for text in recipe.eps_list]
    return (
        same
        and list(result.attacks) == list(recipe.evaluate)
        and all(attacked.eps == eps for attacked in result.attacks.values())
    )


def _plain(value: Any) -> Any:
    return json.loads(json.dumps(with_lists({"value": value})))
