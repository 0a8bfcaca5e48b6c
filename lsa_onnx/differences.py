"""What differs between two model files: the graph, the weights, the metadata, the packaging.

A file that weights were written back into must be its parent with other numbers in it, and nothing
else. Weights are compared one tensor at a time, in pieces, so that a model need not fit into memory.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from lsa_onnx.model import element_name
from lsa_onnx.report.text import count
from lsa_onnx.rewrite.graph import subgraphs
from lsa_onnx.stored import StoredModel, read_stored
from lsa_onnx.structure import (
    DATA_FIELDS,
    TensorPair,
    compare_structure,
    first_output,
    function_key,
)
from lsa_onnx.untied import find_untied
from lsa_onnx.weights import element_count, is_external

# Elements that are looked at in one go.
_PIECE = 1 << 20
# Tensors of these types are shapes, axes and switches: with other values, the graph computes something else.
_STRUCTURAL = frozenset(
    {onnx.TensorProto.INT64, onnx.TensorProto.BOOL, onnx.TensorProto.STRING},
)
_NAMED_TENSORS = 3


@dataclass(frozen=True)
class TensorChange:
    """How the values of a tensor changed.

    Attributes:
        name: The initializer, or the output of the ``Constant`` node.
        scope: Where it is: empty in the main graph, else such as " in then_branch of 'y'".
        shape: Of the tensor.
        dtype: Its element type, as ``float32``.
        elements: How many it has.
        changed_elements: How many of them have other bits.
        max_difference: The largest ``|new - old|``; ``None`` where one is not a finite number.
        relative_change: ``‖new - old‖ / ‖old‖`` (Frobenius); ``None`` where that is not a finite number.
    """

    name: str
    scope: str
    shape: tuple[int, ...]
    dtype: str
    elements: int
    changed_elements: int
    max_difference: float | None
    relative_change: float | None


@dataclass(frozen=True)
class MetadataChange:
    """How ``metadata_props`` changed; for a changed key, the old and the new value.

    A key of a node names the node, too: "namespace of node 'y'".
    """

    added: dict[str, str]
    removed: dict[str, str]
    changed: dict[str, tuple[str, str]]

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.changed)


@dataclass(frozen=True)
class ModelDifference:
    """What differs between an old and a new model file.

    Attributes:
        compared_tensors: How many tensors both have, with one element type and shape; what was split off
            one is compared with it.
        changed_tensors: Those of them that hold other values, in graph order.
        metadata: Changes of ``metadata_props``, of the model and of its nodes.
        graph: All other differences of the messages, one line each. Among them are other values in
            tensors of whole numbers (int64), bool and text: those are shapes and switches, not weights.
        untied: Where a node reads a tensor of its own instead of one that it shared, one line each.
        packaging: Where and how tensors are stored otherwise, one line each.
    """

    compared_tensors: int
    changed_tensors: tuple[TensorChange, ...]
    metadata: MetadataChange
    graph: tuple[str, ...]
    untied: tuple[str, ...]
    packaging: tuple[str, ...]

    @property
    def same_graph(self) -> bool:
        """Whether at most weights, also such as were shared, metadata and packaging differ."""
        return not self.graph

    @property
    def other(self) -> list[str]:
        """Every difference besides weights and metadata, one line each."""
        return [*self.graph, *self.untied, *self.packaging]


def diff_models(a: str | Path, b: str | Path) -> ModelDifference:
    """Compare two model files.

    Args:
        a: The old one.
        b: The new one.

    Raises:
        LsaError: One of them cannot be read.
    """
    return compare_stored(read_stored(a), read_stored(b))


def compare_stored(old: StoredModel, new: StoredModel) -> ModelDifference:
    """Compare two models that were read already.

    Raises:
        ModelError: The data of a tensor do not fit its type and shape.
    """
    found = compare_structure(old.proto, new.proto, find_untied(old.proto, new.proto))
    graph, changes = list(found.lines), []
    for pair in found.pairs:
        change = _change(pair, old, new)
        if change is not None:
            changes.append(change)
            if pair.new.data_type in _STRUCTURAL:
                graph.append(f"{change.dtype} tensor {pair.name!r}{pair.scope} holds other values")
    return ModelDifference(
        compared_tensors=len(found.pairs),
        changed_tensors=tuple(changes),
        metadata=_metadata(old.proto, new.proto),
        graph=tuple(graph),
        untied=tuple(found.splits),
        packaging=tuple(_packaging(found.pairs)),
    )


def _change(pair: TensorPair, old: StoredModel, new: StoredModel) -> TensorChange | None:
    before, after = (v.reshape(-1) for v in (old.values(pair.old), new.values(pair.new)))
    changed = sum(_unequal(a, b) for a, b in _pieces(before, after))
    if not changed:
        return None
    largest, relative = _distance(before, after)
    return TensorChange(
        name=pair.name,
        scope=pair.scope,
        shape=tuple(pair.new.dims),
        dtype=element_name(pair.new.data_type),
        elements=before.size,
        changed_elements=changed,
        max_difference=largest,
        relative_change=relative,
    )


def _pieces(
    before: NDArray[np.generic], after: NDArray[np.generic]
) -> Iterator[tuple[NDArray[np.generic], NDArray[np.generic]]]:
    for start in range(0, before.size, _PIECE):
        yield before[start : start + _PIECE], after[start : start + _PIECE]


def _unequal(a: NDArray[np.generic], b: NDArray[np.generic]) -> int:
    """How many elements have other bits: NaN equals itself, and -0 is not 0."""
    if a.dtype.itemsize in (1, 2, 4, 8) and a.dtype.kind != "O":
        bits = np.dtype(f"u{a.dtype.itemsize}")
        a, b = a.view(bits), b.view(bits)
    return int(np.count_nonzero(a != b))


def _distance(
    before: NDArray[np.generic], after: NDArray[np.generic]
) -> tuple[float | None, float | None]:
    """Largest absolute and relative Frobenius difference."""
    if before.dtype.kind == "O":
        return None, None
    wide = np.complex128 if before.dtype.kind == "c" else np.float64
    largest = difference = norm = 0.0
    with np.errstate(all="ignore"):
        for a, b in _pieces(before, after):
            x, change = a.astype(wide), np.abs(b.astype(wide) - a.astype(wide))
            largest = float(np.maximum(largest, change.max()))
            difference += float(np.sum(np.square(change)))
            norm += float(np.sum(np.square(np.abs(x))))
    relative = math.sqrt(difference) / math.sqrt(norm) if norm > 0 else math.nan
    return _finite(largest), _finite(relative)


def _finite(number: float) -> float | None:
    return number if math.isfinite(number) else None


def _metadata(old: onnx.ModelProto, new: onnx.ModelProto) -> MetadataChange:
    before, after = (dict(_entries(model)) for model in (old, new))
    return MetadataChange(
        added={key: after[key] for key in after if key not in before},
        removed={key: before[key] for key in before if key not in after},
        changed={
            key: (before[key], after[key])
            for key in before
            if key in after and before[key] != after[key]
        },
    )


def _entries(model: onnx.ModelProto) -> Iterator[tuple[str, str]]:
    yield from ((entry.key, entry.value) for entry in model.metadata_props)
    yield from _node_entries(model.graph.node, "")
    for function in model.functions:
        yield from _node_entries(function.node, f" in function {function_key(function)!r}")


def _node_entries(nodes: Iterable[onnx.NodeProto], scope: str) -> Iterator[tuple[str, str]]:
    """Key, with the node that has it, and value; those in bodies included."""
    for node in nodes:
        name = f"node {first_output(node)!r}{scope}"
        yield from ((f"{entry.key} of {name}", entry.value) for entry in node.metadata_props)
        for number, body in enumerate(subgraphs(node)):
            yield from _node_entries(body.node, f" in body {number} of {name}")


def _packaging(pairs: Iterable[TensorPair]) -> Iterator[str]:
    """A line for each way in which tensors are stored otherwise."""
    moves: dict[tuple[str, str], list[str]] = {}
    for pair in pairs:
        before, after = _storage(pair.old), _storage(pair.new)
        if before != after and element_count(pair.old):
            moves.setdefault((before, after), []).append(pair.name)
    for (before, after), names in moves.items():
        yield f"{count(len(names), 'tensor')} ({_few(names)}) stored {after} instead of {before}"


def _storage(tensor: onnx.TensorProto) -> str:
    if is_external(tensor):
        entries = {entry.key: entry.value for entry in tensor.external_data}
        return f"in {entries['location']!r}"
    filled = (name for name in DATA_FIELDS if getattr(tensor, name))
    return f"inside the file, as {next(filled, 'nothing')}"


def _few(names: Sequence[str]) -> str:
    shown = ", ".join(map(repr, names[:_NAMED_TENSORS]))
    return shown + (", …" if len(names) > _NAMED_TENSORS else "")
