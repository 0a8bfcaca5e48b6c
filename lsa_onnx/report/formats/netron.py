"""An attachment for Netron: the scores beside the nodes and connections of the opened model.

Netron looks values up by name, and a node by its name where it has one; the name of a connection is that
of its tensor. It reads the file where it is opened or dropped while the model is shown, if its name ends
in ``.json``.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from lsa_onnx.errors import DataError
from lsa_onnx.report.by_layer import Scored, scores_by_layer
from lsa_onnx.report.text import visible

if TYPE_CHECKING:
    from lsa_onnx.report.document import Report

SUFFIX = ".json"


def require_openable(path: str) -> None:
    """Refuse a name that Netron would not take for an attachment.

    Raises:
        DataError: It does not end in ``.json``.
    """
    if path != "-" and not path.lower().endswith(SUFFIX):
        raise DataError(
            f"--netron {path!r} does not end in {SUFFIX}, by which Netron knows an attachment; name a file "
            f"such as scores{SUFFIX}"
        )


def render(report: Report) -> str:
    """The attachment as JSON, ASCII only."""
    document = {"signature": "netron:attachment", "metrics": list(_entries(report))}
    return json.dumps(document, indent=1, allow_nan=False) + "\n"


def _entries(report: Report) -> Iterator[dict[str, Any]]:
    tensors = Counter(info.node for info in report.layers)
    scores = scores_by_layer(report)
    for number, info in enumerate(report.layers):
        found = [("LSA layer", number), *_metrics(scores[info.tensor])]
        yield from (_entry("value", info.tensor, name, value) for name, value in found)
        # Several outputs of a node share its list, where each name stands once.
        of = f" of {visible(info.tensor)}" if tensors[info.node] > 1 else ""
        yield from (_entry("node", info.node, f"{name}{of}", value) for name, value in found)


def _entry(kind: str, target: str, name: str, value: float | str) -> dict[str, Any]:
    # Netron compares with the first line of a name.
    return {"kind": kind, "target": target.split("\n")[0], "name": name, "value": value}


def _metrics(scores: list[Scored]) -> Iterator[tuple[str, float | str]]:
    """The CM of a layer and its place in the MVL list, under each perturbation."""
    for result, score, rank in scores:
        name, mean = visible(result.name), score.relative_error.mean
        if mean is None:
            why = visible(score.reason or "no reason was recorded")
            yield f"CM {name}", f"{score.status}: {why}"
        else:
            # The digits of a float64 would only be in the way on a screen.
            yield f"CM {name}", float(f"{mean:.4g}")
        if rank is not None:
            yield f"MVL rank {name}", rank
