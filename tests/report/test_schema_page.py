"""``docs/schema.md`` describes every field of every document."""

from __future__ import annotations

import re
from typing import Any, get_args

import pytest

from lsa_onnx.report.decode import Kind
from lsa_onnx.report.schema import load_schema
from tests.report.schema_page import PATH, page, type_text

KINDS: tuple[Kind, ...] = get_args(Kind)


def records(kind: Kind) -> dict[str, Any]:
    schema = load_schema(kind)
    return {kind: schema, **schema.get("$defs", {})}


def test_the_page_is_up_to_date() -> None:
    assert PATH.read_text("utf-8") == page(), "run python -m tests.report.schema_page"


@pytest.mark.parametrize("kind", KINDS)
def test_every_field_is_there(kind: Kind) -> None:
    for name, record in records(kind).items():
        # A document within another has its own section, under the name of its kind.
        heading = name if "$defs" not in record else record["$id"].split(":")[2]
        (section,) = re.findall(
            rf"^###? {heading}\n(.*?)(?=^###? |\Z)", page(), re.MULTILINE | re.DOTALL
        )
        fields = re.findall(r"^\| `(\w+)` \| .+ \| .+ \|$", section, re.MULTILINE)
        assert fields == list(record["properties"])


@pytest.mark.parametrize("kind", KINDS)
def test_a_field_that_can_be_null_says_when(kind: Kind) -> None:
    silent = [
        f"{name}.{field}"
        for name, record in records(kind).items()
        for field, found in record["properties"].items()
        if "or null" in type_text(found) and "null" not in found["description"]
    ]
    assert silent == []


@pytest.mark.parametrize(
    ("field", "text"),
    [
        ({"type": "integer"}, "integer"),
        ({"type": ["array", "null"], "items": {"type": "integer"}}, "list of integer or null"),
        ({"type": "array", "items": {"type": ["number", "null"]}}, "list of (number or null)"),
        ({"type": "array", "prefixItems": [{"type": "number"}] * 2}, "[number, number]"),
        ({"type": "object", "additionalProperties": {"type": "string"}}, "object of string"),
        ({"type": "object", "additionalProperties": True}, "object"),
        ({"anyOf": [{"$ref": "#/$defs/Shard"}, {"type": "null"}]}, "[Shard](#shard) or null"),
        ({"enum": ["a", "b"]}, "`a`, `b`"),
        ({"const": "1.3"}, "`1.3`"),
    ],
)
def test_types_in_words(field: dict[str, Any], text: str) -> None:
    assert type_text(field) == text
