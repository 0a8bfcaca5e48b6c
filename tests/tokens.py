"""Models of token ids, small enough to be worked out in numpy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tests import graphs
from tests.graphs import node, value, weight

if TYPE_CHECKING:
    import onnx

Array = NDArray[Any]

VOCABULARY, WIDTH, CLASSES = 11, 6, 3


def weights() -> dict[str, Array]:
    """Of ``attention_net``: the table, three projections, and the classifier."""
    return {
        "table": 2 * weight(0, VOCABULARY, WIDTH),
        "wq": weight(1, WIDTH, WIDTH),
        "wk": weight(2, WIDTH, WIDTH),
        "wv": weight(3, WIDTH, WIDTH),
        "wc": weight(4, WIDTH, CLASSES),
    }


def attention_net(
    batch: int | str = "N", length: int | str = "T", *, own_mask: bool = True
) -> onnx.ModelProto:
    """An embedding "emb", a head of attention, the mean over tokens that count, and a classifier.

    The mask is an input; without ``own_mask`` it is made of the ids, which are 0 where nothing is.
    """
    constants = {
        **weights(),
        "zero": np.asarray(0, np.int64),
        "one": np.asarray(1, np.float32),
        "far": np.asarray(-1e4, np.float32),
        "second": np.array([1]),
        "third": np.array([2]),
    }
    mask = [node("Greater", ["ids", "zero"], ["mask"])]
    nodes = [
        node("Gather", ["table", "ids"], ["emb"]),
        *([] if own_mask else mask),
        node("Cast", ["mask"], ["m"], to=graphs.FLOAT),
        node("MatMul", ["emb", "wq"], ["q"]),
        node("MatMul", ["emb", "wk"], ["k"]),
        node("MatMul", ["emb", "wv"], ["v"]),
        node("Transpose", ["k"], ["kt"], perm=[0, 2, 1]),
        node("MatMul", ["q", "kt"], ["scores"]),
        node("Sub", ["one", "m"], ["hidden"]),
        node("Mul", ["hidden", "far"], ["off"]),
        node("Unsqueeze", ["off", "second"], ["offs"]),
        node("Add", ["scores", "offs"], ["seen"]),
        node("Softmax", ["seen"], ["attention"], axis=-1),
        node("MatMul", ["attention", "v"], ["mixed"]),
        node("Relu", ["mixed"], ["active"]),
        node("Unsqueeze", ["m", "third"], ["ms"]),
        node("Mul", ["active", "ms"], ["kept"]),
        node("ReduceSum", ["kept", "second"], ["total"], keepdims=0),
        node("ReduceSum", ["m", "second"], ["count"]),
        node("Div", ["total", "count"], ["pooled"]),
        node("MatMul", ["pooled", "wc"], ["y"]),
    ]
    inputs = [value(name, [batch, length], "int64") for name in ("ids", "mask")]
    return graphs.model(nodes, inputs[: 1 + own_mask], [value("y", [batch, CLASSES])], constants)


def tokens(seed: int, count: int, length: int = 7) -> tuple[Array, Array]:
    """Ids and mask, each (count, length): at least one token, then padding with id 0."""
    random = np.random.default_rng(seed)
    mask = (np.arange(length) < random.integers(1, length + 1, (count, 1))).astype(np.int64)
    return random.integers(1, VOCABULARY, (count, length)) * mask, mask


def attended(x: Array, mask: Array) -> Array:
    """What ``attention_net`` makes of embeddings ``x`` (n, t, width), in numpy: logits, (n, classes)."""
    w, m = weights(), mask.astype(np.float64)
    x = x.astype(np.float64)
    scores = (x @ w["wq"]) @ np.swapaxes(x @ w["wk"], 1, 2) - 1e4 * (1 - m)[:, None, :]
    powers = np.exp(scores - scores.max(-1, keepdims=True))
    mixed = powers / powers.sum(-1, keepdims=True) @ (x @ w["wv"])
    kept = np.maximum(mixed, 0) * m[..., None]
    return np.asarray(kept.sum(1) / m.sum(1, keepdims=True) @ w["wc"])


def sum_net(*, extra: bool = False) -> onnx.ModelProto:
    """y = the sum of two rows of a 3×2 table, as whole numbers: [[1, 2], [3, 5], [7, 11]].

    With ``extra``, an input "unread" that no node reads, and a node "loose" of the ids whose result no
    node reads.
    """
    table = np.array([[1, 2], [3, 5], [7, 11]], np.float32)
    nodes = [
        node("Gather", ["table", "ids"], ["emb"]),
        node("ReduceSum", ["emb", "axis"], ["y"], keepdims=0),
    ]
    inputs = [value("ids", ["N", 2], "int64")]
    if extra:
        nodes.insert(1, node("Neg", ["ids"], ["loose"]))
        inputs.append(value("unread", ["N", 4]))
    constants = {"table": table, "axis": np.array([1])}
    return graphs.model(nodes, inputs, [value("y", ["N", 2])], constants)
