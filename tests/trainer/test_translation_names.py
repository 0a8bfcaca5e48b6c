"""Initializers of any name are parameters of a module: found under their name, and never executed."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import numpy_helper

from lsa_trainer.module import OnnxModule
from tests.graphs import model, node, samples, value, weight
from tests.trainer.on_torch import loaded, require_equal


def matmuls(names: list[str]) -> onnx.ModelProto:
    """x times one matrix after the other."""
    steps = ["<x>", *(f"<{index}>" for index in range(len(names)))]
    nodes = [node("MatMul", [steps[i], name], [steps[i + 1]]) for i, name in enumerate(names)]
    weights = {name: weight(index, 5, 5) for index, name in enumerate(names)}
    return model(nodes, [value("<x>", ["N", 5])], [value(steps[-1], ["N", 5])], weights)


def require_names(names: list[str], folder: Path) -> OnnxModule:
    """Each initializer is one parameter, found under its name, in a module that works."""
    proto = matmuls(names)
    module = loaded(proto, folder)
    require_equal(module, proto, {"<x>": samples(0, 3, 5)})
    for tensor in proto.graph.initializer:
        held = module.weight(tensor.name).detach().numpy()
        np.testing.assert_array_equal(held, numpy_helper.to_array(tensor))
    assert len(module.state_dict()) == len(names) == len(list(module.parameters()))
    fresh = copy.deepcopy(module)
    with torch.no_grad():
        for parameter in fresh.parameters():
            parameter.zero_()
    assert fresh.load_state_dict(module.state_dict()).missing_keys == []
    require_equal(fresh, proto, {"<x>": samples(1, 2, 5)})
    return module


@pytest.mark.parametrize(
    "names",
    [
        ['a"; import os #', "b'); raise SystemExit #", "c\\", "d\ne"],
        ["x.forward", "forward", "call_module.forward.weight"],
        ["weight", "reading", "trained", "constants", "_program", "input_names"],
        ["a", "a.b", "a.b.c"],
        ["a.b.c", "a.b", "a"],
        ["class", "lambda.weight", "None", "in.True"],
        ["self", "x", "torch", "x.self", "nan", "inf"],
        ["1", "1.2", "layers.0.weight", "0.0"],
        ["model/dense/kernel:0", "model/dense/kernel:1", "w 1", "onnx::MatMul_12"],
        [
            "graph",
            "code",
            "training",
            "train",
            "_modules",
            "_parameters.x",
            "__class__",
            "__dict__",
        ],
        [".", "..", ".a", "a.", "a..b"],
        ["é", "è", "日本", "_"],
        ["constant_1", "constant_2", "tensor_1", "tensor_2", "size", "getattr"],
        ["a_1", "a.1", "a", "a_2"],
        ["w" * 300],
    ],
)
def test_hostile_names(names: list[str], tmp_path: Path) -> None:
    require_names(names, tmp_path)


@settings(max_examples=30, deadline=None)
@given(
    st.lists(
        st.text("ab.1_ \"'\\\n;#(", min_size=1, max_size=6),
        min_size=1,
        max_size=5,
        unique=True,
    )
)
def test_any_names(tmp_path_factory: pytest.TempPathFactory, names: list[str]) -> None:
    require_names(names, tmp_path_factory.mktemp("names"))


def test_harmless_names_are_kept(tmp_path: Path) -> None:
    names = ["conv1.weight", "layers.0.mlp.fc.bias", "model/dense/kernel:0", "onnx::MatMul_12"]
    assert set(require_names(names, tmp_path).state_dict()) == set(names)


def test_names_are_not_executed(tmp_path: Path) -> None:
    target = tmp_path / "written"
    name = f'a"); open("{target}", "w").close(); ("'
    module = require_names([name], tmp_path)
    assert "open(" not in module.code
    assert not target.exists()


def test_statistics_and_a_weight_below_the_same_name(tmp_path: Path) -> None:
    """ "bn" is a buffer, and "bn.w" would be inside it."""
    nodes = [
        node("Conv", ["x", "bn.w"], ["c"]),
        node("BatchNormalization", ["c", "s", "b", "bn", "v"], ["y"]),
    ]
    weights = {
        "bn.w": weight(0, 4, 3, 1, 1),
        "s": weight(1, 4),
        "b": weight(2, 4),
        "bn": weight(3, 4),
    }
    weights["v"] = samples(4, 4) + 0.5
    proto = model(nodes, [value("x", ["N", 3, 5, 7])], [value("y", None)], weights)
    module = loaded(proto, tmp_path)
    require_equal(module, proto, {"x": samples(5, 2, 3, 5, 7)})
    np.testing.assert_array_equal(module.statistics()["bn"].numpy(), weights["bn"])
    assert len(module.state_dict()) == 5
