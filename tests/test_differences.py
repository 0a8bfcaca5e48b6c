"""Two model files side by side: weights by value, everything else by line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hypothesis_numpy
from onnx import TensorProto, helper, numpy_helper

from lsa_onnx import differences
from lsa_onnx.differences import ModelDifference, diff_models
from lsa_onnx.errors import DataError, ModelError
from tests import graphs
from tests.graphs import model, node, save, save_external, value, weight

Edit = Callable[[onnx.ModelProto], Any]


def edited(proto: onnx.ModelProto, *edits: Edit) -> onnx.ModelProto:
    copied = onnx.ModelProto()
    copied.CopyFrom(proto)
    for edit in edits:
        edit(copied)
    return copied


def between(old: onnx.ModelProto, new: onnx.ModelProto, folder: Path) -> ModelDifference:
    return diff_models(save(old, folder / "old.onnx"), save(new, folder / "new.onnx"))


def holding(array: Any) -> onnx.ModelProto:
    """A model that has ``array`` as "w" and does not use it."""
    tensor = array if isinstance(array, onnx.TensorProto) else numpy_helper.from_array(array, "w")
    proto = model([node("Relu", ["x"], ["y"])], [value("x", ["N", 5])], [value("y", ["N", 5])])
    proto.graph.initializer.append(tensor)
    return proto


def test_a_change_worked_out_by_hand(tmp_path: Path) -> None:
    old = np.array([[3, 0, 4], [0, 0, 0]], np.float32)
    new = np.array([[3, 0, 4], [2, 0, -1.5]], np.float32)
    found = between(holding(old), holding(new), tmp_path)
    (change,) = found.changed_tensors
    assert (change.name, change.scope, change.dtype, change.shape) == ("w", "", "float32", (2, 3))
    assert (change.elements, change.changed_elements, change.max_difference) == (6, 2, 2.0)
    assert change.relative_change == pytest.approx(2.5 / 5)
    assert (found.same_graph, found.other, found.compared_tensors) == (True, [], 1)


@pytest.mark.parametrize("name", ["float16", "bfloat16", "float32", "float64"])
@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_figures_are_numpys(
    name: str, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    shape = data.draw(hypothesis_numpy.array_shapes(max_dims=3, max_side=4))
    floats = st.floats(-100, 100, width=16)
    arrays = hypothesis_numpy.arrays(np.float64, shape, elements=floats)
    kind = graphs.ELEMENTS[name]
    old, new = (helper.make_tensor("w", kind, shape, data.draw(arrays).ravel()) for _ in "ab")
    found = between(holding(old), holding(new), tmp_path_factory.mktemp("figures"))
    a, b = (numpy_helper.to_array(t).astype(np.float64) for t in (old, new))
    if not found.changed_tensors:
        assert old.SerializeToString() == new.SerializeToString()
        return
    (change,) = found.changed_tensors
    assert change.max_difference == np.abs(b - a).max()
    assert change.changed_elements >= np.count_nonzero(a != b)
    if a.any():
        relative = np.linalg.norm(b - a) / np.linalg.norm(a)
        assert change.relative_change == pytest.approx(relative)
    else:
        assert change.relative_change is None


def test_pieces_make_no_difference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old, new = holding(weight(0, 7, 11)), holding(weight(1, 7, 11))
    whole = between(old, new, tmp_path).changed_tensors[0]
    monkeypatch.setattr(differences, "_PIECE", 10)
    pieces = between(old, new, tmp_path).changed_tensors[0]
    assert (pieces.changed_elements, pieces.max_difference) == (77, whole.max_difference)
    assert pieces.relative_change == pytest.approx(whole.relative_change)


def test_bits_count(tmp_path: Path) -> None:
    """NaN that stays is no change; the sign of zero is."""
    old, new = (np.array([np.nan, np.inf, z], np.float32) for z in (0.0, -0.0))
    same = between(holding(old), holding(old.copy()), tmp_path)
    assert same.changed_tensors == ()
    (change,) = between(holding(old), holding(new), tmp_path).changed_tensors
    assert (change.changed_elements, change.max_difference, change.relative_change) == (
        1,
        None,
        None,
    )


@pytest.mark.parametrize(
    ("old", "new", "largest", "graph"),
    [
        (np.array([1, 2]), np.array([1, 5]), 3.0, ["int64 tensor 'w' holds other values"]),
        (np.array([True]), np.array([False]), 1.0, ["bool tensor 'w' holds other values"]),
        (np.array([1], np.int8), np.array([-2], np.int8), 3.0, []),
        (
            np.array(["a", "b"], object),
            np.array(["a", "c"], object),
            None,
            ["string tensor 'w' holds other values"],
        ),
        (np.array([3 + 4j]), np.array([0j]), 5.0, []),
    ],
)
def test_other_types(
    old: Any, new: Any, largest: float | None, graph: list[str], tmp_path: Path
) -> None:
    found = between(holding(old), holding(new), tmp_path)
    (change,) = found.changed_tensors
    assert (change.changed_elements, change.max_difference) == (1, largest)
    assert list(found.graph) == graph


def test_packed_tensors(tmp_path: Path) -> None:
    old, new = (helper.make_tensor("w", TensorProto.INT4, [3], v) for v in ([1, -8, 7], [1, 2, 7]))
    paths = []
    for index, tensor in enumerate((old, new)):
        paths.append(save_external(holding(tensor), tmp_path / f"{index}.onnx", f"{index}.data"))
    for found in (between(holding(old), holding(new), tmp_path), diff_models(*paths)):
        (change,) = found.changed_tensors
        assert (change.dtype, change.changed_elements, change.max_difference) == ("int4", 1, 10)


def test_constant_nodes(tmp_path: Path) -> None:
    def proto(tensor: float, number: float, numbers: list[float]) -> onnx.ModelProto:
        held = numpy_helper.from_array(np.full((2, 3), tensor, np.float32))
        nodes = [
            node("Constant", [], ["t"], value=held),
            node("Constant", [], ["f"], value_float=number),
            node("Constant", [], ["fs"], value_floats=numbers),
            node("Add", ["x", "f"], ["y"]),
        ]
        return model(nodes, [value("x", ["N", 3])], [value("y", ["N", 3])])

    found = between(proto(1, 2, [3, 4]), proto(1.5, 4, [3, 8]), tmp_path)
    assert found.same_graph
    assert [(c.name, c.shape, c.max_difference) for c in found.changed_tensors] == [
        ("t", (2, 3), 0.5),
        ("f", (), 2.0),
        ("fs", (2,), 4.0),
    ]


def test_weights_of_branches_and_functions(tmp_path: Path) -> None:
    def proto(number: float) -> onnx.ModelProto:
        held = numpy_helper.from_array(np.full(4, number, np.float32), "inner")
        old = graphs.if_net()
        (branch,) = (a.g for n in old.graph.node for a in n.attribute if a.name == "then_branch")
        branch.initializer.append(held)
        body = [helper.make_node("Constant", [], ["c"], value=held)]
        body.append(helper.make_node("Add", ["a", "c"], ["o"]))
        imports = [helper.make_opsetid("", 17)]
        old.functions.append(helper.make_function("own", "F", ["a"], ["o"], body, imports))
        return old

    found = between(proto(1), proto(2), tmp_path)
    assert found.same_graph
    assert [(c.name, c.scope) for c in found.changed_tensors] == [
        ("inner", " in then_branch of 'z'"),
        ("c", " in function 'own::F'"),
    ]


def rename_output(proto: onnx.ModelProto) -> None:
    proto.graph.node[0].output[0] = "renamed"


EDITS: list[tuple[Edit, str]] = [
    (lambda m: setattr(m, "ir_version", 9), "the model: ir_version is 9 instead of 8"),
    (lambda m: setattr(m, "producer_name", "x"), "the model: producer_name is 'x' instead of"),
    (lambda m: setattr(m, "doc_string", "d"), "the model: doc_string is 'd' instead of ''"),
    (lambda m: setattr(m.graph, "name", "h"), "the graph: name is 'h' instead of 'g'"),
    (
        lambda m: setattr(m.opset_import[0], "version", 18),
        "the model: opset of 'ai.onnx' is 18 instead of 17",
    ),
    (
        lambda m: m.opset_import.add(domain="own", version=2),
        "the model: opset of 'own' is 2 instead of none",
    ),
    (
        lambda m: setattr(m.graph.input[0].type.tensor_type.shape.dim[0], "dim_value", 1),
        "input 'x' is float32 1×3×5×7 instead of float32 N×3×5×7",
    ),
    (
        lambda m: setattr(m.graph.input[0], "doc_string", "pixels"),
        "input 'x' is written in another way",
    ),
    (lambda m: m.graph.output.pop(), "output 'y' is gone"),
    (lambda m: m.graph.output.add(name="relu"), "output 'relu' is new"),
    (lambda m: m.graph.value_info.add(name="relu"), "the types noted for inner tensors differ"),
    (rename_output, "node 'conv' is gone"),
    (lambda m: setattr(m.graph.node[1], "name", "r"), "node 'relu' (Relu): name is 'r' instead of"),
    (
        lambda m: setattr(m.graph.node[1], "op_type", "Elu"),
        "node 'relu' (Relu): op_type is 'Elu' instead of 'Relu'",
    ),
    (
        lambda m: setattr(m.graph.node[3].attribute[0], "i", 0),
        "node 'y' (Gemm): transB is 0 instead of 1",
    ),
    (
        lambda m: m.graph.node[3].attribute.append(helper.make_attribute("alpha", 2.0)),
        "attribute 'alpha' of node 'y' (Gemm) is new",
    ),
    (
        lambda m: m.graph.node[0].input.__setitem__(1, "v"),
        "node 'conv' (Conv): input is ['x', 'v'] instead of ['x', 'w']",
    ),
    (lambda m: m.graph.node.reverse(), "the order of the nodes differs"),
    (lambda m: m.graph.initializer.pop(), "initializer 'c' is gone"),
    (lambda m: m.graph.initializer.add(name="d", data_type=1), "initializer 'd' is new"),
    (
        lambda m: m.graph.initializer[2].CopyFrom(numpy_helper.from_array(weight(0, 3, 2), "c")),
        "tensor 'c' is float32 3×2 instead of float32 6",
    ),
    (
        lambda m: m.graph.initializer[2].CopyFrom(
            numpy_helper.from_array(weight(0, 6, dtype="float16"), "c")
        ),
        "tensor 'c' is float16 6 instead of float32 6",
    ),
    (
        lambda m: m.functions.append(helper.make_function("own", "F", ["a"], ["b"], [], [])),
        "function 'own::F' is new",
    ),
    (
        lambda m: m.graph.metadata_props.add(key="k", value="v"),
        'the graph: metadata_props is [{key: "k" value: "v"}] instead of []',
    ),
    (
        lambda m: m.graph.metadata_props.add(key="k", value="v" * 100),
        "the graph: metadata_props is [longer content] instead of []",
    ),
    (lambda m: m.training_info.add(), "the model: training_info is [{}] instead of []"),
]


@pytest.mark.parametrize(("edit", "line"), EDITS, ids=[line for _, line in EDITS])
def test_what_else_may_differ(edit: Edit, line: str, tmp_path: Path) -> None:
    plain = graphs.conv_net()
    found = between(plain, edited(plain, edit), tmp_path)
    assert not found.same_graph
    assert any(each.startswith(line) for each in found.graph), found.graph
    assert found.changed_tensors == ()
    assert found.other == list(found.graph)


def test_differences_inside_a_branch_name_it(tmp_path: Path) -> None:
    def in_branch(proto: onnx.ModelProto) -> None:
        (branch,) = (a.g for n in proto.graph.node for a in n.attribute if a.name == "else_branch")
        branch.node[0].op_type = "Exp"

    plain = graphs.if_net()
    found = between(plain, edited(plain, in_branch), tmp_path)
    assert found.graph == (
        "node 'inner_Abs' (Abs) in else_branch of 'z': op_type is 'Exp' instead of 'Abs'",
    )


def test_arguments_of_functions(tmp_path: Path) -> None:
    def proto(name: str, *, constant: bool) -> onnx.ModelProto:
        held = helper.make_node("Constant", [], ["c"])
        scaled = helper.make_node("Elu", ["a"], ["e"])
        referring, key = (held, "value_float") if constant else (scaled, "alpha")
        referring.attribute.add(name=key, type=onnx.AttributeProto.FLOAT, ref_attr_name=name)
        if not constant:
            held.attribute.append(helper.make_attribute("value_float", 1.0))
        body = [held, scaled, helper.make_node("Add", ["e", "c"], ["o"])]
        imports = [helper.make_opsetid("", 17)]
        function = helper.make_function("own", "F", ["a"], ["o"], body, imports, ["p", "q"])
        call = node("F", ["x"], ["y"], domain="own", p=1.0, q=2.0)
        x, y = value("x", ["N"]), value("y", ["N"])
        return model([call], [x], [y], imports={"own": 1}, functions=[function])

    for constant, where in ((True, "'c' (Constant)"), (False, "'e' (Elu)")):
        old, new = proto("p", constant=constant), proto("q", constant=constant)
        assert between(old, old, tmp_path).other == []
        (line,) = between(old, new, tmp_path).graph
        assert line.startswith(f"node {where} in function 'own::F': ")
        assert line.endswith("is that of the function's 'q' instead of that of the function's 'p'")


def test_attributes_of_no_known_type(tmp_path: Path) -> None:
    def untyped(proto: onnx.ModelProto) -> None:
        proto.graph.node[3].attribute[0].ClearField("type")

    plain = graphs.conv_net()
    assert between(plain, edited(plain, untyped), tmp_path).graph == (
        "node 'y' (Gemm): transB is unreadable instead of 1",
    )
    held = node("Constant", [], ["y"], value_float=1.0)
    held.attribute[0].ClearField("type")
    strange = model([held], [], [value("y", None)])
    assert between(strange, strange, tmp_path).compared_tensors == 0


def test_attributes_too_long_to_show(tmp_path: Path) -> None:
    def proto(first: float) -> onnx.ModelProto:
        noted = node("Relu", ["x"], ["y"], note=[first, *[0.5] * 500])
        return model([noted], [value("x", ["N", 3])], [value("y", ["N", 3])])

    found = between(proto(1), proto(2), tmp_path)
    assert found.graph == ("node 'y' (Relu): note is written in another way",)


def test_metadata(tmp_path: Path) -> None:
    plain = graphs.conv_net()
    old = edited(plain, lambda m: helper.set_model_props(m, {"a": "1", "b": "2", "same": "s"}))
    new = edited(plain, lambda m: helper.set_model_props(m, {"same": "s", "b": "3", "c": "4"}))
    found = between(old, new, tmp_path)
    assert found.same_graph
    assert bool(found.metadata)
    assert (found.metadata.added, found.metadata.removed) == ({"c": "4"}, {"a": "1"})
    assert found.metadata.changed == {"b": ("2", "3")}
    assert not between(old, old, tmp_path).metadata


def test_metadata_of_nodes(tmp_path: Path) -> None:
    def note(proto: onnx.ModelProto) -> None:
        (carrier,) = (node for node in proto.graph.node if node.op_type == "If")
        for each in (carrier, carrier.attribute[0].g.node[0], carrier.attribute[1].g.node[0]):
            each.metadata_props.add(key="k", value="v")

    plain = graphs.if_net()
    found = between(plain, edited(plain, note), tmp_path)
    assert found.same_graph
    assert set(found.metadata.added.values()) == {"v"}
    # Each says where it is, also where both bodies use one name.
    assert len(found.metadata.added) == 3
    assert all(key.startswith("k of node '") for key in found.metadata.added)


def test_packaging_is_not_the_graph(tmp_path: Path) -> None:
    plain = graphs.conv_net()
    inline = save(plain, tmp_path / "inline.onnx")
    outside = save_external(plain, tmp_path / "outside.onnx", "a.data")
    elsewhere = save_external(plain, tmp_path / "elsewhere.onnx", "b.data")
    found = diff_models(inline, outside)
    assert (found.same_graph, found.changed_tensors) == (True, ())
    assert found.other == [
        "3 tensors ('w', 'v', 'c') stored in 'a.data' instead of inside the file, as raw_data"
    ]
    moved = diff_models(outside, elsewhere)
    assert moved.packaging == (
        "3 tensors ('w', 'v', 'c') stored in 'b.data' instead of in 'a.data'",
    )


def test_weights_in_other_files_are_compared(tmp_path: Path) -> None:
    old = save_external(graphs.conv_net(), tmp_path / "old.onnx", "old.data")
    changed = edited(graphs.conv_net(), lambda m: m.graph.initializer[1].CopyFrom(
        numpy_helper.from_array(weight(9, 6, 60), "v")
    ))  # fmt: skip
    found = diff_models(old, save_external(changed, tmp_path / "new.onnx", "new.data"))
    (change,) = found.changed_tensors
    assert (change.name, change.changed_elements) == ("v", 360)
    assert change.max_difference == np.abs(weight(9, 6, 60) - weight(2, 6, 60)).max()


def test_what_cannot_be_read(tmp_path: Path) -> None:
    good = save(graphs.conv_net(), tmp_path / "good.onnx")
    with pytest.raises(DataError, match=r"no model file '.*none\.onnx'"):
        diff_models(good, tmp_path / "none.onnx")
    short = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[2, 3], raw_data=bytes(20))
    bad = save(holding(short), tmp_path / "bad.onnx")
    with pytest.raises(ModelError, match=r"tensor 'w' does not hold the 6 elements of its shape"):
        diff_models(bad, bad)
    text = TensorProto(name="w", data_type=TensorProto.STRING, dims=[1])
    text.data_location = TensorProto.EXTERNAL
    text.external_data.add(key="location", value="bad.onnx")
    bad = save(holding(text), tmp_path / "text.onnx")
    with pytest.raises(ModelError, match=r"'w' of type STRING has its data in another file"):
        diff_models(bad, bad)


@pytest.mark.real
def test_real_models_equal_themselves(shared: Path) -> None:
    for path in sorted((shared / "models").glob("*.onnx")):
        found = diff_models(path, path)
        assert (found.changed_tensors, found.other, bool(found.metadata)) == ((), [], False)
        assert found.compared_tensors > 0
