"""A copy of a model that carries the scores of its scan as metadata, and is otherwise the same.

Nodes can hold metadata since version 10 of ONNX's IR, the model itself since the first. The version stays
as it is, so that whatever ran the model runs the copy: in an older file, and for a layer that no node of the
file makes (one inside a function), the scores stand at the model, as JSON.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import onnx
from google.protobuf.message import EncodeError

from lsa_onnx.errors import DataError
from lsa_onnx.files import write_atomically
from lsa_onnx.model import digest
from lsa_onnx.report.by_layer import Scored, scores_by_layer
from lsa_onnx.report.text import visible
from lsa_onnx.rewrite.bodies import Place, places
from lsa_onnx.stored import StoredModel, read_stored
from lsa_onnx.weights import (
    all_tensors,
    carry_weights,
    find_external_files,
    is_external,
    require_single_links,
    stored_bytes,
)

if TYPE_CHECKING:
    from lsa_onnx.report.document import LayerInfo, Report

PREFIX = "lsa_onnx.scan."
NODE_METADATA_IR = 10
_MOST_BYTES = (1 << 31) - 1

# Tensor → the node that makes it, and which of its outputs it is; by path of the body, None for the main graph.
Makers = dict[str | None, dict[str, tuple[onnx.NodeProto, int]]]


def write_annotated(path: str | Path, output: str | Path, report: Report) -> None:
    """Write a copy of the model at ``path`` with the scores of ``report`` in its metadata.

    Beside a model with external data the copy shares that data; elsewhere it carries all weights inside.

    Args:
        path: The model that was scanned.
        output: The file to write; no file of the model.
        report: The scan.

    Raises:
        DataError: The report is of another file, the copy would not fit into one, or cannot be written.
        LsaError: The model cannot be read.
    """
    source, target = Path(path), Path(output)
    _require_same(source, report)
    stored = read_stored(source)
    for file in (source, *stored.files.values()):
        if target.exists() and target.samefile(file):
            raise DataError(
                f"the annotated copy {str(output)!r} would replace {str(file)!r}; name another file"
            )
    annotate(stored.proto, report)
    write_atomically(target, _serialised(stored, target))


def annotate(model: onnx.ModelProto, report: Report) -> None:
    """Put the scores of ``report`` into the metadata of ``model`` (changed), in place of earlier ones."""
    makers = _makers(model)
    _clear(model)
    for made in makers.values():
        for node, _ in made.values():
            _clear(node)
    rest, scores = {}, scores_by_layer(report)
    for number, info in enumerate(report.layers):
        entries = _entries(number, scores[info.tensor])
        maker = _maker(makers, info) if model.ir_version >= NODE_METADATA_IR else None
        if maker is None:
            rest[info.tensor] = entries
        else:
            node, position = maker
            ending = f".output_{position}" if position else ""
            _add(node, {f"{key}{ending}": value for key, value in entries.items()})
    _add(model, _summary(report))
    if rest:
        _add(model, {"layers": json.dumps(rest)})


def _require_same(source: Path, report: Report) -> None:
    if not source.is_file():
        raise DataError(f"no model file {str(source)!r}; give the model that was scanned")
    found, wanted = digest(source).sha256, report.model.file.sha256
    if found != wanted:
        raise DataError(
            f"{str(source)!r} is not the model that was scanned: its SHA-256 is {found[:16]}…, that of the "
            f"report is {visible(wanted[:16])}…; give that file, or scan this one"
        )


def _serialised(stored: StoredModel, target: Path) -> bytes:
    proto = stored.proto
    if stored.files and target.parent.resolve() != stored.path.parent.resolve():
        inside = sum(stored_bytes(tensor) for tensor in all_tensors(proto) if is_external(tensor))
        if inside > _MOST_BYTES:
            raise _too_large(stored.path)
        folder, files = find_external_files(stored.path, proto)
        require_single_links(files)
        carry_weights(proto, folder or stored.path.parent)
    try:
        content: bytes = proto.SerializeToString()
    except (EncodeError, ValueError):
        raise _too_large(stored.path) from None
    return content


def _too_large(source: Path) -> DataError:
    return DataError(
        f"{str(source)!r} is too large for a single file (the limit is 2 GiB); write the copy beside it, in "
        f"{str(source.parent.resolve())!r}, where it can share the weights"
    )


def _makers(model: onnx.ModelProto) -> Makers:
    found: Makers = {None: _made(model.graph)}
    stack = places(model.graph)
    while stack:
        place: Place = stack.pop()
        found[place.path] = _made(place.graph)
        stack.extend(place.inner)
    return found


def _made(graph: onnx.GraphProto) -> dict[str, tuple[onnx.NodeProto, int]]:
    return {
        name: (node, position)
        for node in graph.node
        for position, name in enumerate(node.output)
        if name
    }


def _maker(makers: Makers, info: LayerInfo) -> tuple[onnx.NodeProto, int] | None:
    """The node that makes a layer; a body's path stands before names that several graphs use."""
    made = makers.get(info.body, {})
    names = (info.tensor, info.tensor.removeprefix(f"{info.body}/"))
    return next((made[name] for name in names if name in made), None)


def _entries(number: int, scores: list[Scored]) -> dict[str, str]:
    """What is said of one layer, by key without the prefix."""
    entries = {"layer": str(number)}
    for result, score, rank in scores:
        name, mean = visible(result.name), score.relative_error.mean
        entries[f"cm.{name}"] = score.status if mean is None else f"{mean:.6g}"
        if rank is not None:
            entries[f"mvl_rank.{name}"] = str(rank)
    return entries


def _summary(report: Report) -> dict[str, str]:
    """What is said of the whole scan."""
    results = report.perturbations
    accuracies = {
        "clean": report.accuracy,
        **{visible(result.name): result.accuracy for result in results},
    }
    return {
        "tool": visible(f"lsa-onnx {report.tool_version}"),
        "created": visible(report.created),
        "model_sha256": visible(report.model.file.sha256),
        "samples": str(report.data.samples),
        "verdict": visible(report.verdict.headline),
        "headline": visible(report.mvl.perturbation),
        "accuracy": json.dumps({name: a.value for name, a in accuracies.items() if a}),
        "mvl": json.dumps({visible(result.name): result.mvl.layers for result in results}),
    }


def _clear(holder: onnx.ModelProto | onnx.NodeProto) -> None:
    """Remove what an earlier annotation left."""
    for place in reversed(range(len(holder.metadata_props))):
        if holder.metadata_props[place].key.startswith(PREFIX):
            del holder.metadata_props[place]


def _add(holder: onnx.ModelProto | onnx.NodeProto, entries: Mapping[str, str]) -> None:
    for key, value in entries.items():
        holder.metadata_props.add(key=f"{PREFIX}{key}", value=value)
