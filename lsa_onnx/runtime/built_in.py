"""The operators that ONNX Runtime has itself."""

from __future__ import annotations

from functools import cache
from typing import Any

from onnxruntime.capi import _pybind_state


@cache
def built_in_operators() -> frozenset[tuple[str, str]]:
    """Domain and type of each, ONNX's own among them.

    ONNX Runtime gives them only to builds with this list, which the published wheels are; without it a
    function of the model counts for what it says.
    """
    schemas: Any = getattr(_pybind_state, "get_all_operator_schema", tuple)()
    return frozenset((schema.domain, schema.name) for schema in schemas)
