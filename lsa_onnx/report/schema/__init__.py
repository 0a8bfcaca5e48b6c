"""The JSON Schemas of the documents, shipped with the package."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

from lsa_onnx.report.boundary import BOUNDARY_VERSION
from lsa_onnx.report.comparison import COMPARISON_VERSION
from lsa_onnx.report.decode import Kind
from lsa_onnx.report.document import SCHEMA_VERSION
from lsa_onnx.report.evaluation import EVALUATION_VERSION
from lsa_onnx.report.hardening import HARDENING_VERSION
from lsa_onnx.report.landscape import LANDSCAPE_VERSION

_VERSIONS: dict[Kind, str] = {
    "report": SCHEMA_VERSION,
    "evaluation": EVALUATION_VERSION,
    "evaluations": EVALUATION_VERSION,
    "hardening": HARDENING_VERSION,
    "landscape": LANDSCAPE_VERSION,
    "boundary": BOUNDARY_VERSION,
    "comparison": COMPARISON_VERSION,
}


def load_schema(kind: Kind = "report") -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of the version that this tool writes, as a new dictionary.

    It holds all that it refers to, the whole schema of another document as well.
    """
    schema = _read(kind)
    if kind == "evaluations":
        schema["$defs"]["Evaluation"] = _read("evaluation")
    return schema


def _read(kind: Kind) -> dict[str, Any]:
    name = f"{kind}-{_VERSIONS[kind]}.json"
    schema: dict[str, Any] = json.loads(files(__name__).joinpath(name).read_text(encoding="utf-8"))
    return schema
