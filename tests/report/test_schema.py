"""The schema accepts every report, describes every field, and follows the dataclasses."""

from __future__ import annotations

import dataclasses
import json
import typing
from collections.abc import Iterator
from typing import Any, Literal

import jsonschema
import pytest

from lsa_onnx.report.boundary import BOUNDARY_VERSION, Boundary
from lsa_onnx.report.comparison import COMPARISON_VERSION, Comparison
from lsa_onnx.report.decode import Kind
from lsa_onnx.report.document import SCHEMA_VERSION, Report
from lsa_onnx.report.evaluation import EVALUATION_VERSION, Evaluation
from lsa_onnx.report.evaluations import Difference, Evaluations
from lsa_onnx.report.hardening import HARDENING_VERSION, Hardening
from lsa_onnx.report.json_file import Document, dumps
from lsa_onnx.report.landscape import LANDSCAPE_VERSION, Landscape
from lsa_onnx.report.schema import load_schema
from tests.report.comparisons import all_comparisons
from tests.report.evaluations import all_documents, all_evaluations, beside, curve, sweep
from tests.report.examples import all_reports, small_report
from tests.report.figures.records import boundary, landscape, region, surface
from tests.report.hardenings import all_hardenings, hardening

ROOTS: dict[Kind, type[Document]] = {
    "report": Report,
    "evaluation": Evaluation,
    "hardening": Hardening,
    "landscape": Landscape,
    "boundary": Boundary,
    "comparison": Comparison,
}
SCHEMAS = {kind: load_schema(kind) for kind in ROOTS}
EXAMPLES: dict[str, tuple[Kind, Document]] = {
    **{f"report-{name}": ("report", found) for name, found in all_reports().items()},
    **{f"evaluation-{name}": ("evaluation", found) for name, found in all_evaluations().items()},
    **{f"hardening-{name}": ("hardening", found) for name, found in all_hardenings().items()},
    **{f"comparison-{name}": ("comparison", c) for name, c in all_comparisons().items()},
    "landscape": ("landscape", landscape(surface())),
    "landscape-hole": ("landscape", landscape(surface(loss=[[None] * 3] * 5, accuracy=None))),
    "boundary": ("boundary", boundary(region())),
    "boundary-bare": ("boundary", boundary(region(margin=None, accuracy=None), labels=None)),
}


def records_in(hint: object) -> Iterator[type[Any]]:
    """The record that ``hint`` is, or those in it, and all that their fields hold."""
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        yield hint
        for part in typing.get_type_hints(hint).values():
            yield from records_in(part)
    for part in typing.get_args(hint):
        yield from records_in(part)


RECORDS = {
    f"{kind}-{record.__name__}": (kind, record)
    for kind, root in ROOTS.items()
    for record in records_in(root)
}
each_record = pytest.mark.parametrize(("kind", "record"), RECORDS.values(), ids=RECORDS)


def definition(kind: Kind, record: type[Any]) -> dict[str, Any]:
    schema = SCHEMAS[kind]
    found: dict[str, Any] = schema if record is ROOTS[kind] else schema["$defs"][record.__name__]
    return found


def accepts(kind: Kind, schema: dict[str, Any], value: object) -> bool:
    whole = {"$defs": SCHEMAS[kind]["$defs"], **schema}
    return bool(jsonschema.Draft202012Validator(whole).is_valid(value))


@pytest.mark.parametrize(
    ("kind", "version"),
    [
        ("report", SCHEMA_VERSION),
        ("evaluation", EVALUATION_VERSION),
        ("hardening", HARDENING_VERSION),
        ("landscape", LANDSCAPE_VERSION),
        ("boundary", BOUNDARY_VERSION),
        ("comparison", COMPARISON_VERSION),
    ],
)
def test_is_a_valid_schema_of_the_current_version(kind: Kind, version: str) -> None:
    schema = SCHEMAS[kind]
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["properties"]["schema_version"]["const"] == version
    assert schema["$id"] == f"urn:lsa-onnx:{kind}:{version}"
    assert schema["title"] == f"lsa-onnx {kind} {version}"
    assert schema["$schema"].endswith("draft/2020-12/schema")


def test_both_schemas_say_the_same_of_the_records_they_share() -> None:
    report, evaluation = (SCHEMAS[kind]["$defs"] for kind in ("report", "evaluation"))
    shared = report.keys() & evaluation.keys()
    assert len(shared) == 9
    assert {name: report[name] for name in shared} == {name: evaluation[name] for name in shared}


@pytest.mark.parametrize(("kind", "document"), EXAMPLES.values(), ids=EXAMPLES)
def test_examples_are_valid(kind: Kind, document: Document) -> None:
    validator = jsonschema.Draft202012Validator(SCHEMAS[kind])
    validator.validate(json.loads(dumps(document)))
    validator.validate(document.to_dict())


@pytest.mark.parametrize("kind", ROOTS)
def test_describes_exactly_the_records(kind: Kind) -> None:
    names = {record.__name__ for record in records_in(ROOTS[kind])}
    assert set(SCHEMAS[kind]["$defs"]) | {ROOTS[kind].__name__} == names


@each_record
def test_fields_are_those_of_the_record(kind: Kind, record: type[Any]) -> None:
    fields = [field.name for field in dataclasses.fields(record)]
    found = definition(kind, record)
    assert list(found["properties"]) == fields
    assert found["required"] == fields
    assert found["additionalProperties"] is False


@each_record
def test_every_field_is_described(kind: Kind, record: type[Any]) -> None:
    for field, schema in definition(kind, record)["properties"].items():
        assert len(schema["description"]) >= 15, field
        assert schema["description"].endswith("."), field


def fields_of_type(wanted: object) -> Iterator[Any]:
    for name, (kind, record) in RECORDS.items():
        for field, hint in typing.get_type_hints(record).items():
            if typing.get_origin(hint) is wanted or wanted in typing.get_args(hint):
                schema = definition(kind, record)["properties"][field]
                yield pytest.param(kind, schema, hint, id=f"{name}-{field}")


@pytest.mark.parametrize(("kind", "schema", "hint"), list(fields_of_type(Literal)))
def test_choices_are_those_of_the_record(kind: Kind, schema: dict[str, Any], hint: object) -> None:
    assert tuple(schema["enum"]) == typing.get_args(hint)


@pytest.mark.parametrize(("kind", "schema", "hint"), list(fields_of_type(type(None))))
def test_null_is_accepted_where_the_record_allows_it(
    kind: Kind, schema: dict[str, Any], hint: object
) -> None:
    assert accepts(kind, schema, None)


@each_record
def test_null_is_refused_elsewhere(kind: Kind, record: type[Any]) -> None:
    for field, hint in typing.get_type_hints(record).items():
        if type(None) not in typing.get_args(hint):
            assert not accepts(kind, definition(kind, record)["properties"][field], None), field


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
        jsonschema.Draft202012Validator(SCHEMAS["report"]).validate(values)


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("norm", "l7", "'l7' is not one of"),
        ("eps", -0.1, "-0.1 is less than the minimum of 0"),
        ("vanished", 1.5, "1.5 is greater than the maximum of 1"),
        ("white_box", None, "None is not of type 'boolean'"),
        ("labels", "guessed", "'guessed' is not one of"),
    ],
)
def test_wrong_outcomes_of_attacks_are_refused(field: str, value: object, words: str) -> None:
    values = small_report().to_dict()
    values["perturbations"][0]["attack"][field] = value
    outcome = values["perturbations"][0]["attack"]
    schema = {"$defs": SCHEMAS["report"]["$defs"], "$ref": "#/$defs/AttackOutcome"}
    with pytest.raises(jsonschema.ValidationError, match=words):
        jsonschema.Draft202012Validator(schema).validate(outcome)
    assert not accepts("report", SCHEMAS["report"], values)


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("robust_accuracy", 1.2, "1.2 is greater than the maximum of 1"),
        ("success_interval", [0.1], r"\[0.1\] is too short"),
        ("n", 0, "0 is less than the minimum of 1"),
        ("correct", 1.5, "1.5 is not of type 'integer'"),
        ("seconds", -1, "-1 is less than the minimum of 0"),
    ],
)
def test_wrong_results_of_an_evaluation_are_refused(field: str, value: object, words: str) -> None:
    values = sweep().to_dict()
    values["results"][1][field] = value
    with pytest.raises(jsonschema.ValidationError, match=words):
        jsonschema.Draft202012Validator(SCHEMAS["evaluation"]).validate(values)


@pytest.mark.parametrize(
    ("place", "field", "value", "words"),
    [
        ("", "max_clean_drop", 1.5, "1.5 is greater than the maximum of 1"),
        ("", "model_sha256", "ABC", "'ABC' does not match"),
        ("", "layers", {"conv": -1}, "-1 is less than the minimum of 0"),
        ("", "best_step", 0.5, "0.5 is not of type 'integer'"),
        ("comparison", "measure", "loss", "'loss' is not one of"),
        ("comparison", "clean_after", {"value": 2, "interval": None, "n": 1}, "2 is greater than"),
        ("comparison", "gain", 0.5, "'gain' was unexpected"),
    ],
)
def test_wrong_values_of_a_hardening_are_refused(
    place: str, field: str, value: object, words: str
) -> None:
    values = hardening().to_dict()
    (values[place] if place else values)[field] = value
    with pytest.raises(jsonschema.ValidationError, match=words):
        jsonschema.Draft202012Validator(SCHEMAS["hardening"]).validate(values)


def test_each_call_gives_its_own_copy() -> None:
    load_schema()["properties"].clear()
    assert set(load_schema()["properties"]) == {field.name for field in dataclasses.fields(Report)}


@pytest.mark.parametrize("name", all_documents())
def test_several_evaluations_follow_a_schema_that_holds_the_one_of_each(name: str) -> None:
    found = all_documents()[name]
    schema = load_schema("evaluations")
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.Draft202012Validator(schema).validate(json.loads(dumps(found)))
    assert schema["$defs"]["Evaluation"] == SCHEMAS["evaluation"]
    assert schema["$id"] == f"urn:lsa-onnx:evaluations:{EVALUATION_VERSION}"
    assert schema["properties"]["schema_version"]["const"] == EVALUATION_VERSION


@pytest.mark.parametrize("record", [Evaluations, Difference])
def test_several_evaluations_have_the_fields_of_their_records(record: type[Any]) -> None:
    schema = load_schema("evaluations")
    described = schema if record is Evaluations else schema["$defs"]["Difference"]
    fields = [field.name for field in dataclasses.fields(record)]
    assert list(described["properties"]) == described["required"] == fields
    assert described["additionalProperties"] is False
    assert all(each["description"].endswith(".") for each in described["properties"].values())


@pytest.mark.parametrize(
    ("place", "value", "words"),
    [
        (("differences", 0, "model"), 0, "0 is less than the minimum of 1"),
        (("differences", 0, "eps"), "8/255", "'8/255' is not of type 'number', 'null'"),
        (("differences", 0, "interval"), [1], r"\[1\] is too short"),
        (("evaluations",), [], r"\[\] should be non-empty|\[\] is too short"),
        (("evaluations", 1, "summaries", 0, "minimal_eps", 5), -1, "-1 is less than the minimum"),
        (("evaluations", 1, "results", 0, "right"), [1, 0], "is not of type 'string'"),
        (("kind",), "evaluation", "'evaluation' is not one of"),
    ],
)
def test_wrong_values_of_several_evaluations_are_refused(
    place: tuple[Any, ...], value: object, words: str
) -> None:
    values: Any = json.loads(dumps(beside()))
    *parents, last = place
    inner = values
    for part in parents:
        inner = inner[part]
    inner[last] = value
    with pytest.raises(jsonschema.ValidationError, match=words):
        jsonschema.Draft202012Validator(load_schema("evaluations")).validate(values)


def test_minimal_eps_may_be_null_and_no_text() -> None:
    values = curve().to_dict()
    assert None in values["summaries"][0]["minimal_eps"]
    assert accepts("evaluation", SCHEMAS["evaluation"], values)
    values["summaries"][0]["minimal_eps"][0] = "8/255"
    assert not accepts("evaluation", SCHEMAS["evaluation"], values)
