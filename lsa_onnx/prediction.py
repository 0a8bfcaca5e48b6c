"""Which output tells the class, and what the logits behind it are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import onnx
from numpy.typing import NDArray

from lsa_onnx.rewrite.graph import dimensions, producers

Array = NDArray[Any]

_NORMALISERS = frozenset({"Softmax", "LogSoftmax", "Hardmax"})
_SAME_ORDER = frozenset({"Identity", "Cast", "Dropout", "Flatten", "Reshape", "Squeeze"})
_CHOOSERS = frozenset({"ArgMax", "TopK"})


@dataclass(frozen=True)
class Head:
    """How a class is read from the model's outputs.

    Attributes:
        output: The output that is read.
        kind: "scores" where it holds one score per class, "class" where it holds the class itself.
        logits: The tensor of logits, found by walking back through Softmax and the like; ``None`` if not found.
        found: How, in words.
    """

    output: str
    kind: Literal["scores", "class"]
    logits: str | None
    found: str


def find_head(model: onnx.ModelProto) -> Head | None:
    """The first output that tells a class: one behind a Softmax or ArgMax, else a matrix of two or more scores.

    ``None`` for models without classes (a regressor, a detector, a generator).
    """
    made = producers(model.graph)
    heads = [_head_of(value.name, made) for value in model.graph.output]
    for head, value in zip(heads, model.graph.output, strict=True):
        if head.logits != value.name and _is_per_sample(value):
            return head
    for head, value in zip(heads, model.graph.output, strict=True):
        shape = dimensions(value)
        if shape is not None and len(shape) == 2 and shape[1] != 1:
            return head
    return None


def _head_of(output: str, made: Mapping[str, onnx.NodeProto]) -> Head:
    kind: Literal["scores", "class"] = "scores"
    passed: list[str] = []
    name = output
    while (node := made.get(name)) is not None:
        if node.op_type in _CHOOSERS:
            kind = "class" if node.op_type == "ArgMax" or name == node.output[-1] else kind
        elif node.op_type not in _NORMALISERS | _SAME_ORDER:
            break
        if node.op_type not in _SAME_ORDER:
            passed.append(node.op_type)
        name = node.input[0]
    if not passed:
        return Head(output, kind, output, f"output {output!r} itself")
    return Head(output, kind, name, f"behind {', '.join(passed)} of output {output!r}")


def _is_per_sample(value: onnx.ValueInfoProto) -> bool:
    """Whether the output can be one answer per sample: at most one axis, of length other than 1, beside the batch."""
    shape = dimensions(value)
    if shape is None:
        return True
    return sum(d != 1 for d in shape[1:]) <= 1


def predicted_classes(head: Head, outputs: Mapping[str, Array]) -> NDArray[np.int64] | None:
    """The class of each sample, shape (n,); ``None`` where the output is not one answer per sample after all.

    Args:
        head: From ``find_head``.
        outputs: A run's outputs, the named one of shape (n, ...).
    """
    values = outputs[head.output]
    rows = values.reshape(len(values), -1)
    if head.kind == "class":
        return rows[:, 0].astype(np.int64) if rows.shape[1] == 1 else None
    if rows.shape[1] < 2 or max(values.shape[1:], default=0) != rows.shape[1]:
        return None
    return rows.argmax(axis=1).astype(np.int64)
