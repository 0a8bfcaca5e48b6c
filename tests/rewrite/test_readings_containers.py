"""Where the members of sequences, optionals and maps are scored."""

from __future__ import annotations

from typing import Any

import onnx
import pytest

from lsa_onnx.rewrite.readings import Readings
from tests import graphs
from tests.rewrite.reading import constant, reason, small
from tests.rewrite.typed import types_of

BOTH = [graphs.node("Neg", ["x"], ["a"]), graphs.node("Abs", ["x"], ["b"])]
INDEX = constant("i", onnx.TensorProto.INT64, 0)


def test_members_are_named() -> None:
    nodes = [*BOTH, graphs.node("SequenceConstruct", ["a", "b"], ["s"])]
    proto = small(nodes)
    assert reason(proto, "s") == "sequence: its members 'a' and 'b' are scored"


def test_members_that_are_put_in_later_are_counted() -> None:
    nodes = [*BOTH, graphs.node("SequenceConstruct", ["a"], ["s0"])]
    nodes += [graphs.node("SequenceInsert", [f"s{i}", "b"], [f"s{i + 1}"]) for i in range(4)]
    nodes.append(graphs.node("Identity", ["s4"], ["s"]))
    proto = small(nodes)
    assert reason(proto, "s0") == "sequence: its member 'a' is scored"
    assert reason(proto, "s1") == "sequence: its members 'a' and 'b' are scored"
    assert reason(proto, "s") == "sequence: its members 'a', 'b', 'b' and 2 more are scored"


def test_a_tensor_that_was_split_is_named() -> None:
    nodes = [*BOTH[:1], graphs.node("SplitToSequence", ["a"], ["s"], axis=1)]
    assert reason(small(nodes), "s") == "sequence: 'a', of which it is made, is scored"


@pytest.mark.parametrize("count", [1, 2])
def test_what_is_taken_from_a_sequence_is_named(count: int) -> None:
    nodes = [graphs.node("SplitToSequence", ["x"], ["s"], axis=1)]
    nodes += [graphs.node("SequenceAt", ["s", "i"], [f"t{n}"]) for n in range(count)]
    named = "'t0', taken from it, is" if count == 1 else "'t0' and 't1', taken from it, are"
    assert reason(small(nodes, [INDEX]), "s") == f"sequence: {named} scored"


def test_the_inputs_of_the_model_and_integers_are_no_members_to_score() -> None:
    cast = graphs.node("Cast", ["x"], ["k"], to=onnx.TensorProto.INT64)
    for member in ("x", "k"):
        nodes = [cast, graphs.node("SequenceConstruct", [member], ["s"])]
        expected = (
            "sequence: no floating-point tensor of the main graph is put into it or taken from it"
        )
        assert reason(small(nodes), "s") == expected


def test_optionals_are_known_without_a_type() -> None:
    nodes = [
        *BOTH[:1],
        graphs.node("Optional", ["a"], ["o"]),
        graphs.node("OptionalGetElement", ["o"], ["y"]),
    ]
    types: Any = {"a": ("float32", ["N", 4]), "y": ("float32", ["N", 4])}
    assert Readings(small(nodes), types).of("o") == "optional: its member 'a' is scored"


def test_the_probabilities_behind_a_map_are_named() -> None:
    nodes = [
        graphs.node("Softmax", ["x"], ["p"]),
        graphs.node("ZipMap", ["p"], ["m"], domain="ai.onnx.ml", classlabels_int64s=range(4)),
    ]
    proto = small(nodes)
    proto.opset_import.add(domain="ai.onnx.ml", version=1)
    assert types_of(proto)["m"][0].startswith("seq(map(")
    assert reason(proto, "m") == "sequence: 'p', of which it is made, is scored"
