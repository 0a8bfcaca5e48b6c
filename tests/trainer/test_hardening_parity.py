"""Torch against ONNX Runtime: what differs is named, and why where that is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from lsa_onnx.errors import ModelError
from lsa_trainer.hardening.parity import Difference, differences, require_parity, tolerance
from lsa_trainer.module import load
from tests.graphs import model, node, samples, save, value, weight


def steep(dtype: str) -> onnx.ModelProto:
    """4 · 200 · 300 for an input of ones, more than 65504, the largest number of float16; then its tanh."""
    nodes = [
        node("MatMul", ["x", "w"], ["h"]),
        node("Relu", ["h"], ["r"]),
        node("MatMul", ["r", "v"], ["big"]),
        node("Tanh", ["big"], ["y"]),
    ]
    arrays = {"w": np.full((6, 4), 200 / 6), "v": np.full((4, 3), 300)}
    weights = {name: array.astype(dtype) for name, array in arrays.items()}
    return model(nodes, [value("x", ["N", 6], dtype)], [value("y", ["N", 3], dtype)], weights)


def test_a_file_that_overflows_in_half_precision(tmp_path: Path) -> None:
    path = save(steep("float16"), tmp_path / "m.onnx")
    module = load(path, promote_half=True)
    found = differences(module, path, {"x": np.ones((2, 6), np.float16)})
    assert [(d.tensor, d.overflows) for d in found] == [
        ("h", False),
        ("r", False),
        ("big", True),
        ("y", False),
    ]
    with pytest.raises(ModelError, match=r"overflows in half precision: tensor 'big' is inf"):
        require_parity(found, tolerance(onnx.load(path)))
    require_parity(differences(module, path, {"x": np.full((2, 6), 0.1, np.float16)}), 0.03)


def test_what_overflows_in_float32_is_no_matter_of_half_precision(tmp_path: Path) -> None:
    path = save(steep("float32"), tmp_path / "m.onnx")
    module = load(path)
    x = np.full((2, 6), 1e36, np.float32)
    assert not any(d.overflows for d in differences(module, path, {"x": x}))
    with torch.no_grad():
        module.weight("v").fill_(0)
    found = differences(module, path, {"x": x})
    assert [d.tensor for d in found if d.relative > 0] == ["big", "y"]
    with pytest.raises(ModelError, match=r"from tensor 'big' on, by inf .*please report"):
        require_parity(found, 1e-3)


def test_what_is_random_is_not_compared(tmp_path: Path) -> None:
    nodes = [
        node("MatMul", ["x", "w"], ["h"]),
        node("RandomNormalLike", ["h"], ["noise"]),
        node("Add", ["h", "noise"], ["loud"]),
        node("Relu", ["h"], ["y"]),
    ]
    proto = model(nodes, [value("x", ["N", 6])], [value("y", None)], {"w": weight(0, 6, 4)})
    path = save(proto, tmp_path / "m.onnx")
    found = differences(load(path), path, {"x": samples(0, 3, 6)})
    assert [d.tensor for d in found] == ["h", "y"]
    require_parity(found, 1e-5)


def test_the_first_tensor_that_differs_is_named() -> None:
    found = [Difference("a", 1e-6), Difference("b", 0.25), Difference("c", float("inf"))]
    said = r"from tensor 'b' on, by 0\.25 of its largest value \(allowed 0\.001\)"
    with pytest.raises(ModelError, match=said):
        require_parity(found, 1e-3)
    with pytest.raises(ModelError, match="from tensor 'nan' on, by nan"):
        require_parity([Difference("nan", float("nan"))], 1e-3)
