"""Where a hardened model comes from, in the metadata of its file."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lsa_onnx._version import __version__

if TYPE_CHECKING:
    import onnx

PARENT = "lsa_onnx.parent_sha256"
HARDENED_BY = "lsa_onnx.hardened_by"
CONFIG = "lsa_onnx.config"
SCORES = "lsa_onnx.scores"
ANCESTORS = "lsa_onnx.ancestors"

_SHA256 = re.compile("[0-9a-f]{64}")


def provenance(
    parent_sha256: str, config: Mapping[str, Any], scores: Mapping[str, Any]
) -> dict[str, str]:
    """The metadata of a hardened model.

    Args:
        parent_sha256: Digest of the model file that was hardened.
        config: How it was; JSON values.
        scores: What came of it; JSON values.

    Raises:
        ValueError: A value is NaN or infinite, which JSON does not have.
    """
    return {
        PARENT: parent_sha256,
        HARDENED_BY: f"lsa-onnx {__version__}",
        CONFIG: _json(config),
        SCORES: _json(scores),
    }


def add_metadata(model: onnx.ModelProto, metadata: Mapping[str, str]) -> None:
    """Set entries of the metadata of ``model`` (changed); all others stay.

    Where a parent is named and the model names one already, that one joins the list of ancestors,
    the oldest first.
    """
    earlier = {entry.key: entry.value for entry in model.metadata_props}
    wanted = dict(metadata)
    if PARENT in metadata and PARENT in earlier:
        line = [*_ancestors(earlier.get(ANCESTORS, "[]")), earlier[PARENT]]
        wanted.setdefault(ANCESTORS, _json(line))
    for entry in model.metadata_props:
        if entry.key in wanted:
            entry.value = wanted.pop(entry.key)
    for key, value in wanted.items():
        model.metadata_props.add(key=key, value=value)


def _ancestors(text: str) -> list[str]:
    """The digests in ``text``; a file may hold anything there."""
    try:
        listed = json.loads(text)
    except (ValueError, RecursionError):
        return []
    if not isinstance(listed, list):
        return []
    return [each for each in listed if isinstance(each, str) and _SHA256.fullmatch(each)]


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, allow_nan=False)
