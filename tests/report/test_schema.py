"""The schema accepts every report, describes every field, and follows the dataclasses."""

from __future__ import annotations

import dataclasses
import json
import typing
from collections.abc import Iterator
from typing import Any, Literal

import jsonschema
import pytest

from lsa_onnx.report import document
from lsa_onnx.report.document import Report
from lsa_onnx.report.json_file import dumps
from lsa_onnx.report.schema import load_schema
from tests.report.examples import all_reports, small_report

SCHEMA = load_schema()
RECORDS = {
    name: value
    for name, value in vars(document).items()
    if dataclasses.is_dataclass(value) and isinstance(value, type)
}


def definition(name: str) -> dict[str, Any]:
    found: dict[str, Any] = SCHEMA if name == "Report" else SCHEMA["$defs"][name]
    return found


def accepts(schema: dict[str, Any], value: object) -> bool:
    whole = {"$defs": SCHEMA["$defs"], **schema}
    return bool(jsonschema.Draft202012Validator(whole).is_valid(value))


def test_is_a_valid_schema_of_the_current_version() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["properties"]["schema_version"]["const"] == document.SCHEMA_VERSION
    assert SCHEMA["$schema"].endswith("draft/2020-12/schema")


@pytest.mark.parametrize("name", all_reports())
def test_examples_are_valid(name: str) -> None:
    values = json.loads(dumps(all_reports()[name]))
    jsonschema.Draft202012Validator(SCHEMA).validate(values)


def test_to_dict_is_valid_as_it_is() -> None:
    jsonschema.Draft202012Validator(SCHEMA).validate(small_report().to_dict())


def test_describes_exactly_the_records() -> None:
    assert set(SCHEMA["$defs"]) | {"Report"} == set(RECORDS)


@pytest.mark.parametrize("name", RECORDS)
def test_fields_are_those_of_the_record(name: str) -> None:
    fields = [field.name for field in dataclasses.fields(RECORDS[name])]
    found = definition(name)
    assert list(found["properties"]) == fields
    assert found["required"] == fields
    assert found["additionalProperties"] is False


@pytest.mark.parametrize("name", RECORDS)
def test_every_field_is_described(name: str) -> None:
    for field, schema in definition(name)["properties"].items():
        assert len(schema["description"]) >= 15, field
        assert schema["description"].endswith("."), field


def fields_of_type(kind: object) -> Iterator[Any]:
    for name, record in RECORDS.items():
        for field, hint in typing.get_type_hints(record).items():
            if typing.get_origin(hint) is kind or kind in typing.get_args(hint):
                yield pytest.param(
                    definition(name)["properties"][field], hint, id=f"{name}-{field}"
                )


@pytest.mark.parametrize(("schema", "hint"), list(fields_of_type(Literal)))
def test_choices_are_those_of_the_record(schema: dict[str, Any], hint: object) -> None:
    assert tuple(schema["enum"]) == typing.get_args(hint)


@pytest.mark.parametrize(("schema", "hint"), list(fields_of_type(type(None))))
def test_null_is_accepted_where_the_record_allows_it(schema: dict[str, Any], hint: object) -> None:
    assert accepts(schema, None)


@pytest.mark.parametrize("name", RECORDS)
def test_null_is_refused_elsewhere(name: str) -> None:
    for field, hint in typing.get_type_hints(RECORDS[name]).items():
        if type(None) not in typing.get_args(hint):
            assert not accepts(definition(name)["properties"][field], None), field


@pytest.mark.parametrize(
    ("section", "field", "value", "words"),
    [
        ("accuracy", "value", 1.2, "'value': 1.2, .* is not valid"),
        ("accuracy", "interval", [0.1, 0.2, 0.3], r"\[0.1, 0.2, 0.3\]} is not valid"),
        ("run", "batch", 0, "0 is less than the minimum of 1"),
        ("run", "batch_mode", "often", "'often' is not one of"),
        ("data", "labels", "yes", "'yes' is not of type 'boolean'"),
        ("data", "extra", 1, "'extra' was unexpected"),
        ("mvl", "sigma", -1, "-1 is less than the minimum of 0"),
        ("verdict", "details", "text", "'text' is not of type 'array'"),
    ],
)
def test_wrong_values_are_refused(section: str, field: str, value: object, words: str) -> None:
    values = small_report().to_dict()
    values[section][field] = value
    with pytest.raises(jsonschema.ValidationError, match=words):
        jsonschema.Draft202012Validator(SCHEMA).validate(values)


def test_each_call_gives_its_own_copy() -> None:
    load_schema()["properties"].clear()
    assert set(load_schema()["properties"]) == {field.name for field in dataclasses.fields(Report)}
