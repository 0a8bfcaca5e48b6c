"""Models of every kind keep what they are: types, packaging, inputs; or are refused before training."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from lsa_onnx.differences import diff_models
from lsa_onnx.errors import LsaError, ModelError
from lsa_onnx.model import digest
from lsa_trainer.hardening import harden
from lsa_trainer.training import checkpoint
from lsa_trainer.writeback.provenance import CONFIG, PARENT
from tests import graphs
from tests.trainer import fragile
from tests.trainer.fragile import metadata, options, same_weights
from tests.trainer.written import contents, placed, snapshot


class TestFrozen:
    """83 weights: w has 48, v 24."""

    def test_a_quantised_model_is_refused(self, samples: Path, tmp_path: Path) -> None:
        model = graphs.save(fragile.quantised_mlp("w", "v"), tmp_path / "q.onnx")
        pattern = r"only 13% of the model's weights .*'w_q' \(quantised to int8: harden the float.*--allow"
        with pytest.raises(ModelError, match=pattern) as caught:
            harden(model, tmp_path / "hard.onnx", options(samples))
        assert "\n" not in str(caught.value)

    def test_the_rest_trains_on_request(self, samples: Path, tmp_path: Path) -> None:
        model, target = (
            graphs.save(fragile.quantised_mlp("w"), tmp_path / "q.onnx"),
            tmp_path / "hard.onnx",
        )
        how = options(samples, allow_frozen=True, force=True, epochs=2)
        result = harden(model, target, how)
        assert (result.trainable, result.weights) == (35, 83)
        assert result.changes.keys() == {"b", "v", "c"}
        difference = diff_models(model, target)
        assert difference.other == []
        assert {t.name for t in difference.changed_tensors} <= {"b", "v", "c"}

    def test_not_if_there_is_none(self, samples: Path, tmp_path: Path) -> None:
        proto = fragile.quantised_mlp("w", "b", "v", "c")
        model = graphs.save(proto, tmp_path / "q.onnx")
        with pytest.raises(ModelError, match="no weight of the model can be trained: 'w_q'"):
            harden(model, tmp_path / "hard.onnx", options(samples, allow_frozen=True))


def test_half_precision_stays(samples: Path, tmp_path: Path) -> None:
    model, target = graphs.save(fragile.half_mlp(), tmp_path / "m.onnx"), tmp_path / "hard.onnx"
    result = harden(model, target, options(samples))
    assert result.comparison.gain > 0.2
    assert diff_models(model, target).other == []
    assert {a.dtype.name for a in contents(target).values()} == {"float16"}
    proto = onnx.load(target)
    assert proto.graph.input[0].type.tensor_type.elem_type == TensorProto.FLOAT16


def test_external_data_stay_external(samples: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    model = graphs.save_external(fragile.mlp(), folder / "m.onnx")
    before, target = snapshot(folder), tmp_path / "hard.onnx"
    result = harden(model, target, options(samples, force=True))
    assert result.files == [digest(target), digest(tmp_path / "weights.data")]
    assert snapshot(folder) == before
    assert placed(target).keys() == placed(model).keys() == {"w", "b", "v", "c"}
    assert {entry["location"] for entry in placed(target).values()} == {"weights.data"}
    assert not same_weights(model, target)


def test_every_operator_that_torch_lacks_is_named(samples: Path, tmp_path: Path) -> None:
    proto = fragile.mlp()
    relu, last = proto.graph.node[1], proto.graph.node[2]
    proto.graph.node.remove(last)
    proto.graph.node.remove(relu)
    proto.graph.node.extend(
        [
            graphs.node("Strange", ["h"], ["s"], domain="com.example", name="first"),
            graphs.node("Odd", ["s"], ["r"], domain="com.example", name="second"),
            last,
        ]
    )
    proto.opset_import.add(domain="com.example", version=1)
    model = graphs.save(proto, tmp_path / "strange.onnx")
    with pytest.raises(ModelError) as caught:
        harden(model, tmp_path / "hard.onnx", options(samples))
    text = str(caught.value)
    assert "\n" not in text
    assert all(word in text for word in ("Strange", "Odd"))
    assert not (tmp_path / "hard.onnx.run").exists()


def test_a_model_of_one_sample_is_refused(tmp_path: Path) -> None:
    nodes = [
        graphs.node("MatMul", ["x", "w"], ["h"]),
        graphs.node("ReduceMean", ["h"], ["y"], axes=[0], keepdims=0),
    ]
    ends = [graphs.value("x", [5, 6])], [graphs.value("y", [4])]
    proto = graphs.model(nodes, *ends, {"w": graphs.weight(0, 6, 4)})
    model = graphs.save(proto, tmp_path / "single.onnx")
    x = np.random.default_rng(0).random((30, 5, 6)).astype(np.float32)
    data = fragile.save_data(tmp_path / "x.npz", {"x": x})
    pattern = r"input 'x' .* has shape \[5, 6\], whose first dimension is no batch"
    with pytest.raises(ModelError, match=pattern):
        harden(model, tmp_path / "hard.onnx", options(data, mvl=("h",)))


def test_a_fixed_batch_of_one_is_freed_for_training_alone(samples: Path, tmp_path: Path) -> None:
    model, target = graphs.save(fragile.mlp(batch=1), tmp_path / "m.onnx"), tmp_path / "hard.onnx"
    result = harden(model, target, options(samples))
    assert result.comparison.gain > 0.2
    assert diff_models(model, target).other == []


def regression(tmp_path: Path) -> Path:
    weights = fragile.mlp_weights()
    weights |= {"v": weights["v"][:1], "c": weights["c"][:1]}
    ends = [graphs.value("x", ["N", 6])], [graphs.value("y", ["N", 1])]
    proto = graphs.model(fragile.mlp().graph.node, *ends, weights)
    return graphs.save(proto, tmp_path / "m.onnx")


def test_a_model_without_classes(tmp_path: Path) -> None:
    model, x = regression(tmp_path), fragile.data(120)["x"]
    data = fragile.save_data(tmp_path / "x.npz", {"x": x})
    result = harden(model, tmp_path / "hard.onnx", options(data, max_clean_drop=0.9))
    found = result.comparison
    assert (found.measure, found.labels) == ("fit", "predicted")
    assert found.clean_before.value == 1
    assert found.clean_before.interval is None
    assert found.gain > 0
    how = options(data, base="standard", gamma="0", mvl=())
    with pytest.raises(LsaError, match=r"--base 'standard' fits .* to its own answers.*at-pgd"):
        harden(model, tmp_path / "plain.onnx", how)


def test_a_model_without_classes_and_what_it_should_say(tmp_path: Path) -> None:
    model, data = regression(tmp_path), fragile.save_data(tmp_path / "xy.npz", fragile.data(120))
    how = options(data, gamma="0", mvl=(), epochs=24, validate_every=12.0)
    found = harden(model, tmp_path / "hard.onnx", how).comparison
    assert (found.measure, found.labels) == ("fit", "given")
    assert found.clean_before.value < 0 < 0.1 < found.clean_after.value
    # It fits after training without attacks as well.
    plain = harden(model, tmp_path / "plain.onnx", dataclasses.replace(how, base="standard"))
    assert plain.history[-1].clean > plain.history[0].clean


def test_a_model_of_two_inputs(tmp_path: Path) -> None:
    model, target = graphs.save(graphs.two_input_net(), tmp_path / "m.onnx"), tmp_path / "hard.onnx"
    a, b = graphs.samples(0, 120, 5), graphs.samples(1, 120, 3)
    (y,) = graphs.run(graphs.two_input_net(), {"a": a, "b": b}).values()
    data = fragile.save_data(tmp_path / "ab.npz", {"a": a, "b": b, "y": y.argmax(1)})
    how = options(data, perturb="b", mvl=("rb", "both"), y_key="y", epochs=3, force=True)
    result = harden(model, target, how)
    assert result.comparison.clean_before.value == 1
    assert set(result.layers) == {"rb", "both"}
    assert diff_models(model, target).other == []
    assert not same_weights(model, target)


def test_an_input_that_is_called_as_labels_are(tmp_path: Path) -> None:
    proto = graphs.two_input_net()
    for node in proto.graph.node:
        node.input[:] = ["y" if name == "b" else name for name in node.input]
        node.output[:] = ["z" if name == "y" else name for name in node.output]
    proto.graph.input[1].name, proto.graph.output[0].name = "y", "z"
    model, target = graphs.save(proto, tmp_path / "m.onnx"), tmp_path / "hard.onnx"
    a, y = graphs.samples(0, 120, 5), graphs.samples(1, 120, 3)
    (z,) = graphs.run(proto, {"a": a, "y": y}).values()
    data = fragile.save_data(tmp_path / "ay.npz", {"a": a, "y": y, "labels": z.argmax(1)})
    how = options(data, perturb="y", mvl=("rb",), epochs=1, force=True)
    assert harden(model, target, how).comparison.clean_before.value == 1


class TestReexport:
    @pytest.mark.slow
    def test_a_new_file(self, model: Path, samples: Path, tmp_path: Path) -> None:
        proto = onnx.load(model)
        proto.metadata_props.add(key="author", value="somebody")
        graphs.save(proto, model)
        back, anew = tmp_path / "a.onnx", tmp_path / "b.onnx"
        first = harden(model, back, options(samples))
        second = harden(model, anew, options(samples, reexport=True))
        assert second.comparison == first.comparison
        x = fragile.data(9, seed=5)["x"]
        (old,), (new,) = (graphs.run(onnx.load(p), {"x": x}).values() for p in (back, anew))
        np.testing.assert_allclose(new, old, rtol=1e-4, atol=1e-4)
        kept = metadata(anew)
        assert kept["author"] == "somebody"
        assert kept[PARENT] == first.model_sha256
        assert json.loads(kept[CONFIG])["reexport"] is True
        assert [v.name for v in onnx.load(anew).graph.output] == ["y"]

    def test_what_torch_cannot_export_is_said_before_training(
        self, samples: Path, tmp_path: Path
    ) -> None:
        proto = fragile.mlp()
        graph = graphs.if_net().graph
        (branch,) = (n for n in graph.node if n.op_type == "If")
        for attribute in branch.attribute:
            attribute.g.node[0].input[0] = "y"
        proto.graph.node.extend(
            [
                graphs.node("ReduceMean", ["y"], ["mean"], keepdims=0),
                graphs.node("Greater", ["mean", "zero"], ["positive"]),
                branch,
            ]
        )
        proto.graph.initializer.append(
            onnx.numpy_helper.from_array(np.zeros((), np.float32), "zero")
        )
        proto.graph.output[0].name = "z"
        model = graphs.save(proto, tmp_path / "m.onnx")
        how = options(samples, reexport=True, mvl=("r",))
        with pytest.raises(ModelError, match=r"--reexport: torch .* cannot export") as caught:
            harden(model, tmp_path / "hard.onnx", how)
        assert "\n" not in str(caught.value)
        assert checkpoint.load(tmp_path / "hard.onnx.run") is None
