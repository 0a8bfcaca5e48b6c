"""``lsa-onnx diff``: what it prints, and when it fails."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from tests import graphs
from tests.cli.command_line import Cli


@pytest.fixture
def trained(model: Path) -> Path:
    """``model`` with two elements of its bias changed, and a line of metadata."""
    proto = onnx.load(model)
    bias = proto.graph.initializer[2]
    values = numpy_helper.to_array(bias) + np.array([0, 0, 0.5, 0, 0, -2], np.float32)
    bias.CopyFrom(numpy_helper.from_array(values, "c"))
    proto.metadata_props.add(key="lsa_onnx.config", value='{\n "eta": 1.0}')
    return graphs.save(proto, model.with_name("trained.onnx"))


@pytest.fixture
def other(model: Path) -> Path:
    """``model`` with another operator."""
    proto = onnx.load(model)
    proto.graph.node[1].op_type = "Elu"
    return graphs.save(proto, model.with_name("other.onnx"))


def test_other_weights_are_fine(cli: Cli, model: Path, trained: Path) -> None:
    done = cli("diff", model, trained)
    assert (done.code, done.err) == (0, "")
    first, _, row, title, line = done.out.splitlines()
    assert first == "the same graph; 1 of 3 tensors changed"
    relative = np.hypot(0.5, 2) / np.linalg.norm(graphs.weight(3, 6))
    assert row.split() == ["c", "float32", "6", "2", "of", "6", "2.000", f"{relative:.3f}"]
    assert (title, line) == ("Metadata", '  lsa_onnx.config: { "eta": 1.0} (new)')


def test_a_model_equals_itself(cli: Cli, model: Path) -> None:
    done = cli("diff", model, model)
    assert (done.code, done.out) == (0, "the same graph; 0 of 3 tensors changed\n")


def test_another_graph_fails(cli: Cli, model: Path, other: Path) -> None:
    done = cli("diff", model, other)
    assert done.code == 1
    assert "another graph; 0 of 3 tensors changed\nGraph\n  node 'relu' (Relu): op_type" in done.out
    assert f"'{other}' is not '{model}' with other weights" in done.line
    assert "1 difference, the first: node 'relu' (Relu): op_type is 'Elu'" in done.line


def test_json(cli: Cli, model: Path, trained: Path, other: Path, tmp_path: Path) -> None:
    done = cli("diff", model, trained, "--json", "-")
    found = json.loads(done.out)
    assert (found["same_graph"], found["graph"], found["compared_tensors"]) == (True, [], 3)
    (change,) = found["changed_tensors"]
    assert (change["name"], change["shape"], change["elements"]) == ("c", [6], 6)
    assert change["max_difference"] == pytest.approx(2)
    assert found["metadata"]["added"] == {"lsa_onnx.config": '{\n "eta": 1.0}'}
    target = tmp_path / "diff.json"
    failed = cli("diff", model, other, "--json", target)
    assert failed.code == 1
    assert json.loads(target.read_text("utf-8"))["same_graph"] is False


def test_many_differences_are_cut_short(cli: Cli, tmp_path: Path) -> None:
    old = graphs.save(graphs.chain(30), tmp_path / "old.onnx")
    new = graphs.save(graphs.chain(2), tmp_path / "new.onnx")
    lines = cli("diff", old, new).out.splitlines()
    assert lines[1:] == ["Graph", *lines[2:22], "  and 65 more (see --json)"]


def test_names_do_not_reach_the_terminal_as_they_are(cli: Cli, tmp_path: Path) -> None:
    proto = graphs.conv_net()
    proto.metadata_props.add(key="a\x1b[31m", value="\x1b]0;title\x07")
    old = graphs.save(graphs.conv_net(), tmp_path / "old.onnx")
    done = cli("diff", old, graphs.save(proto, tmp_path / "new.onnx"))
    assert "\x1b" not in done.out
    assert r"a\x1b[31m" in done.out


def test_the_json_file_is_no_model(cli: Cli, model: Path, trained: Path) -> None:
    done = cli("diff", model, trained, "--json", trained)
    assert done.code == 2
    assert f"'{trained}' is an input of this run" in done.line


@pytest.mark.parametrize("name", ["weights.data", "hard.bin", "ext.lsa.toml"])
def test_nor_is_it_a_file_of_a_model(cli: Cli, model: Path, tmp_path: Path, name: str) -> None:
    proto = graphs.conv_net()
    external = graphs.save_external(proto, tmp_path / "ext.onnx")
    (tmp_path / "ext.lsa.toml").write_text("[input]\n", encoding="utf-8")
    (tmp_path / "hard.bin").hardlink_to(tmp_path / "weights.data")
    target = tmp_path / name
    before = target.read_bytes()
    done = cli("diff", external, model, "--json", target)
    assert (done.code, done.out) == (2, "")
    assert f"'{target}' is an input of this run, which is never overwritten" in done.line
    assert target.read_bytes() == before


def test_a_missing_model(cli: Cli, model: Path, tmp_path: Path) -> None:
    done = cli("diff", model, tmp_path / "none.onnx")
    assert (done.code, done.out) == (2, "")
    assert f"no model file '{tmp_path / 'none.onnx'}'" in done.line
