"""Which bytes of a model change when weights are written into it, and that no others do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from lsa_onnx.differences import diff_models
from lsa_onnx.stored import StoredModel, read_stored
from lsa_trainer.writeback import Placement, WriteBackError, writable, write_weights
from lsa_trainer.writeback.placing import place
from tests import graphs
from tests.graphs import model, node, samples, save, save_external, value, weight
from tests.trainer.written import (
    branch_weights,
    constant,
    constants,
    contents,
    initializer,
    merged_biases,
    outputs,
    placed,
    trained,
)


def stored(proto: onnx.ModelProto) -> StoredModel:
    copied = onnx.ModelProto()
    copied.CopyFrom(proto)
    return StoredModel(Path("model.onnx"), copied, {})


def written(proto: onnx.ModelProto, weights: dict[Placement, Any]) -> onnx.ModelProto:
    held = stored(proto)
    assert place(held, weights) == []
    return held.proto


def test_the_file_answers_as_the_trained_weights_would(tmp_path: Path) -> None:
    """x W + b by hand."""
    weights = {"w": weight(0, 5, 3), "b": weight(1, 3)}
    gemm = [node("Gemm", ["x", "w", "b"], ["y"])]
    proto = model(gemm, [value("x", ["N", 5])], [value("y", ["N", 3])], weights)
    source = save(proto, tmp_path / "source.onnx")
    w, b = weight(2, 5, 3), weight(3, 3)
    new = {initializer("w"): w.astype(np.float64), initializer("b"): b}
    write_weights(source, tmp_path / "target.onnx", new, {})
    x = samples(4, 6, 5)
    np.testing.assert_allclose(outputs(tmp_path / "target.onnx", {"x": x}), x @ w + b, rtol=1e-5)


@pytest.mark.parametrize(
    ("kind", "field"),
    [
        ("FLOAT", "float_data"),
        ("DOUBLE", "double_data"),
        ("FLOAT16", "int32_data"),
        ("BFLOAT16", "int32_data"),
        ("FLOAT8E4M3FN", "int32_data"),
        ("FLOAT8E5M2", "int32_data"),
        *((kind, "raw_data") for kind in ("FLOAT", "DOUBLE", "FLOAT16", "BFLOAT16")),
        *((kind, "raw_data") for kind in ("FLOAT8E4M3FNUZ", "FLOAT8E5M2FNUZ")),
    ],
)
def test_type_and_field_stay(kind: str, field: str) -> None:
    """The values are those that the nearest number of the type gives: 1.0 + 2⁻³⁰ becomes 1."""
    element = TensorProto.DataType.Value(kind)
    tensor = helper.make_tensor("w", element, [2, 3], [0.25, 0.5, 1, 2, 4, -8])
    if field == "raw_data":
        tensor = numpy_helper.from_array(numpy_helper.to_array(tensor), "w")
    assert bool(getattr(tensor, field))
    proto = onnx.ModelProto()
    proto.graph.initializer.append(tensor)
    new = np.array([[-0.5, 1 + 2**-30, 2], [1.5, -0.0, 16]])
    (found,) = written(proto, {initializer("w"): new}).graph.initializer
    assert [f.name for f, _ in found.ListFields()] == [f.name for f, _ in tensor.ListFields()]
    exact = new if kind == "DOUBLE" else np.array([[-0.5, 1, 2], [1.5, 0, 16]])
    np.testing.assert_array_equal(numpy_helper.to_array(found).astype(np.float64), exact)


@pytest.mark.parametrize(
    ("kind", "number", "said"),
    [
        ("float16", 70000.0, "would hold 70000.0 at [1, 0], which is inf in float16"),
        (
            "bfloat16",
            3.4e38,
            "would hold 3.3999999521443642e+38 at [1, 0], which is inf in bfloat16",
        ),
        ("float32", np.nan, "would hold nan at [1, 0], which is nan in float32"),
    ],
)
def test_what_the_type_cannot_hold(kind: str, number: float, said: str) -> None:
    tensor = helper.make_tensor("w", graphs.ELEMENTS[kind], [2, 2], [0, 0, 0, 0])
    proto = onnx.ModelProto()
    proto.graph.initializer.append(tensor)
    new = np.array([[0, 1], [number, 2]], np.float32)
    with pytest.raises(WriteBackError) as caught:
        written(proto, {initializer("w"): new})
    assert said in str(caught.value)
    assert caught.value.exit_code == 3


def test_infinities_of_the_file_stay() -> None:
    """As in the mask of an attention."""
    mask = np.array([0, -np.inf], np.float32)
    proto = onnx.ModelProto()
    proto.graph.initializer.append(numpy_helper.from_array(mask, "mask"))
    found = written(proto, {initializer("mask"): np.array([0.5, -np.inf], np.float32)})
    np.testing.assert_array_equal(numpy_helper.to_array(found.graph.initializer[0]), [0.5, -np.inf])


def test_constant_nodes_keep_their_form() -> None:
    proto = constants()
    new = {
        constant("w"): weight(9, 5, 3),
        constant("scale"): np.float32(2),
        constant("bias"): [4, 5, 6],
    }
    found = written(proto, {p: np.asarray(v, np.float32) for p, v in new.items()})
    w, scale, bias = (n.attribute[0] for n in found.graph.node[:3])
    np.testing.assert_array_equal(numpy_helper.to_array(w.t), weight(9, 5, 3))
    assert (scale.name, scale.f, bias.name, list(bias.floats)) == (
        "value_float",
        2.0,
        "value_floats",
        [4.0, 5.0, 6.0],
    )
    x = samples(1, 4, 5)
    expected = ((x @ weight(9, 5, 3)) * 2 + [4, 5, 6]).sum(axis=1)
    np.testing.assert_allclose(graphs.run(found, {"x": x})["y"], expected, rtol=1e-4)


def test_weights_of_subgraphs() -> None:
    new = weight(7, 4, 4)
    found = written(branch_weights(distinct=True), {initializer("inner_w1"): new})
    (chosen,) = (n for n in found.graph.node if n.op_type == "If")
    held = [numpy_helper.to_array(a.g.initializer[0]) for a in chosen.attribute]
    np.testing.assert_array_equal(held[0], weight(0, 4, 4))
    np.testing.assert_array_equal(held[1], new)


def test_initializers_listed_as_inputs_stay_inputs(tmp_path: Path) -> None:
    source = save(graphs.conv_net(opset=8, ir=3), tmp_path / "source.onnx")
    target = tmp_path / "target.onnx"
    write_weights(source, target, trained(graphs.conv_net()), {})
    assert [v.name for v in onnx.load(target).graph.input] == ["x", "w", "v", "c"]
    assert len(diff_models(source, target).changed_tensors) == 3


@pytest.mark.parametrize(
    ("placement", "values", "said"),
    [
        (initializer("u"), np.zeros(3), "initializer 'u' is not in the file"),
        (constant("w"), np.zeros((5, 4)), "constant 'w' is not in the file"),
        (initializer("w"), np.zeros((4, 5)), "'w' was trained with shape [4, 5], but has [5, 4]"),
        (initializer("q"), np.zeros(4), "its weights are int8; harden the float parent and quant"),
        (initializer("w", ("y", 0)), np.zeros((5, 4)), "no node that makes 'y' reads 'w' as its input 0"),
        (initializer("w", ("y", 7)), np.zeros((5, 4)), "no node that makes 'y' reads 'w' as its input 7"),
        (initializer("w", ("z", 1)), np.zeros((5, 4)), "no node that makes 'z' reads 'w'"),
    ],
)  # fmt: skip
def test_what_cannot_be_placed(placement: Placement, values: Any, said: str) -> None:
    weights = {"w": weight(0, 5, 4), "q": np.zeros(4, np.int8)}
    nodes = [node("MatMul", ["x", "w"], ["y"])]
    proto = model(nodes, [value("x", ["N", 5])], [value("y", None)], weights)
    with pytest.raises(WriteBackError) as caught:
        written(proto, {placement: values})
    assert said in str(caught.value)


def test_one_name_for_two_tensors_is_refused() -> None:
    with pytest.raises(WriteBackError, match="initializer 'inner_w' is the name of 2 tensors"):
        written(branch_weights(distinct=False), {initializer("inner_w"): weight(7, 4, 4)})


def test_what_is_writable() -> None:
    assert writable(constants()) == {"w": "constant", "scale": "constant", "bias": "constant"}
    assert writable(graphs.fixed_batch_net()) == {"w": "initializer", "v": "initializer"}
    assert "inner_w0" in writable(branch_weights(distinct=True))
    assert "inner_w" not in writable(branch_weights(distinct=False))


USES = [initializer("b", ("a0", 1)), initializer("b", ("a1", 1)), initializer("b", ("a2", 1))]


def biased(x: Any, *biases: Any) -> Any:
    """What ``merged_biases`` computes with these biases."""
    for index, bias in enumerate(biases):
        x = x @ weight(index, 4, 4) + bias
    return np.maximum(x, 0)


@pytest.mark.parametrize("external", [False, True])
def test_untied_weights_get_initializers_of_their_own(external: bool, tmp_path: Path) -> None:
    proto, (b0, b1, b2) = merged_biases(), weight(9, 3, 4)
    keep = save_external if external else save
    source, target = keep(proto, tmp_path / "source.onnx"), tmp_path / "target.onnx"
    write_weights(source, target, dict(zip(USES, (b0, b1, b2), strict=True)), {})
    found = onnx.load(target, load_external_data=False)
    assert [n.op_type for n in found.graph.node] == [n.op_type for n in proto.graph.node]
    assert [list(n.output) for n in found.graph.node] == [list(n.output) for n in proto.graph.node]
    reads = {n.output[0]: list(n.input) for n in found.graph.node if n.op_type == "Add"}
    assert reads == {
        "a0": ["m0", "b__untied_1"],
        "a1": ["m1", "b__untied_2"],
        "a2": ["m2", "b__untied_3"],
    }
    assert ("b__untied_3" in placed(target)) is external
    x = samples(1, 6, 4)
    np.testing.assert_allclose(
        outputs(target, {"x": x}), biased(x, b0, b1, b2), rtol=1e-4, atol=1e-6
    )


def tied_biases(kind: str) -> onnx.ModelProto:
    """Two layers that share a bias, an initializer or a Constant, with no reader besides."""
    weights = {"w": weight(0, 4, 4), "v": weight(1, 4, 4)}
    nodes = [node("Gemm", ["x", "w", "b"], ["h"]), node("Gemm", ["h", "v", "b"], ["y"])]
    if kind == "constant":
        held = numpy_helper.from_array(np.zeros(4, np.float32))
        nodes.insert(0, node("Constant", [], ["b"], value=held))
    else:
        weights["b"] = np.zeros(4, np.float32)
    return model(nodes, [value("x", ["N", 4])], [value("y", ["N", 4])], weights)


@pytest.mark.parametrize("external", [False, True])
@pytest.mark.parametrize("kind", ["initializer", "constant"])
def test_the_first_of_all_readers_keeps_the_tensor(
    kind: Any, external: bool, tmp_path: Path
) -> None:
    """So that no tensor is left in the file that nobody reads."""
    keep = save_external if external else save
    source, target = keep(tied_biases(kind), tmp_path / "source.onnx"), tmp_path / "target.onnx"
    first, second = weight(7, 4), weight(8, 4)
    uses = {Placement("b", kind, ("h", 2)): first, Placement("b", kind, ("y", 2)): second}
    write_weights(source, target, uses, {})
    gemms = [n for n in onnx.load(target).graph.node if n.op_type == "Gemm"]
    assert [n.input[2] for n in gemms] == ["b", "b__untied_1"]
    x = samples(1, 6, 4)
    expected = (x @ weight(0, 4, 4) + first) @ weight(1, 4, 4) + second
    np.testing.assert_allclose(outputs(target, {"x": x}), expected, rtol=1e-4, atol=1e-6)
    found = diff_models(source, target)
    assert found.same_graph
    assert found.untied == ("node 'y' (Gemm) reads 'b__untied_1' instead of 'b'",)
    assert {c.name for c in found.changed_tensors} == {"b", "b__untied_1"}


def test_a_tensor_that_the_graph_returns_is_left_as_it_is() -> None:
    proto = tied_biases("initializer")
    proto.graph.output.append(value("b", [4]))
    found = written(proto, {initializer("b", (y, 2)): weight(7, 4) for y in "hy"})
    answers = graphs.run(found, {"x": samples(1, 6, 4)})
    np.testing.assert_array_equal(answers["b"], np.zeros(4))


def test_equal_values_untie_nothing() -> None:
    """One bias moves, the others are what the shared tensor holds from now on."""
    proto, shared, own = merged_biases(), weight(7, 4), weight(8, 4)
    new = {USES[0]: shared, USES[1]: own, USES[2]: shared, initializer("b"): shared}
    found = written(proto, new)
    assert [t.name for t in found.graph.initializer][-2:] == ["b", "b__untied_1"]
    x = samples(1, 6, 4)
    np.testing.assert_allclose(
        graphs.run(found, {"x": x})["y"], biased(x, shared, own, shared), rtol=1e-4, atol=1e-6
    )
    untouched = written(proto, dict.fromkeys(USES, np.zeros(4, np.float32)))
    assert untouched.SerializeToString() == proto.SerializeToString()


def test_untied_names_are_new() -> None:
    proto = merged_biases()
    proto.graph.node[0].name = "b__untied_1"
    found = written(proto, {USES[1]: weight(7, 4)})
    assert found.graph.initializer[-1].name == "b__untied_2"


def test_the_identity_itself_may_be_the_reader() -> None:
    proto, own = merged_biases(), weight(7, 4)
    found = written(proto, {initializer("b", ("b1", 0)): own})
    x, zero = samples(1, 6, 4), np.zeros(4)
    np.testing.assert_allclose(
        graphs.run(found, {"x": x})["y"], biased(x, zero, own, own), rtol=1e-4, atol=1e-6
    )


def test_untied_in_an_old_model_is_an_input_too(tmp_path: Path) -> None:
    proto = merged_biases()
    proto.ir_version = 3
    for tensor in proto.graph.initializer:
        declared = helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
        proto.graph.input.append(declared)
    source, target = save(proto, tmp_path / "source.onnx"), tmp_path / "target.onnx"
    write_weights(source, target, {USES[1]: weight(7, 4)}, {})
    assert onnx.load(target).graph.input[-1].name == "b__untied_1"


def test_a_constant_and_a_reader_in_a_branch_can_be_untied() -> None:
    proto = branch_weights(distinct=True)
    held = numpy_helper.from_array(weight(0, 4, 4))
    proto.graph.node.insert(0, node("Constant", [], ["both"], value=held))
    (chosen,) = (n for n in proto.graph.node if n.op_type == "If")
    for attribute in chosen.attribute:
        attribute.g.node[1].input[1] = "both"
    own = weight(5, 4, 4)
    found = written(proto, {constant("both", ("inner_Abs", 1)): own})
    x = np.linspace(-1, 1, 15, dtype=np.float32).reshape(3, 5)
    inner = x @ weight(0, 5, 4)
    assert inner.mean() != 0
    negated, absolute = (-inner) @ weight(0, 4, 4), np.abs(inner) @ own
    for sign in (1, -1):
        taken = sign * negated if sign * inner.mean() > 0 else absolute
        answer = graphs.run(found, {"x": sign * x})["y"]
        np.testing.assert_allclose(answer, np.maximum(taken, 0), rtol=1e-4, atol=1e-6)


def two_on_one_place(tmp_path: Path) -> Path:
    """Two initializers that refer to the same bytes of a data file."""
    weights = {"w": weight(0, 4, 4), "u": weight(0, 4, 4), "v": weight(1, 4, 4)}
    nodes = [
        node("MatMul", ["x", "w"], ["h"]),
        node("MatMul", ["h", "u"], ["g"]),
        node("MatMul", ["g", "v"], ["y"]),
    ]
    proto = model(nodes, [value("x", ["N", 4])], [value("y", ["N", 4])], weights)
    path = save_external(proto, tmp_path / "source.onnx", "one.data")
    proto = onnx.load(path, load_external_data=False)
    w, u, _ = proto.graph.initializer
    del u.external_data[:]
    u.external_data.extend(w.external_data)
    return save(proto, path)


def test_bytes_that_two_tensors_share_are_not_overwritten(tmp_path: Path) -> None:
    source, target = two_on_one_place(tmp_path), tmp_path / "target.onnx"
    write_weights(source, target, {initializer("w"): weight(5, 4, 4)}, {})
    found = contents(target)
    np.testing.assert_array_equal(found["w"], weight(5, 4, 4))
    np.testing.assert_array_equal(found["u"], weight(0, 4, 4))
    np.testing.assert_array_equal(found["v"], weight(1, 4, 4))
    assert placed(target)["u"]["offset"] == placed(source)["u"]["offset"]


SOURCES: dict[str, Callable[[], onnx.ModelProto]] = {
    "conv": graphs.conv_net,
    "old": lambda: graphs.conv_net(opset=8, ir=3),
    "half": lambda: graphs.typed_net("float16"),
    "double": lambda: graphs.typed_net("float64"),
    "merged": merged_biases,
    "constants": constants,
    "branches": lambda: branch_weights(distinct=True),
    "transformer": graphs.transformer,
}


@settings(max_examples=25, deadline=None)
@given(name=st.sampled_from(sorted(SOURCES)), external=st.booleans(), data=st.data())
def test_the_same_values_change_nothing(
    name: str, external: bool, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Whichever weights are written back, and at whatever precision they were trained."""
    proto, folder = SOURCES[name](), tmp_path_factory.mktemp("same")
    source = (save_external if external else save)(proto, folder / "source.onnx")
    kinds = writable(proto)
    chosen = data.draw(st.sets(st.sampled_from(sorted(kinds))))
    wide = data.draw(st.sampled_from([np.float64, None]))
    held = read_stored(source)
    values = {t.name: held.values(t) for g in graphs_of(held.proto) for t in g.initializer}
    for made in held.proto.graph.node:
        if made.op_type == "Constant":
            attribute = made.attribute[0]
            raw = onnx.helper.get_attribute_value(attribute)
            raw = numpy_helper.to_array(raw) if attribute.name == "value" else raw
            values[made.output[0]] = np.asarray(
                raw, None if attribute.name == "value" else np.float32
            )
    weights = {Placement(n, kinds[n]): values[n].astype(wide or values[n].dtype) for n in chosen}
    target = folder / "out" / "target.onnx"
    target.parent.mkdir()
    write_weights(source, target, weights, {})
    found = diff_models(source, target)
    assert (found.changed_tensors, found.other, bool(found.metadata)) == ((), [], False)
    assert target.read_bytes() == source.read_bytes()
    if external and proto.graph.initializer:
        data_file = target.with_name("weights.data")
        assert data_file.read_bytes() == source.with_name("weights.data").read_bytes()


def graphs_of(proto: onnx.ModelProto) -> list[onnx.GraphProto]:
    inner = [a.g for n in proto.graph.node for a in n.attribute if a.HasField("g")]
    return [proto.graph, *inner]
