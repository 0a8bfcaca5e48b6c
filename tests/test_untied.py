"""Which initializers of a file were split off a tensor of the file that it came from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from lsa_onnx.differences import diff_models
from lsa_onnx.untied import find_untied
from tests import graphs
from tests.graphs import Array, model, node, save, value, weight

ZERO = np.zeros(4, np.float32)


def biased(own: Mapping[str, Array] | None = None) -> onnx.ModelProto:
    """Three layers with one bias "b"; those named in ``own``, by what they make, have one of their own."""
    names, tensors = dict.fromkeys("hgy", "b"), {f"w{i}": weight(i, 4, 4) for i in range(3)}
    tensors["b"] = ZERO
    for number, (layer, bias) in enumerate((own or {}).items(), 1):
        names[layer] = f"b__untied_{number}"
        tensors[names[layer]] = bias
    layers = zip("xhg", range(3), names.items(), strict=True)
    nodes = [node("Gemm", [x, f"w{i}", bias], [y]) for x, i, (y, bias) in layers]
    return model(nodes, [value("x", ["N", 4])], [value("y", ["N", 4])], tensors)


def test_a_split_is_no_other_graph(tmp_path: Path) -> None:
    one, two = np.full(4, 0.5, np.float32), np.array([0, 0, -2, 0], np.float32)
    old, new = biased(), biased({"g": one, "y": two})
    assert find_untied(old, new).keys() == {"b__untied_1", "b__untied_2"}
    paths = save(old, tmp_path / "old.onnx"), save(new, tmp_path / "new.onnx")
    found = diff_models(*paths)
    assert (found.same_graph, found.graph, found.packaging) == (True, (), ())
    assert found.untied == (
        "node 'g' (Gemm) reads 'b__untied_1' instead of 'b'",
        "node 'y' (Gemm) reads 'b__untied_2' instead of 'b'",
    )
    assert found.other == list(found.untied)
    changes = [(c.name, c.max_difference, c.changed_elements) for c in found.changed_tensors]
    assert changes == [("b__untied_1", 0.5, 4), ("b__untied_2", 2.0, 1)]
    assert found.compared_tensors == 6
    backwards = diff_models(*reversed(paths))
    assert "initializer 'b__untied_1' is gone" in backwards.graph


def test_a_part_of_a_constant_node(tmp_path: Path) -> None:
    def proto(own: str) -> onnx.ModelProto:
        nodes = [
            node("Constant", [], ["b"], value=numpy_helper.from_array(ZERO)),
            node("Add", ["x", "b"], ["h"]),
            node("Identity", ["b"], ["copy"]),
            node("Mul", ["h", own], ["y"]),
        ]
        weights = {own: ZERO + 1} if own != "copy" else {}
        return model(nodes, [value("x", ["N", 4])], [value("y", ["N", 4])], weights)

    old, new = proto("copy"), proto("b__untied_1")
    assert list(find_untied(old, new)) == ["b__untied_1"]
    found = diff_models(save(old, tmp_path / "a.onnx"), save(new, tmp_path / "b.onnx"))
    assert found.untied == ("node 'y' (Mul) reads 'b__untied_1' instead of 'copy'",)
    assert [c.max_difference for c in found.changed_tensors] == [1.0]


def rename(name: str) -> Callable[[onnx.ModelProto], None]:
    """Call the part otherwise."""

    def edit(proto: onnx.ModelProto) -> None:
        next(t for t in proto.graph.initializer if t.name == "b__untied_1").name = name
        proto.graph.node[1].input[2] = name

    return edit


def reshaped(proto: onnx.ModelProto) -> None:
    tensor = next(t for t in proto.graph.initializer if t.name == "b__untied_1")
    tensor.CopyFrom(numpy_helper.from_array(np.zeros((1, 4), np.float32), "b__untied_1"))


EDITS = {
    "named otherwise": rename("b_copy"),
    "of another tensor": rename("w0__untied_1"),
    "of no tensor": rename("q__untied_1"),
    "of another shape": reshaped,
    "read in place of another": lambda m: m.graph.node[2].input.__setitem__(1, "b__untied_1"),
    "read by nobody": lambda m: m.graph.node[1].input.__setitem__(2, "b"),
    "read where nothing was": lambda m: m.graph.node[0].input.append("b__untied_1"),
    "read by a node that is new": lambda m: m.graph.node.append(
        helper.make_node("Neg", ["b__untied_1"], ["extra"])
    ),
}


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
def test_another_graph_stays_one(edit: Callable[[onnx.ModelProto], Any], tmp_path: Path) -> None:
    old, new = biased(), biased({"g": ZERO})
    assert find_untied(old, new)
    edit(new)
    assert find_untied(old, new) == {}
    found = diff_models(save(old, tmp_path / "old.onnx"), save(new, tmp_path / "new.onnx"))
    assert not found.same_graph
    assert any("is new" in line for line in found.graph)


def test_a_split_does_not_hide_other_differences(tmp_path: Path) -> None:
    old, new = biased(), biased({"g": ZERO})
    new.graph.node[2].input[1] = "w0"
    found = diff_models(save(old, tmp_path / "old.onnx"), save(new, tmp_path / "new.onnx"))
    assert found.graph == (
        "node 'y' (Gemm): input is ['g', 'w0', 'b'] instead of ['g', 'w2', 'b']",
    )


def test_without_parts_there_are_none() -> None:
    assert find_untied(graphs.conv_net(), graphs.conv_net()) == {}
