"""The JSON Schema of the report document, shipped with the package."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

from lsa_onnx.report.document import SCHEMA_VERSION


def load_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of the version that this tool writes, as a new dictionary."""
    text = files(__name__).joinpath(f"report-{SCHEMA_VERSION}.json").read_text(encoding="utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema
