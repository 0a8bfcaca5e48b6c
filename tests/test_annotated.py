"""A copy of a model with scores in its metadata: everything else, and what it computes, is the same."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from lsa_onnx.annotated import PREFIX, annotate, write_annotated
from lsa_onnx.differences import diff_models
from lsa_onnx.errors import DataError
from lsa_onnx.model import digest
from lsa_onnx.report.document import Report
from tests import graphs
from tests.graphs import model, node, run, samples, save, save_external, value, weight
from tests.report.examples import small_report
from tests.report.parts import layer_info, layer_score, perturbation

Metadata = dict[str, str]


def report_of(path: Path, *layers: tuple[str, str | None]) -> Report:
    """A scan of the model at ``path`` by pgd; tensors, each with the body that makes it."""
    infos = [
        dataclasses.replace(layer_info(name, i, []), body=body)
        for i, (name, body) in enumerate(layers)
    ]
    scores = [layer_score(name, 0.75 / (i + 1), 1.0, 1.0) for i, (name, _) in enumerate(layers)]
    result = perturbation("pgd", scores, eta=0.1)
    base = small_report()
    section = dataclasses.replace(base.model, file=digest(path))
    return dataclasses.replace(
        base, model=section, layers=infos, perturbations=[result], mvl=result.mvl
    )


def metadata(holder: onnx.ModelProto | onnx.NodeProto) -> Metadata:
    return {entry.key.removeprefix(PREFIX): entry.value for entry in holder.metadata_props}


def by_output(graph: onnx.GraphProto) -> dict[str, Metadata]:
    return {name: metadata(node) for node in graph.node for name in node.output}


def without_metadata(proto: onnx.ModelProto) -> bytes:
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    del copy.metadata_props[:]
    for each in copy.graph.node:
        del each.metadata_props[:]
    return bytes(copy.SerializeToString(deterministic=True))


def of_version(version: int) -> onnx.ModelProto:
    proto = graphs.conv_net()
    proto.ir_version = version
    return proto


@pytest.mark.parametrize("version", [4, 8, 9, 10, 11])
def test_it_is_the_same_model_and_says_what_was_found(version: int, tmp_path: Path) -> None:
    before = of_version(version)
    before.metadata_props.add(key="author", value="me")
    path, target = save(before, tmp_path / "m.onnx"), tmp_path / "a.onnx"
    write_annotated(path, target, report_of(path, ("relu", None), ("conv", None)))
    after = onnx.load(target)
    assert after.ir_version == version
    onnx.checker.check_model(str(target), full_check=True)
    assert without_metadata(after) == without_metadata(before)
    x = {"x": samples(0, 3, 3, 5, 7)}
    np.testing.assert_array_equal(run(after, x)["y"], run(before, x)["y"])
    scores = {"layer": "0", "cm.pgd": "0.75", "mvl_rank.pgd": "1"}
    others = {"layer": "1", "cm.pgd": "0.375"}
    told = metadata(after)
    if version >= 10:
        assert by_output(after.graph)["relu"] == scores
        assert by_output(after.graph)["conv"] == others
        assert "layers" not in told
    else:
        assert not any(by_output(after.graph).values())
        assert json.loads(told["layers"]) == {"relu": scores, "conv": others}
    assert told["author"] == "me"
    assert told["model_sha256"] == digest(path).sha256
    assert json.loads(told["mvl"]) == {"pgd": ["relu"]}
    assert json.loads(told["accuracy"])["clean"] == 0.9844
    assert told["samples"] == "256"


def test_the_difference_of_the_two_files_is_metadata(tmp_path: Path) -> None:
    path, target = save(of_version(10), tmp_path / "m.onnx"), tmp_path / "a.onnx"
    write_annotated(path, target, report_of(path, ("relu", None)))
    found = diff_models(path, target)
    assert found.same_graph
    assert found.changed_tensors == ()
    assert found.metadata.added[f"{PREFIX}cm.pgd of node 'relu'"] == "0.75"
    assert set(found.metadata.added) >= {f"{PREFIX}verdict", f"{PREFIX}mvl"}


def test_a_second_scan_takes_the_place_of_the_first(tmp_path: Path) -> None:
    path, once, twice = save(of_version(10), tmp_path / "m.onnx"), tmp_path / "1", tmp_path / "2"
    write_annotated(path, once, report_of(path, ("relu", None), ("conv", None)))
    again = report_of(once, ("conv", None))
    write_annotated(once, twice, again)
    after = onnx.load_model_from_string(twice.read_bytes())
    onnx.checker.check_model(after)
    assert by_output(after.graph)["relu"] == {}
    assert by_output(after.graph)["conv"]["layer"] == "0"
    assert metadata(after)["model_sha256"] == digest(once).sha256


def test_layers_of_bodies_are_found_by_their_path(tmp_path: Path) -> None:
    proto = graphs.if_net()
    proto.ir_version = 10
    (carrier,) = (n for n in proto.graph.node if n.op_type == "If")
    branches = {attribute.name: attribute.g for attribute in carrier.attribute}
    name = carrier.name or next(
        f"If_{i}" for i, n in enumerate(proto.graph.node) if n.op_type == "If"
    )
    tensors = {part: graph.node[0].output[0] for part, graph in branches.items()}
    path = save(proto, tmp_path / "m.onnx")
    layers = [(f"{name}/{part}/{tensor}", f"{name}/{part}") for part, tensor in tensors.items()]
    annotate(proto, report_of(path, *layers))
    found = [by_output(branches[part])[tensor]["layer"] for part, tensor in tensors.items()]
    assert found == ["0", "1"]
    assert "layers" not in metadata(proto)


def test_what_no_node_of_the_file_makes_stands_at_the_model(tmp_path: Path) -> None:
    path = save(of_version(10), tmp_path / "m.onnx")
    proto = onnx.load(path)
    annotate(proto, report_of(path, ("inlined/tensor", None), ("relu", None)))
    assert list(json.loads(metadata(proto)["layers"])) == ["inlined/tensor"]


def test_outputs_of_one_node_are_told_apart(tmp_path: Path) -> None:
    proto = model(
        [node("Split", ["x"], ["a", "b"], num_outputs=2), node("Add", ["a", "b"], ["y"])],
        [value("x", ["N", 4])],
        [value("y", ["N", 4])],
        opset=18,
    )
    proto.ir_version = 10
    path = save(proto, tmp_path / "m.onnx")
    annotate(proto, report_of(path, ("a", None), ("b", None)))
    assert metadata(proto.graph.node[0]) == {
        "layer": "0", "cm.pgd": "0.75", "mvl_rank.pgd": "1",
        "layer.output_1": "1", "cm.pgd.output_1": "0.375",
    }  # fmt: skip


def wide() -> onnx.ModelProto:
    return model(
        [node("MatMul", ["x", "w"], ["h"]), node("Relu", ["h"], ["y"])],
        [value("x", ["N", 5])],
        [value("y", ["N", 400])],
        {"w": weight(0, 5, 400)},
    )


def test_beside_external_data_it_shares_it_and_elsewhere_it_carries_it(tmp_path: Path) -> None:
    path = save_external(wide(), tmp_path / "m.onnx")
    (tmp_path / "other").mkdir()
    beside, away = tmp_path / "b.onnx", tmp_path / "other" / "a.onnx"
    files = {file.name: file.read_bytes() for file in tmp_path.iterdir() if file.is_file()}
    x = samples(0, 2, 5)
    for target in (beside, away):
        write_annotated(path, target, report_of(path, ("h", None)))
        onnx.checker.check_model(str(target), full_check=True)
        np.testing.assert_array_equal(
            run(onnx.load(target), {"x": x})["y"], run(onnx.load(path), {"x": x})["y"]
        )
        assert diff_models(path, target).same_graph
    assert beside.stat().st_size < 3000 < 8000 < away.stat().st_size
    assert {name: (tmp_path / name).read_bytes() for name in files} == files


def test_weights_that_no_file_can_hold_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save_external(wide(), tmp_path / "m.onnx")
    (tmp_path / "other").mkdir()
    monkeypatch.setattr("lsa_onnx.annotated._MOST_BYTES", 4 * 5 * 400 - 1)
    with pytest.raises(DataError, match=r"too large for a single file .* write the copy beside it"):
        write_annotated(path, tmp_path / "other" / "a.onnx", report_of(path, ("h", None)))
    assert list((tmp_path / "other").iterdir()) == []


@pytest.mark.parametrize(
    "name",
    [lambda path: path, lambda path: path.with_name("m.bin"), lambda path: path.with_name("l")],
)
def test_no_file_of_the_model_is_replaced(name: Callable[[Path], Path], tmp_path: Path) -> None:
    path = save_external(wide(), tmp_path / "m.onnx")
    (tmp_path / "l").symlink_to(path)
    (weights,) = (file for file in tmp_path.iterdir() if file.name not in {"m.onnx", "l"})
    target = name(path)
    target = weights if target.name == "m.bin" else target
    before = target.read_bytes()
    with pytest.raises(DataError, match=r"would replace '.*'; name another file"):
        write_annotated(path, target, report_of(path, ("h", None)))
    assert target.read_bytes() == before


def test_a_report_of_another_file_is_refused(tmp_path: Path) -> None:
    path, other = save(of_version(8), tmp_path / "m.onnx"), save(wide(), tmp_path / "o.onnx")
    report = report_of(other, ("h", None))
    with pytest.raises(
        DataError, match=rf"not the model that was scanned.*{digest(path).sha256[:16]}"
    ):
        write_annotated(path, tmp_path / "a.onnx", report)
    with pytest.raises(DataError, match=r"no model file '.*none\.onnx'"):
        write_annotated(tmp_path / "none.onnx", tmp_path / "a.onnx", report)
    assert not (tmp_path / "a.onnx").exists()
