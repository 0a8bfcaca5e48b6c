"""What ``differentiate`` promises besides right numbers."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from lsa_onnx.rewrite import Scored
from lsa_onnx.rewrite.differentiate import differentiate, read_rows
from lsa_onnx.rewrite.objectives import Objective
from tests import graphs
from tests.graphs import model, node, run, samples, value, weight

CE = Objective("ce", (Scored("y"),))


def through(nodes: list[onnx.NodeProto], **weights: np.ndarray) -> onnx.ModelProto:
    """A Gemm "h" of "x", ``nodes`` that make "a" of it, and a Gemm "y"."""
    every = [node("Gemm", ["x", "w"], ["h"]), *nodes, node("Gemm", ["a", "v"], ["y"])]
    constants = {"w": weight(0, 5, 6), "v": weight(1, 6, 3), **weights}
    return model(every, [value("x", ["N", 5])], [value("y", ["N", 3])], constants, opset=18)


@pytest.mark.parametrize("wrt", [["x"], []])
@pytest.mark.parametrize(
    "proto",
    [graphs.conv_net(8, ir=3), graphs.if_net(), graphs.lstm_net(), graphs.chain(3)],
    ids=["conv", "if", "lstm", "chain"],
)
def test_the_argument_is_not_changed(proto: onnx.ModelProto, wrt: list[str]) -> None:
    before = proto.SerializeToString(deterministic=True)
    differentiate(proto, Objective("output", (Scored("y"),)), wrt)
    read_rows(proto, [Scored("y")])
    assert proto.SerializeToString(deterministic=True) == before


def test_outputs_are_those_that_it_names() -> None:
    proto = graphs.two_input_net()
    proto.graph.output.append(value("ra", ["N", 4]))
    made = differentiate(proto, CE, ["a", "b"])
    assert made.margin is not None
    wanted = [made.loss, made.margin, made.gradients["a"], made.gradients["b"]]
    assert [output.name for output in made.model.graph.output] == wanted
    inputs = [given.name for given in made.model.graph.input]
    assert inputs == ["a", "b", made.goals["labels"]]


def test_what_the_objective_does_not_need_is_not_computed() -> None:
    proto = graphs.residual_net()
    made = differentiate(proto, Objective("layer", (Scored("r1"),)), ["x"])
    assert made.margin is None
    kept = {name for each in made.model.graph.node for name in each.output}
    assert "r1" in kept
    assert not kept & {"c2", "cd", "sum", "pool", "y"}


def test_without_a_gradient_only_the_forward_nodes_are_there() -> None:
    proto = graphs.mnist_cnn(20, 22)
    forward = differentiate(proto, CE, [])
    both = differentiate(proto, CE, ["x"])
    assert forward.gradients == {}
    assert len(forward.model.graph.node) < len(proto.graph.node) + 25 < len(both.model.graph.node)
    feeds = {"x": samples(0, 3, 1, 20, 22)}
    answers = [run(m.model, {**feeds, m.goals["labels"]: np.arange(3)}) for m in (forward, both)]
    np.testing.assert_array_equal(answers[0][forward.loss], answers[1][both.loss])


def test_names_of_the_model_are_not_taken() -> None:
    proto = graphs.conv_net()
    proto.graph.node[1].output[0] = proto.graph.node[2].input[0] = "labels__grad_1"
    made = differentiate(proto, CE, ["x"])
    names = [name for each in made.model.graph.node for name in each.output]
    assert len(set(names)) == len(names)
    found = run(made.model, {"x": samples(0, 2, 3, 5, 7), made.goals["labels"]: np.array([0, 1])})
    assert np.abs(found[made.gradients["x"]]).max() > 0


def test_external_weights_stay_outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    graphs.save_external(graphs.residual_net(), tmp_path / "m.onnx")
    proto = onnx.load(tmp_path / "m.onnx", load_external_data=False)
    plain = differentiate(graphs.residual_net(), CE, ["x"])
    read = onnx.numpy_helper.to_array

    def only_inner(tensor: onnx.TensorProto, base_dir: str = "") -> np.ndarray:
        assert tensor.data_location != TensorProto.EXTERNAL, f"{tensor.name} was read"
        return np.asarray(read(tensor, base_dir))

    monkeypatch.setattr(onnx.numpy_helper, "to_array", only_inner)
    for module in ("load_external_data_for_tensor", "load_external_data_for_model"):
        monkeypatch.delattr(onnx.external_data_helper, module)
    made = differentiate(proto, CE, ["x"])
    outside = [t.name for t in made.model.graph.initializer if t.data_location]
    assert sorted(outside) == ["w0", "w1", "w2", "wd", "wf"]
    feeds = {"x": samples(0, 2, 3, 6, 8)}
    found, wanted = (
        run(m.model, {**feeds, m.goals["labels"]: np.array([0, 1])}, tmp_path)[m.gradients["x"]]
        for m in (made, plain)
    )
    np.testing.assert_array_equal(found, wanted)


def test_weights_are_the_same_bytes() -> None:
    proto = graphs.transformer()
    made = differentiate(proto, CE, ["x"])
    before = {t.name: t.SerializeToString() for t in proto.graph.initializer}
    after = {t.name: t.SerializeToString() for t in made.model.graph.initializer}
    weights = [name for name in before if name.startswith("w_")]
    assert [after[name] for name in weights] == [before[name] for name in weights]


def seconds(nodes: int) -> float:
    proto = graphs.chain(nodes // 2)
    start = time.perf_counter()
    differentiate(proto, CE, ["x"])
    return time.perf_counter() - start


def test_time_is_linear_in_nodes() -> None:
    few, many = seconds(500), seconds(2_000)
    assert many < 4
    # Four times the nodes; a quadratic step would show as 16.
    assert many < 10 * max(few, 0.1)


@pytest.mark.slow
def test_a_chain_of_20000_nodes_takes_less_than_10_seconds() -> None:
    assert seconds(20_000) < 10


def test_a_tensor_read_by_many_nodes() -> None:
    many = 100
    nodes = [node("Mul", ["h", "h"], [f"p{i}"]) for i in range(many)]
    total = node("Sum", [f"p{i}" for i in range(many)], ["a"])
    made = differentiate(through([*nodes, total]), Objective("output", (Scored("a"),)), ["x"])
    x = samples(0, 2, 5)
    h = (x @ weight(0, 5, 6)).astype(np.float64)
    reference = np.ones((2, 6), np.float32)
    found = run(made.model, {"x": x, made.goals["reference"]: reference})[made.gradients["x"]]
    outer = 2 * (many * h**2 - 1) / 6 * (2 * many * h)
    np.testing.assert_allclose(found, outer @ weight(0, 5, 6).T, rtol=1e-3)


def test_a_model_without_the_default_domain_can_be_read() -> None:
    proto = helper.make_model(
        helper.make_graph(
            [node("FusedGemm", ["x", "w"], ["y"], domain="com.microsoft", activation="Relu")],
            "g",
            [value("x", ["N", 4])],
            [value("y", ["N", 3])],
            [onnx.numpy_helper.from_array(weight(0, 4, 3), "w")],
        ),
        opset_imports=[helper.make_opsetid("com.microsoft", 1)],
        ir_version=8,
    )
    reader, (rows,) = read_rows(proto, [Scored("y")])
    x = samples(0, 2, 4)
    np.testing.assert_allclose(run(reader, {"x": x})[rows], run(proto, {"x": x})["y"])
    made = differentiate(proto, Objective("ce", (Scored("y"),)), ["x"])
    assert set(made.gradients) == {"x"}
