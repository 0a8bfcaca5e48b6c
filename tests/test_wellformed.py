"""Models that break a rule of ONNX are refused in one line; what ONNX Runtime puts up with is loaded."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import lsa_onnx.wellformed
from lsa_onnx.errors import ModelError
from lsa_onnx.model import Model, load_model
from tests import graphs
from tests.graphs import Array, model, node, run, samples, save, value, weight

X = samples(0, 3, 5) - np.float32(0.5)
make = helper.make_node


def small(*nodes: onnx.NodeProto, weights: dict[str, Array] | None = None) -> onnx.ModelProto:
    """From ``x`` of shape (N, 5) to ``y``."""
    return model(nodes, [value("x", ["N", 5])], [value("y", None)], weights)


def added() -> onnx.ModelProto:
    """``y = x + w``, where ``w`` is the first initializer."""
    return small(node("Add", ["x", "w"], ["y"]), weights={"w": weight(0, 5)})


def changed(change: Callable[[onnx.TensorProto], object]) -> onnx.ModelProto:
    """``added`` with something else for ``w``."""
    proto = added()
    change(proto.graph.initializer[0])
    return proto


def with_ir(version: int) -> onnx.ModelProto:
    proto = added()
    proto.ir_version = version
    return proto


def with_reference(proto: onnx.ModelProto) -> onnx.ModelProto:
    proto.graph.node[0].attribute[0].ref_attr_name = "a"
    return proto


def with_type_in_a_body(proto: onnx.ModelProto, element: int) -> onnx.ModelProto:
    body = next(a.g for a in proto.graph.node[-1].attribute if a.name == "then_branch")
    body.output[0].type.tensor_type.elem_type = element
    return proto


def with_body(proto: onnx.ModelProto, name: str) -> onnx.ModelProto:
    """With one more body for the last node, under ``name``."""
    last = proto.graph.node[-1]
    last.attribute.append(helper.make_attribute(name, last.attribute[0].g))
    return proto


def branching(*nodes: onnx.NodeProto, result: str = "o") -> onnx.ModelProto:
    """An ``If`` with ``nodes`` as one branch, which returns ``result``, and -x as the other."""
    branches = {
        "then_branch": helper.make_graph(nodes, "then", [], [value(result, None)]),
        "else_branch": helper.make_graph(
            [make("Neg", ["x"], ["other"])], "else", [], [value("other", None)]
        ),
    }
    return small(
        make("ReduceMax", ["x"], ["m"], keepdims=0),
        make("Cast", ["m"], ["c"], to=TensorProto.BOOL),
        make("If", ["c"], ["y"], **branches),
    )


def load(proto: onnx.ModelProto, folder: Path) -> Model:
    return load_model(save(proto, folder / "m.onnx"))


def with_input_of_type(element: int) -> onnx.ModelProto:
    proto = added()
    proto.graph.input[0].type.tensor_type.elem_type = element
    return proto


def twice(field: str) -> onnx.ModelProto:
    proto = added()
    entries = getattr(proto.graph, field)
    entries.add().CopyFrom(entries[0])
    return proto


def without_outputs() -> onnx.ModelProto:
    proto = added()
    del proto.graph.output[:]
    return proto


def overflowing(tensor: onnx.TensorProto) -> None:
    tensor.dims[:] = [2**32, 2**32, 5]


REFUSED: dict[str, tuple[Callable[[], onnx.ModelProto], str]] = {
    "undefined": (
        lambda: small(node("Add", ["x", "q"], ["y"])),
        r"node 'n_y' \(Add\) reads 'q', which nothing makes",
    ),
    "undefined output": (
        lambda: small(node("Abs", ["x"], ["z"])),
        "the graph returns 'y', which nothing makes",
    ),
    "undefined in a body": (
        lambda: branching(make("Abs", ["q"], ["o"])),
        r"node 'o' \(Abs\) in then_branch of 'y' reads 'q', which nothing makes",
    ),
    "undefined output of a body": (
        lambda: branching(make("Abs", ["x"], ["o"]), result="p"),
        "the graph in then_branch of 'y' returns 'p', which nothing makes",
    ),
    "three bodies": (
        lambda: with_body(branching(make("Abs", ["x"], ["o"])), "third_branch"),
        r"node 'y' \(If\) has 3 bodies, and 2 is what it takes",
    ),
    "no body": (
        lambda: small(make("Loop", ["", "", "x"], ["y"])),
        r"node 'y' \(Loop\) has 0 bodies, and 1 is what it takes",
    ),
    "version of no operators": (
        lambda: model([node("Neg", ["x"], ["y"])], [value("x", ["N", 5])], [value("y", None)], opset=2**40),
        "imports version 1099511627776 of domain ''; versions up to 2147483647",
    ),
    "IR of no version": (
        lambda: with_ir(2**40),
        "has IR version 1099511627776; versions up to 2147483647",
    ),
    "too many inputs": (
        lambda: small(node("Neg", ["x", "x"], ["y"])),
        r"node 'n_y' \(Neg\) has 2 inputs, and 1 is what Neg of opset 17 takes",
    ),
    "too few inputs": (
        lambda: small(node("Gather", ["x"], ["y"])),
        r"node 'n_y' \(Gather\) has 1 inputs, and 2 is what Gather",
    ),
    "too many outputs": (
        lambda: small(node("Dropout", ["x"], ["y", "m", "n"])),
        r"node 'n_y' \(Dropout\) has 3 outputs, and 1 to 2 is what Dropout",
    ),
    "type of a body's input": (
        lambda: with_type_in_a_body(branching(make("Abs", ["x"], ["o"])), 98),
        "'o' has the element type 98",
    ),
    "attribute of no function": (
        lambda: with_reference(small(node("Elu", ["x"], ["y"], alpha=0.5))),
        r"'alpha' of node 'n_y' \(Elu\) stands for 'a' of a function, and the node is in none",
    ),
    "no outputs": (without_outputs, "returns nothing: its graph has no outputs"),
    "input twice": (lambda: twice("input"), "'x' is made more than once, as an input, twice"),
    "made twice": (
        lambda: small(node("Neg", ["x"], ["y"], name="a"), node("Abs", ["x"], ["y"], name="b")),
        r"'y' is made more than once, by node 'a' \(Neg\) and by node 'b' \(Abs\)",
    ),
    "made twice by one node": (
        lambda: small(node("Split", ["x"], ["y", "y"])),
        "'y' is made more than once",
    ),
    "made twice in a body": (
        lambda: branching(make("Abs", ["x"], ["o"]), make("Neg", ["x"], ["o"])),
        "'o' in then_branch of 'y' is made more than once",
    ),
    "input made": (
        lambda: small(node("Neg", ["x"], ["x"]), node("Abs", ["x"], ["y"])),
        r"'x' is made more than once, as an input and by node 'n_x' \(Neg\)",
    ),
    "constant made": (
        lambda: small(
            node("Neg", ["x"], ["w"]), node("Abs", ["w"], ["y"]), weights={"w": weight(0, 5)}
        ),
        "'w' is made more than once, as a constant and by node",
    ),
    "cycle": (
        lambda: small(node("Add", ["x", "b"], ["a"]), node("Neg", ["a"], ["b"]), node("Abs", ["a"], ["y"])),
        r"node 'n_a' \(Add\) reads 'b', which depends on what that node makes",
    ),
    "cycle of one": (
        lambda: small(node("Add", ["x", "y"], ["y"])),
        r"node 'n_y' \(Add\) reads 'y', which depends",
    ),
    "raw data too short": (
        lambda: changed(lambda w: setattr(w, "raw_data", w.raw_data[:-1])),
        r"'w' holds 19 bytes, and its shape \[5\] needs 20",
    ),
    "raw data too long": (
        lambda: changed(lambda w: setattr(w, "raw_data", w.raw_data * 2)),
        r"'w' holds 40 bytes, and its shape \[5\] needs 20",
    ),
    "no data": (
        lambda: changed(lambda w: w.ClearField("raw_data")),
        r"'w' holds 0 numbers, and its shape \[5\] needs 5",
    ),
    "negative dimension": (
        lambda: changed(lambda w: w.dims.append(-2)),
        r"'w' has the shape \[5, -2\]: a dimension is negative",
    ),
    "too many elements": (
        lambda: changed(overflowing),
        r"shape \[4294967296, 4294967296, 5\] needs 368934881474191032320",
    ),
    "unknown type": (
        lambda: changed(lambda w: setattr(w, "data_type", 99)),
        "'w' has the element type 99, which is none that onnx",
    ),
    "no type": (lambda: changed(lambda w: setattr(w, "data_type", 0)), "'w' has the element type 0"),
    "input of unknown type": (lambda: with_input_of_type(99), "'x' has the element type 99"),
    "constant node": (
        lambda: small(
            make("Constant", [], ["w"], value=TensorProto(name="w", data_type=1, dims=[5])),
            node("Add", ["x", "w"], ["y"]),
        ),
        r"'w' holds 0 numbers, and its shape \[5\] needs 5",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_breaches_are_named(case: str, tmp_path: Path) -> None:
    make_model, message = REFUSED[case]
    with pytest.raises(ModelError, match=message) as caught:
        load(make_model(), tmp_path)
    assert caught.value.exit_code == 3
    assert "\n" not in str(caught.value)


def test_control_characters_in_names_are_shown_escaped(tmp_path: Path) -> None:
    proto = small(node("Add", ["x", "evil\x1b[2J\n\0"], ["y"], name="n\x07"))
    with pytest.raises(ModelError) as caught:
        load(proto, tmp_path)
    assert r"node 'n\x07' (Add) reads 'evil\x1b[2J\n\x00', which nothing makes" in str(caught.value)
    assert str(caught.value).isprintable()


def test_names_with_control_characters_are_loaded(tmp_path: Path) -> None:
    odd = "a\0b\x1b[31m\n"
    proto = small(node("Abs", ["x"], [odd]), node("Neg", [odd], ["y"]))
    np.testing.assert_array_equal(run(load(proto, tmp_path).proto, {"x": X})["y"], -np.abs(X))


@pytest.mark.parametrize("place", ["tensor", "metadata", "dimension"])
def test_text_that_is_not_utf8_is_refused(place: str, tmp_path: Path) -> None:
    proto = small(node("Abs", ["x"], ["h"]), node("Neg", ["h"], ["y"]))
    if place == "tensor":
        proto.graph.node[0].output[0] = proto.graph.node[1].input[0] = "h~~"
    elif place == "metadata":
        proto.graph.node[0].metadata_props.add(key="scope", value="h~~")
    else:
        proto.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "h~~"
    path = tmp_path / "m.onnx"
    path.write_bytes(proto.SerializeToString().replace(b"h~~", b"h\xff\xfe"))
    with pytest.raises(ModelError, match=r"the text b'h\\xff\\xfe', which is not UTF-8"):
        load_model(path)


def test_more_nodes_than_anybody_needs_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lsa_onnx.wellformed, "MOST_NODES", 12)
    proto = graphs.if_net()
    assert load(graphs.chain(5), tmp_path).parameters == 45
    with pytest.raises(ModelError, match="the model has 13 nodes; at most 12 are accepted"):
        load(graphs.chain(6), tmp_path)
    monkeypatch.setattr(lsa_onnx.wellformed, "MOST_NODES", 6)
    with pytest.raises(ModelError, match="the model has 7 nodes"):
        load(proto, tmp_path)


def nested(levels: int) -> onnx.ModelProto:
    """``levels`` branches in each other; every level returns -x in the end."""
    proto = branching(make("Neg", ["x"], ["o"]))
    for level in range(levels - 1):
        inner = proto.graph.node[2]
        inner.output[0] = f"o{level}"
        proto = branching(inner, result=f"o{level}")
    return proto


def test_what_a_parser_follows_is_loaded_at_any_depth(tmp_path: Path) -> None:
    """It is not run at the greatest depth: older releases of ONNX Runtime take twice the time for each level."""
    np.testing.assert_array_equal(run(load(nested(8), tmp_path).proto, {"x": X})["y"], -X)
    assert load(nested(32), tmp_path).proto == nested(32)


def test_what_no_parser_follows_is_named(tmp_path: Path) -> None:
    """Protobuf refuses to make such a message, so it is put together by hand."""
    inner = make("Neg", ["x"], ["o"]).SerializeToString()
    for _ in range(40):
        graph = field(1, inner)
        attribute = field(1, b"then_branch") + field(6, graph) + b"\xa0\x01\x05"
        inner = field(2, b"o") + field(4, b"If") + field(5, attribute)
    path = tmp_path / "deep.onnx"
    path.write_bytes(b"\x08\x08" + field(7, field(1, inner)))
    with pytest.raises(ModelError, match="nests control flow deeper than a parser follows"):
        load_model(path)


def field(number: int, content: bytes) -> bytes:
    """A field of a protobuf message that holds text, bytes or a message."""
    length, head = len(content), [number << 3 | 2]
    while length > 127:
        head.append(length & 127 | 128)
        length >>= 7
    return bytes([*head, length]) + content


def test_bodies_in_functions_in_bodies_count(tmp_path: Path) -> None:
    """Each part can be parsed, and together they could not."""
    proto, inner = nested(20), nested(20)
    call = make("Deep", ["x"], ["o"], domain="own")
    body = proto.graph.node[2]
    for _ in range(20):
        graph = next(a.g for a in body.attribute if a.name == "then_branch")
        body = graph.node[0]
    body.CopyFrom(call)
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    proto.functions.append(
        helper.make_function("own", "Deep", ["x"], ["y"], list(inner.graph.node), imports)
    )
    proto.opset_import.append(imports[1])
    with pytest.raises(ModelError, match="40 bodies of control flow are inside each other when"):
        load(proto, tmp_path)


@pytest.mark.parametrize(
    "data",
    [
        {"raw_data": b"1"},
        {"dims": [-5]},
        {"dims": [2**40]},
        {},
    ],
)
def test_what_nobody_reads_may_be_broken(data: dict[str, Any], tmp_path: Path) -> None:
    """ONNX Runtime drops it without a look."""
    proto = added()
    tensor = proto.graph.initializer.add(name="unread", data_type=1)
    tensor.dims[:] = data.get("dims", [7])
    tensor.raw_data = data.get("raw_data", b"")
    expected = run(proto, {"x": X})["y"]
    loaded = load(proto, tmp_path)
    assert [tensor.name for tensor in loaded.proto.graph.initializer] == ["w"]
    np.testing.assert_array_equal(run(loaded.proto, {"x": X})["y"], expected)


@pytest.mark.parametrize(
    "kind", ["float16", "int4", "complex64", "string", "bool", "uint8", "empty"]
)
def test_every_way_to_hold_data_is_read(kind: str, tmp_path: Path) -> None:
    element = TensorProto.DataType.Value("FLOAT" if kind == "empty" else kind.upper())
    values: Any = [1, 0, 1]
    if kind == "string":
        values = ["a", "", "c"]
    elif kind == "empty":
        values = []
    shape = [len(values)]
    typed = helper.make_tensor("k", element, shape, values)
    tensors = (
        [typed]
        if kind == "string"
        else [typed, numpy_helper.from_array(numpy_helper.to_array(typed), "k")]
    )
    for tensor in tensors:
        proto = small(node("Abs", ["x"], ["y"]))
        proto.graph.initializer.append(tensor)
        proto.graph.output.append(helper.make_tensor_value_info("k", element, None))
        assert load(proto, tmp_path).proto.graph.initializer[0].name == "k"


def test_a_graph_without_inputs_is_loaded(tmp_path: Path) -> None:
    proto = model([make("Constant", [], ["y"], value_floats=[1.0, 2.0])], [], [value("y", None)])
    loaded = load(proto, tmp_path)
    assert loaded.inputs == []
    assert run(loaded.proto, {})["y"].tolist() == [1, 2]
