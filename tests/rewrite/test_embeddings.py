"""Which tensor is the embedding of ids, and what ids its table has."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

from lsa_onnx.rewrite.embeddings import find_embedding, id_limits
from tests import graphs, tokens
from tests.graphs import node, value, weight


def looked_up(
    *nodes: onnx.NodeProto,
    inputs: tuple[str, ...] = ("ids",),
    opset: int = 17,
    imports: dict[str, int] | None = None,
    **tables: Any,
) -> onnx.ModelProto:
    """A model of integer inputs of which ``nodes`` make "y"."""
    declared = [value(name, ["N", 4], "int64") for name in inputs]
    return graphs.model(nodes, declared, [value("y", None)], tables, opset=opset, imports=imports)


def found(proto: onnx.ModelProto) -> tuple[str, str, str | None] | None:
    embedding = find_embedding(proto)
    if embedding is None:
        return None
    table = embedding.table.name if embedding.table is not None else None
    return embedding.tensor, embedding.source, table


def test_the_look_up_of_token_ids() -> None:
    proto = tokens.attention_net()
    assert found(proto) == ("emb", "ids", "table")
    assert id_limits(proto) == {"ids": (-11, 10)}


@pytest.mark.parametrize(("rows", "wanted"), [((5, 9), "b"), ((9, 5), "a"), ((9, 9), "a")])
def test_of_several_the_largest_table_or_the_first(rows: tuple[int, int], wanted: str) -> None:
    proto = looked_up(
        node("Gather", ["ta", "a"], ["ea"]),
        node("Gather", ["tb", "b"], ["eb"]),
        node("Add", ["ea", "eb"], ["y"]),
        inputs=("a", "b"),
        ta=weight(0, rows[0], 3),
        tb=weight(1, rows[1], 3),
    )
    assert found(proto) == (f"e{wanted}", wanted, f"t{wanted}")
    assert id_limits(proto) == {"a": (-rows[0], rows[0] - 1), "b": (-rows[1], rows[1] - 1)}


def test_ids_are_followed_to_the_input_and_must_be_in_all_tables() -> None:
    proto = looked_up(
        node("Cast", ["ids"], ["small"], to=graphs.ELEMENTS["int32"]),
        node("Unsqueeze", ["small", "axis"], ["wide"]),
        node("Gather", ["large", "wide"], ["e"]),
        node("Gather", ["few", "ids"], ["f"]),
        node("Add", ["e", "f"], ["y"]),
        large=weight(0, 20, 3),
        few=weight(1, 6, 3),
        axis=np.array([1]),
    )
    assert found(proto) == ("e", "ids", "large")
    assert id_limits(proto) == {"ids": (-6, 5)}


def test_computed_indices_are_no_ids() -> None:
    proto = looked_up(
        node("Add", ["ids", "two"], ["shifted"]),
        node("Gather", ["table", "shifted"], ["y"]),
        table=weight(0, 20, 3),
        two=np.asarray(2),
    )
    assert (found(proto), id_limits(proto)) == (None, {})


def test_positions_that_follow_from_a_shape_are_none() -> None:
    proto = looked_up(
        node("Shape", ["ids"], ["shape"]),
        node("Gather", ["table", "shape"], ["e"]),
        node("Cast", ["ids"], ["f"], to=graphs.FLOAT),
        node("Mul", ["e", "f"], ["y"]),
        table=weight(0, 20, 4),
    )
    assert found(proto) is None


@pytest.mark.parametrize(
    "table",
    [np.arange(8, dtype=np.float32), np.zeros((0, 3), np.float32), weight(0, 8, 3)],
    ids=["vector", "empty", "axis 1"],
)
def test_what_is_no_table_of_rows(table: Any) -> None:
    axis = int(table.shape == (8, 3))
    proto = looked_up(node("Gather", ["table", "ids"], ["y"], axis=axis), table=table)
    assert found(proto) is None


def test_a_table_of_whole_numbers_is_none() -> None:
    proto = looked_up(node("Gather", ["table", "ids"], ["y"]), table=np.ones((5, 2), np.int64))
    assert found(proto) is None
    assert id_limits(proto) == {"ids": (-5, 4)}


@pytest.mark.parametrize("where", ["node", "converted", "quantised", "cast"])
def test_other_kinds_of_table(where: str) -> None:
    """A Constant node, a quantised constant, int8 rows, and rows of a type that cannot be fed."""
    constants: dict[str, Any] = {}
    scale = {"scale": np.asarray(0.5, np.float32), "zero": np.asarray(0, np.int8)}
    bytes_ = np.arange(-6, 6, dtype=np.int8).reshape(4, 3)
    if where == "node":
        tensor = onnx.numpy_helper.from_array(weight(0, 4, 3), "inner")
        nodes = [
            node("Constant", [], ["t"], value=tensor),
            node("Gather", ["t", "ids"], ["e"]),
        ]
        wanted = ("e", "ids", "inner")
    elif where == "cast":
        held = onnx.helper.make_tensor(
            "t", graphs.ELEMENTS["bfloat16"], [4, 3], np.arange(12, dtype=np.float32)
        )
        nodes = [node("Gather", ["t", "ids"], ["g"]), node("Cast", ["g"], ["e"], to=graphs.FLOAT)]
        proto = looked_up(*nodes, node("Relu", ["e"], ["y"]))
        proto.graph.initializer.append(held)
        assert found(proto) == ("e", "ids", "t")
        return
    else:
        constants = {"t": bytes_, **scale}
        dequantise = "DequantizeLinear"
        nodes = (
            [node(dequantise, ["t", "scale", "zero"], ["d"]), node("Gather", ["d", "ids"], ["e"])]
            if where == "converted"
            else [
                node("Gather", ["t", "ids"], ["g"]),
                node(dequantise, ["g", "scale", "zero"], ["e"]),
            ]
        )
        wanted = ("e", "ids", None)  # type: ignore[assignment]
    proto = looked_up(*nodes, node("Relu", ["e"], ["y"]), **constants)
    assert found(proto) == wanted
    assert id_limits(proto) == {"ids": (-4, 3)}
    assert graphs.run(proto, {"ids": np.array([[0, 1, 2, 3]])})["y"].shape == (1, 4, 3)


def test_the_fused_embedding_of_a_transformer() -> None:
    proto = graphs.model(
        [
            node(
                "EmbedLayerNormalization",
                ["ids", "kinds", "words", "places", "types", "gamma", "beta", "mask"],
                ["e", "count"],
                domain="com.microsoft",
            ),
            node("Relu", ["e"], ["y"]),
        ],
        [value(name, ["N", 4], "int32") for name in ("ids", "kinds", "mask")],
        [value("y", ["N", 4, 4])],
        {
            "words": weight(0, 9, 4),
            "places": weight(1, 30, 4),
            "types": weight(2, 2, 4),
            "gamma": np.ones(4, np.float32),
            "beta": np.zeros(4, np.float32),
        },
        imports={"com.microsoft": 1},
    )
    # The table of positions is larger, and looked up by place alone.
    assert found(proto) == ("e", "ids", None)
    assert id_limits(proto) == {"ids": (0, 8), "kinds": (0, 1)}
