"""Which output tells the class, and what the logits behind it are."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from lsa_onnx.errors import DataError, ModelError
from lsa_onnx.layers.operators import FLOAT_ELEMENTS
from lsa_onnx.rewrite.graph import attribute, dimensions, producers

if TYPE_CHECKING:
    import onnx

    from lsa_onnx.model import Model

Array = NDArray[Any]
# The largest score wins, or the smallest; one score tells two classes apart; there are no classes.
Decision: TypeAlias = Literal["max", "min", "binary", "none"]
Kind: TypeAlias = Literal["scores", "class", "ranking", "score"]

_NORMALISERS = frozenset({"Softmax", "LogSoftmax", "Hardmax"})
_SAME_ORDER = frozenset({"Identity", "Cast", "Dropout", "Flatten", "Reshape", "Squeeze"})
# Of the ai.onnx.ml domain; their first output is the class, the second the scores.
_CLASSIFIERS = frozenset({"LinearClassifier", "SVMClassifier", "TreeEnsembleClassifier"})

# What a probability may pass on its way out and stay on its side of 0.5.
_SAME_SIDE = _SAME_ORDER | {"Unsqueeze", "Clip", "QuantizeLinear", "DequantizeLinear"}
_EVEN_CHANCE = 0.5

# (n, length, numbers per step).
_SERIES_AXES = 3


@dataclass(frozen=True)
class Head:
    """How a class is read from the model's outputs.

    Attributes:
        output: The output that is read.
        kind: "scores" where it holds one score per class, "class" where it holds the class itself,
            "ranking" where it holds classes, the best first, "score" where it holds a single number for
            two classes.
        logits: The tensor of logits, found by walking back through Softmax and the like; ``None``
            if not found. Of a "score" it holds one number z per sample, for the logits 0 and z.
        found: How, in words.
        lowest_wins: Whether the smallest score decides, not the largest.
        threshold: Above which a "score" means class 1.
    """

    output: str
    kind: Kind
    logits: str | None
    found: str
    lowest_wins: bool = False
    threshold: float = 0.0

    @property
    def binary(self) -> bool:
        """Whether one score tells two classes apart."""
        return self.kind == "score"


def model_head(model: Model, decision: Decision) -> Head | None:
    """How a class is read from ``model``, as the user wants it read; ``None`` for no classes.

    Raises:
        DataError: Two classes are wanted of one score, and no output holds one per sample.
    """
    if decision == "none":
        return None
    if decision != "binary":
        return find_head(model.proto, lowest_wins=decision == "min")
    head = find_score(model.proto)
    if head is None:
        outputs = ", ".join(f"{v.name!r} {v.shape} {v.dtype}" for v in model.outputs)
        raise DataError(
            f"--decision binary needs an output of one float per sample, shape (n, 1) or (n,), and the outputs "
            f"of {str(model.path)!r} are {outputs}; use --decision max for one score per class, or none"
        )
    return head


def required_head(model: Model, decision: Decision, nothing: str, other: str) -> Head:
    """As ``model_head``, for what cannot do without classes.

    Args:
        model: The model.
        decision: How the user wants a class to be read.
        nothing: What there is not without classes, a clause.
        other: What does without them, likewise.

    Raises:
        DataError: The user wants no class to be read, or as ``model_head``.
        ModelError: None is found.
    """
    if decision == "none":
        raise DataError(f"--decision none reads no class, so {nothing}; leave it out; {other}")
    head = model_head(model, decision)
    if head is None:
        advice = binary_advice(model)
        raise ModelError(f"{str(model.path)!r} predicts no classes, so {nothing}; {advice}{other}")
    return head


def binary_advice(model: Model) -> str:
    """What to do where no class was found but may be meant: "", or a clause that ends in "; "."""
    head = find_score(model.proto, declared=True)
    if head is None:
        return ""
    return f"if {head.output!r} is the score of two classes, give --decision binary; "


def find_head(model: onnx.ModelProto, *, lowest_wins: bool = False) -> Head | None:
    """The first output that tells a class, if any does.

    That is one behind a Softmax, ArgMax or TopK, else two or more scores per sample: a matrix, or an
    image (or volume) of one pixel, as a last pooling leaves it. ``None`` for models without classes (a
    regressor, a detector, a generator).

    Args:
        model: The model.
        lowest_wins: Read scores by the smallest, as a model of costs means them. An ArgMin says so by
            itself.
    """
    made = producers(model.graph)
    # One without a type may be of any kind; who added it by its name wants to look at it.
    values = {v.name: v for v in model.graph.output if v.type.HasField("tensor_type")}
    heads = [head for name in values if (head := _head_of(name, made)) is not None]
    if lowest_wins:
        heads = [
            dataclasses.replace(
                head, lowest_wins=True, found=f"{head.found}, the lowest score wins"
            )
            if head.kind == "scores"
            else head
            for head in heads
        ]
    for head in heads:
        if head.logits != head.output and _is_per_sample(values[head.output]):
            return head
    return next((head for head in heads if _is_scores(values[head.output])), None)


def find_score(model: onnx.ModelProto, *, declared: bool = False) -> Head | None:
    """The first output that can hold one score per sample, if any can; one behind a Sigmoid is preferred.

    Args:
        model: The model.
        declared: Leave out those whose shape is not declared, which only a run can tell.
    """
    made = producers(model.graph)
    found: list[tuple[bool, bool, Head]] = []
    for value in model.graph.output:
        kind = value.type.tensor_type.elem_type if value.type.HasField("tensor_type") else None
        single = _is_single(value) if kind in FLOAT_ELEMENTS.values() else False
        if single or (single is None and not declared):
            head = _score_of(value.name, made)
            found.append((single is None, head.threshold == 0, head))
    return min(found, key=lambda each: each[:2])[2] if found else None


def _score_of(output: str, made: Mapping[str, onnx.NodeProto]) -> Head:
    """The head that reads ``output`` as a logit or, where that ends in a Sigmoid, as a probability."""
    name = output
    while (node := made.get(name)) is not None and node.op_type in _SAME_SIDE | {"Sigmoid"}:
        name = node.input[0]
        if node.op_type == "Sigmoid":
            found = f"behind Sigmoid of output {output!r}, class 1 above {_EVEN_CHANCE:g}"
            return Head(output, "score", name, found, threshold=_EVEN_CHANCE)
    return Head(output, "score", output, f"output {output!r} itself, class 1 above 0")


def _is_single(value: onnx.ValueInfoProto) -> bool | None:
    """Whether the output is declared as one number per sample; ``None`` where that is left open."""
    shape = dimensions(value)
    sizes = shape[1:] if shape else []
    if any(isinstance(size, int) and size != 1 for size in sizes):
        return False
    return True if shape and all(size == 1 for size in sizes) else None


def _head_of(output: str, made: Mapping[str, onnx.NodeProto]) -> Head | None:
    """The head that reads ``output``; ``None`` where its values say nothing about classes."""
    kind: Kind = "scores"
    passed: list[str] = []
    name, lowest_wins = output, False
    while (node := made.get(name)) is not None:
        if node.op_type in _CLASSIFIERS and name == node.output[0]:
            return Head(output, "class", None, f"output {output!r} of {node.op_type}")
        if node.op_type in ("ArgMax", "ArgMin", "TopK"):
            chosen = _chosen(node, name)
            if chosen is None:
                return None
            kind, lowest_wins = chosen, node.op_type == "ArgMin"
        elif node.op_type not in _NORMALISERS | _SAME_ORDER:
            break
        if node.op_type not in _SAME_ORDER:
            passed.append(node.op_type)
        name = node.input[0]
    if not passed:
        return Head(output, kind, output, f"output {output!r} itself")
    found = f"behind {', '.join(passed)} of output {output!r}"
    return Head(output, kind, name, found, lowest_wins)


def _chosen(node: onnx.NodeProto, output: str) -> Literal["class", "ranking"] | None:
    """What ``output`` of an ArgMax, ArgMin or TopK holds: classes, or something that names none."""
    if node.op_type in ("ArgMax", "ArgMin"):
        return None if attribute(node, "axis", 0) == 0 else "class"
    indices = len(node.output) > 1 and output == node.output[1]
    best_first = attribute(node, "largest", 1) == 1 and attribute(node, "sorted", 1) == 1
    return "ranking" if indices and best_first and attribute(node, "axis", -1) != 0 else None


def _is_per_sample(value: onnx.ValueInfoProto) -> bool:
    """Whether the output can be one answer per sample.

    It is if at most one axis beside the batch is of a length other than 1.
    """
    shape = dimensions(value)
    if shape is None:
        return True
    return sum(d != 1 for d in shape[1:]) <= 1


def _is_scores(value: onnx.ValueInfoProto) -> bool:
    """Whether the output is declared as two or more numbers per sample along its second axis.

    Not (n, length, 1), which is as likely a series of one number per step.
    """
    shape = dimensions(value)
    if shape is None or len(shape) < 2 or len(shape) == _SERIES_AXES:
        return False
    return shape[1] != 1 and all(d == 1 for d in shape[2:])


def predicted_classes(head: Head, outputs: Mapping[str, Array]) -> NDArray[np.int64] | None:
    """The class of each sample, shape (n,); ``None`` where there is not one answer per sample.

    Args:
        head: From ``model_head``.
        outputs: A run's outputs, the named one of shape (n, ...).
    """
    values = outputs[head.output]
    if values.ndim == 0 or values.size == 0 or values.dtype.kind not in "fiub":
        return None
    rows = values.reshape(len(values), -1)
    if max(values.shape[1:], default=1) != rows.shape[1]:
        return None
    if head.kind == "scores":
        best: NDArray[np.int64] = rows.argmin(axis=1) if head.lowest_wins else rows.argmax(axis=1)
        return best.astype(np.int64) if rows.shape[1] > 1 else None
    if head.kind in ("class", "score") and rows.shape[1] != 1:
        return None
    if head.binary:
        return (rows[:, 0] > head.threshold).astype(np.int64)
    return rows[:, 0].astype(np.int64)
