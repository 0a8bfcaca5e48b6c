"""Models that answer at random, or by the batch, are told from those that are ready to deploy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from lsa_onnx.errors import ModelError
from lsa_onnx.model import load_model
from lsa_onnx.structure import first_output
from lsa_trainer.inference import nodes_in_training, random_tensors, require_inference
from lsa_trainer.writeback import WriteBackError, verify_written, write_weights
from tests import graphs
from tests.graphs import model, node, save, value, weight
from tests.trainer.written import trained


def training(proto: onnx.ModelProto) -> list[str]:
    return [first_output(each) for each in nodes_in_training(proto)]


def with_dropout(switch: Any, held: str = "initializer") -> onnx.ModelProto:
    """A Dropout whose switch is an initializer, a Constant node, or an Identity of an initializer."""
    weights = {"w": weight(0, 5, 4), "ratio": np.array(0.5, np.float32)}
    nodes = [node("MatMul", ["x", "w"], ["h"]), node("Dropout", ["h", "ratio", "on"], ["y"])]
    if held == "node":
        tensor = numpy_helper.from_array(np.array(switch))
        nodes.insert(0, node("Constant", [], ["on"], value=tensor))
    elif held == "copy":
        nodes.insert(0, node("Identity", ["switch"], ["on"]))
        weights["switch"] = np.array(switch)
    else:
        weights["on"] = np.array(switch)
    return model(nodes, [value("x", ["N", 5])], [value("y", ["N", 4])], weights)


@pytest.mark.parametrize("held", ["initializer", "node", "copy"])
def test_dropout_that_was_left_on(held: str, tmp_path: Path) -> None:
    on, off = with_dropout(True, held), with_dropout(False, held)
    assert (training(on), training(off)) == (["y"], [])
    source = save(on, tmp_path / "on.onnx")
    with pytest.raises(WriteBackError, match="is in training mode at 'y'"):
        verify_written(source, source)
    with pytest.raises(ModelError, match=r"exported in training mode: Dropout 'y' would .*eval"):
        require_inference(load_model(source).proto)
    source = save(off, tmp_path / "off.onnx")
    require_inference(load_model(source).proto)
    write_weights(source, tmp_path / "target.onnx", trained(off, "w"), {})


def test_normalisation_that_was_left_in_training() -> None:
    weights = {name: np.ones(3, np.float32) for name in "sbmv"}
    norm = node("BatchNormalization", ["x", *"sbmv"], ["y", "m2", "v2"], training_mode=1)
    outputs = [value(name, None) for name in ("y", "m2", "v2")]
    proto = model([norm], [value("x", ["N", 3])], outputs, weights)
    assert training(proto) == ["y"]
    with pytest.raises(ModelError, match="training mode: BatchNormalization 'y' would"):
        require_inference(proto)
    old = model([node("Dropout", ["x"], ["y"])], [value("x", ["N"])], [value("y", ["N"])], opset=7)
    assert training(old) == []


def test_training_mode_inside_functions() -> None:
    body = [
        helper.make_node("BatchNormalization", list("asbmv"), ["o", "p", "q"], training_mode=1),
    ]
    imports = [helper.make_opsetid("", 17)]
    function = helper.make_function("own", "F", list("asbmv"), ["o"], body, imports)
    call = node("F", ["x"] * 5, ["y"], domain="own")
    proto = model([call], [value("x", ["N"])], [value("y", None)], functions=[function])
    assert training(proto) == ["o"]


def test_many_nodes_are_counted() -> None:
    proto = with_dropout(True)
    for index in range(4):
        proto.graph.node.append(node("Dropout", ["h", "ratio", "on"], [f"d{index}"]))
    with pytest.raises(
        ModelError, match="Dropout 'y', Dropout 'd0', Dropout 'd1' and 2 more would"
    ):
        require_inference(proto)


def noisy(*, used: bool, by_shape: bool = False) -> onnx.ModelProto:
    """x w, to which noise is added, or of which only a shape is taken, or which nobody reads."""
    nodes = [
        node("MatMul", ["x", "w"], ["h"]),
        node("RandomNormalLike", ["h"], ["noise"]),
        node("Add", ["h", "noise"], ["loud"]),
        node("Shape", ["loud"], ["shape"]),
        node("Expand", ["h", "shape"], ["y"]) if by_shape else node("Relu", ["h"], ["y"]),
    ]
    if used:
        nodes[-1] = node("Relu", ["loud"], ["y"])
    return model(nodes, [value("x", ["N", 5])], [value("y", None)], {"w": weight(0, 5, 4)})


def test_answers_at_random() -> None:
    said = "output 'y' depends on random numbers, drawn by RandomNormalLike 'noise': .*one answer"
    with pytest.raises(ModelError, match=said):
        require_inference(noisy(used=True))
    for by_shape in (False, True):
        proto = noisy(used=False, by_shape=by_shape)
        require_inference(proto)
        assert set(random_tensors(proto.graph)) == {"noise", "loud"}


def test_numbers_that_a_branch_draws() -> None:
    proto = graphs.if_net()
    assert not random_tensors(proto.graph)
    (chosen,) = (n for n in proto.graph.node if n.op_type == "If")
    drawing = helper.make_node("RandomUniformLike", ["x"], ["drawn"])
    chosen.attribute[0].g.node.append(drawing)
    with pytest.raises(ModelError, match=f"drawn by If '{chosen.output[0]}'"):
        require_inference(proto)
